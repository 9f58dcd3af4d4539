//! `qsub`, `qstat` and `qdel`, with the words of OpenPBS 23.06.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::Duration;

use super::job::{StandInJob, StandInState};
use super::plan::{Fault, Manner, Plan};
use super::state::{State, now_ms};
use super::{SERVER, listing};

/// What a command is about to say.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
    pub(super) code: u8,
}

impl Answer {
    fn error(code: u8, words: &str) -> Self {
        Self { stderr: format!("{words}\n"), code, ..Self::default() }
    }

    fn print(&self) -> ExitCode {
        // Whoever reads may have had enough.
        std::io::stdout().write_all(&self.stdout).ok();
        std::io::stdout().flush().ok();
        std::io::stderr().write_all(self.stderr.as_bytes()).ok();
        ExitCode::from(self.code)
    }
}

/// Runs a command.
pub(super) fn run(command: &str, arguments: &[String], state: &State) -> ExitCode {
    let uid = rustix::process::getuid().as_raw();
    state.note("calls", &format!("{uid} {command} {}", arguments.join(" ")));
    if arguments.iter().any(|word| word == "--version") {
        println!("pbs_version = 23.06.06");
        return ExitCode::SUCCESS;
    }
    let plan = state.plan();
    let manner = match command {
        "qsub" => &plan.qsub,
        "qstat" => &plan.qstat,
        _ => &plan.qdel,
    };
    std::thread::sleep(Duration::from_millis(manner.delay_ms));
    let fault = fault_of_this_call(manner, state, command);
    let same_id = fault == Some(Fault::SameId);
    let work = || match command {
        "qsub" => submit(arguments, &plan, same_id, state),
        "qstat" => list(arguments, &plan, state),
        _ => delete(arguments, &plan, state),
    };
    match fault {
        None => work().print(),
        Some(fault) if fault.works() => gone_wrong(command, &fault, work()),
        Some(fault) => gone_wrong(command, &fault, Answer::default()),
    }
}

fn fault_of_this_call(manner: &Manner, state: &State, command: &str) -> Option<Fault> {
    let fault = manner.fault.clone()?;
    if manner.every == 0 && manner.until_call == 0 {
        return Some(fault);
    }
    let call = state.calls(command);
    let over = manner.until_call != 0 && call > manner.until_call;
    let passed_over = manner.every != 0 && !call.is_multiple_of(manner.every);
    (!over && !passed_over).then_some(fault)
}

/// What is said in place of the answer.
fn gone_wrong(command: &str, fault: &Fault, answer: Answer) -> ExitCode {
    let errors = |code, words: &str| Answer::error(code, &format!("{command}: {words}")).print();
    match fault {
        Fault::Hang | Fault::HangAfter => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        Fault::Garbage | Fault::GarbageAfter => {
            let stdout = b"\x00\xff\x1b[31m{\"Jobs\": }<html>; rm -rf /\n12.\n".to_vec();
            Answer { stdout, ..Answer::default() }.print()
        }
        Fault::SilentAfter => ExitCode::SUCCESS,
        Fault::LostAfter => errors(1, "End of File"),
        Fault::Killed | Fault::KilledAfter => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
            ExitCode::FAILURE
        }
        Fault::GermanAfter => {
            let said = String::from_utf8_lossy(&answer.stdout).into_owned();
            let (stdout, stderr, code) = match command {
                "qsub" => (format!("Auftrag {} wurde angenommen.\n", said.trim()), "", 0),
                "qstat" => ("Auftrag  Name  Benutzer  Zustand\n".to_owned(), "", 0),
                _ => (String::new(), "qdel: Der Auftrag wird beendet.\n", 1),
            };
            Answer { stdout: stdout.into(), stderr: stderr.to_owned(), code }.print()
        }
        Fault::Down => down(command).print(),
        Fault::Policy if command == "qsub" => {
            errors(188, "Job violates queue and/or server resource limits")
        }
        Fault::Policy => errors(159, "Unauthorized Request "),
        Fault::Quota => errors(189, "would exceed queue generic's per-user limit"),
        Fault::UnknownQueue => errors(170, "Unknown queue"),
        Fault::Syntax => errors(2, "invalid option -- 'y'\nusage: as it says"),
        Fault::Strange => errors(77, "the flux is not capacitated"),
        Fault::SameId => answer.print(),
        Fault::Array => {
            let said = String::from_utf8_lossy(&answer.stdout).replace('.', "[].");
            Answer { stdout: said.into(), ..answer }.print()
        }
        Fault::Half | Fault::HalfFailed => {
            let half = answer.stdout.len() / 2;
            let failed = *fault == Fault::HalfFailed;
            Answer {
                stdout: answer.stdout[..half].to_vec(),
                stderr: if failed {
                    format!("{command}: Premature end of message\n")
                } else {
                    String::new()
                },
                code: u8::from(failed),
            }
            .print()
        }
        Fault::HugeAfter { bytes } => {
            let block = [b'x'; 64 * 1024];
            let mut left = *bytes;
            while left > 0 && std::io::stdout().write_all(&block).is_ok() {
                left = left.saturating_sub(block.len() as u64);
            }
            ExitCode::SUCCESS
        }
    }
}

