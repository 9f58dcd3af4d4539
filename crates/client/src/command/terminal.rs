//! What only a terminal gets: progress, colours, and the question for a passphrase.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nesssi_client::{AskPassphrase, Progress, State};

use super::show::terminal_safe;

/// Bytes of a passphrase's file that are read.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
/// How often a line of progress is written anew.
const LINE_MILLISECONDS: u64 = 100;

/// Who knows the passphrase of a key: the file that was named (`-` is standard input), else whoever sits at
/// the terminal, where it is not shown. He is asked again where he was wrong.
pub(super) fn passphrase(from: Option<PathBuf>) -> AskPassphrase {
    if let Some(from) = from {
        return AskPassphrase::once(move |_| read_passphrase(&from));
    }
    let asked = AtomicBool::new(false);
    AskPassphrase::by(move |file| {
        let again = if asked.swap(true, Ordering::Relaxed) { "Wrong passphrase. " } else { "" };
        let name = file.display().to_string();
        rpassword::prompt_password(format!("{again}Passphrase for {}: ", terminal_safe(&name)))
    })
}

/// The first line of a file.
fn read_passphrase(from: &Path) -> io::Result<String> {
    let mut text = String::new();
    if from.as_os_str() == "-" {
        io::stdin().take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(from)?.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text)?;
    }
    let first = text.lines().next().unwrap_or_default();
    Ok(first.to_owned())
}

/// A line on standard error that is written over; nothing where that is no terminal.
#[derive(Debug)]
pub(super) struct Line {
    on: bool,
    written: Option<Instant>,
}

impl Line {
    pub(super) fn of_process(quiet: bool) -> Self {
        Self { on: !quiet && io::stderr().is_terminal(), written: None }
    }

    pub(super) fn progress(&mut self, progress: &Progress) {
        let amount = match progress.of {
            Some(of) if of > 0 => {
                let percent = u128::from(progress.bytes) * 100 / u128::from(of);
                format!("{percent:>3} %  {} of {}", bytes(progress.bytes), bytes(of))
            }
            _ => bytes(progress.bytes),
        };
        self.say(&format!("{}  {amount}", progress.path));
    }

    pub(super) fn say(&mut self, text: &str) {
        let pause = Duration::from_millis(LINE_MILLISECONDS);
        if !self.on || self.written.is_some_and(|when| when.elapsed() < pause) {
            return;
        }
        self.written = Some(Instant::now());
        let text = text.replace(['\n', '\t'], " ");
        eprint!("\r\x1b[K{}", terminal_safe(&text));
        io::stderr().flush().unwrap_or_default();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.written.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (count, 0, 0_usize);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (tenths, whole, unit) = (whole % 1024 * 10 / 1024, whole / 1024, unit + 1);
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}

/// Whether standard output may have colours: a terminal, and nobody said no (<https://no-color.org>).
pub(super) fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !unwanted && !dumb
}

/// A state, in its colour.
pub(super) fn state(state: State, colours: bool) -> String {
    let text = format!("{state:<10}");
    let colour = match state {
        _ if !colours => return text,
        State::Done => "32",
        State::Running => "36",
        State::Prepared | State::Queued => "33",
        State::Failed | State::Cancelled | State::OverLimit | State::Lost => "31",
        State::Unknown => return text,
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}
