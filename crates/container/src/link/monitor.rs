//! The gatekeeper's side of its channel to the monitor.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nesssi_privsep::messages::{
    Claim, FromMonitor, GrantRecord, LeafFacts, LeafOwner, Seal, ToMonitor,
};
use nesssi_privsep::wire::Blob;
use nesssi_privsep::{Channel, Received};
use tokio::sync::mpsc;

use super::{AskError, EVENTS_MAX, Jobmanager, Link, LinkError, lock};
use crate::audit::OnDisk;
use crate::link::jobmanager::Unasked;

/// What the monitor says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The text of nesssi.toml, to be parsed again.
    pub config_text: String,
    /// Its path, for messages alone.
    pub config_path: String,
    /// Whether NESSSI was started as root.
    pub root: bool,
    /// Whether the monitor can make cgroup leaves.
    pub leaves: bool,
    /// The invoking user's name: the one account there is without root.
    pub user: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The generation of the rules.
    pub generation: u64,
}

/// What the monitor says unasked.
#[derive(Debug)]
pub enum MonitorEvent {
    /// The rules have changed: cached grants are void.
    Generation {
        /// The new generation.
        generation: u64,
        /// The text of nesssi.toml, if that has changed.
        config_text: Option<String>,
    },
    /// The server's certificate or key has changed.
    Certificate {
        /// The certificate chain, PEM.
        certificate: OwnedFd,
        /// Its key, PEM.
        key: OwnedFd,
    },
    /// Finish and release.
    Drain {
        /// Seconds until this process is killed.
        seconds_max: u32,
    },
    /// Restart a service.
    RestartService {
        /// To be repeated in the answer.
        ticket: u32,
        /// The service.
        name: String,
    },
    /// Say what is wrong with a service.
    CheckService {
        /// To be repeated in the answer.
        ticket: u32,
        /// The service.
        name: String,
        /// Where what was found is written.
        file: OwnedFd,
    },
    /// Say where a service's log is.
    ServiceLog {
        /// To be repeated in the answer.
        ticket: u32,
        /// The service.
        name: String,
    },
    /// Say how it goes.
    Status {
        /// To be repeated in the answer.
        ticket: u32,
    },
}

/// A cgroup leaf that was made: the descriptors that the account's process needs to enter and watch it.
#[derive(Debug)]
pub struct Leaf {
    /// Door, cpu.stat, cgroup.kill, cgroup.events.
    pub descriptors: Vec<OwnedFd>,
}

/// The monitor. Clones speak on the same channel.
#[derive(Debug, Clone)]
pub struct Monitor {
    link: Link<ToMonitor, FromMonitor>,
    events: Arc<Mutex<Option<mpsc::Receiver<MonitorEvent>>>>,
}

impl Monitor {
    /// Takes over the inherited channel and waits for the welcome; its descriptors are the HTTPS
    /// listener, the HTTP listener, the certificate and its key.
    ///
    /// # Errors
    /// [`AskError::Link`] if the channel fails, [`AskError::Unfit`] if it begins with anything else.
    pub async fn connect(channel: OwnedFd) -> Result<(Self, Welcome, Vec<OwnedFd>), AskError> {
        let (link, mut unasked) = Link::new(channel)?;
        let first = unasked.recv().await.ok_or(LinkError::Closed)?;
        let (welcome, descriptors) = welcome(first)?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(sort_events(unasked, sender));
        Ok((Self { link, events: Arc::new(Mutex::new(Some(events))) }, welcome, descriptors))
    }

    /// The same over a channel end of this process, for stand-ins.
    ///
    /// # Errors
    /// As [`Monitor::connect`].
    pub async fn over(channel: Channel) -> Result<(Self, Welcome, Vec<OwnedFd>), AskError> {
        Self::connect(channel.into_fd()).await
    }

    /// What it says unasked; to be had once.
    #[must_use]
    pub fn events(&self) -> Option<mpsc::Receiver<MonitorEvent>> {
        lock(&self.events).take()
    }

    /// All is ready but what needs the lease; returns when that is free.
    ///
    /// # Errors
    /// [`AskError`] where the monitor is gone, or has no lease for this process.
    pub async fn take_over(&self) -> Result<(), AskError> {
        let asked = self.link.send(&ToMonitor::Prepared {}, &[]).await?;
        match asked.within(LEASE_WAIT).wait().await?.message {
            FromMonitor::TakeOver {} => Ok(()),
            FromMonitor::Refused { refusal } => Err(AskError::Refused(refusal)),
            _ => Err(AskError::Unfit),
        }
    }

