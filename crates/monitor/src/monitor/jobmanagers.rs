//! Accounts wanted, looked up and served: the life of jobmanagers.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{FromMonitor, Refusal, Seal, ToJobmanagerControl};
use nesssi_privsep::wire::Blob;
use nesssi_privsep::{Channel, ChannelError, Child, Ending};

use super::{Monitor, bury};
use crate::accounts::{Jobmanager, Slot, WAITING_MAX, Waiting, Wish};
use crate::link::Link;
use crate::log;
use crate::lookup::{LOOKUP_SECONDS_MAX, Lookup, Outcome, Purpose, Surroundings};
use crate::requests::{Asker, other_uid};

/// A jobmanager that lived so long and then does not listen has ended as it should.
const WELL: Duration = Duration::from_secs(5);

impl Monitor {
    /// Answers a wish for a channel: at once, or after a look-up that all who wait for the account share.
    pub(crate) fn want(&mut self, account: &str, waiting: Waiting) {
        let now = Instant::now();
        let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
        let busy = |text: &str| Refusal::Busy { text: text.to_owned() };
        let Some(slot) = self.accounts.slot(account, now) else {
            return self.refuse(asker, "channel", busy("too many accounts"));
        };
        if slot.ready_for(&waiting.wish, now) {
            return self.serve(account, &waiting);
        }
        if slot.waiting.len() >= WAITING_MAX {
            return self.refuse(asker, "channel", busy("too many wait for this account"));
        }
        if slot.jobmanager.is_none() && slot.not_before.is_some_and(|at| at > now) {
            return self.refuse(asker, "channel", busy("the account's jobmanager keeps ending"));
        }
        slot.waiting.push(waiting);
        self.look_up(account);
    }

    /// Begins the look-up that those who wait for an account need, unless one is under way.
    pub(super) fn look_up(&mut self, account: &str) {
        let surroundings = Surroundings {
            root: self.setup.who.root,
            invoker: &self.setup.who.invoker,
            rules: self.setup.who.account_rules(self.setup.rules.uid_min()),
            sandboxes: self.setup.sandboxes.as_fd(),
            sandboxes_path: self.setup.config.sandboxes.root.clone(),
            shared: self.setup.config.sandboxes.shared,
            trees: &self.setup.config.trees,
            batch: &self.setup.config.batch.systems,
            program: self.setup.libexec.join("nesssi-jobmanager"),
            environment: &self.setup.environment,
            files: self.files_before,
        };
        let Some(slot) = self.accounts.get_mut(account) else { return };
        if slot.lookup.is_some() || slot.waiting.is_empty() {
            return;
        }
        let purpose = if slot.jobmanager.is_some() {
            Purpose::Check
        } else if slot.waiting.iter().any(|waiting| !waiting.wish.starts()) {
            Purpose::Tend
        } else {
            Purpose::Start
        };
        let wait = Duration::from_secs(LOOKUP_SECONDS_MAX);
        match Lookup::begin(account, purpose, &surroundings, wait) {
            Ok(lookup) => slot.lookup = Some(lookup),
            Err(error) => {
                let text = error.to_string();
                self.refuse_waiting(account, |_| Some(Refusal::System { text: text.clone() }));
            }
        }
    }

    pub(super) fn advance_lookup(&mut self, account: &str) {
        let now = Instant::now();
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let Some(lookup) = slot.lookup.take() else { return };
        let purpose = lookup.purpose();
        let (outcome, leftover) = match lookup.advance(now) {
            Ok(ended) => ended,
            Err(still) => {
                slot.lookup = Some(*still);
                return;
            }
        };
        bury(&mut self.dying, leftover);
        match outcome {
            Outcome::Started(found, child, control) => self.started(account, found, child, control),
            Outcome::Checked(found) => self.checked(account, found),
            Outcome::Unfit(text) => {
                log::warn("account refused")
                    .with("account", account)
                    .with("because", &text)
                    .write();
                self.setup
                    .audit
                    .line("account_refused")
                    .text("account", account)
                    .text("because", &text)
                    .write();
                if let Some(slot) = self.accounts.get_mut(account) {
                    slot.checked = None;
                }
                self.refuse_waiting(account, |waiting| {
                    // Those who tend were not asked whether any standing will do: they are asked again.
                    let again = purpose == Purpose::Start && !waiting.wish.starts();
                    (!again).then(|| Refusal::BadAccount { text: text.clone() })
                });
                self.look_up(account);
            }
            Outcome::Failed(text) => {
                log::error("look-up failed")
                    .with("account", account)
                    .with("because", &text)
                    .write();
                self.refuse_waiting(account, |_| Some(Refusal::System { text: text.clone() }));
            }
        }
    }

