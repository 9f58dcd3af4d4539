//! Slurm (held to 22.05): `sbatch --parsable`, `squeue` in its JSON or in parsable text, `scancel`; `sacct` and `sstat` where
//! accounting runs.
//!
//! `--export=ALL` is the one choice with which Slurm runs no login shell to make up an environment: what is
//! exported is the environment that `sbatch` was started with, [`CommandLine::environment`](super::CommandLine).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Tag;
use crate::batch::answers::{
    BatchEnd, BatchState, CancelAnswer, Exit, LISTING_BYTES_MAX, Listing, NoListing, NotSubmitted,
    Numbers, Output, Refusal, Sighting, clock_seconds, one_id, refusal,
};
use crate::batch::directive::{Directive, DirectiveError};
use crate::batch::id::BatchId;
use crate::batch::submission::Submission;
use crate::batch::words::Words;
use crate::batch::{CommandLine, Dialect, DialectName, Listed, Programs, pbs, script};

/// The dialect of Slurm.
#[derive(Debug, Clone)]
pub struct Slurm {
    programs: Programs,
    json: bool,
}

const REFUSALS: &[(Refusal, &[&str])] = &[
    (Refusal::UnknownQueue, &["invalid partition specified", "invalid partition name"]),
    (
        Refusal::Quota,
        &[
            "violates accounting/qos policy",
            "submit limit",
            "maxsubmit",
            "job limit",
            "job count exceeds",
        ],
    ),
    (
        Refusal::Policy,
        &[
            "requested time limit is invalid",
            "more processors requested than permitted",
            "node count specification invalid",
            "memory specification can not be satisfied",
            "requested node configuration is not available",
            "requested partition configuration not available",
            "permission denied",
            "invalid account",
            "invalid qos",
            "user's group not permitted",
            "invalid feature",
            "reservation",
            "cpu count",
            "invalid user id",
            "partition is down",
            "required partition not available",
        ],
    ),
    (
        Refusal::Syntax,
        &[
            "unrecognized option",
            "invalid option",
            "unknown option",
            "does not look like a batch script",
            "dos line breaks",
            "unable to open file",
            "invalid generic resource",
            "invalid --",
            "requires an argument",
            "invalid numeric value",
            "batch script is empty",
            "pathname of a file",
        ],
    ),
];

/// What a refusal means. `None` for text that is not Slurm's.
pub(super) fn not_submitted(text: &str, words: &Words) -> Option<NotSubmitted> {
    let words = words.clone();
    let lost = [
        "socket timed out",
        "zero bytes were transmitted",
        "communication connection failure",
        "connection reset",
    ];
    if lost.iter().any(|phrase| text.contains(phrase)) {
        return Some(NotSubmitted { refusal: Refusal::Down, certain: false, words });
    }
    if text.contains("unable to contact slurm controller") {
        return Some(NotSubmitted {
            refusal: Refusal::Down,
            certain: text.contains("connect failure"),
            words,
        });
    }
    let refusal = refusal(text, REFUSALS)?;
    Some(NotSubmitted { refusal, certain: true, words })
}

impl Slurm {
    /// The dialect with its programs, for a version that has JSON or one that has not ([`Slurm::has_json`]).
    #[must_use]
    pub fn new(programs: Programs, json: bool) -> Self {
        Self { programs, json }
    }

    /// Whether the Slurm whose `sbatch --version` prints this lists its jobs as JSON: since 21.08.
    #[must_use]
    pub fn has_json(version: &str) -> bool {
        let mut numbers =
            version.trim().trim_start_matches("slurm").trim().split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (21, 8),
            _ => false,
        }
    }

    fn text_list(&self) -> CommandLine {
        // The name stands last: it alone may hold a bar.
        CommandLine::new(
            &self.programs.status,
            &["--noheader", "--states=all", "--format=%A|%T|%u|%M|%r|%j"],
        )
    }
}

impl Dialect for Slurm {
    fn name(&self) -> DialectName {
        DialectName::Slurm
    }

