//! A login is what the original's clients make with `system.auth2`, over a connection that shows a
//! certificate: from then on the client's own token and our secret stand for that certificate.
//!
//! A certificate is sufficient by itself, so beside one a login adds nothing: a login that is not
//! known (any more) is passed over, and another subject's is refused. Without a certificate the
//! login's own chain is judged afresh, so that it ends with what it was made of; what is not known
//! is refused, never anonymous. Of a secret only its hash is kept, and all logins end with the
//! process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nesssi_identity::{Identity, NoCertificate, Peer, Presented};
use nesssi_rpc::{Fault, FaultCode, MethodName};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::audit::{Audit, proxy_word};
use crate::clock::now_ms;
use crate::link::lock;
use crate::{Basic, Caller, Rejudge, Trusting};

/// The password that asks for a login; as a secret it is never taken.
const REQUEST: &str = "BROWSER";
/// Longest token that a client may choose.
const TOKEN_BYTES_MAX: usize = 128;
/// A login that is not used for so long ends.
const IDLE: Duration = Duration::from_secs(3600);
/// Logins at one time; beyond, the one that was made first ends.
const LOGINS_MAX: usize = 10_000;
/// The same for one subject.
const LOGINS_OF_SUBJECT_MAX: usize = 32;
/// So long a chain that was judged afresh is not judged again.
const JUDGED_FOR: Duration = Duration::from_secs(10);

/// All logins.
pub(crate) struct Logins {
    rejudge: Rejudge,
    server_certificate: ArcSwap<String>,
    table: Mutex<Table>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Logins")
    }
}

#[derive(Default)]
struct Table {
    /// How many were ever made.
    made: u64,
    /// By the client's token, which two clients may have chosen alike.
    of: HashMap<String, Vec<Login>>,
}

struct Login {
    number: u64,
    /// SHA-256 of the secret.
    secret: [u8; 32],
    identity: Identity,
    presented: Arc<Presented>,
    used: Instant,
    /// What its chain was found to be, and when.
    judged: Option<(Instant, Arc<Peer>)>,
}

/// What a request's login says without a certificate, as far as the table knows it.
struct Shown {
    number: u64,
    identity: Identity,
    presented: Arc<Presented>,
    judged: Option<Arc<Peer>>,
}

/// Now, on both clocks.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    unix: i64,
}

impl Now {
    fn read() -> Self {
        let unix = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
        Self { instant: Instant::now(), unix }
    }
}

/// What `system.auth2` answers.
pub(crate) struct Made {
    /// The server's certificate, PEM.
    pub(crate) server_certificate: String,
    /// The caller's, PEM.
    pub(crate) user_certificate: String,
    /// The secret, 64 hex digits.
    pub(crate) secret: String,
}

impl Logins {
    /// None yet.
    pub(crate) fn new(trusting: Trusting) -> Self {
        let Trusting { rejudge, server_certificate } = trusting;
        Self {
            rejudge,
            server_certificate: ArcSwap::from_pointee(server_certificate),
            table: Mutex::default(),
        }
    }

    /// The server shows this certificate from now on.
    pub(crate) fn set_server_certificate(&self, pem: String) {
        self.server_certificate.store(Arc::new(pem));
    }

    /// Who calls, if that is somebody else than his connection says: he who has logged in.
    ///
    /// # Errors
    /// Fault 403 for a login of another subject than the certificate's; 401 without a certificate
    /// where the login is not known, has ended, or its chain is not accepted any more.
    pub(crate) fn caller(
        &self,
        audit: &Audit,
        caller: &Caller,
        method: &MethodName,
    ) -> Result<Option<Caller>, Fault> {
        let Some(basic) = &caller.basic else { return Ok(None) };
        let now = Now::read();
        match &*caller.peer {
            Peer::Certified(identity) => match self.look(audit, basic, now) {
                Some(login) if login.identity.subject != identity.subject => Err(Fault::refused(
                    "the login is of another subject than the certificate: log in again, or send none",
                )),
                Some(_) | None => Ok(None),
            },
            Peer::Anonymous(NoCertificate::NotOffered) => match self.look(audit, basic, now) {
                Some(login) => self.afresh(audit, caller, login, now).map(Some),
                // They say themselves what is wrong.
                None if is_about_logins(method) => Ok(None),
                None => Err(unknown("unknown or ended login: log in again with system.auth2")),
            },
            Peer::Anonymous(NoCertificate::NoTls) => {
                Err(unknown("logins are taken over HTTPS alone"))
            }
            Peer::Refused(_) => Ok(None),
        }
    }

