//! Levels, and the judging of callers by them.

use std::net::IpAddr;

use ipnet::IpNet;
use nesssi_dn::{DnPattern, SubjectDn};

use crate::{AccountName, Assigned, Gridmap, GridmapEntry, LevelName, Limits};

/// Which callers a level takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum From {
    /// Those with a certificate whose subject DN is in the gridmap. Each has the account that the gridmap names first.
    Gridmap,
    /// Those with a trusted certificate, in the gridmap or not.
    Certificate,
    /// Those without a certificate.
    Anonymous,
}

impl From {
    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gridmap => "gridmap",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
        }
    }

    /// The reverse of [`From::word`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Gridmap, Self::Certificate, Self::Anonymous]
            .into_iter()
            .find(|from| from.word() == word)
    }
}

/// Which kind of proxy certificate a caller has presented (RFC 3820).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// It has all rights of the end entity.
    Full,
    /// It may read, and starts nothing.
    Limited,
    /// It has rights of its own: the caller is the proxy's own subject.
    Independent,
}

/// A word of a level's `proxies`: a kind of proxy, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProxyWord(pub Option<ProxyKind>);

impl ProxyWord {
    /// All words with what they mean.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("none", Self(None)),
        ("full", Self(Some(ProxyKind::Full))),
        ("limited", Self(Some(ProxyKind::Limited))),
        ("independent", Self(Some(ProxyKind::Independent))),
    ];

    /// What a level takes that names none: all but independent proxies. Of those anybody can make
    /// himself as many as he likes, each a caller with limits of his own.
    pub const USUAL: [Self; 3] =
        [Self(None), Self(Some(ProxyKind::Full)), Self(Some(ProxyKind::Limited))];

    /// What a word of the configuration means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, meant)| meant)
    }
}

/// How far a kind of credential is trusted. It takes a caller if everything that it names does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its name, one of its own.
    pub name: LevelName,
    /// Whom it takes.
    pub from: From,
    /// Only subjects that one of these matches; empty is all.
    pub subjects: Vec<DnPattern>,
    /// Only certificates of issuers that one of these matches; empty is all.
    pub issuers: Vec<DnPattern>,
    /// Only those that are in the gridmap, or only those that are not.
    pub gridmapped: Option<bool>,
    /// Only these kinds of credentials; empty is [`ProxyWord::USUAL`].
    pub proxies: Vec<ProxyWord>,
    /// Only callers from these networks; empty is all.
    pub addresses: Vec<IpNet>,
    /// The community account that its callers share; `None` for [`From::Gridmap`], where each has
    /// one of his own. A level of another kind without an account refuses.
    pub account: Option<AccountName>,
    /// What its callers may use.
    pub limits: Limits,
}

/// Everything that a caller is judged by.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Who has an account of his own.
    pub gridmap: Gridmap,
    /// The first that takes a caller decides.
    pub levels: Vec<Level>,
}

/// A caller, as far as he is judged by it.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The subject DN of his verified certificate; `None` without one.
    pub subject: Option<&'a SubjectDn>,
    /// The CA that issued his end-entity certificate.
    pub issuer: Option<&'a SubjectDn>,
    /// The proxy that he presented, if any.
    pub proxy: Option<ProxyKind>,
    /// Where he calls from.
    pub address: IpAddr,
    /// The account that he asks for; `None` is his first.
    pub account: Option<&'a AccountName>,
    /// The level that the service lowers him to.
    pub lowered: Option<&'a LevelName>,
}

impl<'a> Who<'a> {
    /// A caller with a certificate (or none) and nothing beside.
    #[must_use]
    pub fn of(subject: Option<&'a SubjectDn>, address: IpAddr) -> Self {
        Self { subject, issuer: None, proxy: None, address, account: None, lowered: None }
    }
}

/// The result of judging a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The account that his work runs as, or the pool that it is leased from.
    pub account: Assigned,
    /// The level that took him.
    pub level: LevelName,
    /// Its limits.
    pub limits: Limits,
    /// He may read what he has, and start nothing: his proxy is limited.
    pub reads_only: bool,
    /// Which rule decided, for audit and for himself; it names lines of the gridmap.
    pub rule: String,
}

/// Why a caller gets no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotJudged {
    /// No level takes callers of this kind.
    #[error("no level takes {caller}")]
    NoLevel {
        /// What kind of caller: fit for strangers.
        caller: &'static str,
    },
    /// The level that takes him has no account configured. It refuses: the caller is not passed on
    /// to the next.
    #[error("level {level} has no account")]
    NoAccount {
        /// The level.
        level: LevelName,
    },
    /// He asked for an account that is not one of his.
    #[error("account {account} is not one of this caller's at level {level}")]
    NotHisAccount {
        /// What he asked for.
        account: AccountName,
        /// The level.
        level: LevelName,
    },
    /// A service lowers him to a level that there is not.
    #[error("the service lowers this caller to level {level}, which there is not")]
    NoSuchLevel {
        /// What the access list names.
        level: LevelName,
    },
}