    fn job_name(&self, tag: &Tag) -> String {
        super::long_name(tag)
    }

    fn submit(&self, submission: &Submission) -> Result<CommandLine, DirectiveError> {
        let asked = submission.asked();
        // Slurm counts wall time in minutes.
        let minutes = asked.job.wall_seconds_max().div_ceil(60);
        let mut line = CommandLine::new(&self.programs.submit, &["--parsable", "--no-requeue"]);
        line.add(&["--output=/dev/null", "--error=/dev/null", "--input=/dev/null", "--chdir=/"]);
        line.add(&["--export=ALL", "--nodes=1", "--ntasks=1"]);
        line.argv.push(format!("--job-name={}", self.job_name(&asked.tag)));
        line.argv.push(format!("--cpus-per-task={}", asked.cpus));
        line.argv.push(format!("--time={minutes}"));
        line.argv.extend(submission.memory_mib().map(|mebibytes| format!("--mem={mebibytes}M")));
        let mut resources = Vec::new();
        for directive in &asked.directives {
            line.argv.push(match directive {
                Directive::Queue(word) => format!("--partition={word}"),
                Directive::Account(word) => format!("--account={word}"),
                Directive::Qos(word) => format!("--qos={word}"),
                Directive::Reservation(word) => format!("--reservation={word}"),
                Directive::Feature(word) => format!("--constraint={word}"),
                Directive::Resource(word, count) => {
                    resources.push(format!("{word}:{count}"));
                    continue;
                }
            });
        }
        if !resources.is_empty() {
            line.argv.push(format!("--gres={}", resources.join(",")));
        }
        line.stdin = script::render(submission);
        Ok(line)
    }

    fn submitted(&self, output: &Output<'_>) -> Result<BatchId, NotSubmitted> {
        match output.exit {
            Exit::Code(0) => {
                // Where there are several clusters, the id is followed by the cluster's name.
                let semicolon = output.stdout.iter().position(|byte| *byte == b';');
                let (id, cluster) =
                    output.stdout.split_at(semicolon.unwrap_or(output.stdout.len()));
                let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b";_-.\n".contains(byte);
                if !cluster.iter().all(letter)
                    || cluster.iter().rev().skip(1).any(|byte| *byte == b'\n')
                {
                    return one_id(output, |_| false);
                }
                // The end of the line is the cluster's where there is one.
                let id = if semicolon.is_some() && cluster.ends_with(b"\n") {
                    [id, b"\n"].concat()
                } else {
                    id.to_vec()
                };
                one_id(&Output { stdout: &id, ..*output }, |id| !id.has_server())
            }
            Exit::Code(_) => {
                let words = output.words();
                Err(not_submitted(&output.text(), &words).unwrap_or(NotSubmitted {
                    refusal: Refusal::Unknown,
                    certain: false,
                    words,
                }))
            }
            Exit::Signal(_) | Exit::TimedOut => Err(NotSubmitted {
                refusal: Refusal::Unknown,
                certain: false,
                words: output.words(),
            }),
        }
    }

    /// The JSON of 22.05 lists all jobs, whichever were asked for.
    fn list(&self, listed: Listed<'_>) -> Vec<CommandLine> {
        let json = self.json.then(|| CommandLine::new(&self.programs.status, &["--json"]));
        let mut lines: Vec<CommandLine> = json.into_iter().chain([self.text_list()]).collect();
        if let Listed::These(ids) = listed {
            lines.iter_mut().for_each(|line| line.argv.push(format!("--jobs={}", joined(ids))));
        }
        lines
    }

    fn listed(&self, output: &Output<'_>) -> Result<Listing, NoListing> {
        if let Some(answer) = failed(output)? {
            return Ok(answer);
        }
        match output.stdout.trim_ascii_start().first() {
            Some(b'{') => from_json(output.stdout),
            _ => Ok(from_lines(output.stdout, 6, squeue_line)),
        }
    }