    /// This gatekeeper cannot serve; the text is cut to 1 KiB.
    ///
    /// # Errors
    /// [`AskError::Link`].
    pub async fn unfit(&self, mut text: String) -> Result<(), AskError> {
        text.truncate(text.floor_char_boundary(CONTROL_TEXT_BYTES_MAX));
        Ok(self.link.tell(&ToMonitor::Unfit { text }).await?)
    }

    /// This gatekeeper serves.
    ///
    /// # Errors
    /// [`AskError::Link`].
    pub async fn ready(&self) -> Result<(), AskError> {
        Ok(self.link.tell(&ToMonitor::Ready {}).await?)
    }

    /// The lease is given up.
    ///
    /// # Errors
    /// [`AskError::Link`].
    pub async fn released(&self) -> Result<(), AskError> {
        Ok(self.link.tell(&ToMonitor::Released {}).await?)
    }

    /// Answers a control request; the text is cut to 1 KiB.
    ///
    /// # Errors
    /// [`AskError::Link`].
    pub async fn control_done(
        &self,
        ticket: u32,
        ok: bool,
        mut text: String,
    ) -> Result<(), AskError> {
        text.truncate(text.floor_char_boundary(CONTROL_TEXT_BYTES_MAX));
        Ok(self.link.tell(&ToMonitor::ControlDone { ticket, ok, text }).await?)
    }

    /// The audit log is on the disk up to here.
    ///
    /// # Errors
    /// [`AskError::Link`].
    pub(crate) async fn audit_head(&self, on_disk: OnDisk) -> Result<(), AskError> {
        let OnDisk { head, bytes } = on_disk;
        let (lines, hash) = (head.lines, Blob(head.hash.to_vec()));
        Ok(self.link.tell(&ToMonitor::AuditHead { lines, bytes, hash }).await?)
    }

    /// Judges a caller.
    ///
    /// # Errors
    /// [`AskError::Refused`] with the reason.
    pub async fn judge(&self, claim: Claim, address: IpAddr) -> Result<GrantRecord, AskError> {
        match self.ask(&ToMonitor::Judge { claim, address }).await?.message {
            FromMonitor::Judged { grant } => Ok(grant),
            _ => Err(AskError::Unfit),
        }
    }

