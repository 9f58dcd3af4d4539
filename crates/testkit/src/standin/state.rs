//! The stand-in's files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::job::StandInJob;
use super::plan::Plan;

/// The folder of the state.
#[derive(Debug, Clone)]
pub(super) struct State(PathBuf);

impl State {
    /// `../state` from where the program that runs lies.
    pub(super) fn beside_this_program() -> Self {
        let program = std::env::current_exe().unwrap();
        Self(program.parent().and_then(Path::parent).unwrap().join("state"))
    }

    /// Makes an empty state.
    pub(super) fn lay_out(folder: &Path) -> Self {
        for name in ["", "jobs", "scripts", "new", "delete"] {
            let path = folder.join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        for name in ["lock", "next", "calls", "starts"] {
            let path = folder.join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        Self(folder.to_owned())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn plan(&self) -> Plan {
        serde_json::from_slice(&fs::read(self.path("plan.json")).unwrap()).unwrap()
    }

    pub(super) fn write_plan(&self, plan: &Plan) {
        self.replace("plan.json", &serde_json::to_vec_pretty(plan).unwrap());
    }

    /// Held while something is read and then changed.
    pub(super) fn lock(&self) -> File {
        let file = File::options().write(true).open(self.path("lock")).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        file
    }

    /// The next number of a job and its serial: the number is given again if that is wanted. With the lock.
    pub(super) fn next(&self, again: bool) -> (u64, u64) {
        let text = fs::read_to_string(self.path("next")).unwrap();
        let mut words = text.split_whitespace().map(|word| word.parse::<u64>().unwrap());
        let (number, serial) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        let number = if again { number.saturating_sub(1) } else { number };
        // Not cut off before: some file systems would wait for the disk.
        let mut next = File::options().write(true).open(self.path("next")).unwrap();
        next.write_all(format!("{:20} {:20}\n", number + 1, serial + 1).as_bytes()).unwrap();
        (number, serial)
    }

    pub(super) fn job(&self, number: u64) -> Option<StandInJob> {
        read(&self.path(&format!("jobs/{number}.json")))
    }

    pub(super) fn jobs(&self) -> Vec<StandInJob> {
        let files = fs::read_dir(self.path("jobs")).unwrap().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let mut jobs: Vec<StandInJob> = files.filter_map(|path| read(&path)).collect();
        jobs.sort_by_key(|job| job.number);
        jobs
    }

    /// With the lock.
    pub(super) fn write_job(&self, job: &StandInJob) {
        self.replace(&format!("jobs/{}.json", job.number), &serde_json::to_vec(job).unwrap());
    }

    pub(super) fn forget_job(&self, number: u64) {
        fs::remove_file(self.path(&format!("jobs/{number}.json"))).ok();
    }

    /// Appends a line with the time to `calls` or `starts`.
    pub(super) fn note(&self, file: &str, line: &str) {
        let mut file = File::options().append(true).open(self.path(file)).unwrap();
        let line = format!("{} {}\n", now_ms(), line.replace('\n', " "));
        file.write_all(line.as_bytes()).unwrap();
    }

    /// How often a command was called so far.
    pub(super) fn calls(&self, command: &str) -> usize {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.split(' ').nth(2) == Some(command)).count()
    }

    /// Whether a server has it.
    pub(super) fn is_served(&self) -> bool {
        self.path("served").exists()
    }

    fn replace(&self, name: &str, bytes: &[u8]) {
        let new = self.path(&format!("{name}.{}.new", std::process::id()));
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, self.path(name)).unwrap();
    }
}

fn read(path: &Path) -> Option<StandInJob> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
