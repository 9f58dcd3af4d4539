//! The bed's processes, and how every one of them ends.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::conf::ids;

/// A daemon in the foreground, so that it is a child of the test. Killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts a program, as an account or as root; what it says is in `log/<its name>`.
    pub(super) fn start(
        program: &str,
        arguments: &[&str],
        account: Option<&str>,
        configuration: &Path,
        log: &Path,
    ) -> Self {
        let name = Path::new(program).file_name().unwrap();
        let output = File::options().create(true).append(true).open(log.join(name)).unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            // It is also the mark by which what the daemons have started is found.
            .env("SLURM_CONF", configuration)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        if let Some((user, group)) = account.map(ids) {
            command.uid(user).gid(group);
        }
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")) }
    }

    /// SIGTERM, and waits for the end.
    pub(super) fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).ok();
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "a daemon does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL, and waits for the end.
    pub(super) fn kill(self) {
        drop(self);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A shell that outlives a test that is killed, and then ends and removes what that has left.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
    mark: String,
}

/// `$1` is the mark, `$2` the bed's folder. Twice, for what is just being started.
const GUARDIAN: &str = r#"
cat >/dev/null
for again in 1 2 3; do
  for process in /proc/[0-9]*; do
    if tr '\0' '\n' <"$process/environ" | grep -qxF -e "$1"; then kill -KILL "${process#/proc/}"; fi
  done
  sleep 0.2
done
rm -rf "$2"
"#;

impl Guardian {
    /// Starts it. It ends all processes that have `mark` in their environment.
    pub(super) fn start(mark: &str, folder: &Path) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "guardian", mark])
            .arg(folder)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, mark: mark.to_owned() }
    }

    /// The mark.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Ends it, with nothing left to do for it.
    pub(super) fn dismiss(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Kills every process that has the mark in its environment: slurmstepd and the jobs' own.
///
/// # Panics
/// If one is left after that time.
pub(super) fn end_marked(mark: &str, time_max: Duration) {
    let end = Instant::now() + time_max;
    loop {
        let marked = marked(mark);
        if marked.is_empty() {
            return;
        }
        for pid in &marked {
            kill_process(*pid, Signal::KILL).ok();
        }
        if Instant::now() > end {
            eprintln!("processes of Slurm do not end: {marked:?}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes with the mark, but for those that have ended and are not waited for: they have no environment.
fn marked(mark: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}
