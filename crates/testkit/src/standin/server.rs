//! The server: starts the scripts, and sees to their ends.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::job::{StandInJob, StandInState};
use super::plan::{Plan, Starts};
use super::state::{State, now_ms};
use crate::is_root;

/// How often it looks for what there is to do.
const LOOK: Duration = Duration::from_millis(10);
/// How often it looks at what running jobs use.
const MEASURE: Duration = Duration::from_millis(500);
/// Between TERM and KILL.
const KILL_DELAY: Duration = Duration::from_secs(2);

/// In which /proc counts, a second.
const TICKS: u64 = 100;

/// A job that waits or runs.
struct Live {
    job: StandInJob,
    runs: Vec<Child>,
    /// Exit status for a limit, once it is over that.
    over: Option<i64>,
    deleted_by: Option<String>,
    kill_at: Option<Instant>,
}

/// Serves the state until standard input ends, and then ends all jobs.
pub(super) fn serve(state: &State) -> ExitCode {
    static OVER: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        OVER.store(true, Ordering::Relaxed);
    });
    let parent = rustix::process::getppid();
    fs::write(state.path("served"), "").unwrap();
    let mut live: Vec<Live> = Vec::new();
    let mut ended: Vec<(u64, u64, u64)> = Vec::new();
    let mut measured = Instant::now();
    while !OVER.load(Ordering::Relaxed) {
        let plan = state.plan();
        take_up(state, &mut live);
        take_up_deletions(state, &mut live);
        let running = live.iter().filter(|one| !one.runs.is_empty()).count();
        let free = plan.slots.saturating_sub(running);
        let waiting = live.iter_mut().filter(|one| one.job.state == StandInState::Queued);
        waiting.take(free).for_each(|one| one.start(state, &plan));
        if measured.elapsed() > MEASURE {
            measured = Instant::now();
            live.iter_mut().for_each(|one| one.measure(state));
        }
        live.retain_mut(|one| {
            let over = one.look(state, &plan);
            if over {
                ended.push((one.job.number, one.job.serial, now_ms()));
            }
            !over
        });
        ended.retain(|(number, serial, at)| {
            let remembered = now_ms() < at + plan.remembers_ms;
            if !remembered {
                let _lock = state.lock();
                if state.job(*number).is_some_and(|job| job.serial == *serial) {
                    state.forget_job(*number);
                }
            }
            remembered
        });
        std::thread::sleep(LOOK);
    }
    for mut one in live {
        one.kill(Signal::KILL);
        one.runs.iter_mut().for_each(|run| drop(run.wait()));
    }
    // The test removes the folder, unless it was killed: then this is its child no more.
    std::thread::sleep(Duration::from_millis(50));
    if rustix::process::getppid() != parent {
        let state = state.path("jobs");
        drop(fs::remove_dir_all(state.ancestors().nth(2).unwrap()));
    }
    ExitCode::SUCCESS
}

fn take_up(state: &State, live: &mut Vec<Live>) {
    let mut new: Vec<u64> = numbers_in(state, "new");
    new.sort_unstable();
    for serial in new {
        let _lock = state.lock();
        let marker = state.path(&format!("new/{serial}"));
        let number = fs::read_to_string(&marker).unwrap_or_default();
        let job = number.parse().ok().and_then(|number| state.job(number));
        fs::remove_file(marker).ok();
        let Some(job) = job.filter(|job| job.serial == serial) else { continue };
        live.push(Live { job, runs: Vec::new(), over: None, deleted_by: None, kill_at: None });
    }
}

fn take_up_deletions(state: &State, live: &mut [Live]) {
    for number in numbers_in(state, "delete") {
        let marker = state.path(&format!("delete/{number}"));
        let by = fs::read_to_string(&marker).unwrap_or_default();
        fs::remove_file(marker).ok();
        let known = state.job(number).map(|job| job.serial);
        if let Some(one) = live.iter_mut().find(|one| Some(one.job.serial) == known) {
            one.delete(by);
        }
    }
}