    fn account(&self, ids: &[BatchId]) -> Option<CommandLine> {
        let mut line = CommandLine::new(
            self.programs.account.as_ref()?,
            &["--parsable2", "--noheader", "--duplicates"],
        );
        line.add(&["--format=JobIDRaw,State,User,ElapsedRaw,TotalCPU,ExitCode,JobName"]);
        line.argv.push(format!("--jobs={}", joined(ids)));
        Some(line)
    }

    fn accounted(&self, output: &Output<'_>) -> Result<Listing, NoListing> {
        if output.text().contains("accounting storage is disabled") {
            return Err(NoListing::NoAccounts(output.words()));
        }
        if let Some(answer) = failed(output)? {
            return Ok(answer);
        }
        Ok(from_lines(output.stdout, 7, sacct_line))
    }

    fn usage(&self, ids: &[BatchId]) -> Option<CommandLine> {
        let mut line = CommandLine::new(
            self.programs.usage.as_ref()?,
            &["--allsteps", "--noheader", "--parsable2"],
        );
        line.add(&["--format=JobID,NTasks,AveCPU"]);
        line.argv.push(format!("--jobs={}", joined(ids)));
        Some(line)
    }

    /// Each step says the mean of its tasks.
    fn used(&self, output: &Output<'_>) -> Result<BTreeMap<BatchId, u64>, NoListing> {
        if let Some(_nothing) = failed(output)? {
            return Ok(BTreeMap::new());
        }
        let mut used: BTreeMap<BatchId, u64> = BTreeMap::new();
        for line in String::from_utf8_lossy(output.stdout).lines() {
            let words: Vec<&str> = line.split('|').collect();
            let [step, tasks, mean] = words.as_slice() else { continue };
            let id = step.split('.').next().and_then(|id| BatchId::parse(id).ok());
            let (Some(id), Ok(tasks), Some(mean)) = (id, tasks.parse::<u32>(), clock_seconds(mean))
            else {
                continue;
            };
            let sum = used.entry(id).or_default();
            *sum = sum.saturating_add(mean.saturating_mul(tasks.into()));
        }
        Ok(used)
    }

    /// The name beside the id, both of which must fit: an id that was given again is another's job by now.
    fn cancel(&self, id: &BatchId, tag: &Tag) -> CommandLine {
        let name = format!("--jobname={}", self.job_name(tag));
        CommandLine::new(&self.programs.cancel, &[&name, id.as_str()])
    }

    fn cancelled(&self, output: &Output<'_>) -> CancelAnswer {
        let (text, words) = (output.text(), output.words());
        match output.exit {
            Exit::Signal(_) | Exit::TimedOut => CancelAnswer::Unknown(words),
            _ if text.contains("permission denied") => CancelAnswer::Refused(words),
            _ if text.contains("invalid job id")
                || text.contains("already completing or completed") =>
            {
                CancelAnswer::Gone(words)
            }
            // It says this much of a job that it does not know, too.
            Exit::Code(0) => CancelAnswer::Asked,
            Exit::Code(_) if pbs::is_down(&text) => CancelAnswer::Down(words),
            Exit::Code(_) => CancelAnswer::Unknown(words),
        }
    }
}

fn joined(ids: &[BatchId]) -> String {
    ids.iter().map(BatchId::as_str).collect::<Vec<_>>().join(",")
}

/// What a failed command means; an empty listing where the only thing wrong is an id that is not known any more.
fn failed(output: &Output<'_>) -> Result<Option<Listing>, NoListing> {
    if output.stdout.len() > LISTING_BYTES_MAX {
        return Err(NoListing::TooLong);
    }
    let alone = Output { stdout: b"", ..*output };
    let (said, words) = (alone.text(), alone.words());
    match output.exit {
        Exit::Code(0) => Ok(None),
        Exit::Code(_) if said.contains("invalid job id") => Ok(Some(Listing::default())),
        Exit::Code(_) if pbs::is_down(&said) => Err(NoListing::Down(words)),
        // Another form may be asked for.
        Exit::Code(_) if said.contains("unrecognized option") || said.contains("plugin") => {
            Err(NoListing::NotUnderstood(words))
        }
        Exit::Code(_) | Exit::Signal(_) | Exit::TimedOut => Err(NoListing::Failed(words)),
    }
}

