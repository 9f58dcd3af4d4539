//! Starting, hearing and replacing gatekeepers.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{FromMonitor, ToMonitor};
use nesssi_privsep::{ChannelError, Ending};

use super::Monitor;
use crate::control::Code;
use crate::gatekeeper::{Gatekeeper, GatekeeperId, Phase};
use crate::requests::Asker;
use crate::{log, setup};

/// Records taken from one gatekeeper before the others have their turn.
const RECORDS_PER_TURN_MAX: usize = 64;
/// How long one that is to follow another may take until it is ready for the lease.
const SPARE_SECONDS_MAX: u64 = 30;
/// Longest text of a gatekeeper about itself.
const UNFIT_BYTES_MAX: usize = 1024;
/// How long a gatekeeper may take to give up the lease.
const RELEASE_SECONDS_MAX: u64 = 10;

/// Whether it is to follow one that serves, and may still do so.
fn is_spare(gatekeeper: &Gatekeeper) -> bool {
    gatekeeper.phase == Phase::Spare && gatekeeper.killed.is_none() && !gatekeeper.deaf
}

impl Monitor {
    pub(crate) fn gatekeeper(&mut self, id: GatekeeperId) -> Option<&mut Gatekeeper> {
        self.gatekeepers.iter_mut().find(|gatekeeper| gatekeeper.id == id)
    }

    /// Whether none holds the lease, or is on its way to it.
    pub(super) fn wants_gatekeeper(&self) -> bool {
        !self.gatekeepers.iter().any(|gatekeeper| gatekeeper.holds() || is_spare(gatekeeper))
    }

    /// Starts a gatekeeper if there is none that holds the lease, or gives the lease to the one that waits.
    pub(super) fn keep_gatekeeper(&mut self, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        if !self.gatekeepers.iter().any(Gatekeeper::holds)
            && let Some(spare) = self.gatekeepers.iter_mut().find(|spare| is_spare(spare))
            && let Some(request) = spare.prepared.take()
        {
            spare.phase = Phase::Starting;
            let asker = Asker { gatekeeper: spare.id, request };
            return self.answer(asker, &FromMonitor::TakeOver {}, Vec::new());
        }
        if !self.wants_gatekeeper() || now < self.not_before {
            return;
        }
        if let Err(text) = self.start_gatekeeper(Phase::Starting) {
            let wait = self.backoff.ended(Duration::ZERO);
            self.not_before = now + wait;
            log::error("cannot start the gatekeeper")
                .with("because", text)
                .with("next_try_ms", wait.as_millis())
                .write();
        }
    }

    fn start_gatekeeper(&mut self, phase: Phase) -> Result<(), String> {
        let descriptors = self.gatekeeper_descriptors()?;
        let id = GatekeeperId(self.next_number());
        let welcome = FromMonitor::Welcome {
            config_text: self.setup.rules.config_text().to_owned(),
            config_path: self.setup.config_path.display().to_string(),
            root: self.setup.who.root,
            leaves: self.leaves.is_ok(),
            user: self.setup.who.invoker.name().to_owned(),
            boot_id: self.setup.boot_id.clone(),
            generation: self.setup.rules.generation(),
        };
        let mut gatekeeper = Gatekeeper::start(
            id,
            &self.setup.libexec.join("nesssi-gatekeeper"),
            &self.setup.who.gatekeeper,
            &self.setup.environment,
            self.files_before,
            &welcome,
            descriptors,
        )
        .map_err(|error| error.to_string())?;
        gatekeeper.phase = phase;
        if phase == Phase::Spare {
            gatekeeper.kill_at = Some(Instant::now() + Duration::from_secs(SPARE_SECONDS_MAX));
        }
        let pid = gatekeeper.child.pid_number();
        log::info("started the gatekeeper").with("pid", pid).write();
        self.setup.audit.line("gatekeeper_started").number("pid", pid).write();
        self.gatekeepers.push(gatekeeper);
        Ok(())
    }

