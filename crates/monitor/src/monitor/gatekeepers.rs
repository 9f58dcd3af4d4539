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
/// How long a gatekeeper may take to give up the lease.
const RELEASE_SECONDS_MAX: u64 = 10;

impl Monitor {
    pub(crate) fn gatekeeper(&mut self, id: GatekeeperId) -> Option<&mut Gatekeeper> {
        self.gatekeepers.iter_mut().find(|gatekeeper| gatekeeper.id == id)
    }

    /// Starts a gatekeeper if there is none that holds the lease.
    pub(super) fn keep_gatekeeper(&mut self, now: Instant) {
        let held = self.gatekeepers.iter().any(Gatekeeper::holds);
        if self.stopping.is_some() || held || now < self.not_before {
            return;
        }
        if let Err(text) = self.start_gatekeeper() {
            let wait = self.backoff.ended(Duration::ZERO);
            self.not_before = now + wait;
            log::error("cannot start the gatekeeper")
                .with("because", text)
                .with("next_try_ms", wait.as_millis())
                .write();
        }
    }

    pub(super) fn start_gatekeeper(&mut self) -> Result<(), String> {
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
        let gatekeeper = Gatekeeper::start(
            id,
            &self.setup.libexec.join("nesssi-gatekeeper"),
            &self.setup.who.gatekeeper,
            &self.setup.environment,
            self.files_before,
            &welcome,
            descriptors,
        )
        .map_err(|error| error.to_string())?;
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
        let waiting: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.gatekeeper.is_none())
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in waiting {
            self.finish(
                ticket,
                Code::Done,
                &format!("the gatekeeper was replaced, pid {pid} serves"),
            );
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

    pub(super) fn replace_gatekeeper(&mut self, now: Instant) {
        let seconds_max = self.setup.config.server.drain_seconds_max;
        for gatekeeper in &mut self.gatekeepers {
            gatekeeper.drain(seconds_max, Duration::from_secs(RELEASE_SECONDS_MAX), now);
        }
        // If none runs, the wait for the next is over.
        self.backoff.reset();
        self.not_before = now;
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
        if planned {
            log::info("the gatekeeper has ended").with("pid", pid).with("by", ending).write();
        } else {
            let wait = self.backoff.ended(lived);
            self.not_before = Instant::now() + wait;
            log::error("the gatekeeper has ended")
                .with("pid", pid)
                .with("by", ending)
                .with("next_ms", wait.as_millis())
                .write();
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