/// Lines of so many fields with bars between, of which the last may hold bars itself.
fn from_lines(bytes: &[u8], fields: usize, read: impl Fn(&[&str]) -> Read) -> Listing {
    let mut listing = Listing::default();
    let mut numbers = Numbers::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let words: Vec<&str> = line.splitn(fields, '|').collect();
        match read(&words) {
            Read::Job(sighting) => {
                numbers.note(sighting.id.as_str());
                listing.note(*sighting);
            }
            Read::Step => {}
            Read::Not => listing.unread += usize::from(!line.trim().is_empty()),
        }
    }
    listing.doubt(&numbers);
    listing
}

enum Read {
    Job(Box<Sighting>),
    /// A step of a job, or an array's task: nobody's of ours.
    Step,
    Not,
}

fn squeue_line(words: &[&str]) -> Read {
    let [id, state, owner, elapsed, reason, name] = words else { return Read::Not };
    let Ok(id) = BatchId::parse(id) else { return Read::Not };
    let comment = Some(*reason).filter(|reason| *reason != "None").unwrap_or_default();
    Read::Job(Box::new(Sighting {
        id,
        name: (*name).to_owned(),
        owner: (*owner).to_owned(),
        state: state_of(state, reason, None),
        cpu_seconds: None,
        wall_seconds: clock_seconds(elapsed),
        comment: Words::of(comment.as_bytes()),
    }))
}

fn sacct_line(words: &[&str]) -> Read {
    let [id, state, owner, elapsed, cpu, exit, name] = words else { return Read::Not };
    if id.contains(['.', '_', '+']) {
        return Read::Step;
    }
    let Ok(id) = BatchId::parse(id) else { return Read::Not };
    let status = exit.split_once(':').and_then(|(code, signal)| {
        let (code, signal) = (code.parse::<i32>().ok()?, signal.parse::<i32>().ok()?);
        Some(if signal == 0 { BatchEnd::Exited(code) } else { BatchEnd::Signalled(signal) })
    });
    Read::Job(Box::new(Sighting {
        id,
        name: (*name).to_owned(),
        owner: (*owner).to_owned(),
        state: state_of(state, "", status),
        cpu_seconds: clock_seconds(cpu),
        wall_seconds: elapsed.parse().ok(),
        comment: Words::default(),
    }))
}

/// Slurm's state, with what is said of the exit. `CANCELLED by 1001` is `CANCELLED`.
fn state_of(state: &str, reason: &str, status: Option<BatchEnd>) -> BatchState {
    let end = |end: BatchEnd| BatchState::Ended(end);
    match state.split(' ').next().unwrap_or_default() {
        "PENDING" | "REQUEUED" | "CONFIGURING" | "RESV_DEL_HOLD" => match reason {
            _ if reason.starts_with("JobHeld") => BatchState::Held,
            _ => BatchState::Queued,
        },
        "REQUEUE_HOLD" | "SPECIAL_EXIT" => BatchState::Held,
        "RUNNING" | "SUSPENDED" | "STOPPED" | "RESIZING" | "SIGNALING" => BatchState::Running,
        "COMPLETING" | "STAGE_OUT" => BatchState::Exiting,
        "COMPLETED" => end(BatchEnd::Exited(0)),
        // The node could not run the script: it has no directory for it, or the account is not known there.
        "FAILED" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => match status {
            Some(BatchEnd::Signalled(53)) => end(BatchEnd::StartFailed),
            Some(status) => end(status),
            None => end(BatchEnd::Unsaid),
        },
        "CANCELLED" | "REVOKED" => end(BatchEnd::Cancelled),
        "TIMEOUT" | "DEADLINE" => end(BatchEnd::OverWall),
        "OUT_OF_MEMORY" => end(BatchEnd::OverMemory),
        "NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" => end(BatchEnd::NodeFailed),
        _ => BatchState::Unknown,
    }
}

