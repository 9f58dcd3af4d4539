//! Where files are read: in a sandbox, by whoever holds the session's id, over the channel by seal; in a
//! tree, by whom its access list lets in, as his account, over the channel of his grant.

use nesssi_policy::{Access, Ask, Denied};
use nesssi_privsep::messages::Entry;
use nesssi_rpc::{Fault, FaultCode};
use nesssi_session::{SandboxPath, SessionId};

use super::path::Place;
use super::{faults, no_such_file};
use crate::builtin::Context;
use crate::clock::now_ms;
use crate::grants::CallerGrant;
use crate::jobs::Tended;
use crate::link::{AskError, Found, Jobmanager, Opened, Stated};

/// What the access lists of trees are asked for: they have no methods.
const METHOD: &str = "read";

/// A place whose files may be read by who asked for it.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    context: Context<'a>,
    jobmanager: Jobmanager,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Session(SessionId),
    Tree {
        name: String,
        who: Box<CallerGrant>,
        /// He has been judged anew once: the rules do not change twice in a call.
        renewed: bool,
    },
}

impl<'a> Source<'a> {
    /// Finds a place, and whether it may be read.
    ///
    /// # Errors
    /// 404 where there is none; 401 and 403 of a tree's access list and of the caller's grant; 503.
    pub(crate) async fn of(context: Context<'a>, place: &Place) -> Result<Self, Fault> {
        match place {
            Place::Session(session) => {
                let Tended { jobmanager, id, .. } = context.inner.jobs.tend(session).await?;
                Ok(Self { context, jobmanager, of: Of::Session(id) })
            }
            Place::Tree(name) => {
                may_read(context, name)?;
                let mut who = Box::new(context.who()?);
                let jobmanager = context.inner.grants.start_channel(&mut who).await?;
                let of = Of::Tree { name: name.clone(), who, renewed: false };
                Ok(Self { context, jobmanager, of })
            }
        }
    }

    /// The account as which it is read.
    pub(crate) fn account(&self) -> &str {
        &self.jobmanager.facts().name
    }

    /// What a file or directory is.
    ///
    /// # Errors
    /// 404, in a tree 403 too, 503.
    pub(crate) async fn stat(&mut self, path: &SandboxPath) -> Result<Stated, Fault> {
        loop {
            let asked = match &self.of {
                Of::Session(id) => self.jobmanager.stat(id.reveal(), path.as_bytes()).await,
                Of::Tree { name, .. } => self.jobmanager.tree_stat(name, path.as_bytes()).await,
            };
            match asked {
                Err(error) if self.renews(&error).await? => {}
                other => return other.map_err(|error| self.fault(&error)),
            }
        }
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// As [`Source::stat`]; 409 for a file, 413 for more than an answer holds.
    pub(crate) async fn list(&mut self, path: &SandboxPath) -> Result<Vec<Entry>, Fault> {
        const MAX: u32 = super::ENTRIES_MAX;
        let asked = loop {
            let asked = match &self.of {
                Of::Session(id) => self.jobmanager.list(id.reveal(), path.as_bytes(), MAX).await,
                Of::Tree { name, .. } => {
                    self.jobmanager.tree_list(name, path.as_bytes(), MAX).await
                }
            };
            match asked {
                Err(error) if self.renews(&error).await? => {}
                other => break other,
            }
        };
        match asked {
            Ok((entries, false)) => Ok(entries),
            Ok((entries, true)) => Err(Fault::new(
                FaultCode::OverLimit,
                format!(
                    "the directory has more names than one answer holds, which is some {}: \
                     file.find with a pattern answers a part of them",
                    entries.len()
                ),
            )),
            Err(error) => match self.stat(path).await {
                Ok(Stated { directory: false, .. }) => {
                    Err(Fault::new(FaultCode::Conflict, "it is a file"))
                }
                _ => Err(self.fault(&error)),
            },
        }
    }

    /// The served names below a directory that match a pattern, sorted by path.
    ///
    /// # Errors
    /// As [`Source::stat`]; -32602 for what is no pattern.
    pub(crate) async fn find(
        &mut self,
        path: &SandboxPath,
        pattern: &[u8],
    ) -> Result<Found, Fault> {
        const MAX: u32 = super::ENTRIES_MAX;
        let path = path.as_bytes();
        loop {
            let asked = match &self.of {
                Of::Session(id) => self.jobmanager.find(id.reveal(), path, pattern, MAX).await,
                Of::Tree { name, .. } => self.jobmanager.tree_find(name, path, pattern, MAX).await,
            };
            match asked {
                Err(error) if self.renews(&error).await? => {}
                Err(error) if faults::is_invalid(&error) => {
                    return Err(Fault::invalid_params(
                        "the pattern is none: a shell's, for one name",
                    ));
                }
                other => return other.map_err(|error| self.fault(&error)),
            }
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [`Source::stat`]; 409 for a directory.
    pub(crate) async fn open(&mut self, path: &SandboxPath) -> Result<Opened, Fault> {
        loop {
            let asked = match &self.of {
                Of::Session(id) => self.jobmanager.open(id.reveal(), path.as_bytes()).await,
                Of::Tree { name, .. } => self.jobmanager.tree_open(name, path.as_bytes()).await,
            };
            match asked {
                Err(error) if self.renews(&error).await? => {}
                Ok(Opened { directory: true, .. }) => {
                    return Err(Fault::new(FaultCode::Conflict, "it is a directory"));
                }
                other => return other.map_err(|error| self.fault(&error)),
            }
        }
    }

    /// Whether the rules have just changed, and the caller has been judged by those of now.
    async fn renews(&mut self, error: &AskError) -> Result<bool, Fault> {
        match &mut self.of {
            Of::Tree { who, renewed, .. } if !*renewed && faults::is_stale(error) => {
                self.jobmanager = self.context.inner.grants.start_channel(who).await?;
                *renewed = true;
                Ok(true)
            }
            Of::Tree { .. } | Of::Session(_) => Ok(false),
        }
    }

    fn fault(&self, error: &AskError) -> Fault {
        match &self.of {
            Of::Session(_) => faults::of_sandbox(error),
            Of::Tree { .. } => faults::of_tree(error),
        }
    }
}

/// Whether the access list of a tree lets a caller in.
///
/// # Errors
/// 404 where there is no such tree, 401 and 403.
pub(crate) fn may_read(context: Context<'_>, tree: &str) -> Result<(), Fault> {
    let rules = context.inner.grants.rules().now();
    let tree = rules.trees.iter().find(|known| known.name == tree).ok_or_else(no_such_file)?;
    let groups = context.inner.groups.now();
    let ask = Ask {
        method: METHOD,
        subject: context.caller.subject(),
        level: context.grant.as_ref().ok().map(|grant| &grant.level),
        groups: &*groups,
        now_unix: i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX),
    };
    match Access::permits(&[&tree.access], &ask) {
        Ok(_) => Ok(()),
        Err(denied) => {
            let rule = denied.rule().strip_prefix("service: ").unwrap_or(denied.rule());
            tracing::info!(request = context.caller.request_id, tree = tree.name, rule, "refused");
            Err(match &denied {
                Denied::NoCredential { .. } => {
                    Fault::new(FaultCode::NoCredential, "this tree needs a certificate")
                }
                Denied::Refused { subject, .. } => {
                    Fault::refused(format!("the access list of this tree does not admit {subject}"))
                }
            })
        }
    }
}
