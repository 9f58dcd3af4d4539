use std::sync::{Arc, Mutex};

use nesssi_dn::SubjectDn;
use nesssi_identity::{Identity, NoCertificate, Peer, Presented, ProxyKind, Refusal};
use nesssi_rpc::{Dialect, Fault, MethodName};

use super::{IDLE, JUDGED_FOR, LOGINS_OF_SUBJECT_MAX, Logins, Now};
use crate::audit::Audit;
use crate::{Basic, Caller, Trusting};

const ALICE: &str = "/O=Grid/CN=Alice";
const BOB: &str = "/O=Grid/CN=Bob";
const TOKEN: &str = "0f1e2d";

fn identity(subject: &str) -> Identity {
    Identity {
        subject: SubjectDn::parse_oneline(subject).unwrap(),
        issuer: SubjectDn::parse_oneline("/O=Grid/CN=CA").unwrap(),
        not_after: i64::MAX,
        proxy: None,
    }
}

/// Logins, what their chains are judged to be, and how often that was asked.
struct Table {
    logins: Logins,
    audit: Audit,
    judged: Arc<Mutex<(Peer, u32)>>,
    directory: tempfile::TempDir,
}

impl Table {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::open(&directory.path().join("audit.jsonl")).unwrap();
        let judged = Arc::new(Mutex::new((Peer::Certified(identity(ALICE)), 0)));
        let for_rejudge = Arc::clone(&judged);
        let trusting = Trusting {
            rejudge: Arc::new(move |_| {
                let mut judged = for_rejudge.lock().unwrap();
                judged.1 += 1;
                judged.0.clone()
            }),
            server_certificate: "the server's".into(),
        };
        Self { logins: Logins::new(trusting), audit, judged, directory }
    }

    fn log_in(&self, subject: &str, token: &str) -> String {
        let caller = with(certified(subject), token, "BROWSER");
        self.logins.make(&self.audit, &caller).unwrap().secret
    }

    /// Who calls `method`: his subject if he is another than his connection says.
    fn enter(&self, caller: &Caller, method: &str) -> Result<Option<String>, i64> {
        let method = MethodName::parse(method).unwrap();
        let entered = self.logins.caller(&self.audit, caller, &method);
        let subject = |caller: Caller| caller.subject().unwrap().to_oneline();
        entered.map(|other| other.map(subject)).map_err(|fault| fault.code.number())
    }

    fn now_is(&self, peer: Peer) {
        self.judged.lock().unwrap().0 = peer;
    }

    fn forget_judgements(&self) {
        for login in crate::link::lock(&self.logins.table).of.values_mut().flatten() {
            login.judged = None;
        }
    }

    async fn audited(&self) -> String {
        self.audit.flush().await;
        std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap()
    }
}

fn caller(peer: Peer) -> Caller {
    Caller::plain(Arc::new(peer), "127.0.0.1".parse().unwrap(), "r1".into(), Dialect::XmlRpc)
}

fn certified(subject: &str) -> Caller {
    let presented = Some(Arc::new(Presented::new(vec![vec![1, 2, 3].into()])));
    Caller { presented, ..caller(Peer::Certified(identity(subject))) }
}

fn anonymous() -> Caller {
    caller(Peer::Anonymous(NoCertificate::NotOffered))
}

fn with(caller: Caller, user: &str, password: &str) -> Caller {
    Caller { basic: Some(Basic { user: user.into(), password: password.into() }), ..caller }
}

fn refusal() -> Peer {
    Peer::Refused(Refusal { certificate: ALICE.into(), rule: "it is revoked".into(), at: 0 })
}

#[tokio::test]
async fn a_login_stands_for_its_certificate() {
    let table = Table::new();
    let secret = table.log_in(ALICE, TOKEN);
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let his = with(anonymous(), TOKEN, &secret);
    assert_eq!(table.enter(&his, "echo.echo"), Ok(Some(ALICE.into())));
    assert_eq!(table.enter(&anonymous(), "echo.echo"), Ok(None));
    for (user, password) in [
        (TOKEN, "BROWSER"),
        (TOKEN, ""),
        (TOKEN, &secret[1..]),
        (TOKEN, &secret.to_uppercase()),
        ("other", &secret),
        ("", &secret),
    ] {
        let wrong = with(anonymous(), user, password);
        assert_eq!(table.enter(&wrong, "echo.echo"), Err(401), "{user}");
        assert_eq!(table.enter(&wrong, "system.logout"), Ok(None), "{user}");
    }
    let plain = caller(Peer::Anonymous(NoCertificate::NoTls));
    assert_eq!(table.enter(&with(plain, TOKEN, &secret), "echo.echo"), Err(401));
}

