//! A bed is a whole Slurm of one test: munged, slurmctld, slurmd and, if asked for, slurmdbd with a
//! database, on loopback, on ports of its own, in a folder of its own. Root alone can start one.
//!
//! NESSSI runs a batch system's commands with an empty environment, and two beds must not share
//! `/etc/slurm`. So each bed has a folder `bin` of programs that belong to root: [`Slurm::bin`] names
//! one, `sbatch` or `qsub` say, to be written into nesssi.toml. It sets `SLURM_CONF` and becomes
//! Debian's program of that name.
//!
//! When the bed is dropped its daemons and jobs end, and its folder is removed. A small shell beside the
//! test does the same should the test be killed: it waits for the end of a pipe.

mod conf;
mod daemon;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::{Place, is_root, wait_until};
use conf::Ports;
use daemon::{Daemon, Guardian, end_marked};

/// What a bed has programs for.
const PROGRAMS: [&str; 13] = [
    "sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sstat", "sacctmgr", "srun",
    "qsub", "qstat", "qdel", "pbsnodes",
];

/// Debian's packages: what a file of each is, without which no bed can be made.
const NEEDED: [(&str, &str); 5] = [
    ("/usr/sbin/munged", "munge"),
    ("/usr/sbin/slurmctld", "slurmctld"),
    ("/usr/sbin/slurmd", "slurmd"),
    ("/usr/bin/sbatch", "slurm-client"),
    ("/usr/bin/qsub", "slurm-wlm-torque"),
];

/// The same for accounting.
const NEEDED_FOR_ACCOUNTING: [(&str, &str); 2] =
    [("/usr/sbin/slurmdbd", "slurmdbd"), ("/usr/sbin/mariadbd", "mariadb-server-core")];

/// How a bed shall be.
#[derive(Debug, Clone)]
pub struct SlurmBuilder {
    accounting: bool,
    cpus: u32,
    remembers_seconds: u32,
    lines: Vec<String>,
}

impl SlurmBuilder {
    /// With slurmdbd and a database: `sacct` and `sstat` have something to tell. Takes some seconds more.
    #[must_use]
    pub fn with_accounting(mut self) -> Self {
        self.accounting = true;
        self
    }

    /// So many CPUs, whatever the machine has: as many jobs of one CPU run at a time (8).
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// For so long the controller remembers ended jobs (`MinJobAge`, 300; 2 is the least).
    #[must_use]
    pub fn remembers_seconds(mut self, seconds: u32) -> Self {
        self.remembers_seconds = seconds;
        self
    }

    /// A further line of slurm.conf.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts the bed: it takes jobs when this returns.
    #[must_use]
    pub fn start(self) -> Slurm {
        Slurm::lay_out(&self)
    }
}

/// A job as the real `squeue` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmJob {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who submitted it.
    pub user: String,
    /// `PENDING`, `RUNNING`, `COMPLETED`...
    pub state: String,
    /// Why it is in that state.
    pub reason: String,
}

/// A running bed.
#[derive(Debug)]
pub struct Slurm {
    controller: Option<Daemon>,
    others: Vec<Daemon>,
    guardian: Guardian,
    configuration: PathBuf,
    accounting: bool,
    // Last, for it is removed when all have ended.
    place: Place,
}

impl Slurm {
    /// What is missing for a bed, in words for [`skipped`](crate::skipped); nothing, if one can be started.
    #[must_use]
    pub fn missing() -> Option<String> {
        missing(&NEEDED)
    }

    /// The same for a bed with accounting.
    #[must_use]
    pub fn missing_for_accounting() -> Option<String> {
        missing(&NEEDED).or_else(|| missing(&NEEDED_FOR_ACCOUNTING))
    }

    /// A builder.
    #[must_use]
    pub fn builder() -> SlurmBuilder {
        SlurmBuilder { accounting: false, cpus: 8, remembers_seconds: 300, lines: Vec::new() }
    }