    /// The listeners, and certificate and key opened anew: they may have been renewed.
    pub(super) fn gatekeeper_descriptors(&self) -> Result<Vec<OwnedFd>, String> {
        let clone = |listener: &std::net::TcpListener| {
            listener.as_fd().try_clone_to_owned().map_err(|error| error.to_string())
        };
        let certificate =
            setup::open_certificate(&self.setup.config).map_err(|error| error.to_string())?;
        let key = setup::open_private_key(&self.setup.config).map_err(|error| error.to_string())?;
        Ok(vec![clone(&self.setup.https)?, clone(&self.setup.http)?, certificate, key])
    }

    pub(super) fn read_gatekeeper(&mut self, id: GatekeeperId, read: bool) {
        let Some(gatekeeper) = self.gatekeeper(id) else { return };
        if let Err(error) = gatekeeper.link.flush() {
            gatekeeper.lost(&format!("it does not take its answers: {error}"), Instant::now());
            return;
        }
        if !read {
            return;
        }
        for _ in 0..RECORDS_PER_TURN_MAX {
            let Some(gatekeeper) = self.gatekeeper(id) else { return };
            if gatekeeper.deaf {
                return;
            }
            match gatekeeper.link.receive::<ToMonitor>() {
                Ok(Some(received)) => {
                    let asker = Asker { gatekeeper: id, request: received.id };
                    self.handle(asker, &received.message);
                }
                Ok(None) => return,
                Err(ChannelError::Closed) => {
                    gatekeeper.lost("its channel is closed", Instant::now());
                    return;
                }
                Err(error) => {
                    gatekeeper.kill(&format!("it sends what is no request: {error}"));
                    return;
                }
            }
        }
    }

    /// Sends an answer. A gatekeeper that does not read its answers is of no use.
    pub(crate) fn answer(&mut self, asker: Asker, answer: &FromMonitor, descriptors: Vec<OwnedFd>) {
        let Some(gatekeeper) = self.gatekeeper(asker.gatekeeper) else { return };
        if let Err(error) = gatekeeper.link.send(asker.request, answer, descriptors) {
            gatekeeper.kill(&format!("it does not take its answers: {error}"));
        }
    }

    pub(crate) fn gatekeeper_serves(&mut self, id: GatekeeperId) {
        let Some(gatekeeper) = self.gatekeeper(id) else { return };
        gatekeeper.phase = Phase::Serving;
        let pid = gatekeeper.child.pid_number();
        let took = gatekeeper.started.elapsed().as_millis();
        log::info("the gatekeeper serves").with("pid", pid).with("after_ms", took).write();
        self.setup.audit.line("gatekeeper_serves").number("pid", pid).write();
        self.replaced(Code::Done, &format!("the gatekeeper was replaced, pid {pid} serves"));
    }