    /// A channel on which jobs and workers of the grant's account may be started.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn start(
        &self,
        grant: u64,
    ) -> Result<(Jobmanager, mpsc::Receiver<Unasked>), AskError> {
        self.jobmanager(&ToMonitor::Start { grant }).await
    }

    /// A channel on which a sealed session may be tended.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn tend(
        &self,
        session: &str,
        seal: &Seal,
    ) -> Result<(Jobmanager, mpsc::Receiver<Unasked>), AskError> {
        let session = session.to_owned();
        self.jobmanager(&ToMonitor::Tend { session, seal: seal.clone() }).await
    }

    /// A channel to the services account for discovery.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn discover(&self) -> Result<Jobmanager, AskError> {
        Ok(self.jobmanager(&ToMonitor::Discover {}).await?.0)
    }

    /// Seals a session.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn admit(&self, grant: u64, session: &str) -> Result<Seal, AskError> {
        let message = ToMonitor::Admit { grant, session: session.to_owned() };
        match self.ask(&message).await?.message {
            FromMonitor::Sealed { seal } => Ok(seal),
            _ => Err(AskError::Unfit),
        }
    }

    /// Makes a leaf; `None` where there are none on this machine.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn leaf_make(&self, owner: LeafOwner, name: &str) -> Result<Option<Leaf>, AskError> {
        let answer = self.ask(&ToMonitor::LeafMake { owner, name: name.to_owned() }).await?;
        match answer.message {
            FromMonitor::Leaf {} => Ok(Some(Leaf { descriptors: answer.descriptors })),
            FromMonitor::NoLeaf { .. } => Ok(None),
            _ => Err(AskError::Unfit),
        }
    }

    /// CPU use of leaves, one item for each name; `None` is no such leaf.
    ///
    /// # Errors
    /// [`AskError::Refused`]; [`AskError::Unfit`] where the answer has another length.
    pub async fn leaf_read(&self, names: Vec<String>) -> Result<Vec<Option<LeafFacts>>, AskError> {
        let count = names.len();
        match self.ask(&ToMonitor::LeafRead { names }).await?.message {
            FromMonitor::LeafUsage { usage } if usage.len() == count => Ok(usage),
            _ => Err(AskError::Unfit),
        }
    }

    /// Kills all in a leaf and removes it once empty; to be asked again while it is populated.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn leaf_kill(&self, name: &str) -> Result<Option<LeafFacts>, AskError> {
        match self.ask(&ToMonitor::LeafKill { name: name.to_owned() }).await?.message {
            FromMonitor::LeafUsage { usage } => usage.into_iter().next().ok_or(AskError::Unfit),
            _ => Err(AskError::Unfit),
        }
    }

    /// The names of all leaves.
    ///
    /// # Errors
    /// [`AskError::Refused`].
    pub async fn leaf_list(&self) -> Result<Vec<String>, AskError> {
        match self.ask(&ToMonitor::LeafList {}).await?.message {
            FromMonitor::LeafNames { names } => Ok(names),
            _ => Err(AskError::Unfit),
        }
    }

    async fn jobmanager(
        &self,
        message: &ToMonitor,
    ) -> Result<(Jobmanager, mpsc::Receiver<Unasked>), AskError> {
        let mut answer = self.ask(message).await?;
        let FromMonitor::Jobmanager { account, pid } = answer.message else {
            return Err(AskError::Unfit);
        };
        let channel = answer.descriptors.pop().ok_or(AskError::Unfit)?;
        Ok(Jobmanager::new(channel, account, pid)?)
    }

    async fn ask(&self, message: &ToMonitor) -> Result<Received<FromMonitor>, AskError> {
        let answer = self.link.ask(message, &[]).await?;
        match answer.message {
            FromMonitor::Refused { refusal } => Err(AskError::Refused(refusal)),
            _ => Ok(answer),
        }
    }
}

/// How long the lease is waited for: longer than the monitor gives its holder.
const LEASE_WAIT: Duration = Duration::from_secs(60);

/// The control socket's answers carry no more.
const CONTROL_TEXT_BYTES_MAX: usize = 1024;

fn welcome(first: Received<FromMonitor>) -> Result<(Welcome, Vec<OwnedFd>), AskError> {
    match first.message {
        FromMonitor::Welcome {
            config_text,
            config_path,
            root,
            leaves,
            user,
            boot_id,
            generation,
        } => {
            let welcome =
                Welcome { config_text, config_path, root, leaves, user, boot_id, generation };
            Ok((welcome, first.descriptors))
        }
        _ => Err(AskError::Unfit),
    }
}

async fn sort_events(
    mut unasked: mpsc::Receiver<Received<FromMonitor>>,
    events: mpsc::Sender<MonitorEvent>,
) {
    while let Some(received) = unasked.recv().await {
        let event = match received.message {
            FromMonitor::Generation { generation, config_text } => {
                MonitorEvent::Generation { generation, config_text }
            }
            FromMonitor::Certificate {} => {
                let [certificate, key] = match <[OwnedFd; 2]>::try_from(received.descriptors) {
                    Ok(both) => both,
                    Err(other) => {
                        tracing::warn!(count = other.len(), "a certificate and a key were due");
                        continue;
                    }
                };
                MonitorEvent::Certificate { certificate, key }
            }
            FromMonitor::Drain { seconds_max } => MonitorEvent::Drain { seconds_max },
            FromMonitor::RestartService { ticket, name } => {
                MonitorEvent::RestartService { ticket, name }
            }
            FromMonitor::Status { ticket } => MonitorEvent::Status { ticket },
            FromMonitor::CheckService { ticket, name } => {
                let Some(file) = received.descriptors.into_iter().next() else {
                    tracing::warn!(name, "a file for what a check finds was due");
                    continue;
                };
                MonitorEvent::CheckService { ticket, name, file }
            }
            FromMonitor::ServiceLog { ticket, name } => MonitorEvent::ServiceLog { ticket, name },
            other => {
                tracing::warn!(?other, "the monitor said unasked what is an answer");
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