    /// A bed without accounting.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    fn lay_out(builder: &SlurmBuilder) -> Self {
        if let Some(missing) = Self::missing() {
            panic!("no Slurm can be started: {missing}");
        }
        let place = Place::new();
        let ports = Ports::choose();
        let configuration = conf::write(place.path(), builder, ports);
        let mark = format!("SLURM_CONF={}", configuration.display());
        let guardian = Guardian::start(&mark, place.path());
        write_programs(&place.folder("bin"), &configuration);
        let mut slurm = Self {
            controller: None,
            others: Vec::new(),
            guardian,
            configuration,
            accounting: builder.accounting,
            place,
        };
        slurm.start_munged();
        if builder.accounting {
            slurm.start_accounting(ports);
        }
        slurm.start_controller();
        slurm.others.push(slurm.daemon("/usr/sbin/slurmd", &["-D", "-N", "n1"], None));
        wait_until("the node is up", 30, || {
            let told = slurm.try_run("sinfo", &["-h", "-N", "-p", "batch", "-o", "%T"])?;
            told.lines().any(|line| line.trim() == "idle").then_some(())
        });
        slurm
    }

    /// The absolute path of one of the bed's programs, which needs nothing in its environment.
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        assert!(PROGRAMS.contains(&name), "a bed has no {name}");
        self.place.path().join("bin").join(name)
    }

    /// Lines of nesssi.toml for a batch system that is this one, spoken to natively.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let programs = [("submit", "sbatch"), ("status", "squeue"), ("cancel", "scancel")];
        let accounting = [("account", "sacct"), ("usage", "sstat")];
        let accounting = accounting.into_iter().filter(|_| self.accounting);
        self.keys_of("slurm", programs.into_iter().chain(accounting))
    }

    /// The same through its wrappers of TORQUE's commands.
    #[must_use]
    pub fn torque_keys(&self) -> Vec<String> {
        let programs = [("submit", "qsub"), ("status", "qstat"), ("cancel", "qdel")];
        self.keys_of("torque-on-slurm", programs.into_iter())
    }

    fn keys_of<'a>(
        &self,
        dialect: &str,
        programs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Vec<String> {
        let program = |(key, name): (&str, &str)| format!("{key} = {:?}", self.bin(name));
        std::iter::once(format!("dialect = {dialect:?}")).chain(programs.map(program)).collect()
    }

    /// The folder of the bed: `state` (StateSaveLocation), `spool` (SlurmdSpoolDir), `log`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Runs one of the bed's programs as root, with nothing in its environment.
    #[must_use]
    pub fn run(&self, name: &str, arguments: &[&str]) -> Output {
        Command::new(self.bin(name))
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs one as an account.
    #[must_use]
    pub fn run_as(&self, account: &str, name: &str, arguments: &[&str]) -> Output {
        self.spawn_as(account, name, arguments).wait_with_output().unwrap()
    }

    /// Starts one as an account: its standard input can be written, its output read.
    #[must_use]
    pub fn spawn_as(&self, account: &str, name: &str, arguments: &[&str]) -> Child {
        Command::new("/usr/bin/setpriv")
            .args(["--reuid", account, "--regid", account, "--init-groups"])
            // The pipe is the account's own: through the wrappers sbatch opens it again, as /dev/stdin.
            .args(["/bin/sh", "-c", "cat | \"$0\" \"$@\""])
            .arg(self.bin(name))
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What a program says if it ends well.
    fn try_run(&self, name: &str, arguments: &[&str]) -> Option<String> {
        let output = self.run(name, arguments);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `scontrol`, which must succeed.
    pub fn scontrol(&self, arguments: &[&str]) -> String {
        let output = self.run("scontrol", arguments);
        assert!(output.status.success(), "scontrol {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Holds a job that waits.
    pub fn hold(&self, id: &str) {
        self.scontrol(&["hold", id]);
    }

    /// Lets a held job go.
    pub fn release(&self, id: &str) {
        self.scontrol(&["release", id]);
    }

    /// Lets no further job start on the node; what runs goes on.
    pub fn drain(&self) {
        self.scontrol(&["update", "NodeName=n1", "State=DRAIN", "Reason=drained by a test"]);
    }

    /// Lets jobs start again after [`Slurm::drain`].
    pub fn resume(&self) {
        self.scontrol(&["update", "NodeName=n1", "State=RESUME"]);
    }

    /// All jobs that the controller remembers, as the real `squeue` tells root. `None` while it is down.
    #[must_use]
    pub fn try_jobs(&self) -> Option<Vec<SlurmJob>> {
        let told = self.try_run("squeue", &["-h", "-t", "all", "-o", "%A|%u|%T|%r|%j"])?;
        let job = |line: &str| {
            let mut fields = line.splitn(5, '|').map(str::to_owned);
            Some(SlurmJob {
                id: fields.next()?,
                user: fields.next()?,
                state: fields.next()?,
                reason: fields.next()?,
                name: fields.next()?,
            })
        };
        Some(told.lines().filter_map(job).collect())
    }

    /// The same, from a controller that must be there.
    #[must_use]
    pub fn jobs(&self) -> Vec<SlurmJob> {
        self.try_jobs().unwrap_or_else(|| panic!("squeue fails: {}", self.log()))
    }

    /// The job of that id, if it is remembered.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<SlurmJob> {
        self.jobs().into_iter().find(|job| job.id == id)
    }

    /// Ends the controller as an administrator does: it saves its state.
    pub fn stop_controller(&mut self) {
        self.controller.take().expect("the controller runs").stop();
    }

    /// Kills the controller: what it has not saved is lost, but not what runs on the node.
    pub fn crash_controller(&mut self) {
        self.controller.take().expect("the controller runs").kill();
    }

    /// Starts it (again), and waits until it answers.
    pub fn start_controller(&mut self) {
        assert!(self.controller.is_none(), "the controller runs");
        self.controller = Some(self.daemon("/usr/sbin/slurmctld", &["-D"], None));
        wait_until("slurmctld answers", 30, || self.try_run("scontrol", &["ping"]).map(drop));
    }

    /// Has the controller save its state, as it does every few seconds, and keeps a copy of that.
    ///
    /// What it does later is as if it had never been, once [`Slurm::back_to_kept_state`] was called: so is a
    /// crash between two saves.
    pub fn keep_state(&mut self) {
        self.stop_controller();
        let kept = self.path().join("state.kept");
        drop(fs::remove_dir_all(&kept));
        copy(&self.path().join("state"), &kept);
        self.start_controller();
    }

    /// Crashes the controller, and starts it with the state that was kept: it knows nothing of the jobs
    /// since then, and gives their ids once more.
    pub fn back_to_kept_state(&mut self) {
        self.crash_controller();
        let state = self.path().join("state");
        fs::remove_dir_all(&state).unwrap();
        copy(&self.path().join("state.kept"), &state);
        self.start_controller();
    }

    /// The last lines of the daemons' logs.
    #[must_use]
    pub fn log(&self) -> String {
        let mut all = String::new();
        for entry in fs::read_dir(self.path().join("log")).unwrap().flatten() {
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.len().saturating_sub(30);
            all.push_str(&format!("--- {}\n", entry.file_name().to_string_lossy()));
            lines[last..].iter().for_each(|line| all.push_str(&format!("{line}\n")));
        }
        all
    }

    fn daemon(&self, program: &str, arguments: &[&str], account: Option<&str>) -> Daemon {
        Daemon::start(program, arguments, account, &self.configuration, &self.path().join("log"))
    }

    fn start_munged(&mut self) {
        let munge = self.path().join("munge");
        let at = |name: &str| munge.join(name).display().to_string();
        let arguments = [
            "--foreground".to_owned(),
            format!("--socket={}", at("socket")),
            format!("--key-file={}", at("private/munge.key")),
            format!("--pid-file={}", at("private/pid")),
            format!("--seed-file={}", at("private/seed")),
            format!("--log-file={}", at("private/log")),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.others.push(self.daemon("/usr/sbin/munged", &arguments, Some("munge")));
        wait_until("munged answers", 20, || {
            let socket = at("socket");
            let asked = Command::new("/usr/bin/munge")
                .args(["-S", &socket, "-n"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
    }

    fn start_accounting(&mut self, ports: Ports) {
        let database = conf::lay_out_database(self.path());
        let arguments = conf::database_arguments(&database, ports);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.others.push(self.daemon("/usr/sbin/mariadbd", &arguments, None));
        wait_until("the database answers", 30, || ports.database_answers().then_some(()));
        self.others.push(self.daemon("/usr/sbin/slurmdbd", &["-D"], None));
        wait_until("slurmdbd answers", 30, || {
            self.try_run("sacctmgr", &["-i", "-Q", "add", "cluster", conf::CLUSTER]).map(drop)
        });
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- logs of Slurm ---\n{}", self.log());
        }
        // The controller and the node first: nothing is to start what is being ended.
        drop(self.controller.take());
        while let Some(daemon) = self.others.pop() {
            daemon.kill();
        }
        end_marked(self.guardian.mark(), Duration::from_secs(10));
        self.guardian.dismiss();
    }
}

fn missing(needed: &[(&str, &str)]) -> Option<String> {
    if !is_root() {
        return Some("a Slurm of one's own is started by root".to_owned());
    }
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(" ")))
}

fn write_programs(folder: &Path, configuration: &Path) {
    for name in PROGRAMS {
        let path = folder.join(name);
        // What is passed on is the arguments, as they are.
        let text = format!(
            "#!/bin/sh\nSLURM_CONF={} exec /usr/bin/{name} \"$@\"\n",
            configuration.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Copies a folder with owners and modes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("/bin/cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp -a {} {}", from.display(), to.display());
}