    /// Answers those who wait for the gatekeeper's replacement.
    fn replaced(&mut self, code: Code, text: &str) {
        let waiting: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.gatekeeper.is_none())
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in waiting {
            self.finish(ticket, code, text);
        }
    }

    /// It is ready for the lease: whoever holds that is told to give it up.
    pub(crate) fn gatekeeper_prepared(&mut self, asker: Asker) {
        let Some(gatekeeper) = self.gatekeeper(asker.gatekeeper) else { return };
        if gatekeeper.phase == Phase::Starting {
            return self.answer(asker, &FromMonitor::TakeOver {}, Vec::new());
        }
        gatekeeper.prepared = Some(asker.request);
        gatekeeper.kill_at = None;
        self.drain_gatekeepers(Instant::now());
    }

    /// Reads why one that has ended could not serve, if it has said so.
    pub(super) fn hear_last_words(&mut self, id: GatekeeperId) {
        let Some(gatekeeper) = self.gatekeeper(id) else { return };
        if gatekeeper.deaf || !matches!(gatekeeper.phase, Phase::Spare | Phase::Starting) {
            return;
        }
        let mut said = None;
        for _ in 0..RECORDS_PER_TURN_MAX {
            let Ok(Some(received)) = gatekeeper.link.receive::<ToMonitor>() else { break };
            if let ToMonitor::Unfit { text } = received.message {
                said = Some(text);
            }
        }
        if let Some(text) = said {
            self.gatekeeper_unfit(id, &text);
        }
    }

    /// It says why it cannot serve.
    pub(crate) fn gatekeeper_unfit(&mut self, id: GatekeeperId, text: &str) {
        if let Some(gatekeeper) = self.gatekeeper(id) {
            let end = text.floor_char_boundary(UNFIT_BYTES_MAX);
            gatekeeper.unfit = Some(text.get(..end).unwrap_or_default().to_owned());
        }
    }

    pub(crate) fn gatekeeper_released(&mut self, id: GatekeeperId) {
        if let Some(gatekeeper) = self.gatekeeper(id) {
            gatekeeper.phase = Phase::Released;
            gatekeeper.release_by = None;
            let pid = gatekeeper.child.pid_number();
            log::info("the gatekeeper drains").with("pid", pid).write();
            self.setup.audit.line("gatekeeper_drains").number("pid", pid).write();
            self.setup.audit.flush();
        }
        self.not_before = Instant::now();
    }

    /// One that serves goes on until its successor is ready for the lease.
    pub(super) fn replace_gatekeeper(&mut self, now: Instant) {
        if self.gatekeepers.iter().any(is_spare) {
            return;
        }
        if self.gatekeepers.iter().any(|g| g.phase == Phase::Serving && !g.deaf) {
            if let Err(text) = self.start_gatekeeper(Phase::Spare) {
                self.stays(&text);
            }
            return;
        }
        self.drain_gatekeepers(now);
        // If none runs, the wait for the next is over.
        self.backoff.reset();
        self.not_before = now;
    }

    fn drain_gatekeepers(&mut self, now: Instant) {
        let seconds_max = self.setup.config.server.drain_seconds_max;
        for gatekeeper in self.gatekeepers.iter_mut().filter(|gatekeeper| gatekeeper.holds()) {
            gatekeeper.drain(seconds_max, Duration::from_secs(RELEASE_SECONDS_MAX), now);
        }
    }

    /// The successor cannot serve, so who serves goes on.
    fn stays(&mut self, because: &str) {
        log::error("the gatekeeper is not replaced: its successor cannot serve")
            .with("because", because)
            .write();
        let serving = self.gatekeepers.iter().find(|g| g.phase == Phase::Serving && !g.deaf);
        let goes_on = match serving {
            Some(gatekeeper) => format!("pid {} goes on", gatekeeper.child.pid_number()),
            None => "another is started".to_owned(),
        };
        self.replaced(Code::Failed, &format!("{goes_on}: the new one cannot serve: {because}"));
    }

    pub(super) fn gatekeeper_ended(&mut self, gatekeeper: Gatekeeper, ending: Ending) {
        let lived = gatekeeper.started.elapsed();
        let planned = matches!(gatekeeper.phase, Phase::Draining | Phase::Released);
        let pid = gatekeeper.child.pid_number();
        let line = self.setup.audit.line("gatekeeper_ended").number("pid", pid).text("by", ending);
        match &gatekeeper.killed {
            Some(because) => line.text("killed_because", because).write(),
            None => line.write(),
        }
        let because = match (&gatekeeper.unfit, &gatekeeper.killed) {
            (Some(text), _) | (None, Some(text)) => text.clone(),
            (None, None) => format!("it has ended by {ending}"),
        };
        if gatekeeper.phase == Phase::Spare {
            self.stays(&because);
        } else if planned {
            log::info("the gatekeeper has ended").with("pid", pid).with("by", ending).write();
        } else {
            let wait = self.backoff.ended(lived);
            self.not_before = Instant::now() + wait;
            log::error("the gatekeeper has ended")
                .with("pid", pid)
                .with("by", ending)
                .with("said", gatekeeper.unfit.as_deref().unwrap_or_default())
                .with("next_ms", wait.as_millis())
                .write();
            if gatekeeper.phase == Phase::Starting {
                let next = format!("the next is started in {} ms", wait.as_millis());
                self.replaced(
                    Code::Failed,
                    &format!("{next}: the new one cannot serve: {because}"),
                );
            }
        }
        self.doomed.extend(gatekeeper.worker_leaves);
        self.sweep_leaves();
        for (_, slot) in self.accounts.iter_mut() {
            slot.waiting.retain(|waiting| waiting.gatekeeper != gatekeeper.id);
        }
        let lost: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.gatekeeper == Some(gatekeeper.id))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in lost {
            self.finish(ticket, Code::Failed, "the gatekeeper has ended meanwhile");
        }
    }
}
