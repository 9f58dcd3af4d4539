//! Administration is another program, so that this one holds no right and no code of it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The first words that are `nesssi-admin`'s.
const WORDS: [&str; 10] = [
    "service", "restart", "health", "demo", "explain", "access", "gridmap", "audit", "backup",
    "restore",
];
/// What `nesssi-admin` does about access.
const ACCESS_WORDS: [&str; 2] = ["check", "convert"];
/// What it gets of the environment; all else stays behind.
const ENVIRONMENT: [&str; 20] = [
    "HOME",
    "PATH",
    "TERM",
    "LANG",
    "LC_ALL",
    "TZ",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "COLUMNS",
    "NO_COLOR",
    "NESSSI_URL",
    "NESSSI_CA",
    "NESSSI_CONFIG",
    "NESSSI_CONTROL",
    "NESSSI_SOURCE",
    "X509_USER_PROXY",
    "X509_USER_CERT",
    "X509_USER_KEY",
    "X509_CERT_DIR",
];

/// Becomes `nesssi-admin` if the words are its, and returns only if they are not or it cannot be run.
pub(super) fn run(words: &[OsString]) -> Option<ExitCode> {
    let (_, words) = words.split_first()?;
    let verb = words.first()?.to_str()?;
    if !WORDS.contains(&verb) {
        return None;
    }
    // Edits of access are the server's, and what helps with them is said where its words are parsed.
    let is_about_files = |word: &OsString| ACCESS_WORDS.iter().any(|known| word == known);
    if verb == "access" && !words.get(1).is_some_and(is_about_files) {
        return None;
    }
    let program = beside_us(OsStr::new("nesssi-admin"));
    #[allow(
        clippy::disallowed_methods,
        reason = "the environment is emptied in the next line; this program links no other of ours"
    )]
    let mut command = std::process::Command::new(&program);
    command.env_clear().args(words);
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((*name, env::var_os(name)?))));
    let error = command.exec();
    eprintln!("nesssi: cannot run {}: {error}", program.display());
    Some(ExitCode::from(super::USAGE))
}

/// The path of the program `name` in this program's own directory.
fn beside_us(name: &OsStr) -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    own.parent().map(|directory| directory.join(name)).unwrap_or_else(|| PathBuf::from(name))
}
