//! The stand-in for OpenPBS is held to OpenPBS's dialect, in what it does and in what it does wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nesssi_job::batch::{
    Asked, BatchEnd, BatchId, BatchState, CancelAnswer, CommandLine, Dialect, DialectName,
    Directive, Environment, Exit, Listed, Listing, NoListing, NotSubmitted, Output, PrivatePath,
    Program, Programs, Refusal, Submission, Word, dialect, probe, recognise,
};
use nesssi_job::{AdmittedJob, Ceiling, Command as Payload, JobSpec, Tag};
use nesssi_testkit::standin::{Fault, StandInState, Starts};
use nesssi_testkit::{Accounts, Place, StandInPbs, is_root, wait_until};

/// A stand-in and the dialect that speaks to it, as the account Alice.
struct Bench {
    pbs: StandInPbs,
    dialect: Box<dyn Dialect>,
    accounts: Accounts,
    place: Place,
    next: u8,
}

/// What a command said.
struct Said {
    exit: Exit,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Said {
    fn output(&self) -> Output<'_> {
        Output { exit: self.exit, stdout: &self.stdout, stderr: &self.stderr }
    }
}

fn programs(pbs: &StandInPbs) -> Programs {
    let program = |name: &str| Program::parse(pbs.bin(name).to_str().unwrap()).unwrap();
    Programs {
        submit: program("qsub"),
        status: program("qstat"),
        cancel: program("qdel"),
        account: None,
        usage: None,
    }
}

impl Bench {
    fn new() -> Self {
        let pbs = StandInPbs::start();
        let dialect = dialect(DialectName::OpenPbs, programs(&pbs));
        Self { pbs, dialect, accounts: Accounts::ensure(), place: Place::new(), next: 0 }
    }

    /// A submission with a sandbox of Alice's own.
    fn submission(&mut self, argv: &[&str], directives: Vec<Directive>) -> (Submission, PathBuf) {
        self.next += 1;
        let tag = Tag::from_bytes([self.next; 8]);
        let sandbox = self.place.folder(&format!("sandbox-{}", self.next));
        fs::create_dir(sandbox.join(".nesssi")).unwrap();
        if is_root() {
            for folder in [sandbox.clone(), sandbox.join(".nesssi")] {
                chown(folder, Some(uid(&self.accounts.strong)), None).unwrap();
            }
        }
        let spec = JobSpec {
            command: Payload::Argv(argv.iter().map(|word| word.as_bytes().to_vec()).collect()),
            cpu_seconds_asked: 60,
            shell_allowed: false,
        };
        let ceiling = Ceiling { cpu_seconds: 60, wall_seconds: 120, sandbox_bytes: 0 };
        let asked = Asked {
            tag,
            job: AdmittedJob::admit(spec, ceiling).unwrap(),
            cpus: 1,
            memory_bytes: None,
            directives,
            environment: Environment::new(vec![("PATH".to_owned(), b"/usr/bin:/bin".to_vec())])
                .unwrap(),
            sandbox: PrivatePath::parse(sandbox.to_str().unwrap().as_bytes()).unwrap(),
            umask: 0o022,
        };
        (Submission::new(asked).unwrap(), sandbox)
    }

    fn tag(&self) -> Tag {
        Tag::from_bytes([self.next; 8])
    }

    fn name(&self) -> String {
        self.dialect.job_name(&self.tag())
    }

    fn submit(&mut self, argv: &[&str]) -> Result<BatchId, NotSubmitted> {
        self.submit_with(argv, Vec::new())
    }

    fn submit_with(
        &mut self,
        argv: &[&str],
        directives: Vec<Directive>,
    ) -> Result<BatchId, NotSubmitted> {
        let (submission, _) = self.submission(argv, directives);
        let said = run(&self.accounts.strong, &self.dialect.submit(&submission).unwrap());
        self.dialect.submitted(&said.output())
    }

    fn list(&self, listed: Listed<'_>) -> Vec<Result<Listing, NoListing>> {
        let lines = self.dialect.list(listed);
        let said = lines.iter().map(|line| run(&self.accounts.strong, line));
        said.map(|said| self.dialect.listed(&said.output())).collect()
    }