impl Rules {
    /// Judges a caller.
    ///
    /// The first level that takes him decides. A service may have lowered him to one further down:
    /// he then has that one's account, and of each limit the lesser. A level further up changes
    /// nothing, so that no service can raise anybody.
    ///
    /// # Errors
    /// [`NotJudged`], never an account that nobody configured.
    pub fn judge(&self, who: &Who<'_>) -> Result<Judgement, NotJudged> {
        let mapped = who.subject.and_then(|subject| self.gridmap.lookup(subject));
        let (place, natural) = self
            .levels
            .iter()
            .enumerate()
            .find(|(_, level)| level.takes(who, mapped.is_some()))
            .ok_or(NotJudged::NoLevel { caller: kind(who.subject, mapped.is_some()) })?;
        let Some(name) = who.lowered else {
            return natural.judgement(who, mapped, natural.limits.clone());
        };
        let (lower_place, lower) = self
            .levels
            .iter()
            .enumerate()
            .find(|(_, level)| level.name == *name)
            .ok_or_else(|| NotJudged::NoSuchLevel { level: name.clone() })?;
        if lower_place <= place {
            return natural.judgement(who, mapped, natural.limits.clone());
        }
        let mut judged = lower.judgement(who, mapped, lower.limits.at_most(&natural.limits))?;
        judged.rule.push_str(&format!(", lowered by the service from level {}", natural.name));
        Ok(judged)
    }
}

impl Level {
    /// A level that takes whom `from` says, wherever he comes from.
    #[must_use]
    pub fn new(name: LevelName, from: From, account: Option<AccountName>, limits: Limits) -> Self {
        Self {
            name,
            from,
            subjects: Vec::new(),
            issuers: Vec::new(),
            gridmapped: None,
            proxies: Vec::new(),
            addresses: Vec::new(),
            account,
            limits,
        }
    }

    /// Whether it has to be known who is in the gridmap.
    #[must_use]
    pub fn asks_gridmap(&self) -> bool {
        self.from == From::Gridmap || self.gridmapped.is_some()
    }

    /// Whether it takes everybody whom the other takes, as far as their conditions as written say so:
    /// a level before another leaves that one nobody.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let of_kind = match (self.from, other.from) {
            (From::Certificate, From::Gridmap) => true,
            (From::Gridmap, From::Certificate) => other.gridmapped == Some(true),
            (own, theirs) => own == theirs,
        };
        let theirs_mapped = match other.from {
            From::Gridmap => Some(true),
            From::Certificate | From::Anonymous => other.gridmapped,
        };
        let within = |net: &IpNet| self.addresses.iter().any(|own| own.contains(net));
        of_kind
            && (self.gridmapped.is_none() || self.gridmapped == theirs_mapped)
            && covers_all(&self.subjects, &other.subjects)
            && covers_all(&self.issuers, &other.issuers)
            && other.proxies_taken().iter().all(|kind| self.proxies_taken().contains(kind))
            && (self.addresses.is_empty()
                || !other.addresses.is_empty() && other.addresses.iter().all(within))
    }

    fn proxies_taken(&self) -> &[ProxyWord] {
        if self.proxies.is_empty() { &ProxyWord::USUAL } else { &self.proxies }
    }

    pub(crate) fn takes(&self, who: &Who<'_>, mapped: bool) -> bool {
        let of_kind = match self.from {
            From::Gridmap => mapped,
            From::Certificate => who.subject.is_some(),
            From::Anonymous => who.subject.is_none(),
        };
        let address = who.address.to_canonical();
        of_kind
            && self.gridmapped.is_none_or(|wanted| wanted == mapped)
            && matches_one(&self.subjects, who.subject)
            && matches_one(&self.issuers, who.issuer)
            && self.proxies_taken().contains(&ProxyWord(who.proxy))
            && (self.addresses.is_empty()
                || self.addresses.iter().any(|net| net.contains(&address)))
    }

    /// What this level gives a caller whom it has taken, or who was lowered to it.
    fn judgement(
        &self,
        who: &Who<'_>,
        mapped: Option<&GridmapEntry>,
        limits: Limits,
    ) -> Result<Judgement, NotJudged> {
        let (accounts, rule) = match (self.from, mapped) {
            (From::Gridmap, Some(entry)) => {
                (entry.accounts.clone(), format!("gridmap line {}", entry.line))
            }
            (from, _) => {
                let account = self.account.clone().map(Assigned::Account);
                (account.into_iter().collect(), format!("community account of {}", from.word()))
            }
        };
        let chosen = match who.account {
            None => accounts.first(),
            Some(asked) => {
                let is_asked =
                    |known: &&Assigned| matches!(known, Assigned::Account(name) if name == asked);
                let found = accounts.iter().find(is_asked);
                if found.is_none() && !accounts.is_empty() {
                    let (account, level) = (asked.clone(), self.name.clone());
                    return Err(NotJudged::NotHisAccount { account, level });
                }
                found
            }
        };
        let account = chosen.ok_or_else(|| NotJudged::NoAccount { level: self.name.clone() })?;
        Ok(Judgement {
            account: account.clone(),
            level: self.name.clone(),
            limits,
            reads_only: who.proxy == Some(ProxyKind::Limited),
            rule: format!("level {}: {rule}", self.name),
        })
    }
}

/// Whether a list of which one must hold lets through whatever the other does; empty is all.
fn covers_all<T: PartialEq>(own: &[T], other: &[T]) -> bool {
    own.is_empty() || !other.is_empty() && other.iter().all(|item| own.contains(item))
}

fn matches_one(patterns: &[DnPattern], name: Option<&SubjectDn>) -> bool {
    let matched = |name: &SubjectDn| patterns.iter().any(|pattern| pattern.matches(name));
    patterns.is_empty() || name.is_some_and(matched)
}

fn kind(subject: Option<&SubjectDn>, mapped: bool) -> &'static str {
    match (subject, mapped) {
        (None, _) => "callers without a certificate",
        (Some(_), true) => "callers that are in the gridmap",
        (Some(_), false) => "callers that are not in the gridmap",
    }
}

#[cfg(test)]
mod tests;
