//! The command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use nesssi_job::batch::{DialectName, Program, Programs};

/// What the process was asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Which of its lives.
    pub mode: Mode,
}

/// The lives of the binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Say whether the system has what is needed, and the account its directory where it would open that itself.
    Check(Option<OwnDirectory>),
    /// Look at one service's folder as whoever runs this, as discovery would, and write the findings.
    Look(Look),
    /// Be an account's jobmanager.
    Serve {
        /// The account's name, for the log.
        account: String,
        /// Absolute path of the account's directory of sandboxes, as jobs see it.
        sandboxes: PathBuf,
        /// What descriptor 4 is.
        handed: Handed,
        /// The trees that may be read, by name.
        trees: Vec<(String, PathBuf)>,
        /// The batch systems that may be used, beside the local one.
        batch: Vec<BatchSystemArgument>,
    },
}

/// What is handed over as descriptor 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The account's directory of sandboxes.
    Own,
    /// The root of sandboxes: the account opens its directory in it, or makes it.
    Root,
}

/// Where an account's directory is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDirectory {
    /// The account's name.
    pub account: String,
    /// The root of sandboxes.
    pub root: PathBuf,
}

/// A batch system with its commands, which the monitor has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSystemArgument {
    /// Its name in the configuration.
    pub name: String,
    /// How it is spoken to; none is found out by asking.
    pub dialect: Option<DialectName>,
    /// Its commands.
    pub programs: Programs,
    /// How many of them at one time.
    pub commands_at_once: usize,
    /// How long one may take.
    pub command_seconds_max: Duration,
}

/// A folder to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Absolute path of the folder.
    pub folder: PathBuf,
    /// The dotted name that the service is to have.
    pub name: String,
    /// How long its code may take to describe itself.
    pub seconds_max: u32,
    /// The worker's program, its arguments and its mode.
    pub argv: Vec<String>,
}

/// A command line that nobody meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Not one of the forms.
    #[error(
        "usage: nesssi-jobmanager --check [--account NAME --sandboxes DIRECTORY --shared] | \
         --account NAME --sandboxes DIRECTORY [--shared] [--tree NAME=DIRECTORY]... \
         [--batch NAME,KEY=VALUE,...]... | \
         --look FOLDER --service NAME --seconds N -- PROGRAM [ARGUMENT]..."
    )]
    Usage,
    /// A batch system without one of its keys, or with one that is no such thing.
    #[error("--batch: {0}")]
    Batch(&'static str),
    /// A directory is relative.
    #[error("--sandboxes, --tree and --look need absolute paths")]
    NotAbsolute,
}