    pub(super) fn started(
        &mut self,
        account: &str,
        found: crate::lookup::Found,
        child: Child,
        control: Channel,
    ) {
        log::info("started a jobmanager")
            .with("account", account)
            .with("uid", found.uid)
            .with("pid", child.pid_number())
            .write();
        self.setup
            .audit
            .line("jobmanager_started")
            .text("account", account)
            .number("uid", found.uid)
            .number("pid", child.pid_number())
            .write();
        let now = Instant::now();
        // It may have ended, and been reaped, before this was heard.
        let ended = match child.try_wait() {
            Ok(None) => None,
            Ok(Some(ending)) => Some(ending),
            Err(_) => Some(Ending::Exited(1)),
        };
        match (Link::new(control), self.accounts.get_mut(account)) {
            (Ok(control), Some(slot)) => {
                slot.jobmanager = Some(Jobmanager { child, control, started: now });
                slot.found = Some(found);
                slot.checked = Some(now);
            }
            // Without its channel it ends by itself.
            _ => bury(&mut self.dying, Some(child)),
        }
        if let Some(ending) = ended {
            self.jobmanager_ended(account, ending);
        }
        self.serve_waiting(account);
    }

    /// A running jobmanager's account was looked up again.
    pub(super) fn checked(&mut self, account: &str, found: crate::lookup::Found) {
        let now = Instant::now();
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let same = slot.found.as_ref().is_some_and(|before| {
            (before.uid, before.gid, &before.groups) == (found.uid, found.gid, &found.groups)
        });
        if same {
            slot.found = Some(found);
            slot.checked = Some(now);
            return self.serve_waiting(account);
        }
        log::warn("an account has changed: replacing its jobmanager")
            .with("account", account)
            .write();
        bury(&mut self.dying, slot.jobmanager.take().map(|jobmanager| jobmanager.child));
        slot.checked = None;
        self.look_up(account);
    }

