//! Levels, and the judging of callers by them.

use std::net::IpAddr;

use nesssi_dn::SubjectDn;

use crate::{AccountName, Gridmap, LevelName, Limits};

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

/// How far a kind of credential is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its name, one of its own.
    pub name: LevelName,
    /// Whom it takes.
    pub from: From,
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

/// The result of judging a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The account that his work runs as.
    pub account: AccountName,
    /// The level that took him.
    pub level: LevelName,
    /// Its limits.
    pub limits: Limits,
    /// Which rule decided, for audit; it names lines of files and never goes to a stranger.
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
    #[error("level {} has no account", level.as_str())]
    NoAccount {
        /// The level.
        level: LevelName,
    },
}

impl Rules {
    /// Judges a caller by the subject DN of his verified certificate, or `None` without one.
    ///
    /// The address decides nothing yet: no level is bound to one.
    ///
    /// # Errors
    /// [`NotJudged`], never an account that nobody configured.
    pub fn judge(
        &self,
        subject: Option<&SubjectDn>,
        _address: IpAddr,
    ) -> Result<Judgement, NotJudged> {
        let mapped = subject.and_then(|subject| self.gridmap.lookup(subject));
        let takes = |level: &&Level| match level.from {
            From::Gridmap => mapped.is_some(),
            From::Certificate => subject.is_some(),
            From::Anonymous => subject.is_none(),
        };
        let level = self
            .levels
            .iter()
            .find(takes)
            .ok_or(NotJudged::NoLevel { caller: kind(subject, mapped.is_some()) })?;
        let (account, rule) = match (level.from, mapped) {
            (From::Gridmap, Some(entry)) => {
                (entry.accounts.first(), format!("gridmap line {}", entry.line))
            }
            (from, _) => (level.account.as_ref(), format!("community account of {}", from.word())),
        };
        let account = account.ok_or_else(|| NotJudged::NoAccount { level: level.name.clone() })?;
        Ok(Judgement {
            account: account.clone(),
            level: level.name.clone(),
            limits: level.limits.clone(),
            rule: format!("level {}: {rule}", level.name),
        })
    }
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