fn down(command: &str) -> Answer {
    let (code, words) = match command {
        "qdel" => (162, format!("Couldn't connect to cluster: {SERVER}")),
        "qstat" => (255, format!("qstat: cannot connect to server {SERVER} (errno=15010)")),
        _ => (162, format!("{command}: cannot connect to server {SERVER} (errno=15010)")),
    };
    Answer::error(code, &format!("Connection refused\n{words}"))
}

/// `qsub`: the options that OpenPBS's dialect uses, and no script but on standard input.
fn submit(arguments: &[String], plan: &Plan, same_id: bool, state: &State) -> Answer {
    let mut job = StandInJob {
        number: 0,
        serial: 0,
        name: "STDIN".to_owned(),
        owner: owner(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        queue: "workq".to_owned(),
        resources: Vec::new(),
        select: "1:ncpus=1".to_owned(),
        variables: Vec::new(),
        submit_arguments: arguments.join(" "),
        rerunnable: true,
        state: StandInState::Queued,
        submitted: now_ms() / 1000,
        started: None,
        ended_ms: None,
        session: None,
        run_count: 0,
        exit_status: None,
        substate: 10,
        cput: 0,
        comment: plan.waiting_comment.clone().unwrap_or_default(),
    };
    if let Err(refused) = take_options(arguments, &mut job) {
        return refused;
    }
    if job.uid == 0 {
        return Answer::error(175, "qsub: Bad UID for job execution");
    }
    if let Some(words) = &plan.hold {
        job.state = StandInState::Held;
        job.comment.clone_from(words);
    }
    let mut script = Vec::new();
    std::io::stdin().read_to_end(&mut script).unwrap();
    let lock = state.lock();
    (job.number, job.serial) = state.next(same_id);
    let path = state.path(&format!("scripts/{}", job.serial));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(&script).unwrap();
    state.write_job(&job);
    fs::write(state.path(&format!("new/{}", job.serial)), job.number.to_string()).unwrap();
    drop(lock);
    Answer { stdout: format!("{}\n", job.id()).into(), ..Answer::default() }
}

fn take_options(arguments: &[String], job: &mut StandInJob) -> Result<(), Answer> {
    let usage = |words: String| Answer::error(2, &format!("qsub: {words}\nusage: qsub [-f ] ..."));
    let mut words = arguments.iter();
    while let Some(option) = words.next() {
        if matches!(option.as_str(), "-f" | "-z") {
            continue;
        }
        if option == "-J" {
            return Err(usage("the stand-in has no arrays".to_owned()));
        }
        let takes_one = option.len() == 2 && "-aAceNoSpPqrlmMvWjk".contains(&option[1..]);
        if !option.starts_with('-') {
            return Err(Answer::error(1, "qsub: script file:: No such file or directory"));
        }
        if !takes_one {
            return Err(usage(format!("invalid option -- '{}'", &option[1..])));
        }
        let Some(value) = words.next() else {
            return Err(usage(format!("option requires an argument -- '{}'", &option[1..])));
        };
        take_option(option, value, job)?;
    }
    Ok(())
}

fn take_option(option: &str, value: &str, job: &mut StandInJob) -> Result<(), Answer> {
    let pairs = || value.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    match option {
        "-N" if value.len() > 236 => {
            return Err(Answer::error(2, "qsub: illegal -N value\nusage: qsub [-f ] ..."));
        }
        "-N" => value.clone_into(&mut job.name),
        "-r" => job.rerunnable = value == "y",
        "-q" if value == "workq" || value == "long" => value.clone_into(&mut job.queue),
        "-q" if value == "closed" => return Err(Answer::error(173, "qsub: Queue is not enabled")),
        "-q" if value == "short" => value.clone_into(&mut job.queue),
        "-q" => return Err(Answer::error(170, "qsub: Unknown queue")),
        "-v" => {
            job.variables =
                pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        }
        "-l" if value.starts_with("select=") => {
            value["select=".len()..].clone_into(&mut job.select)
        }
        "-l" => {
            for (name, value) in pairs() {
                if !["cput", "walltime", "mem", "ncpus", "place"].contains(&name) {
                    let words = format!("qsub: Unknown resource Resource_List.{name}");
                    return Err(Answer::error(187, &words));
                }
                job.resources.push((name.to_owned(), value.to_owned()));
            }
        }
        _ => {}
    }
    // The queue `short` is of ten minutes.
    if job.queue == "short" && job.limit_seconds("walltime").is_some_and(|wall| wall > 600) {
        return Err(Answer::error(188, "qsub: Job violates queue and/or server resource limits"));
    }
    Ok(())
}

/// `qstat`.
fn list(arguments: &[String], plan: &Plan, state: &State) -> Answer {
    let (mut full, mut ended, mut json) = (false, false, false);
    let mut ids = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-F" => json = words.next().is_some_and(|form| form == "json"),
            flags
                if flags.starts_with('-') && flags[1..].chars().all(|flag| "fx".contains(flag)) =>
            {
                full |= flags.contains('f');
                ended |= flags.contains('x');
            }
            flags if flags.starts_with('-') => {
                return Answer::error(2, &format!("qstat: invalid option -- '{}'", &flags[1..]));
            }
            id => ids.push(id.to_owned()),
        }
    }
    let known = if plan.forgets { Vec::new() } else { remembered(plan, state) };
    let mut answer = Answer::default();
    let mut told = Vec::new();
    if ids.is_empty() {
        told.extend(known.iter().filter(|job| ended || job.state != StandInState::Finished));
    }
    let asked = ids.len();
    for id in ids {
        let found = number_of(&id).and_then(|number| known.iter().find(|job| job.number == number));
        match found {
            Some(job) if job.state == StandInState::Finished && !ended => {
                let words = "Job has finished, use -x or -H to obtain historical job information";
                answer.stderr.push_str(&format!("qstat: {} {words}\n", job.id()));
                answer.code = 35;
            }
            Some(job) => told.push(job),
            None => {
                answer.stderr.push_str(&format!("qstat: Unknown Job Id {}\n", whole_id(&id)));
                answer.code = 153;
            }
        }
    }
    if json && asked > 0 {
        // So does OpenPBS 23.06: of several ids its JSON tells the first alone.
        told.truncate(1);
    }
    answer.stdout = match (full, json) {
        (true, true) => listing::json(&told),
        (true, false) => listing::text(&told),
        (false, _) => listing::brief(&told),
    };
    answer
}

