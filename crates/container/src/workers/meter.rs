//! A meter reads the CPU time that a worker and its descendants have used.

use std::os::fd::OwnedFd;

/// Where a worker's CPU time is read.
#[derive(Debug)]
pub(crate) enum Meter {
    /// The `cpu.stat` of its cgroup leaf: all that ever ran in it.
    Leaf(OwnedFd),
    /// `/proc/<pid>/stat`: itself and the children it has waited for.
    Process(u32),
}

/// Longest `cpu.stat` read; the line needed is its first.
const STAT_BYTES_MAX: usize = 1024;

/// Microseconds of one clock tick in `/proc`: Linux shows 100 a second to all programs.
const TICK_USEC: u64 = 10_000;

impl Meter {
    /// Whether it is too coarse, and too dear, for a short call.
    pub(crate) fn is_coarse(&self) -> bool {
        matches!(self, Self::Process(_))
    }

    /// CPU microseconds so far; `None` if it cannot be read any more.
    pub(crate) fn read(&self) -> Option<u64> {
        match self {
            Self::Leaf(stat) => {
                let mut buffer = [0_u8; STAT_BYTES_MAX];
                let count = rustix::io::pread(stat, &mut buffer, 0).ok()?;
                usage_usec(std::str::from_utf8(buffer.get(..count)?).ok()?)
            }
            Self::Process(pid) => {
                stat_usec(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
            }
        }
    }
}

fn usage_usec(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

/// User and system time of a process and of the children it has waited for (fields 14 to 17).
fn stat_usec(stat: &str) -> Option<u64> {
    // The program's name may hold anything, its closing parenthesis is the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(4).map(|field| field.parse::<u64>().ok());
    Some(ticks.sum::<Option<u64>>()?.saturating_mul(TICK_USEC))
}

#[cfg(test)]
mod tests {
    use super::{Meter, stat_usec, usage_usec};

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(usage_usec("usage_usec 1234\nuser_usec 1000\n"), Some(1234));
        assert_eq!(usage_usec("user_usec 1000\n"), None);
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 85 0 0 0 3 4 5 6 20 0 1 0 100 0";
        assert_eq!(stat_usec(stat), Some(180_000));
        assert_eq!(stat_usec("7 (a"), None);
    }

    #[test]
    fn this_process_has_a_meter() {
        let meter = Meter::Process(std::process::id());
        let before = meter.read().unwrap();
        let mut sum = 0_u64;
        while meter.read().unwrap() < before + 10_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
    }
}