    /// Makes a login for a caller who shows a certificate and asks for one.
    ///
    /// # Errors
    /// Fault 401 without a certificate, -32602 where the request is not one, 503 where there is no
    /// secret to be had.
    pub(crate) fn make(&self, audit: &Audit, caller: &Caller) -> Result<Made, Fault> {
        let Peer::Certified(identity) = &*caller.peer else {
            return Err(unknown("logging in needs a certificate: connect with one"));
        };
        let token = asked(caller.basic.as_ref())?;
        let presented = caller.presented.as_ref().ok_or_else(|| {
            Fault::new(FaultCode::Unavailable, "the certificate's chain is not at hand")
        })?;
        let secret = new_secret()?;
        let now = Now::read();
        let mut login = Login {
            number: 0,
            secret: hash(&secret),
            identity: identity.clone(),
            presented: Arc::clone(presented),
            used: now.instant,
            judged: None,
        };
        let mut table = lock(&self.table);
        let ended = table.make_room(token, &login, now);
        table.made += 1;
        let number = table.made;
        login.number = number;
        table.of.entry(token.to_owned()).or_default().push(login);
        drop(table);
        for (login, reason) in ended {
            told_ended(audit, &login, reason);
        }
        audit
            .line("login")
            .text("request", &caller.request_id)
            .count("login", number)
            .text("subject", &identity.subject)
            .text("issuer", &identity.issuer)
            .maybe("proxy", identity.proxy.map(proxy_word))
            .text("address", caller.address)
            .write();
        Ok(Made {
            server_certificate: self.server_certificate.load().as_str().to_owned(),
            user_certificate: presented.leaf_pem(),
            secret,
        })
    }

    /// Ends the login that a request was made with, if it was made with one.
    pub(crate) fn end(&self, audit: &Audit, caller: &Caller) {
        let Some(basic) = &caller.basic else { return };
        let Some(shown) = self.look(audit, basic, Now::read()) else { return };
        self.end_one(audit, &basic.user, shown.number, "logout");
    }

    /// The login of this token and secret, which counts as used now.
    fn look(&self, audit: &Audit, basic: &Basic, now: Now) -> Option<Shown> {
        let secret = hash(&basic.password);
        let mut table = lock(&self.table);
        let ended = table.end_old(&basic.user, now);
        let shown = table.of.get_mut(&basic.user).and_then(|logins| {
            let is_it = |login: &&mut Login| bool::from(login.secret.ct_eq(&secret));
            let login = logins.iter_mut().find(is_it)?;
            login.used = now.instant;
            let fresh = |(at, _): &&(Instant, _)| now.instant.duration_since(*at) < JUDGED_FOR;
            Some(Shown {
                number: login.number,
                identity: login.identity.clone(),
                presented: Arc::clone(&login.presented),
                judged: login.judged.as_ref().filter(fresh).map(|(_, peer)| Arc::clone(peer)),
            })
        });
        drop(table);
        for (login, reason) in ended {
            told_ended(audit, &login, reason);
        }
        shown
    }

    /// The caller that he is by his login, whose chain is judged as of now.
    fn afresh(
        &self,
        audit: &Audit,
        caller: &Caller,
        login: Shown,
        now: Now,
    ) -> Result<Caller, Fault> {
        let token = caller.basic.as_ref().map_or("", |basic| &basic.user);
        let peer = match login.judged {
            Some(peer) => peer,
            None => {
                let peer = Arc::new((self.rejudge)(&login.presented));
                if let Err(why) = is_still(&login.identity, &peer) {
                    self.end_one(audit, token, login.number, "not accepted any more");
                    return Err(unknown(&format!("log in again: {why}")));
                }
                self.remember(token, login.number, &peer, now);
                audit
                    .line("authentication")
                    .text("by", "login")
                    .count("login", login.number)
                    .text("subject", &login.identity.subject)
                    .text("issuer", &login.identity.issuer)
                    .maybe("proxy", login.identity.proxy.map(proxy_word))
                    .text("address", caller.address)
                    .write();
                peer
            }
        };
        Ok(Caller { peer, presented: Some(login.presented), ..caller.clone() })
    }

    fn remember(&self, token: &str, number: u64, peer: &Arc<Peer>, now: Now) {
        let mut table = lock(&self.table);
        let of_token = table.of.get_mut(token);
        let login = of_token.and_then(|all| all.iter_mut().find(|login| login.number == number));
        if let Some(login) = login {
            login.judged = Some((now.instant, Arc::clone(peer)));
        }
    }

