//! A directive is one typed thing that a site tells its batch system about a job.

use std::fmt;

/// Longest word of a directive.
pub const DIRECTIVE_WORD_BYTES_MAX: usize = 64;

/// Most directives of one job.
pub const DIRECTIVES_MAX: usize = 32;

/// Letters, digits, and `_ . + -` behind the first; at most [`DIRECTIVE_WORD_BYTES_MAX`]. Neither a shell nor a batch
/// system's own syntax finds anything in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Word(String);

/// What a site says of a job beside its size: queue, accounting and the like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Directive {
    /// PBS queue or Slurm partition.
    Queue(Word),
    /// The account that is charged, which is not the Unix account.
    Account(Word),
    /// Quality of service.
    Qos(Word),
    /// An advance reservation.
    Reservation(Word),
    /// A property that the node must have.
    Feature(Word),
    /// So many of a counted resource, as `ngpus` or, in Slurm, a generic resource `gpu`.
    Resource(Word, u32),
}

/// A directive that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// There is no such directive.
    #[error("a directive is queue, account, qos, reservation, feature or resource.NAME")]
    Unknown,
    /// A word has a letter that none may have, or too many.
    #[error(
        "{0}: only letters, digits and _ . + - (not first), at most {DIRECTIVE_WORD_BYTES_MAX}"
    )]
    Word(&'static str),
    /// A count that is none.
    #[error("resource: its count is a number from 1 to {}", u32::MAX)]
    Count,
    /// CPUs, memory and time are the job's own and no directive's.
    #[error("resource: CPUs, memory and times are not given as a resource")]
    OwnSize,
    /// More than [`DIRECTIVES_MAX`].
    #[error("more than {DIRECTIVES_MAX} directives")]
    TooMany,
    /// One is said twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// The dialect has no such thing.
    #[error("{dialect} has no {directive}")]
    Unsupported {
        /// The dialect.
        dialect: &'static str,
        /// The directive's name.
        directive: &'static str,
    },
}

/// Resources that say a job's size.
const OWN_SIZE: [&str; 18] = [
    "cput", "pcput", "walltime", "select", "place", "nodes", "ncpus", "procs", "mem", "pmem",
    "vmem", "pvmem", "mppwidth", "mppnppn", "mppdepth", "file", "nice", "host",
];

impl Word {
    /// Reads a word; `what` names it in the error.
    ///
    /// # Errors
    /// [`DirectiveError::Word`].
    pub fn parse(what: &'static str, text: &str) -> Result<Self, DirectiveError> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
        if first && text.len() <= DIRECTIVE_WORD_BYTES_MAX && text.bytes().all(letter) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DirectiveError::Word(what))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Directive {
    /// Reads a directive as a configuration has it: `queue` and `batch`, `resource.ngpus` and `1`.
    ///
    /// # Errors
    /// [`DirectiveError`].
    pub fn parse(key: &str, value: &str) -> Result<Self, DirectiveError> {
        match key {
            "queue" => Word::parse("queue", value).map(Self::Queue),
            "account" => Word::parse("account", value).map(Self::Account),
            "qos" => Word::parse("qos", value).map(Self::Qos),
            "reservation" => Word::parse("reservation", value).map(Self::Reservation),
            "feature" => Word::parse("feature", value).map(Self::Feature),
            other => {
                let name = other.strip_prefix("resource.").ok_or(DirectiveError::Unknown)?;
                if OWN_SIZE.contains(&name) {
                    return Err(DirectiveError::OwnSize);
                }
                let count = value.parse().ok().filter(|count| *count > 0);
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let count = count.filter(|_| digits).ok_or(DirectiveError::Count)?;
                Ok(Self::Resource(Word::parse("resource", name)?, count))
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::Account(_) => "account",
            Self::Qos(_) => "qos",
            Self::Reservation(_) => "reservation",
            Self::Feature(_) => "feature",
            Self::Resource(..) => "resource",
        }
    }
}

/// Checks that a list is one: not too long, and nothing said twice.
pub(super) fn check(directives: &[Directive]) -> Result<(), DirectiveError> {
    if directives.len() > DIRECTIVES_MAX {
        return Err(DirectiveError::TooMany);
    }
    for (index, one) in directives.iter().enumerate() {
        let same = |other: &Directive| match (one, other) {
            (Directive::Resource(a, _), Directive::Resource(b, _)) => a == b,
            _ => one.name() == other.name(),
        };
        if directives.iter().skip(index + 1).any(same) {
            return Err(DirectiveError::Twice(one.name()));
        }
    }
    Ok(())
}
