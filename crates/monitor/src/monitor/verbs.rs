//! What comes by the control socket.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nesssi_privsep::messages::FromMonitor;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{Monitor, Pending};
use crate::control::{CONNECTIONS_MAX, Code, Connection, Verb};
use crate::gatekeeper::{GatekeeperId, Phase};
use crate::log;

/// How long a verb may take.
const VERB_SECONDS_MAX: u64 = 60;

impl Monitor {
    pub(super) fn accept_control(&mut self) {
        match self.setup.control.accept() {
            Ok(Some(connection))
                if self.connections.len() + self.pending.len() < CONNECTIONS_MAX =>
            {
                self.connections.push(connection);
            }
            Ok(Some(connection)) => connection.answer(Code::Refused, "too many connections"),
            Ok(None) => {}
            Err(error) => log::warn("control socket").with("because", error).write(),
        }
    }

    pub(super) fn read_control(&mut self, index: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        let request = match connection.request() {
            Ok(None) => return,
            Ok(Some(request)) => Some(request),
            Err(_) => None,
        };
        let connection = self.connections.remove(index);
        match request {
            Some(Ok(verb)) => {
                log::info("control")
                    .with("verb", format!("{verb:?}"))
                    .with("uid", connection.uid)
                    .write();
                self.setup
                    .audit
                    .line("control")
                    .text("verb", format!("{verb:?}"))
                    .number("uid", connection.uid)
                    .write();
                self.obey(connection, verb);
            }
            Some(Err(error)) => {
                log::warn("control").with("refused", error).with("uid", connection.uid).write();
                self.setup.audit.refused("control", format!("{error}, of uid {}", connection.uid));
                connection.answer(Code::Refused, &error.to_string());
            }
            None => {}
        }
    }

    pub(super) fn obey(&mut self, connection: Connection, verb: Verb) {
        if self.stopping.is_some() {
            return connection.answer(Code::Refused, "nesssid is ending");
        }
        let now = Instant::now();
        let preface = if verb == Verb::Status { self.status() } else { String::new() };
        let ticket = self.next_number();
        let until = now + Duration::from_secs(VERB_SECONDS_MAX);
        let message = match verb {
            Verb::Restart => {
                if self.pending.values().any(|pending| pending.gatekeeper.is_none()) {
                    let text = "the gatekeeper is being replaced already";
                    return connection.answer(Code::Refused, text);
                }
                let pending = Pending { connection, until, gatekeeper: None, preface, file: None };
                self.pending.insert(ticket, pending);
                return self.replace_gatekeeper(now);
            }
            Verb::RestartService(name) => FromMonitor::RestartService { ticket, name },
            Verb::Status => FromMonitor::Status { ticket },
            Verb::CheckService(name) => FromMonitor::CheckService { ticket, name },
            Verb::ServiceLog(name) => FromMonitor::ServiceLog { ticket, name },
        };
        let file = match &message {
            FromMonitor::CheckService { .. } => match file_in_memory() {
                Ok(both) => Some(both),
                Err(error) => return connection.answer(Code::Failed, &error.to_string()),
            },
            _ => None,
        };
        let (file, theirs) = file.unzip();
        let serving = self.gatekeepers.iter_mut().find(|g| g.phase == Phase::Serving && !g.deaf);
        let Some(gatekeeper) = serving else {
            return match message {
                FromMonitor::Status { .. } => connection.answer(Code::Done, &preface),
                _ => connection.answer(Code::Refused, "no gatekeeper serves just now"),
            };
        };
        if gatekeeper.link.send(0, &message, theirs.into_iter().collect()).is_err() {
            return connection.answer(Code::Failed, "the gatekeeper does not listen");
        }
        let gatekeeper = Some(gatekeeper.id);
        self.pending.insert(ticket, Pending { connection, until, gatekeeper, preface, file });
    }

    pub(crate) fn control_answered(
        &mut self,
        gatekeeper: GatekeeperId,
        ticket: u32,
        ok: bool,
        text: &str,
    ) {
        if self.pending.get(&ticket).is_some_and(|p| p.gatekeeper == Some(gatekeeper)) {
            self.finish(ticket, if ok { Code::Done } else { Code::Failed }, text);
        }
    }

    pub(super) fn finish(&mut self, ticket: u32, code: Code, text: &str) {
        let Some(pending) = self.pending.remove(&ticket) else { return };
        let text = format!("{}{text}", pending.preface);
        match pending.file.filter(|_| code == Code::Done) {
            Some(file) => pending.connection.answer_with(&text, &file),
            None => pending.connection.answer(code, &text),
        }
    }

    /// How things are, as the monitor sees them.
    pub(super) fn status(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let running = self.accounts.iter().filter(|(_, slot)| slot.jobmanager.is_some()).count();
        // Writing to a String does not fail.
        writeln!(
            text,
            "monitor: pid {}, generation {}, {} grants, {running} jobmanagers, {} leaves",
            rustix::process::getpid().as_raw_pid(),
            self.setup.rules.generation(),
            self.grants.len(),
            match &self.leaves {
                Ok(_) => self.leaf_count.to_string(),
                Err(text) => format!("no ({text})"),
            },
        )
        .unwrap_or_default();
        for gatekeeper in &self.gatekeepers {
            writeln!(
                text,
                "gatekeeper: pid {}, {:?}, for {} s",
                gatekeeper.child.pid_number(),
                gatekeeper.phase,
                gatekeeper.started.elapsed().as_secs()
            )
            .unwrap_or_default();
        }
        text
    }
}

/// An empty file that has no name, twice: what is written by one end is read by the other.
fn file_in_memory() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let file = memfd_create(c"nesssi-findings", MemfdFlags::CLOEXEC)?;
    let theirs = file.try_clone()?;
    Ok((file, theirs))
}