fn numbers_in(state: &State, folder: &str) -> Vec<u64> {
    let entries = fs::read_dir(state.path(folder)).unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

impl Live {
    fn start(&mut self, state: &State, plan: &Plan) {
        let times = if plan.starts == Starts::TwiceAtOnce { 2 } else { 1 };
        for _ in 0..times {
            state.note("starts", &format!("{} {}", self.job.id(), self.job.name));
            self.runs.push(spawn(&self.job, state));
            self.job.run_count += 1;
        }
        self.job.state = StandInState::Running;
        self.job.substate = 42;
        self.job.started.get_or_insert(now_ms() / 1000);
        self.job.session = self.runs.first().map(|run| run.id().cast_signed());
        "Job run on (pbs:ncpus=1)".clone_into(&mut self.job.comment);
        self.write(state);
    }

    fn delete(&mut self, by: String) {
        self.deleted_by = Some(by);
        if !self.runs.is_empty() {
            self.ask_to_end();
        }
    }

    fn ask_to_end(&mut self) {
        if self.kill_at.is_none() {
            self.kill_at = Some(Instant::now() + KILL_DELAY);
            self.kill(Signal::TERM);
        }
    }

    fn kill(&self, signal: Signal) {
        for run in &self.runs {
            of_session(run.id().cast_signed()).iter().for_each(|process| {
                kill_process(process.pid, signal).ok();
            });
        }
    }

    fn measure(&mut self, state: &State) {
        if self.runs.is_empty() {
            return;
        }
        let processes = self.runs.iter().flat_map(|run| of_session(run.id().cast_signed()));
        let seconds = processes.map(|process| process.cpu_ticks).sum::<u64>() / TICKS;
        let started = self.job.started.unwrap_or_default();
        let wall = (now_ms() / 1000).saturating_sub(started);
        if self.job.limit_seconds("cput").is_some_and(|most| seconds > most) {
            self.over.get_or_insert(-28);
            self.ask_to_end();
        } else if self.job.limit_seconds("walltime").is_some_and(|most| wall > most) {
            self.over.get_or_insert(-29);
            self.ask_to_end();
        }
        if seconds > self.job.cput {
            self.job.cput = seconds;
            self.write(state);
        }
    }

    /// Whether it is over.
    fn look(&mut self, state: &State, plan: &Plan) -> bool {
        if self.runs.is_empty() {
            if self.deleted_by.is_none() {
                return false;
            }
            // Deleted before it was started.
            self.end(state, None);
            return true;
        }
        if self.kill_at.is_some_and(|at| Instant::now() > at) {
            self.kill(Signal::KILL);
        }
        let mut first = None;
        for run in &mut self.runs {
            let Ok(Some(status)) = run.try_wait() else { return false };
            first.get_or_insert(status);
        }
        // What the script has left in its session.
        self.kill(Signal::KILL);
        if plan.starts == Starts::Again && self.job.run_count == 1 && self.deleted_by.is_none() {
            self.runs.clear();
            self.start(state, plan);
            return false;
        }
        self.end(state, first);
        true
    }

    fn end(&mut self, state: &State, status: Option<ExitStatus>) {
        let status = status.map(|status| match status.signal() {
            Some(signal) => i64::from(256 + signal),
            None => i64::from(status.code().unwrap_or(1)),
        });
        self.job.exit_status = self.over.or(status);
        self.job.substate = if self.deleted_by.is_some() { 91 } else { 93 };
        let went = match (&self.deleted_by, self.job.exit_status) {
            (Some(by), _) => format!("terminated by {by}@pbs"),
            (None, Some(0)) => "finished".to_owned(),
            (None, Some(-28)) => "exceeded resource cput".to_owned(),
            (None, Some(-29)) => "exceeded resource walltime".to_owned(),
            (None, _) => "failed".to_owned(),
        };
        if status.is_some() {
            self.job.comment.push_str(&format!(" and {went}"));
        }
        self.job.state = StandInState::Finished;
        self.job.ended_ms = Some(now_ms());
        self.write(state);
        fs::remove_file(state.path(&format!("scripts/{}", self.job.serial))).ok();
    }

    /// Writes what is known of it, unless its id is another's by now.
    fn write(&self, state: &State) {
        let _lock = state.lock();
        if state.job(self.job.number).is_some_and(|job| job.serial == self.job.serial) {
            state.write_job(&self.job);
        }
    }
}

/// The script as its owner, in a session of its own.
fn spawn(job: &StandInJob, state: &State) -> Child {
    let mut command = Command::new("/usr/bin/setsid");
    if is_root() {
        command
            .args(["/usr/bin/setpriv", "--init-groups"])
            .arg(format!("--reuid={}", job.uid))
            .arg(format!("--regid={}", job.gid));
    }
    command
        .arg("/bin/sh")
        .arg(state.path(&format!("scripts/{}", job.serial)))
        .env_clear()
        .envs(job.variables.iter().map(|(name, value)| (name, value)))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LOGNAME", &job.owner)
        .env("USER", &job.owner)
        .env("PBS_ENVIRONMENT", "PBS_BATCH")
        .env("PBS_JOBID", job.id())
        .env("PBS_JOBNAME", &job.name)
        .env("PBS_QUEUE", &job.queue)
        .env("PBS_O_WORKDIR", "/")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

struct Process {
    pid: Pid,
    cpu_ticks: u64,
}

/// The processes of a session.
fn of_session(session: i32) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // Behind the command's name, which may hold anything: state ppid pgrp session ... utime at 11.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        if number(3) == u64::try_from(session).ok()
            && let Some(pid) = Pid::from_raw(pid)
        {
            let cpu_ticks = (11..15).filter_map(number).sum();
            found.push(Process { pid, cpu_ticks });
        }
    }
    found
}
