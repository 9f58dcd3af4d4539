//! The TORQUE family: the text of `qstat -f`. Debian's `slurm-wlm-torque` wrappers speak it, too, in part.
//!
//! The wrapper `qsub` takes no script from standard input by itself, keeps only the last `-l`, and makes an
//! unquoted shell line of its arguments for `sbatch`. That inherits standard input, and opens `/dev/stdin`
//! (a pipe of the account's own, or a file; not a socket; and `-` would be a file's name). All arguments here
//! are words of letters, digits and `._+-:=,/`, so the line means what they are. They say nothing of why a job
//! waits or how it went, and `C` of a job as soon as it is cancelled, while its processes have Slurm's `KillWait`
//! to end: that none is left is said by the record, or by Slurm's own dialect, which is the better choice.

use crate::Tag;
use crate::batch::answers::{
    CancelAnswer, Exit, Listing, NoListing, NotSubmitted, Output, Refusal, clock, one_id, refusal,
};
use crate::batch::directive::{Directive, DirectiveError};
use crate::batch::id::BatchId;
use crate::batch::submission::Submission;
use crate::batch::{CommandLine, Dialect, DialectName, Listed, Programs, pbs, script, slurm};

/// Whose commands they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Maker {
    /// TORQUE's own.
    Torque,
    /// Slurm's wrappers, which give no CPU time to Slurm: the job's own watcher holds it.
    SlurmWrappers,
}

/// The dialect of TORQUE.
#[derive(Debug, Clone)]
pub struct Torque {
    programs: Programs,
    maker: Maker,
}

const REFUSALS: &[(Refusal, &[&str])] = &[
    (Refusal::UnknownQueue, &["unknown queue"]),
    (Refusal::Quota, &["maximum number of jobs", "would exceed", "max_user_queuable"]),
    (
        Refusal::Policy,
        &[
            "exceeds queue resource limits",
            "violates queue",
            "resource limits",
            "unauthorized request",
            "queue is not enabled",
            "bad uid",
            "access to queue is denied",
        ],
    ),
    (
        Refusal::Syntax,
        &[
            "illegal",
            "unknown resource",
            "invalid time limit",
            "unknown option",
            "usage:",
            "invalid request",
        ],
    ),
];

impl Torque {
    /// The dialect with its programs.
    #[must_use]
    pub fn new(programs: Programs, maker: Maker) -> Self {
        Self { programs, maker }
    }
}

impl Dialect for Torque {
    fn name(&self) -> DialectName {
        match self.maker {
            Maker::Torque => DialectName::Torque,
            Maker::SlurmWrappers => DialectName::TorqueOnSlurm,
        }
    }

    /// Older ones take 15 letters: 14 digits of the tag are still 56 random bits.
    fn job_name(&self, tag: &Tag) -> String {
        tag.as_str().chars().take(14).fold("n".to_owned(), |name, digit| name + &digit.to_string())
    }

    fn submit(&self, submission: &Submission) -> Result<CommandLine, DirectiveError> {
        let asked = submission.asked();
        let mut resources = format!("nodes=1:ppn={}", asked.cpus);
        let mut options = Vec::new();
        let mut counted = String::new();
        for directive in &asked.directives {
            match directive {
                Directive::Queue(word) => options.extend(["-q".to_owned(), word.to_string()]),
                Directive::Account(word) => options.extend(["-A".to_owned(), word.to_string()]),
                Directive::Feature(word) if self.maker == Maker::Torque => {
                    resources.push_str(&format!(":{word}"));
                }
                Directive::Resource(word, count) if self.maker == Maker::Torque => {
                    counted.push_str(&format!(",{word}={count}"));
                }
                Directive::Qos(_)
                | Directive::Reservation(_)
                | Directive::Feature(_)
                | Directive::Resource(..) => {
                    let directive = directive.name();
                    return Err(DirectiveError::Unsupported { dialect: "TORQUE", directive });
                }
            }
        }
        let (cpu, wall) = (submission.cpu_seconds_held(), asked.job.wall_seconds_max());
        resources.push_str(&format!(",walltime={}", clock(wall)));
        if self.maker == Maker::Torque {
            resources.push_str(&format!(",cput={}", clock(cpu)));
        }
        if let Some(mebibytes) = submission.memory_mib() {
            resources.push_str(&format!(",mem={mebibytes}mb"));
        }
        resources.push_str(&counted);
        let name = self.job_name(&asked.tag);
        let mut line =
            CommandLine::new(&self.programs.submit, &["-r", "n", "-m", "n", "-N", &name]);
        line.add(&["-o", "/dev/null", "-e", "/dev/null", "-l", &resources]);
        line.argv.extend(options);
        match self.maker {
            Maker::Torque => line.add(&["-S", "/bin/sh"]),
            Maker::SlurmWrappers => line.add(&["/dev/stdin"]),
        }
        line.stdin = script::render(submission);
        Ok(line)
    }

    fn submitted(&self, output: &Output<'_>) -> Result<BatchId, NotSubmitted> {
        match (output.exit, self.maker) {
            (Exit::Code(0), Maker::Torque) => one_id(output, BatchId::has_server),
            (Exit::Code(0), Maker::SlurmWrappers) => one_id(output, |id| !id.has_server()),
            (Exit::Code(_), _) => {
                let output = &said_by_slurm(output);
                let text = output.text();
                let words = output.words();
                if let Some(refused) = slurm::not_submitted(&text, &words) {
                    return Err(refused);
                }
                if pbs::is_down(&text) {
                    let certain =
                        text.contains("connection refused") || text.contains("unknown host");
                    return Err(NotSubmitted { refusal: Refusal::Down, certain, words });
                }
                let known = refusal(&text, REFUSALS);
                let refusal = known.unwrap_or(Refusal::Unknown);
                Err(NotSubmitted { refusal, certain: known.is_some(), words })
            }
            (Exit::Signal(_) | Exit::TimedOut, _) => Err(NotSubmitted {
                refusal: Refusal::Unknown,
                certain: false,
                words: output.words(),
            }),
        }
    }

    fn list(&self, listed: Listed<'_>) -> Vec<CommandLine> {
        let mut line = CommandLine::new(&self.programs.status, &["-f"]);
        if let Listed::These(ids) = listed {
            line.add_ids(ids);
        }
        vec![line]
    }

    fn listed(&self, output: &Output<'_>) -> Result<Listing, NoListing> {
        pbs::listed(
            output,
            match self.maker {
                Maker::Torque => pbs::Flavour::Torque,
                Maker::SlurmWrappers => pbs::Flavour::SlurmWrappers,
            },
        )
    }

    fn cancel(&self, id: &BatchId, _tag: &Tag) -> CommandLine {
        CommandLine::new(&self.programs.cancel, &[id.as_str()])
    }

    fn cancelled(&self, output: &Output<'_>) -> CancelAnswer {
        match (self.maker, output.exit) {
            // The wrapper says nothing at all of a job that it does not know, or that has ended.
            (Maker::SlurmWrappers, Exit::Code(1)) if output.words().is_empty() => {
                CancelAnswer::Gone(output.words())
            }
            _ => pbs::cancelled(output),
        }
    }
}

/// Without the wrapper's own report, which repeats the command line and so whatever a site calls its queues.
fn said_by_slurm<'a>(output: &Output<'a>) -> Output<'a> {
    const BEFORE: &[u8] = b"and the output was:\n";
    let start = output.stdout.windows(BEFORE.len()).position(|window| window == BEFORE);
    let rest = start.and_then(|start| output.stdout.get(start + BEFORE.len()..));
    Output { stdout: rest.unwrap_or(output.stdout), ..*output }
}