#[derive(Deserialize)]
struct JsonListing<'a> {
    #[serde(borrow)]
    jobs: Vec<&'a RawValue>,
    #[serde(default)]
    errors: Option<Vec<IgnoredAny>>,
}

/// What is used of a job, in the form of 22.05 and in those after.
#[derive(Deserialize)]
struct JsonJob {
    job_id: u64,
    name: String,
    #[serde(default)]
    user_name: Option<String>,
    /// A word, or a list of them.
    job_state: Value,
    #[serde(default)]
    state_reason: Option<String>,
    /// A wait status, or what one means.
    #[serde(default)]
    exit_code: Value,
}

fn from_json(bytes: &[u8]) -> Result<Listing, NoListing> {
    let not_understood = |error: serde_json::Error| {
        NoListing::NotUnderstood(Words::of(error.to_string().as_bytes()))
    };
    let read: JsonListing<'_> = serde_json::from_slice(bytes).map_err(not_understood)?;
    // While its controller is away 22.05 says so here alone: it lists no job and exits with 0. The other form has the words.
    if read.errors.is_some_and(|errors| !errors.is_empty()) {
        return Err(NoListing::NotUnderstood(Words::of(b"its JSON tells of errors")));
    }
    let mut listing = Listing::default();
    for raw in read.jobs {
        let job = serde_json::from_str::<JsonJob>(raw.get()).ok();
        let id = job.as_ref().and_then(|job| BatchId::parse(&job.job_id.to_string()).ok());
        let (Some(job), Some(id)) = (job, id) else {
            listing.unread += 1;
            continue;
        };
        let reason = job.state_reason.unwrap_or_default();
        let state = json_state(&job.job_state, &reason, wait_status(&job.exit_code));
        let comment = Some(reason.as_str()).filter(|reason| *reason != "None").unwrap_or_default();
        listing.note(Sighting {
            id,
            name: job.name,
            owner: job.user_name.unwrap_or_default(),
            state,
            cpu_seconds: None,
            wall_seconds: None,
            comment: Words::of(comment.as_bytes()),
        });
    }
    Ok(listing)
}

/// Of several words, as `["CANCELLED", "COMPLETING"]`, the one that says that the job is not over yet counts.
fn json_state(state: &Value, reason: &str, status: Option<BatchEnd>) -> BatchState {
    let of = |word: &Value| {
        word.as_str().map_or(BatchState::Unknown, |word| state_of(word, reason, status))
    };
    match state {
        Value::Array(words) if words.is_empty() => BatchState::Unknown,
        Value::Array(words) => {
            let mut states = words.iter().map(of).filter(|state| *state != BatchState::Unknown);
            let first = states.next().unwrap_or(BatchState::Unknown);
            states.fold(
                first,
                |kept, next| if matches!(kept, BatchState::Ended(_)) { next } else { kept },
            )
        }
        word => of(word),
    }
}

fn wait_status(value: &Value) -> Option<BatchEnd> {
    let number = |value: &Value| value.as_i64().or_else(|| value.get("number")?.as_i64());
    let small =
        |number: i64| i32::try_from(number).ok().filter(|number| (0..=255).contains(number));
    if let Some(status) = value.as_i64() {
        let (code, signal) = (small(status >> 8 & 0xff)?, small(status & 0x7f)?);
        return Some(if signal == 0 {
            BatchEnd::Exited(code)
        } else {
            BatchEnd::Signalled(signal)
        });
    }
    let signal = value
        .get("signal")
        .and_then(|signal| number(signal.get("id").or(signal.get("signal_id"))?));
    match signal.and_then(small).filter(|signal| *signal != 0) {
        Some(signal) => Some(BatchEnd::Signalled(signal)),
        None => Some(BatchEnd::Exited(small(number(value.get("return_code")?)?)?)),
    }
}
