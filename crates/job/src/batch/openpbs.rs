//! OpenPBS (held to 23.06): `qsub`, `qstat -f -F json` with the text of `qstat -f` behind it, `qdel`.

use crate::Tag;
use crate::batch::answers::{
    CancelAnswer, Exit, Listing, NoListing, NotSubmitted, Output, Refusal, clock, one_id, refusal,
};
use crate::batch::directive::{Directive, DirectiveError};
use crate::batch::id::BatchId;
use crate::batch::submission::Submission;
use crate::batch::{CommandLine, Dialect, DialectName, Listed, Programs, pbs, script};

/// The dialect of OpenPBS.
#[derive(Debug, Clone)]
pub struct OpenPbs {
    programs: Programs,
}

/// Exit codes are `(15000 + n) mod 256` of the server's error, `errno` or 1 or 2 of the command itself.
const CONNECT: [i32; 5] = [160, 161, 162, 163, 255];

const REFUSALS: &[(Refusal, &[&str])] = &[
    (Refusal::UnknownQueue, &["unknown queue"]),
    (
        Refusal::Quota,
        &["would exceed", "maximum number of jobs", "limit on", "max_queued", "max_run"],
    ),
    (
        Refusal::Policy,
        &[
            "violates queue",
            "resource limits",
            "unauthorized request",
            "queue is not enabled",
            "bad uid",
            "access to queue is denied",
            "bad gid",
            "not allowed",
        ],
    ),
    (
        Refusal::Syntax,
        &[
            "illegal",
            "unknown resource",
            "invalid option",
            "usage:",
            "job name is too long",
            "cannot be used with",
            "script file",
            "undefined attribute",
            "invalid request",
        ],
    ),
];

impl OpenPbs {
    /// The dialect with its programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self { programs }
    }
}

impl Dialect for OpenPbs {
    fn name(&self) -> DialectName {
        DialectName::OpenPbs
    }

    fn job_name(&self, tag: &Tag) -> String {
        super::long_name(tag)
    }

    fn submit(&self, submission: &Submission) -> Result<CommandLine, DirectiveError> {
        let asked = submission.asked();
        let mut select = format!("select=1:ncpus={}", asked.cpus);
        if let Some(mebibytes) = submission.memory_mib() {
            select.push_str(&format!(":mem={mebibytes}mb"));
        }
        let mut options = Vec::new();
        for directive in &asked.directives {
            match directive {
                Directive::Queue(word) => options.extend(["-q".to_owned(), word.to_string()]),
                Directive::Account(word) => options.extend(["-A".to_owned(), word.to_string()]),
                Directive::Resource(word, count) => select.push_str(&format!(":{word}={count}")),
                Directive::Qos(_) | Directive::Reservation(_) | Directive::Feature(_) => {
                    let (dialect, directive) = ("OpenPBS", directive.name());
                    return Err(DirectiveError::Unsupported { dialect, directive });
                }
            }
        }
        let name = self.job_name(&asked.tag);
        let cput = format!("cput={}", clock(submission.cpu_seconds_held()));
        let walltime = format!("walltime={}", clock(asked.job.wall_seconds_max()));
        let variable = format!("NESSSI_JOB={name}");
        // -f: without it a process stays behind for the account, and holds what it has inherited.
        let mut line =
            CommandLine::new(&self.programs.submit, &["-f", "-r", "n", "-m", "n", "-N", &name]);
        line.add(&["-S", "/bin/sh", "-o", "/dev/null", "-e", "/dev/null"]);
        line.add(&["-l", &select, "-l", &cput, "-l", &walltime, "-v", &variable]);
        line.argv.extend(options);
        line.stdin = script::render(submission);
        Ok(line)
    }

    fn submitted(&self, output: &Output<'_>) -> Result<BatchId, NotSubmitted> {
        match output.exit {
            Exit::Code(0) => one_id(output, BatchId::has_server),
            Exit::Code(code) => {
                let text = output.text();
                let words = output.words();
                if pbs::is_down(&text) || CONNECT.contains(&code) {
                    // What was refused at the door left nothing behind; a connection lost later may have.
                    let certain =
                        text.contains("connection refused") || text.contains("unknown host");
                    return Err(NotSubmitted { refusal: Refusal::Down, certain, words });
                }
                let known = refusal(&text, REFUSALS).or(match code {
                    2 => Some(Refusal::Syntax),
                    _ => None,
                });
                let refusal = known.unwrap_or(Refusal::Unknown);
                Err(NotSubmitted { refusal, certain: known.is_some(), words })
            }
            Exit::Signal(_) | Exit::TimedOut => Err(NotSubmitted {
                refusal: Refusal::Unknown,
                certain: false,
                words: output.words(),
            }),
        }
    }

    /// Of several ids the JSON tells the first alone, and says nothing of the others: for ids it is the text.
    fn list(&self, listed: Listed<'_>) -> Vec<CommandLine> {
        match listed {
            Listed::All => [["-f", "-F", "json"].as_slice(), &["-f"]]
                .map(|form| CommandLine::new(&self.programs.status, form))
                .to_vec(),
            // -x tells of ended jobs as well, as long as the server remembers them: for two weeks by default,
            // which is too much to be told of everybody each time.
            Listed::These(ids) => {
                let mut line = CommandLine::new(&self.programs.status, &["-x", "-f"]);
                line.add_ids(ids);
                vec![line]
            }
        }
    }

    fn listed(&self, output: &Output<'_>) -> Result<Listing, NoListing> {
        pbs::listed(output, pbs::Flavour::OpenPbs)
    }

    fn cancel(&self, id: &BatchId, _tag: &Tag) -> CommandLine {
        CommandLine::new(&self.programs.cancel, &[id.as_str()])
    }

    fn cancelled(&self, output: &Output<'_>) -> CancelAnswer {
        pbs::cancelled(output)
    }
}
