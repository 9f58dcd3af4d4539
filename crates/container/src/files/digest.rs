//! A digest of a file: read here, on a blocking thread of the account's share, within the wall and CPU
//! seconds of a call of the caller's level. What it uses of the CPU is charged to him as a call's.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use md5::Md5;
use nesssi_policy::admit_call;
use nesssi_rpc::{Fault, FaultCode};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

use crate::builtin::Context;
use crate::call::permission;
use crate::grants::fault_of;
use crate::reading::{CHUNK_BYTES, busy, unreadable};

/// Wall seconds of a caller whom no level takes.
const WALL_SECONDS: u32 = 60;
/// CPU seconds of a caller whom no level takes.
const CPU_SECONDS: u32 = 10;

/// Which digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Md5,
    Sha256,
}

/// Why a thread did not come to the end of a file.
enum Stop {
    /// Nobody waits any more.
    Left,
    Cpu,
    Io(io::Error),
}

/// The digest of an open file of an account, in lowercase hexadecimal digits.
///
/// # Errors
/// 413 over the level's seconds, 429 where the day has none left, 503.
pub(crate) async fn digest(
    context: Context<'_>,
    kind: Kind,
    file: OwnedFd,
    account: &str,
) -> Result<String, Fault> {
    let Context { inner, caller, grant, .. } = context;
    let (wall, cpu, level) = match grant {
        Ok(grant) => {
            let today = permission::today(inner, caller, &grant.level);
            admit_call(&grant.level, &grant.limits, &today).map_err(fault_of)?;
            let limits = &grant.limits;
            (limits.call_wall_seconds, limits.call_cpu_seconds, grant.level.as_str())
        }
        Err(_) => (WALL_SECONDS, CPU_SECONDS, "none"),
    };
    let over = |limit: u32, what: &str| {
        let text =
            format!("level {level} allows a call {limit} {what} seconds, the file needs more");
        Fault::new(FaultCode::OverLimit, text)
    };
    let who = context.who().ok();
    let left = Left(Arc::default());
    let stop = Arc::clone(&left.0);
    let charged = Arc::clone(inner);
    let work = async {
        let place = inner.digesting.enter(account).await?;
        let thread = tokio::task::spawn_blocking(move || {
            let _place = place;
            let clock = ThreadCpu::begin();
            let cpu_max = Duration::from_secs(u64::from(cpu));
            let outcome = match kind {
                Kind::Md5 => hash::<Md5>(&file, &stop, &clock, cpu_max),
                Kind::Sha256 => hash::<Sha256>(&file, &stop, &clock, cpu_max),
            };
            if let Some(who) = who {
                let used = u64::try_from(clock.used().as_micros()).unwrap_or(u64::MAX);
                charged.jobs.charge_call(&who, used);
            }
            outcome
        });
        match thread.await.map_err(|_| busy())? {
            Ok(digits) => Ok(digits),
            Err(Stop::Cpu) => Err(over(cpu, "CPU")),
            Err(Stop::Left) => Err(over(wall, "wall")),
            Err(Stop::Io(error)) => Err(unreadable(&error)),
        }
    };
    let patience = Duration::from_secs(u64::from(wall));
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(over(wall, "wall")))
}

/// Dropped, it stops the thread at its next look.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn hash<D: Digest>(
    file: &OwnedFd,
    left: &AtomicBool,
    clock: &ThreadCpu,
    cpu_max: Duration,
) -> Result<String, Stop> {
    let mut digest = D::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        if left.load(Ordering::Relaxed) {
            return Err(Stop::Left);
        }
        if clock.used() >= cpu_max {
            return Err(Stop::Cpu);
        }
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, offset))
            .map_err(|error| Stop::Io(error.into()))?;
        match buffer.get(..read) {
            None | Some([]) => break,
            Some(bytes) => digest.update(bytes),
        }
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    let digits = digest.finalize();
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The CPU time of this thread since it began.
struct ThreadCpu(Duration);

impl ThreadCpu {
    fn begin() -> Self {
        Self(Self::now())
    }

    fn used(&self) -> Duration {
        Self::now().saturating_sub(self.0)
    }

    fn now() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