/// `qdel`.
fn delete(arguments: &[String], plan: &Plan, state: &State) -> Answer {
    let mut answer = Answer::default();
    let me = rustix::process::getuid().as_raw();
    for id in arguments.iter().filter(|word| !word.starts_with('-')) {
        let Some(number) = number_of(id) else {
            return Answer::error(1, &format!("qdel: illegally formed job identifier: {id}"));
        };
        let _lock = state.lock();
        let known = remembered(plan, state).into_iter().find(|job| job.number == number);
        let (code, words) = match known.filter(|_| !plan.forgets) {
            None => (153, format!("Unknown Job Id {}", whole_id(id))),
            Some(job) if me != 0 && job.uid != me => {
                (159, format!("Unauthorized Request  {}", job.id()))
            }
            Some(job) if job.state == StandInState::Finished => {
                (35, format!("Job has finished {}", job.id()))
            }
            Some(job) => {
                fs::write(state.path(&format!("delete/{}", job.number)), owner()).unwrap();
                continue;
            }
        };
        answer.code = code;
        answer.stderr.push_str(&format!("qdel: {words}\n"));
    }
    answer
}

fn remembered(plan: &Plan, state: &State) -> Vec<StandInJob> {
    let now = now_ms();
    let mut jobs = state.jobs();
    jobs.retain(|job| job.ended_ms.is_none_or(|ended| now < ended + plan.remembers_ms));
    jobs
}

/// The number in `N` or `N.pbs`.
fn number_of(id: &str) -> Option<u64> {
    let number = id.strip_suffix(&format!(".{SERVER}")).unwrap_or(id);
    number.parse().ok()
}

fn whole_id(id: &str) -> String {
    if id.contains('.') { id.to_owned() } else { format!("{id}.{SERVER}") }
}

/// The name of the account that calls.
fn owner() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid.as_str()));
    line.and_then(|line| line.split(':').next()).map_or(uid, str::to_owned)
}