impl Arguments {
    /// Reads the command line, the program's own name left out.
    ///
    /// # Errors
    /// [`ArgumentsError`].
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentsError> {
        let mut words = words.into_iter();
        let (mut account, mut sandboxes, mut check) = (None, None, false);
        let mut handed = Handed::Own;
        let (mut trees, mut batch) = (Vec::new(), Vec::new());
        let (mut folder, mut service, mut seconds) = (None, None, None);
        let mut argv = Vec::new();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--check") => check = true,
                Some("--shared") => handed = Handed::Root,
                Some("--account") => {
                    account = words.next().and_then(|word| word.into_string().ok())
                }
                Some("--sandboxes") => sandboxes = words.next().map(PathBuf::from),
                Some("--tree") => {
                    let tree = words.next().and_then(|word| named(&word));
                    trees.push(tree.ok_or(ArgumentsError::Usage)?);
                }
                Some("--batch") => {
                    let system = words.next().and_then(|word| word.into_string().ok());
                    batch.push(BatchSystemArgument::parse(&system.ok_or(ArgumentsError::Usage)?)?);
                }
                Some("--look") => folder = words.next().map(PathBuf::from),
                Some("--service") => {
                    service = words.next().and_then(|word| word.into_string().ok())
                }
                Some("--seconds") => {
                    let text = words.next().and_then(|word| word.into_string().ok());
                    seconds = text.and_then(|text| text.parse().ok());
                }
                Some("--") => {
                    let rest = words.by_ref().map(OsString::into_string);
                    argv = rest.collect::<Result<_, _>>().map_err(|_| ArgumentsError::Usage)?;
                }
                _ => return Err(ArgumentsError::Usage),
            }
        }
        if let Some(folder) = folder {
            return match (service, seconds) {
                _ if !folder.is_absolute() => Err(ArgumentsError::NotAbsolute),
                (Some(name), Some(seconds_max)) if !argv.is_empty() => {
                    Ok(Self { mode: Mode::Look(Look { folder, name, seconds_max, argv }) })
                }
                _ => Err(ArgumentsError::Usage),
            };
        }
        match (check, account, sandboxes) {
            (true, Some(account), Some(sandboxes)) if handed == Handed::Root => {
                let root = sandboxes.parent().ok_or(ArgumentsError::NotAbsolute)?.to_owned();
                Ok(Self { mode: Mode::Check(Some(OwnDirectory { account, root })) })
            }
            (true, _, _) => Ok(Self { mode: Mode::Check(None) }),
            (false, Some(account), Some(sandboxes))
                if sandboxes.is_absolute() && trees.iter().all(|(_, path)| path.is_absolute()) =>
            {
                Ok(Self { mode: Mode::Serve { account, sandboxes, handed, trees, batch } })
            }
            (false, Some(_), Some(_)) => Err(ArgumentsError::NotAbsolute),
            _ => Err(ArgumentsError::Usage),
        }
    }
}

impl BatchSystemArgument {
    /// Reads `NAME,KEY=VALUE,...`: no name and no value has a comma.
    ///
    /// # Errors
    /// [`ArgumentsError::Batch`].
    pub fn parse(word: &str) -> Result<Self, ArgumentsError> {
        let mut parts = word.split(',');
        let name = parts.next().filter(|name| !name.is_empty() && !name.contains('='));
        let name = name.ok_or(ArgumentsError::Batch("there is no name"))?.to_owned();
        let mut values = BTreeMap::new();
        for part in parts {
            let (key, value) = part.split_once('=').ok_or(ArgumentsError::Batch("no value"))?;
            if values.insert(key, value).is_some() {
                return Err(ArgumentsError::Batch("a key stands there twice"));
            }
        }
        let wrong = |_| ArgumentsError::Batch("a command is no path of one");
        let mut program = |key| values.remove(key).map(Program::parse).transpose().map_err(wrong);
        let missing = ArgumentsError::Batch("a command is missing");
        let programs = Programs {
            submit: program("submit")?.ok_or_else(|| missing.clone())?,
            status: program("status")?.ok_or_else(|| missing.clone())?,
            cancel: program("cancel")?.ok_or(missing)?,
            account: program("account")?,
            usage: program("usage")?,
        };
        let dialect = values.remove("dialect").map(|name| {
            DialectName::parse(name).ok_or(ArgumentsError::Batch("there is no such dialect"))
        });
        let mut number = |key| {
            let number = values.remove(key).and_then(|text| text.parse::<u32>().ok());
            number.filter(|number| *number > 0).ok_or(ArgumentsError::Batch("a number is missing"))
        };
        let (at_once, seconds) = (number("commands_at_once")?, number("command_seconds_max")?);
        if !values.is_empty() {
            return Err(ArgumentsError::Batch("there is a key too many"));
        }
        Ok(Self {
            name,
            dialect: dialect.transpose()?,
            programs,
            commands_at_once: at_once.try_into().unwrap_or(usize::MAX),
            command_seconds_max: Duration::from_secs(seconds.into()),
        })
    }
}

/// A name and a path with `=` between: a name has none.
fn named(word: &OsStr) -> Option<(String, PathBuf)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, path) = bytes.split_at_checked(at)?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    Some((name.to_owned(), PathBuf::from(OsStr::from_bytes(path.get(1..)?))))
}

#[cfg(test)]
mod tests;