    /// The state of a job, which JSON and text tell alike.
    fn state(&self, id: &BatchId) -> Option<BatchState> {
        let ids = [id.clone()];
        let told = self.list(Listed::These(&ids));
        let find = |listing: &Listing| listing.iter().find(|one| one.id == *id).cloned();
        let states: Vec<_> = told.iter().map(|listing| find(listing.as_ref().unwrap())).collect();
        // Between the two calls the job may have gone on.
        states.last().unwrap().as_ref().map(|one| one.state)
    }

    fn ends(&self, id: &BatchId, end: BatchEnd) {
        let wanted = Some(BatchState::Ended(end));
        wait_until(&format!("{id} ends with {end:?}"), 20, || {
            (self.state(id) == wanted).then_some(())
        });
    }

    fn cancel(&self, account: &str, id: &BatchId) -> CancelAnswer {
        let said = run(account, &self.dialect.cancel(id, &self.tag()));
        self.dialect.cancelled(&said.output())
    }

    fn qsub(&self, fault: Option<Fault>) {
        self.pbs.plan(|plan| plan.qsub.fault = fault);
    }

    fn qstat(&self, fault: Option<Fault>) {
        self.pbs.plan(|plan| plan.qstat.fault = fault);
    }
}

fn uid(account: &str) -> u32 {
    let output = Command::new("/usr/bin/id").args(["-u", account]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Starts a command line as an account, as a jobmanager does: with nothing of its own environment.
fn start(account: &str, line: &CommandLine) -> Child {
    let mut command = if is_root() {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid", account, "--regid", account, "--init-groups"]).arg(&line.argv[0]);
        command
    } else {
        Command::new(&line.argv[0])
    };
    let mut child = command
        .args(&line.argv[1..])
        .env_clear()
        .envs(line.environment.iter().copied())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that hangs or refuses does not read.
    child.stdin.take().unwrap().write_all(&line.stdin).ok();
    child
}

fn run(account: &str, line: &CommandLine) -> Said {
    let output = start(account, line).wait_with_output().unwrap();
    let exit = match output.status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(output.status.signal().unwrap()),
    };
    Said { exit, stdout: output.stdout, stderr: output.stderr }
}

#[test]
fn jobs_run_as_their_account_and_end_as_they_end() {
    let mut bench = Bench::new();
    let version = run(&bench.accounts.strong, &probe(&programs(&bench.pbs).submit));
    assert_eq!(recognise(&version.output()), Some(DialectName::OpenPbs));
    let argv = ["/bin/sh", "-c", "id -un; exit 7"];
    let (submission, sandbox) = bench.submission(&argv, Vec::new());
    let said = run(&bench.accounts.strong, &bench.dialect.submit(&submission).unwrap());
    let id = bench.dialect.submitted(&said.output()).unwrap();
    bench.ends(&id, BatchEnd::Exited(7));
    let output = fs::read_to_string(sandbox.join("stdout")).unwrap();
    assert_eq!(output.trim(), bench.accounts.strong);
    assert!(sandbox.join(".nesssi/record").exists());
    let guard = fs::read(sandbox.join(".nesssi/started/batch")).unwrap();
    assert_eq!(nesssi_job::batch::winner(&guard), Some(id.clone()));
    assert_eq!(bench.pbs.starts(), [bench.name()]);
    // An ended job is told of with -x alone, and known by name and account.
    for told in bench.list(Listed::All) {
        assert!(told.unwrap().is_empty());
    }
    let ids = [id.clone()];
    for told in bench.list(Listed::These(&ids)) {
        let one = told.unwrap().find(&id, &bench.name(), &bench.accounts.strong).unwrap();
        assert_eq!(one.state, BatchState::Ended(BatchEnd::Exited(7)));
    }
}

#[test]
fn jobs_wait_for_a_slot_are_held_and_are_deleted() {
    let mut bench = Bench::new();
    bench.pbs.plan(|plan| plan.slots = 1);
    let first = bench.submit(&["sleep", "600"]).unwrap();
    wait_until("the first runs", 10, || {
        (bench.state(&first) == Some(BatchState::Running)).then_some(())
    });
    let second = bench.submit(&["sleep", "600"]).unwrap();
    assert_eq!(bench.state(&second), Some(BatchState::Queued));
    assert_eq!(bench.cancel(&bench.accounts.strong, &second), CancelAnswer::Asked);
    bench.ends(&second, BatchEnd::Cancelled);
    if is_root() {
        let other = bench.cancel(&bench.accounts.other, &first);
        assert!(matches!(other, CancelAnswer::Refused(_)), "{other:?}");
    }
    assert_eq!(bench.cancel(&bench.accounts.strong, &first), CancelAnswer::Asked);
    bench.ends(&first, BatchEnd::Cancelled);
    let gone = bench.cancel(&bench.accounts.strong, &first);
    assert!(matches!(gone, CancelAnswer::Gone(_)), "{gone:?}");
    bench.pbs.plan(|plan| plan.hold = Some("held by the site".to_owned()));
    let held = bench.submit(&["true"]).unwrap();
    assert_eq!(bench.state(&held), Some(BatchState::Held));
    let listing = bench.list(Listed::All).remove(0).unwrap();
    assert_eq!(listing.iter().next().unwrap().comment.as_str(), "held by the site");
    assert_eq!(bench.pbs.starts().len(), 1);
}

#[test]
fn ended_jobs_are_forgotten_and_so_is_all_if_it_is_planned() {
    let mut bench = Bench::new();
    let id = bench.submit(&["true"]).unwrap();
    bench.ends(&id, BatchEnd::Exited(0));
    bench.pbs.plan(|plan| plan.remembers_ms = 0);
    assert_eq!(bench.state(&id), None);
    let gone = bench.cancel(&bench.accounts.strong, &id);
    assert!(matches!(gone, CancelAnswer::Gone(_)), "{gone:?}");
    let runs = bench.submit(&["sleep", "600"]).unwrap();
    bench.pbs.plan(|plan| plan.forgets = true);
    assert_eq!(bench.state(&runs), None);
    assert!(bench.list(Listed::All).into_iter().all(|told| told.unwrap().is_empty()));
}

#[test]
fn refusals_are_what_the_dialect_calls_them() {
    let mut bench = Bench::new();
    for (fault, refusal) in [
        (Fault::Policy, Refusal::Policy),
        (Fault::Quota, Refusal::Quota),
        (Fault::UnknownQueue, Refusal::UnknownQueue),
        (Fault::Syntax, Refusal::Syntax),
        (Fault::Down, Refusal::Down),
    ] {
        bench.qsub(Some(fault.clone()));
        let not = bench.submit(&["true"]).unwrap_err();
        assert_eq!((not.refusal, not.certain), (refusal, true), "{fault:?}");
    }
    bench.qsub(None);
    for (queue, refusal) in [("nosuch", Refusal::UnknownQueue), ("closed", Refusal::Policy)] {
        let queue = Directive::Queue(Word::parse("queue", queue).unwrap());
        assert_eq!(bench.submit_with(&["true"], vec![queue]).unwrap_err().refusal, refusal);
    }
    assert_eq!(bench.pbs.jobs(), []);
}

#[test]
fn answers_that_are_none_leave_a_job_or_none() {
    let mut bench = Bench::new();
    for (fault, leaves) in [
        (Fault::Garbage, 0),
        (Fault::GarbageAfter, 1),
        (Fault::SilentAfter, 1),
        (Fault::LostAfter, 1),
        (Fault::Killed, 0),
        (Fault::KilledAfter, 1),
        (Fault::GermanAfter, 1),
        (Fault::Strange, 0),
        (Fault::Array, 1),
        (Fault::Half, 1),
        (Fault::HugeAfter { bytes: 1 << 20 }, 1),
    ] {
        let before = bench.pbs.jobs().len();
        bench.qsub(Some(fault.clone()));
        let not = bench.submit(&["true"]).unwrap_err();
        assert!(!not.certain, "{fault:?}: {not:?}");
        assert_eq!(bench.pbs.jobs().len() - before, leaves, "{fault:?}");
        // It is found by its name and account.
        let found = bench.pbs.jobs().iter().filter(|job| job.name == bench.name()).count();
        assert_eq!(found, leaves, "{fault:?}");
    }
}

#[test]
fn listings_that_are_none_are_known_as_such() {
    let mut bench = Bench::new();
    let id = bench.submit(&["sleep", "600"]).unwrap();
    for fault in [
        Fault::Garbage,
        Fault::Killed,
        Fault::GermanAfter,
        Fault::Strange,
        Fault::Down,
        Fault::Half,
        Fault::HalfFailed,
        Fault::HugeAfter { bytes: 1 << 20 },
    ] {
        bench.qstat(Some(fault.clone()));
        let json = bench.list(Listed::All).remove(0);
        let down = matches!(json, Err(NoListing::Down(_)));
        assert!(json.is_err(), "{fault:?}: {json:?}");
        assert_eq!(down, fault == Fault::Down);
    }
    bench.qstat(None);
    assert_eq!(bench.state(&id), Some(BatchState::Running));
}

#[test]
fn it_hangs_is_slow_and_goes_wrong_now_and_then() {
    let mut bench = Bench::new();
    bench.pbs.plan(|plan| plan.qsub.delay_ms = 300);
    let began = Instant::now();
    bench.submit(&["true"]).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    bench.pbs.plan(|plan| {
        plan.qsub.delay_ms = 0;
        plan.qsub.fault = Some(Fault::LostAfter);
        plan.qsub.every = 3;
        plan.qsub.until_call = 4;
    });
    let went = |bench: &mut Bench| bench.submit(&["true"]).is_ok();
    assert!(went(&mut bench));
    assert!(!went(&mut bench));
    assert!((4..=6).all(|_| went(&mut bench)));
    assert_eq!(bench.pbs.calls("qsub"), 6);
    bench.pbs.plan(|plan| plan.qsub = Default::default());
    bench.qsub(Some(Fault::HangAfter));
    let before = bench.pbs.jobs().len();
    let (submission, _) = bench.submission(&["true"], Vec::new());
    let mut child = start(&bench.accounts.strong, &bench.dialect.submit(&submission).unwrap());
    wait_until("the job is there", 10, || (bench.pbs.jobs().len() > before).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_script_that_is_started_twice_runs_its_payload_once() {
    let mut bench = Bench::new();
    for starts in [Starts::TwiceAtOnce, Starts::Again] {
        bench.pbs.plan(|plan| plan.starts = starts);
        let (submission, sandbox) =
            bench.submission(&["/bin/sh", "-c", "echo once; sleep 0.2"], Vec::new());
        let said = run(&bench.accounts.strong, &bench.dialect.submit(&submission).unwrap());
        let id = bench.dialect.submitted(&said.output()).unwrap();
        wait_until("it has ended", 20, || {
            let job = bench.pbs.jobs().into_iter().find(|job| job.id() == id.as_str())?;
            (job.state == StandInState::Finished).then_some(())
        });
        let name = bench.name();
        assert_eq!(bench.pbs.starts().iter().filter(|one| **one == name).count(), 2);
        assert_eq!(fs::read_to_string(sandbox.join("stdout")).unwrap(), "once\n");
    }
}

#[test]
fn an_id_is_given_again_and_the_first_job_runs_on() {
    let mut bench = Bench::new();
    let first = bench.submit(&["sleep", "600"]).unwrap();
    let name = bench.name();
    wait_until("it was started", 10, || (bench.pbs.starts().len() == 1).then_some(()));
    bench.qsub(Some(Fault::SameId));
    let second = bench.submit(&["sleep", "600"]).unwrap();
    assert_eq!(first, second);
    let listing = bench.list(Listed::All).remove(0).unwrap();
    assert_eq!(listing.named(&name, &bench.accounts.strong).count(), 0);
    assert!(listing.find(&second, &bench.name(), &bench.accounts.strong).is_some());
    wait_until("both run", 10, || (bench.pbs.starts().len() == 2).then_some(()));
}

#[test]
fn it_holds_jobs_to_their_wall_time_and_leaves_nothing() {
    let bench = Bench::new();
    let folder = bench.place.folder("mine");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let pid = folder.join("pid");
    let script = format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 600", pid.display());
    let line = CommandLine {
        argv: [bench.pbs.bin("qsub").to_str().unwrap(), "-l", "walltime=00:00:01"]
            .map(str::to_owned)
            .to_vec(),
        environment: &[],
        stdin: script.into_bytes(),
    };
    let id = bench.dialect.submitted(&run(&bench.accounts.strong, &line).output()).unwrap();
    wait_until("it is over its wall time", 20, || {
        let job = bench.pbs.jobs().into_iter().find(|job| job.id() == id.as_str())?;
        (job.exit_status == Some(-29)).then_some(())
    });
    fs::remove_file(&pid).unwrap();
    let line =
        CommandLine { argv: vec![bench.pbs.bin("qsub").to_str().unwrap().to_owned()], ..line };
    run(&bench.accounts.strong, &line);
    let pid = wait_until("it runs", 10, || fs::read_to_string(&pid).ok());
    drop(bench.pbs);
    assert!(!std::path::Path::new(&format!("/proc/{}/fd", pid.trim())).exists());
}
