//! The dialects on a real batch system, where there is one. Ignored unless asked for, since it wants root and:
//!
//! ```text
//! NESSSI_REAL_DIALECT=slurm|openpbs|torque|slurm-wrappers
//! NESSSI_REAL_PROGRAMS='/usr/bin/sbatch /usr/bin/squeue /usr/bin/scancel [/usr/bin/sacct /usr/bin/sstat]'
//! NESSSI_REAL_ACCOUNTS='one another'
//! NESSSI_REAL_QUEUE=batch NESSSI_REAL_SPOOLS='/var/spool /var/lib /tmp' NESSSI_REAL_CPU=6
//! cargo test -p nesssi-job --test real -- --ignored --nocapture --test-threads=1
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "these are tests, and run the real commands"
)]

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use nesssi_job::batch::{
    Asked, BatchEnd, BatchId, BatchState, CancelAnswer, CommandLine, Dialect, DialectName,
    Directive, Environment, Exit, Listed, Listing, NotSubmitted, Output, PrivatePath, Program,
    Programs, Refusal, Sighting, Submission, dialect, probe, recognise, winner,
};
use nesssi_job::{AdmittedJob, Ceiling, Command, EndReason, EndRecord, JobSpec, Tag};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(120);

struct Site {
    dialect: Box<dyn Dialect>,
    programs: Programs,
    account: String,
    other: String,
    queue: String,
    folder: PathBuf,
}

struct Ran {
    exit: Exit,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Ran {
    fn output(&self) -> Output<'_> {
        Output { exit: self.exit, stdout: &self.stdout, stderr: &self.stderr }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&[self.stdout.as_slice(), &self.stderr].concat()).into_owned()
    }
}

/// One job of the tests.
struct Work {
    tag: Tag,
    sandbox: PathBuf,
    /// The part of the sandbox's path that nobody else may see.
    secret: String,
    submission: Submission,
}

#[derive(Clone)]
struct Wish {
    argv: Vec<Vec<u8>>,
    environment: Vec<(String, Vec<u8>)>,
    cpu: u64,
    wall: u64,
    bytes: u64,
    cpus: u32,
    directives: Vec<(String, String)>,
}

fn sh(text: &str) -> Wish {
    Wish {
        argv: ["/bin/sh", "-c", text].map(|word| word.as_bytes().to_vec()).to_vec(),
        environment: vec![("PATH".to_owned(), b"/usr/bin:/bin".to_vec())],
        cpu: 60,
        wall: 300,
        bytes: 1 << 30,
        cpus: 1,
        directives: Vec::new(),
    }
}