#[tokio::test]
async fn two_secrets_are_never_alike_and_the_second_ends_the_first() {
    let table = Table::new();
    let (first, second) = (table.log_in(ALICE, TOKEN), table.log_in(ALICE, TOKEN));
    assert_ne!(first, second);
    assert_eq!(table.enter(&with(anonymous(), TOKEN, &first), "a.b"), Err(401));
    assert_eq!(table.enter(&with(anonymous(), TOKEN, &second), "a.b"), Ok(Some(ALICE.into())));
}

#[tokio::test]
async fn beside_a_certificate_it_is_his_own_or_is_refused() {
    let table = Table::new();
    let secret = table.log_in(ALICE, TOKEN);
    let as_alice = |password| with(certified(ALICE), TOKEN, password);
    assert_eq!(table.enter(&as_alice(&secret), "a.b"), Ok(None));
    assert_eq!(table.enter(&as_alice("of a server that is gone"), "a.b"), Ok(None));
    assert_eq!(table.enter(&as_alice("BROWSER"), "a.b"), Ok(None));
    assert_eq!(table.enter(&with(certified(BOB), TOKEN, &secret), "a.b"), Err(403));
    assert_eq!(table.enter(&with(certified(BOB), TOKEN, "BROWSER"), "a.b"), Ok(None));
    // Two clients may choose the same token.
    let bobs = table.log_in(BOB, TOKEN);
    assert_eq!(table.enter(&with(certified(BOB), TOKEN, &bobs), "a.b"), Ok(None));
    assert_eq!(table.enter(&as_alice(&secret), "a.b"), Ok(None));
    assert_eq!(table.enter(&as_alice(&bobs), "a.b"), Err(403));
}

#[tokio::test]
async fn its_chain_is_judged_afresh_and_not_at_every_call() {
    let table = Table::new();
    let his = with(anonymous(), TOKEN, &table.log_in(ALICE, TOKEN));
    for _ in 0..3 {
        assert_eq!(table.enter(&his, "a.b"), Ok(Some(ALICE.into())));
    }
    assert_eq!(table.judged.lock().unwrap().1, 1);
    table.now_is(refusal());
    assert_eq!(table.enter(&his, "a.b"), Ok(Some(ALICE.into())));
    table.forget_judgements();
    let method = MethodName::parse("a.b").unwrap();
    let Err(Fault { text, .. }) = table.logins.caller(&table.audit, &his, &method) else {
        panic!("taken");
    };
    assert!(text.starts_with("log in again: ") && text.contains("it is revoked"), "{text}");
    table.now_is(Peer::Certified(identity(ALICE)));
    assert_eq!(table.enter(&his, "a.b"), Err(401), "it has ended");
    assert!(JUDGED_FOR.as_secs() <= 10);
}

#[tokio::test]
async fn a_chain_that_stands_for_another_now_ends_it() {
    let limited = Identity { proxy: Some(ProxyKind::Limited), ..identity(ALICE) };
    for now in [Peer::Certified(identity(BOB)), Peer::Certified(limited)] {
        let table = Table::new();
        let his = with(anonymous(), TOKEN, &table.log_in(ALICE, TOKEN));
        table.now_is(now);
        assert_eq!(table.enter(&his, "a.b"), Err(401));
    }
}

#[tokio::test]
async fn it_ends_when_it_is_idle_and_with_the_credential() {
    let table = Table::new();
    let mut short = certified(ALICE);
    short.peer =
        Arc::new(Peer::Certified(Identity { not_after: 5_000_000_000, ..identity(ALICE) }));
    let made = table.logins.make(&table.audit, &with(short, TOKEN, "BROWSER")).unwrap();
    let basic = Basic { user: TOKEN.into(), password: made.secret };
    let now = Now::read();
    let found = |now| table.logins.look(&table.audit, &basic, now).is_some();
    assert!(found(Now { instant: now.instant + IDLE / 2, ..now }));
    assert!(found(Now { instant: now.instant + IDLE, unix: 5_000_000_000 }));
    let late = Now { instant: now.instant + IDLE + IDLE, ..now };
    assert!(found(late));
    assert!(!found(Now { unix: 5_000_000_001, ..late }));
    assert!(!found(late));
    assert!(table.audited().await.contains("\"reason\":\"expired\""));

    let other = Basic { user: TOKEN.into(), password: table.log_in(ALICE, TOKEN) };
    let late = Now { instant: Now::read().instant + IDLE * 2, ..now };
    assert!(table.logins.look(&table.audit, &other, late).is_none());
    assert!(table.audited().await.contains("\"reason\":\"idle\""));
}