    fn end_one(&self, audit: &Audit, token: &str, number: u64, reason: &str) {
        let ended = lock(&self.table).take(token, |login| login.number == number);
        for login in ended {
            told_ended(audit, &login, reason);
        }
    }
}

impl Table {
    /// Ends what stands in the way of one more: the same client's last, and the oldest beyond the
    /// bounds.
    fn make_room(&mut self, token: &str, new: &Login, now: Now) -> Vec<(Login, &'static str)> {
        let subject = &new.identity.subject;
        let mut ended = self.end_old(token, now);
        let same = self.take(token, |login| login.identity.subject == *subject);
        ended.extend(same.into_iter().map(|login| (login, "made anew")));
        while let Some((token, number)) = self.one_too_many(subject) {
            let oldest = self.take(&token, |login| login.number == number);
            ended.extend(oldest.into_iter().map(|login| (login, "too many")));
        }
        ended
    }

    /// The oldest of the subject's logins if he has as many as he may, or of all.
    fn one_too_many(&self, subject: &nesssi_dn::SubjectDn) -> Option<(String, u64)> {
        let all =
            || self.of.iter().flat_map(|(token, all)| all.iter().map(move |one| (token, one)));
        let his = || all().filter(|(_, login)| login.identity.subject == *subject);
        let oldest = if his().count() >= LOGINS_OF_SUBJECT_MAX {
            his().min_by_key(|(_, login)| login.number)
        } else if self.of.values().map(Vec::len).sum::<usize>() >= LOGINS_MAX {
            all().min_by_key(|(_, login)| login.number)
        } else {
            None
        };
        oldest.map(|(token, login)| (token.clone(), login.number))
    }

    /// Takes out those of a token that have ended by themselves.
    fn end_old(&mut self, token: &str, now: Now) -> Vec<(Login, &'static str)> {
        let idle = |login: &Login| now.instant.duration_since(login.used) > IDLE;
        let expired = |login: &Login| login.identity.not_after < now.unix;
        let mut ended: Vec<_> =
            self.take(token, idle).into_iter().map(|one| (one, "idle")).collect();
        ended.extend(self.take(token, expired).into_iter().map(|one| (one, "expired")));
        ended
    }

    fn take(&mut self, token: &str, which: impl Fn(&Login) -> bool) -> Vec<Login> {
        let Some(logins) = self.of.get_mut(token) else { return Vec::new() };
        let taken = logins.extract_if(.., |login| which(login)).collect();
        if logins.is_empty() {
            self.of.remove(token);
        }
        taken
    }
}

/// The methods that are called before there is a login, or when there may be none any more.
fn is_about_logins(method: &MethodName) -> bool {
    matches!(method.as_str(), "system.auth" | "system.auth2" | "system.logout")
}

/// The token of a request for a login.
///
/// # Errors
/// Fault -32602.
fn asked(basic: Option<&Basic>) -> Result<&str, Fault> {
    let Some(Basic { user, password }) = basic else {
        return Err(Fault::invalid_params(
            "system.auth2 is called with HTTP Basic: as user a token of your own, as password the \
             word BROWSER",
        ));
    };
    if password != REQUEST {
        return Err(Fault::invalid_params(
            "the password that asks for a login is the word BROWSER",
        ));
    }
    let printable = user.bytes().all(|byte| byte.is_ascii_graphic());
    if !printable || user.is_empty() || user.len() > TOKEN_BYTES_MAX {
        return Err(Fault::invalid_params(format!(
            "the user must be 1 to {TOKEN_BYTES_MAX} printable characters"
        )));
    }
    Ok(user)
}

/// 256 bits of the system's, as 64 hex digits.
fn new_secret() -> Result<String, Fault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "no random bytes for a login");
        Fault::new(FaultCode::Unavailable, "no login can be made now: try again")
    })?;
    Ok(nesssi_journal::chain::hex(&bytes))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn unknown(text: &str) -> Fault {
    Fault::new(FaultCode::NoCredential, text)
}

/// Whether a chain still stands for whom it stood when he logged in.
fn is_still(then: &Identity, now: &Peer) -> Result<(), String> {
    match now {
        Peer::Certified(now) if now.subject == then.subject && now.proxy == then.proxy => Ok(()),
        Peer::Refused(refusal) => Err(refusal.to_string()),
        Peer::Certified(_) | Peer::Anonymous(_) => Err("the certificate stands for another".into()),
    }
}

fn told_ended(audit: &Audit, login: &Login, reason: &str) {
    audit
        .line("login_ended")
        .count("login", login.number)
        .text("subject", &login.identity.subject)
        .text("reason", reason)
        .write();
}

#[cfg(test)]
mod tests;