fn site() -> Site {
    let word = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let name = match word("NESSSI_REAL_DIALECT").as_str() {
        "slurm" => DialectName::Slurm,
        "openpbs" => DialectName::OpenPbs,
        "torque" => DialectName::Torque,
        "slurm-wrappers" => DialectName::TorqueOnSlurm,
        other => panic!("no dialect {other}"),
    };
    let programs: Vec<Program> = word("NESSSI_REAL_PROGRAMS")
        .split_whitespace()
        .map(|path| Program::parse(path).unwrap())
        .collect();
    let programs = Programs {
        submit: programs[0].clone(),
        status: programs[1].clone(),
        cancel: programs[2].clone(),
        account: programs.get(3).cloned(),
        usage: programs.get(4).cloned(),
    };
    let accounts = word("NESSSI_REAL_ACCOUNTS");
    let mut accounts = accounts.split_whitespace().map(str::to_owned);
    let folder = std::env::temp_dir().join(format!("nesssi-real-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    Site {
        dialect: dialect(name, programs.clone()),
        programs,
        account: accounts.next().unwrap(),
        other: accounts.next().unwrap(),
        queue: std::env::var("NESSSI_REAL_QUEUE").unwrap_or_else(|_| "batch".to_owned()),
        folder,
    }
}

impl Site {
    /// Runs a command as an account that has made the pipe itself.
    fn run_as(&self, account: &str, line: &CommandLine) -> Ran {
        let input = self.folder.join(format!("stdin-{}", Tag::from_bytes(random())));
        std::fs::write(&input, &line.stdin).unwrap();
        own(account, &input, "0600");
        let pipe = "file=$1; shift; cat \"$file\" | \"$@\"";
        let out = Process::new("/usr/bin/setpriv")
            .args([&format!("--reuid={account}"), &format!("--regid={account}"), "--init-groups"])
            .args(["/bin/sh", "-c", pipe, "sh"])
            .arg(&input)
            .args(&line.argv)
            .env_clear()
            .envs(line.environment.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        std::fs::remove_file(&input).unwrap();
        let exit = match out.status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(out.status.signal().unwrap()),
        };
        Ran { exit, stdout: out.stdout, stderr: out.stderr }
    }

    fn run(&self, line: &CommandLine) -> Ran {
        self.run_as(&self.account, line)
    }

    fn work(&self, wish: Wish) -> Work {
        let secret = format!("{}{}", Tag::from_bytes(random()), Tag::from_bytes(random()));
        let home = self.folder.join(&self.account);
        let sandbox = home.join(&secret);
        std::fs::create_dir_all(sandbox.join(".nesssi")).unwrap();
        for path in [&home, &sandbox, &sandbox.join(".nesssi")] {
            own(&self.account, path, "0700");
        }
        let tag = Tag::from_bytes(random());
        let ceiling =
            Ceiling { cpu_seconds: wish.cpu, wall_seconds: wish.wall, sandbox_bytes: wish.bytes };
        let spec = JobSpec {
            command: Command::Argv(wish.argv),
            cpu_seconds_asked: wish.cpu,
            shell_allowed: true,
        };
        let directives = wish.directives.iter();
        let submission = Submission::new(Asked {
            tag: tag.clone(),
            job: AdmittedJob::admit(spec, ceiling).unwrap(),
            cpus: wish.cpus,
            memory_bytes: None,
            directives: directives
                .map(|(key, value)| Directive::parse(key, value).unwrap())
                .collect(),
            environment: Environment::new(wish.environment).unwrap(),
            sandbox: PrivatePath::parse(sandbox.as_os_str().as_bytes()).unwrap(),
            umask: 0o077,
        })
        .unwrap();
        Work { tag, sandbox, secret, submission }
    }

    fn submit(&self, work: &Work) -> Result<BatchId, NotSubmitted> {
        let line = self.dialect.submit(&work.submission).unwrap();
        assert!(!line.argv.iter().any(|word| word.contains(&work.secret)));
        let ran = self.run(&line);
        let answer = self.dialect.submitted(&ran.output());
        if answer.is_err() {
            println!("  submit answered {:?} {:?}", ran.exit, ran.text());
        }
        answer
    }

    fn listing(&self, listed: Listed<'_>) -> Listing {
        for line in self.dialect.list(listed) {
            let ran = self.run(&line);
            match self.dialect.listed(&ran.output()) {
                Ok(listing) => {
                    assert_eq!(listing.unread, 0, "{}", ran.text());
                    return listing;
                }
                Err(error) => println!("  {:?}: {error}", line.argv),
            }
        }
        panic!("no listing was understood");
    }

    fn sight(&self, work: &Work, id: &BatchId) -> Option<Sighting> {
        let name = self.dialect.job_name(&work.tag);
        let found = self.listing(Listed::All).find(id, &name, &self.account);
        let these = || self.listing(Listed::These(std::slice::from_ref(id)));
        found.or_else(|| these().find(id, &name, &self.account))
    }

    /// Waits until the batch system says that a job has ended, or has forgotten it.
    fn ended(&self, work: &Work, id: &BatchId) -> Option<BatchEnd> {
        let began = Instant::now();
        loop {
            match self.sight(work, id) {
                Some(Sighting { state: BatchState::Ended(end), .. }) => return Some(end),
                None => return None,
                Some(other) => {
                    assert!(began.elapsed() < PATIENCE, "{other:?}");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }

    /// Waits for the record.
    fn record(&self, work: &Work) -> EndRecord {
        let text = wait_for(&work.sandbox.join(".nesssi/record"));
        EndRecord::parse(std::str::from_utf8(&text).unwrap()).unwrap()
    }

    fn done(&self, wish: Wish) -> (Work, BatchId, EndRecord, Option<BatchEnd>) {
        let work = self.work(wish);
        let id = self.submit(&work).unwrap();
        let record = self.record(&work);
        let end = self.ended(&work, &id);
        (work, id, record, end)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).unwrap_or_default();
        }
    }
}

fn random() -> [u8; 8] {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

fn own(account: &str, path: &Path, mode: &str) {
    let owner = format!("{account}:{account}");
    assert!(Process::new("/bin/chown").arg(owner).arg(path).status().unwrap().success());
    assert!(Process::new("/bin/chmod").arg(mode).arg(path).status().unwrap().success());
}

fn wait_for(path: &Path) -> Vec<u8> {
    let began = Instant::now();
    loop {
        match std::fs::read(path) {
            Ok(bytes) if !bytes.is_empty() => return bytes,
            _ => assert!(began.elapsed() < PATIENCE, "{} does not come", path.display()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Living processes that have the word among their arguments.
fn alive(mark: &str) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        count += usize::from(command.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()));
    }
    count
}

fn mark() -> String {
    // A number of seconds that nobody else sleeps.
    format!("9{}", u32::from_be_bytes(random()[..4].try_into().unwrap()))
}

fn plain(argv: &[&str]) -> CommandLine {
    CommandLine {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: &[("LC_ALL", "C"), ("PATH", "/usr/bin:/bin")],
        stdin: Vec::new(),
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn it_is_told_apart() {
    let site = site();
    let ran = site.run(&probe(&site.programs.submit));
    assert_eq!(recognise(&ran.output()), Some(site.dialect.name()), "{}", ran.text());
}

#[test]
#[ignore = "wants a real batch system"]
fn a_job_runs_and_is_told_of() {
    let site = site();
    let began = Instant::now();
    let (work, id, record, end) = site.done(sh("id -un; pwd; echo err >&2; sleep 2; exit 7"));
    println!("  {id}: {record:?} {end:?} {:?}", began.elapsed());
    assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(7)));
    let may_say = [Some(BatchEnd::Exited(7)), Some(BatchEnd::Unsaid), None];
    assert!(may_say.contains(&end), "{end:?}");
    let out = std::fs::read_to_string(work.sandbox.join("stdout")).unwrap();
    assert_eq!(out, format!("{}\n{}\n", site.account, work.sandbox.display()));
    assert_eq!(std::fs::read(work.sandbox.join("stderr")).unwrap(), b"err\n");
    let guard = std::fs::read(work.sandbox.join(".nesssi/started/batch")).unwrap();
    assert_eq!(winner(&guard), Some(id.clone()));
    if let Some(line) = site.dialect.account(std::slice::from_ref(&id)) {
        let name = site.dialect.job_name(&work.tag);
        let began = Instant::now();
        loop {
            let ran = site.run(&line);
            let told = site.dialect.accounted(&ran.output()).unwrap();
            let found = told.find(&id, &name, &site.account);
            if let Some(one) = &found
                && matches!(one.state, BatchState::Ended(_))
            {
                println!("  accounted: {one:?}");
                assert_eq!(one.state, BatchState::Ended(BatchEnd::Exited(7)));
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{} {found:?}", ran.text());
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn values_reach_the_payload_and_nobody_else() {
    let site = site();
    let hostile: &[&[u8]] = &[
        b"#SBATCH --job-name=evil\n#SBATCH --array=1-9\n#PBS -N evil\n#PBS -J 1-9",
        b"\n#SBATCH --hold\n",
        b"it's \"$HOME\" `id` \\ ; & | > $(id) !x",
        b"\r\n\t\x01\x7f\xff\xc3",
        b"--wrap=id",
        b"",
    ];
    let longest = vec![b'\''; nesssi_job::ARGUMENT_BYTES_MAX];
    let mut wish = sh("");
    wish.argv = vec![b"/usr/bin/printf".to_vec(), b"%s\\0".to_vec()];
    wish.argv.extend(hostile.iter().map(|word| word.to_vec()));
    wish.argv.push(longest.clone());
    wish.environment.push(("ODD".to_owned(), b"\n#SBATCH --hold\n'\"".to_vec()));
    let (work, id, record, _) = site.done(wish);
    assert_eq!(record.exit_code, Some(0), "{id} {record:?}");
    let mut expected: Vec<u8> =
        hostile.iter().flat_map(|word| [*word, b"\0".as_slice()].concat()).collect();
    expected.extend(longest);
    expected.push(0);
    assert!(std::fs::read(work.sandbox.join("stdout")).unwrap() == expected);
}

#[test]
#[ignore = "wants a real batch system"]
fn the_payload_has_no_environment_of_anybody_elses() {
    let site = site();
    let mut wish = sh("env");
    wish.environment.push(("ODD".to_owned(), b"yes".to_vec()));
    let (work, _, _, _) = site.done(wish);
    let out = std::fs::read_to_string(work.sandbox.join("stdout")).unwrap();
    println!("{out}");
    for line in out.lines() {
        let name = line.split('=').next().unwrap();
        let known = ["PATH", "ODD", "PWD", "NESSSI_TAG", "TMPDIR", "_", "SHLVL", "OLDPWD"];
        let batch = name.starts_with("SLURM") || name.starts_with("PBS");
        assert!(batch || known.contains(&name), "{line}");
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn a_second_account_finds_no_session() {
    let site = site();
    let mark = mark();
    let work = site.work(sh(&format!("echo on; sleep {mark}")));
    let id = site.submit(&work).unwrap();
    wait_for(&work.sandbox.join("stdout"));
    let near = |name: &str| {
        let folder = Path::new(site.programs.status.as_str()).parent().unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let id_text = id.to_string();
    let mut looks: Vec<Vec<String>> = vec![
        vec!["/bin/ps".into(), "axeww".into()],
        vec!["/bin/ps".into(), "axww".into(), "-o".into(), "user,args".into()],
        vec![
            "/bin/sh".into(),
            "-c".into(),
            "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; ls -l /proc/[0-9]*/cwd /proc/[0-9]*/fd"
                .into(),
        ],
    ];
    let spools = std::env::var("NESSSI_REAL_SPOOLS").unwrap_or_else(|_| "/tmp".to_owned());
    for words in ["/usr/bin/find".to_owned(), format!("/bin/grep -rla {}", work.secret)] {
        let words = words.split(' ').chain(spools.split(' '));
        looks.push(words.map(str::to_owned).collect());
    }
    let mut look = |words: &[&str]| {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words[0] = near(&words[0]);
        looks.push(words);
    };
    match site.dialect.name() {
        DialectName::Slurm | DialectName::TorqueOnSlurm => {
            look(&["scontrol", "-dd", "show", "job", &id_text]);
            look(&["scontrol", "write", "batch_script", &id_text, "-"]);
            look(&["squeue", "-o", "%all"]);
            look(&["squeue", "--json"]);
            look(&[
                "squeue",
                "-O",
                "StdOut:400,StdErr:400,StdIn:400,WorkDir:400,Command:400,Comment:400,Name:400",
            ]);
            look(&["sacct", "-P", "-a", "-o", "all"]);
            look(&["sacct", "--json"]);
            look(&["sacct", "-B", "-j", &id_text]);
            look(&["qstat", "-f"]);
        }
        DialectName::OpenPbs | DialectName::Torque => {
            look(&["qstat", "-f"]);
            look(&["qstat", "-f", &id_text]);
            look(&["qstat", "-x", "-f", "-F", "json"]);
            look(&["tracejob", "-v", &id_text]);
            look(&["pbsnodes", "-a"]);
        }
    }
    for words in &looks {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = site.run_as(&site.other, &plain(&words));
        let seen = ran.text();
        println!("  {:?} {:?} {} bytes", words, ran.exit, seen.len());
        // The question itself has the word, where the question is a process.
        let shown: Vec<&str> = seen
            .lines()
            .filter(|line| line.contains(&work.secret) && !line.contains("grep -rla"))
            .collect();
        assert!(shown.is_empty(), "{words:?}: {shown:?}");
        assert!(!seen.contains(&work.secret[..16]) || words[0].ends_with("grep"), "{words:?}");
        if seen.len() < 1500 {
            println!("{seen}");
        }
    }
    let answer = site
        .dialect
        .cancelled(&site.run_as(&site.other, &site.dialect.cancel(&id, &work.tag)).output());
    println!("  another's cancel: {answer:?}");
    assert!(matches!(answer, CancelAnswer::Refused(_)), "{answer:?}");
    assert_eq!(alive(&mark), 1, "the job runs on");
    let answer = site.dialect.cancelled(&site.run(&site.dialect.cancel(&id, &work.tag)).output());
    assert_eq!(answer, CancelAnswer::Asked);
    println!("  {:?} {:?}", site.ended(&work, &id), site.record(&work));
}

#[test]
#[ignore = "wants a real batch system"]
fn cancelled_is_gone() {
    let site = site();
    let mark = mark();
    let text = format!(
        "trap '' TERM INT HUP; (setsid sleep {mark} &); (setsid sh -c 'sleep {mark} & exit' &); \
         sleep {mark} & echo on; while :; do sleep {mark}; done"
    );
    let work = site.work(sh(&text));
    let id = site.submit(&work).unwrap();
    wait_for(&work.sandbox.join("stdout"));
    std::thread::sleep(Duration::from_millis(500));
    let before = alive(&mark);
    let began = Instant::now();
    let cancel = site.dialect.cancel(&id, &work.tag);
    let answer = site.dialect.cancelled(&site.run(&cancel).output());
    assert_eq!(answer, CancelAnswer::Asked);
    let end = site.ended(&work, &id);
    println!(
        "  {before} processes, ended {end:?} after {:?}, {} left",
        began.elapsed(),
        alive(&mark)
    );
    while alive(&mark) > 0 {
        assert!(began.elapsed() < PATIENCE, "{} processes are left", alive(&mark));
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("  none is left after {:?}", began.elapsed());
    let record = std::fs::read_to_string(work.sandbox.join(".nesssi/record"));
    println!("  record: {record:?}");
    assert!(matches!(
        end,
        Some(BatchEnd::Cancelled | BatchEnd::Signalled(_) | BatchEnd::Unsaid) | None
    ));
    let again = site.dialect.cancelled(&site.run(&cancel).output());
    println!("  again: {again:?}");
    let never = BatchId::parse(&id.to_string().replacen(|_| true, "98765432", 1)).unwrap();
    let never = site.dialect.cancelled(&site.run(&site.dialect.cancel(&never, &work.tag)).output());
    println!("  unknown: {never:?}");
}

#[test]
#[ignore = "wants a real batch system"]
fn a_job_that_waits_says_why_and_is_cancelled() {
    let site = site();
    let work = site.work(Wish { cpus: 8, ..sh("echo on; sleep 60") });
    let first = site.submit(&work).unwrap();
    wait_for(&work.sandbox.join("stdout"));
    let waiting = site.work(Wish { cpus: 8, ..sh("echo never") });
    let second = site.submit(&waiting).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let seen = site.sight(&waiting, &second).unwrap();
    println!("  {seen:?}");
    assert_eq!(seen.state, BatchState::Queued);
    let silent = site.dialect.name() == DialectName::TorqueOnSlurm;
    assert!(silent || !seen.comment.is_empty());
    let began = Instant::now();
    for (id, work) in [(&second, &waiting), (&first, &work)] {
        let answer =
            site.dialect.cancelled(&site.run(&site.dialect.cancel(id, &work.tag)).output());
        assert_eq!(answer, CancelAnswer::Asked);
        println!("  {:?} {:?}", site.ended(work, id), began.elapsed());
    }
    assert!(!waiting.sandbox.join("stdout").exists());
}

#[test]
#[ignore = "wants a real batch system"]
fn every_form_of_a_listing_says_the_same() {
    let site = site();
    let (work, waiting) = (site.work(sh("sleep 20")), site.work(Wish { cpus: 8, ..sh("sleep 1") }));
    let ids = [site.submit(&work).unwrap(), site.submit(&waiting).unwrap()];
    let (_, ended, _, _) = site.done(sh("exit 3"));
    let ids = [ids[0].clone(), ids[1].clone(), ended];
    for listed in [Listed::All, Listed::These(&ids)] {
        let mut forms = Vec::new();
        for line in site.dialect.list(listed) {
            let ran = site.run(&line);
            let listing = site.dialect.listed(&ran.output()).unwrap();
            let ours = listing.iter().filter(|one| ids.contains(&one.id));
            let told: Vec<_> = ours
                .map(|one| {
                    // Slurm's text does not say how.
                    let state = match one.state {
                        BatchState::Ended(BatchEnd::Exited(_)) => {
                            BatchState::Ended(BatchEnd::Unsaid)
                        }
                        other => other,
                    };
                    (one.id.clone(), one.name.clone(), one.owner.clone(), state)
                })
                .collect();
            println!("  {:?} {} bytes: {told:?}", line.argv, ran.stdout.len());
            forms.push(told);
        }
        assert!(forms.windows(2).all(|two| two[0] == two[1]));
    }
    for (id, work) in [(&ids[1], &waiting), (&ids[0], &work)] {
        site.run(&site.dialect.cancel(id, &work.tag));
        site.ended(work, id);
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn refusals_are_typed() {
    let site = site();
    let with = |key: &str, value: &str| Wish {
        directives: vec![(key.to_owned(), value.to_owned())],
        ..sh("echo never")
    };
    let refusal = |wish: Wish| site.submit(&site.work(wish)).unwrap_err();
    let one = refusal(with("queue", "nosuchqueue"));
    println!("  {one:?}");
    assert_eq!((one.refusal, one.certain), (Refusal::UnknownQueue, true));
    let one = refusal(Wish { cpus: 10_000, ..with("queue", &site.queue) });
    println!("  {one:?}");
    assert_eq!((one.refusal, one.certain), (Refusal::Policy, true));
    let one = refusal(Wish { wall: 30 * 86_400, ..with("queue", &site.queue) });
    println!("  {one:?}");
    assert_eq!((one.refusal, one.certain), (Refusal::Policy, true));
    if let Ok(line) = site.dialect.submit(&site.work(with("resource.nosuch", "3")).submission) {
        let ran = site.run(&line);
        println!("  {:?}", site.dialect.submitted(&ran.output()));
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn of_two_submissions_of_one_tag_one_starts() {
    let site = site();
    let work = site.work(sh("echo once; sleep 2"));
    let (one, two) = (site.submit(&work).unwrap(), site.submit(&work).unwrap());
    let ends = (site.ended(&work, &one), site.ended(&work, &two));
    println!("  {one} {two} {ends:?}");
    assert_eq!(std::fs::read(work.sandbox.join("stdout")).unwrap(), b"once\n");
    let name = site.dialect.job_name(&work.tag);
    let all = site.listing(Listed::These(&[one.clone(), two.clone()]));
    println!("  {:?}", all.named(&name, &site.account).collect::<Vec<_>>());
    let guard = std::fs::read(work.sandbox.join(".nesssi/started/batch")).unwrap();
    assert!(winner(&guard) == Some(one) || winner(&guard) == Some(two));
}

/// Kinds of work that uses CPU time, each in so many processes.
fn busy(kind: &str, count: usize) -> String {
    let one = "while :; do :; done";
    match kind {
        "children" => format!("for i in $(seq {count}); do ({one}) & done; wait"),
        "setsid" => format!("for i in $(seq {count}); do setsid sh -c '{one}' & done; wait"),
        "forked" => format!(
            "for i in $(seq {count}); do (setsid sh -c '({one}) & exit' &) ; done; sleep 1000"
        ),
        "bare" => format!(
            "for i in $(seq {count}); do (env -i setsid sh -c '({one}) & exit' &) ; done; sleep 1000"
        ),
        "deaf" => format!("trap '' TERM; for i in $(seq {count}); do ({one}) & done; wait; {one}"),
        "short" => format!(
            "for i in $(seq {count}); do (while :; do sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; done) & done; wait"
        ),
        _ => unreachable!(),
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn cpu_time_holds() {
    let site = site();
    let seconds = std::env::var("NESSSI_REAL_CPU").map_or(6, |text| text.parse().unwrap());
    for kind in ["children", "setsid", "forked", "bare", "deaf", "short"] {
        for count in [1, 2, 4] {
            let wish = Wish {
                cpu: seconds,
                cpus: u32::try_from(count).unwrap(),
                ..sh(&busy(kind, count))
            };
            let began = Instant::now();
            let work = site.work(wish);
            let id = site.submit(&work).unwrap();
            let record = site.record(&work);
            let end = site.ended(&work, &id);
            println!(
                "  {kind} x{count}: {:?} by {} ms over {seconds} s, wall {} ms, ended {end:?} after {:?}",
                record.reason,
                (record.cpu_usec / 1000).saturating_sub(seconds * 1000),
                record.wall_usec / 1000,
                began.elapsed(),
            );
            assert_eq!(record.reason, EndReason::OverCpu);
        }
    }
}

/// The batch system's own limit, and the kernel's, hold a job that has ended its watcher.
#[test]
#[ignore = "wants a real batch system"]
fn cpu_time_holds_without_a_watcher() {
    let site = site();
    let unwatched = "for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline | grep -q \"watch .*$NESSSI_TAG\"; \
                     then kill -9 ${p#/proc/}; fi; done 2>/dev/null; ls .nesssi";
    for count in [1, 2] {
        let (_, id, record, end) = site.done(Wish {
            cpu: 6,
            wall: 100,
            ..sh(&format!("{unwatched}; {}", busy("children", count)))
        });
        println!("  {id} x{count}: {record:?} {end:?}");
        assert_eq!(record.reason, EndReason::OverCpu);
    }
}

#[test]
#[ignore = "wants a real batch system"]
fn wall_time_holds() {
    let site = site();
    let mark = mark();
    let (_, _, record, end) =
        site.done(Wish { wall: 3, ..sh(&format!("trap '' TERM; sleep {mark}; sleep {mark}")) });
    println!("  {record:?} {end:?}");
    assert_eq!(record.reason, EndReason::OverWall);
    assert_eq!(alive(&mark), 0);
}

#[test]
#[ignore = "wants a real batch system"]
fn what_it_uses_is_told_while_it_runs() {
    let site = site();
    let work = site.work(Wish { cpu: 300, ..sh("while :; do :; done") });
    let id = site.submit(&work).unwrap();
    wait_for(&work.sandbox.join(".nesssi/look"));
    std::thread::sleep(Duration::from_secs(8));
    println!("  {:?}", site.sight(&work, &id));
    if let Some(line) = site.dialect.usage(std::slice::from_ref(&id)) {
        for account in [&site.account, &site.other] {
            let ran = site.run_as(account, &line);
            println!("  {account}: {:?} {:?}", ran.text(), site.dialect.used(&ran.output()));
        }
    }
    site.run(&site.dialect.cancel(&id, &work.tag));
    println!("  {:?}", site.ended(&work, &id));
}