    pub(super) fn serve_waiting(&mut self, account: &str) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        for waiting in std::mem::take(&mut slot.waiting) {
            self.serve(account, &waiting);
        }
    }

    pub(super) fn refuse_waiting(
        &mut self,
        account: &str,
        refusal: impl Fn(&Waiting) -> Option<Refusal>,
    ) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        for waiting in std::mem::take(&mut slot.waiting) {
            match refusal(&waiting) {
                Some(refusal) => {
                    let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
                    self.refuse(asker, "channel", refusal);
                }
                None => {
                    if let Some(slot) = self.accounts.get_mut(account) {
                        slot.waiting.push(waiting);
                    }
                }
            }
        }
    }

    /// Hands over a channel to a jobmanager that runs, or says why not.
    pub(super) fn serve(&mut self, account: &str, waiting: &Waiting) {
        let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
        let Some(slot) = self.accounts.get_mut(account) else { return };
        if let Err(refusal) = fits(slot, account, &waiting.wish) {
            return self.refuse(asker, "channel", refusal);
        }
        if let Wish::Start { grant } = waiting.wish {
            let generation = self.setup.rules.generation();
            let uid = slot.found.as_ref().map(|found| found.uid);
            match self.grants.current(grant, generation) {
                Some(grant) => grant.started = uid,
                None => return self.refuse(asker, "channel", Refusal::StaleGrant {}),
            }
        }
        let facts = slot.facts(account, &self.setup.config.sandboxes.root);
        let (Some(jobmanager), Some(facts)) = (&mut slot.jobmanager, facts) else {
            let refusal = Refusal::System { text: "the jobmanager has ended meanwhile".into() };
            return self.refuse(asker, "channel", refusal);
        };
        let handed = Channel::pair().and_then(|(ours, theirs)| {
            let (kind, gatekeeper) = (waiting.wish.kind(), waiting.gatekeeper.0);
            let message = ToJobmanagerControl::Serve { kind, gatekeeper };
            jobmanager.control.send(0, &message, vec![theirs.into_fd()])?;
            Ok(ours)
        });
        let pid = jobmanager.child.pid_number();
        match handed {
            Ok(channel) => {
                let answer = FromMonitor::Jobmanager { account: facts, pid };
                self.answer(asker, &answer, vec![channel.into_fd()]);
            }
            Err(error) => self.not_handed(account, waiting, &error),
        }
    }

    /// A jobmanager does not take a channel: it is ending. If it was well, the next one serves.
    pub(super) fn not_handed(&mut self, account: &str, waiting: &Waiting, error: &ChannelError) {
        let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let Some(jobmanager) = slot.jobmanager.take() else { return };
        slot.checked = None;
        let lived = jobmanager.started.elapsed();
        bury(&mut self.dying, Some(jobmanager.child));
        if matches!(error, ChannelError::Closed) && lived >= WELL {
            slot.waiting.push(waiting.clone());
            return self.look_up(account);
        }
        slot.not_before = Some(Instant::now() + slot.backoff.ended(lived));
        let text = format!("the account's jobmanager does not listen: {error}");
        self.refuse(asker, "channel", Refusal::System { text });
    }

    /// The rules have changed: nothing is started on the channels that are open, until somebody has a grant of now.
    pub(super) fn demote_channels(&mut self) {
        for (name, slot) in self.accounts.iter_mut() {
            let Some(jobmanager) = &mut slot.jobmanager else { continue };
            let told = jobmanager.control.send(0, &ToJobmanagerControl::Demote {}, Vec::new());
            if let Err(error) = told {
                // Without its monitor's channel it ends, and with it the channels.
                log::warn("a jobmanager does not listen: it is ended")
                    .with("account", name)
                    .with("because", error)
                    .write();
                bury(&mut self.dying, slot.jobmanager.take().map(|jobmanager| jobmanager.child));
                slot.checked = None;
            }
        }
    }

    pub(super) fn flush_jobmanager(&mut self, account: &str) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        if slot.jobmanager.as_mut().is_some_and(|j| j.control.flush().is_err()) {
            // Its end is seen by its pidfd.
            bury(&mut self.dying, slot.jobmanager.take().map(|jobmanager| jobmanager.child));
        }
    }

    pub(super) fn jobmanager_ended(&mut self, account: &str, ending: Ending) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let Some(jobmanager) = slot.jobmanager.take() else { return };
        slot.checked = None;
        self.setup
            .audit
            .line("jobmanager_ended")
            .text("account", account)
            .number("pid", jobmanager.child.pid_number())
            .text("by", ending)
            .write();
        if ending == Ending::Exited(0) {
            slot.backoff.reset();
            slot.not_before = None;
            log::info("a jobmanager has ended").with("account", account).write();
        } else {
            let wait = slot.backoff.ended(jobmanager.started.elapsed());
            slot.not_before = Some(Instant::now() + wait);
            log::error("a jobmanager has ended")
                .with("account", account)
                .with("by", ending)
                .with("next_ms", wait.as_millis())
                .write();
        }
    }
}

/// Whether an account as it was found serves a wish.
fn fits(slot: &Slot, account: &str, wish: &Wish) -> Result<(), Refusal> {
    let Some(found) = &slot.found else {
        return Err(Refusal::System { text: "nothing is known of the account".into() });
    };
    match wish {
        Wish::Tend { uid } if *uid != found.uid => Err(other_uid(&Seal {
            account: account.to_owned(),
            uid: *uid,
            level: String::new(),
            limits: Blob::default(),
            mac: Blob::default(),
        })),
        Wish::Tend { .. } => Ok(()),
        Wish::Start { .. } | Wish::Discover => match &found.standing {
            None => Ok(()),
            Some(text) => Err(Refusal::BadAccount { text: text.clone() }),
        },
    }
}