#[tokio::test]
async fn logging_out_ends_it() {
    let table = Table::new();
    let secret = table.log_in(ALICE, TOKEN);
    let his = with(certified(ALICE), TOKEN, &secret);
    for wrong in [anonymous(), with(anonymous(), TOKEN, "BROWSER"), certified(ALICE)] {
        table.logins.end(&table.audit, &wrong);
    }
    assert_eq!(table.enter(&with(anonymous(), TOKEN, &secret), "a.b"), Ok(Some(ALICE.into())));
    table.logins.end(&table.audit, &his);
    assert_eq!(table.enter(&with(anonymous(), TOKEN, &secret), "a.b"), Err(401));
    assert!(table.audited().await.contains("\"reason\":\"logout\""));
}

#[tokio::test]
async fn the_oldest_goes_when_there_are_too_many() {
    let table = Table::new();
    let bobs = table.log_in(BOB, TOKEN);
    let made: Vec<_> = (0..=LOGINS_OF_SUBJECT_MAX)
        .map(|number| (number.to_string(), table.log_in(ALICE, &number.to_string())))
        .collect();
    let known = |subject, token: &str, secret: &str| {
        let basic = Basic { user: token.into(), password: secret.into() };
        let shown = table.logins.look(&table.audit, &basic, Now::read());
        shown.is_some_and(|shown| shown.identity == identity(subject))
    };
    assert!(!known(ALICE, &made[0].0, &made[0].1));
    assert!(made[1..].iter().all(|(token, secret)| known(ALICE, token, secret)));
    assert!(known(BOB, TOKEN, &bobs));
    assert!(table.audited().await.contains("\"reason\":\"too many\""));
}

#[tokio::test]
async fn what_asks_for_a_login_and_what_does_not() {
    let table = Table::new();
    let make = |caller: Caller| {
        table.logins.make(&table.audit, &caller).map_err(|fault| fault.code.number()).err()
    };
    assert_eq!(make(with(anonymous(), TOKEN, "BROWSER")), Some(401));
    assert_eq!(make(with(caller(refusal()), TOKEN, "BROWSER")), Some(401));
    assert_eq!(make(certified(ALICE)), Some(-32602));
    for password in ["browser", "", "x"] {
        assert_eq!(make(with(certified(ALICE), TOKEN, password)), Some(-32602), "{password}");
    }
    for (token, due) in [
        (String::new(), Some(-32602)),
        ("a b".into(), Some(-32602)),
        ("\u{e9}".into(), Some(-32602)),
        ("x".repeat(129), Some(-32602)),
        ("x".repeat(128), None),
        ("!~".into(), None),
    ] {
        assert_eq!(make(with(certified(ALICE), &token, "BROWSER")), due, "{token}");
    }
    table.logins.set_server_certificate("renewed".into());
    let made = table.logins.make(&table.audit, &with(certified(ALICE), TOKEN, "BROWSER")).unwrap();
    assert_eq!(made.server_certificate, "renewed");
    assert!(made.user_certificate.starts_with("-----BEGIN CERTIFICATE-----\nAQID\n"));
}

#[tokio::test]
async fn no_secret_and_no_token_is_told() {
    let table = Table::new();
    let token = "canary-token";
    let secret = table.log_in(ALICE, token);
    let mut told = String::new();
    for caller in [
        with(anonymous(), token, &secret),
        with(certified(BOB), token, &secret),
        with(anonymous(), token, &format!("{secret}x")),
    ] {
        let method = MethodName::parse("a.b").unwrap();
        told += &format!("{caller:?}");
        told += &format!("{:?}", table.logins.caller(&table.audit, &caller, &method));
        table.logins.end(&table.audit, &caller);
    }
    told += &format!("{:?}", table.logins);
    told += &table.audited().await;
    assert!(told.contains("/O=Grid/CN=Alice"));
    assert!(!told.contains(&secret) && !told.contains(token), "{told}");
}
