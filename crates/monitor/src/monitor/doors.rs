//! Leaves of an earlier time, and who may enter the new ones.

use nesssi_privsep::Child;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Door, Monitor};
use crate::leaves::{LeafName, Leaves};
use crate::log;

impl Monitor {
    /// Leaves that an earlier monitor left: workers are ended, jobs go on.
    pub(super) fn take_stock_of_leaves(&mut self) {
        match &self.leaves {
            Ok(leaves) => {
                log::info("leaves").with("at", leaves.path().display()).write();
                let names = leaves.list().unwrap_or_default();
                self.leaf_count = names.len();
                self.doomed.extend(names.into_iter().filter(LeafName::is_worker));
            }
            Err(text) => log::info("no leaves").with("because", text).write(),
        }
    }

    pub(super) fn sweep_leaves(&mut self) {
        for name in std::mem::take(&mut self.doomed) {
            match self.kill_leaf(&name) {
                Ok(Some(facts)) if facts.populated => {
                    self.doomed.insert(name);
                }
                Ok(_) => {}
                Err(error) => {
                    log::error("cannot kill a leaf")
                        .with("leaf", name.as_str())
                        .with("because", error)
                        .write();
                }
            }
        }
    }

    /// Somebody stands at a leaf's door.
    pub(super) fn open_door(&mut self, id: u32) {
        let Some(at) = self.doors.iter().position(|door| door.id == id) else { return };
        let Some(door) = self.doors.get(at) else { return };
        let visitor = match door.keeper.visitor() {
            Ok(None) => return,
            Ok(Some(visitor)) => Some(visitor),
            Err(_) => None,
        };
        // One use.
        let door = self.doors.swap_remove(at);
        let (Some(visitor), Ok(leaves)) = (visitor, &self.leaves) else { return };
        let placed = place(leaves, &door, visitor);
        if let Err(text) = &placed {
            log::warn("refused at a leaf's door")
                .with("leaf", door.leaf.as_str())
                .with("pid", visitor.pid)
                .with("uid", visitor.uid)
                .with("because", text)
                .write();
        }
        door.keeper.answer(placed.is_ok()).unwrap_or_default();
    }
}

/// Puts the visitor into the leaf if he is whom it was made for. His pidfd makes sure that it is still he:
/// a pid that is used again in between is not placed.
fn place(
    leaves: &Leaves,
    door: &Door,
    visitor: nesssi_privsep::door::Visitor,
) -> Result<(), String> {
    if visitor.uid != door.uid {
        return Err(format!("the leaf is for uid {}", door.uid));
    }
    let process = Child::from_pid(visitor.pid).map_err(|error| error.to_string())?;
    let uid_now = uid_of(visitor.pid).ok_or("it has ended meanwhile")?;
    if uid_now != door.uid {
        return Err(format!("its pid is uid {uid_now}'s now"));
    }
    leaves.place(&door.leaf, visitor.pid).map_err(|error| error.to_string())?;
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&none)) {
        Ok(0) => Ok(()),
        _ => Err("it has ended meanwhile".into()),
    }
}

/// The real uid of a process.
fn uid_of(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}
