//! `nesssi service logs`: the end of a service's log, and what comes.
//!
//! The server says where the log is and sees to it that there is one; the file is then read as whoever asks,
//! by the rights of the developers' group that it belongs to. A file that was moved away is followed beside
//! the one that has taken its place, since workers that live go on writing in it.

mod tail;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Failure;
use crate::control::{self, Where};
use tail::{Tail, TailError};

pub(crate) const HELP: &str = "\
What services print, tracebacks and what the server notes of their workers stand in the log. It takes
no other right than that to the control socket: the log belongs to the same group. A file that was moved
away or emptied is followed on. What a terminal would obey is shown as text.

Exit codes: 0 done, or ended by Ctrl-C; 1 refused or not readable, 2 wrong usage.";

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Most lines that are shown at first.
const LINES_MAX: u32 = 100_000;

/// Which log, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// The service's dotted name
    name: String,
    /// Go on as the log grows, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many lines of what is there
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=i64::from(LINES_MAX)))]
    lines: u32,
    #[command(flatten)]
    place: Where,
}

/// Prints, and follows if it is asked to.
///
/// # Errors
/// Why the log cannot be read.
pub(crate) fn run(words: &Words) -> Result<ExitCode, Failure> {
    let verb = control::Verb::ServiceLog(words.name.clone());
    let path = PathBuf::from(control::ask(&words.place, &verb)?);
    let ended = Tail::open(&path, words.lines)
        .and_then(|tail| follow(tail, words.follow, &mut io::stdout()))
        .or_else(TailError::unless_nobody_reads);
    ended.map_err(|error| hint(&path, &error))?;
    Ok(ExitCode::SUCCESS)
}

fn hint(path: &Path, error: &TailError) -> Failure {
    let shown = path.display();
    if error.is_permission() {
        let text = "it is for the group of the control socket: a group that you were put into holds \
                    from your next login on";
        return format!("{shown}: {error}: {text}").into();
    }
    format!("{shown}: {error}").into()
}

fn follow(mut tail: Tail, follow: bool, screen: &mut impl Write) -> Result<(), TailError> {
    tail.show(screen)?;
    if !follow {
        return tail.finish(screen);
    }
    go_on(&mut tail, screen)?;
    tail.finish(screen)
}

/// Shows what comes, until Ctrl-C.
#[tokio::main(flavor = "current_thread")]
async fn go_on(tail: &mut Tail, screen: &mut impl Write) -> Result<(), TailError> {
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            biased;
            heard = &mut stop => return heard.map_err(TailError::from),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        tail.look_for_successor();
        tail.show(screen)?;
    }
}
