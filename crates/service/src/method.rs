//! Methods as services describe them.

use serde::Deserialize;

/// Most methods that one service may have.
pub const METHODS_MAX: usize = 1000;
/// Longest help text kept, in bytes.
pub const HELP_BYTES_MAX: usize = 64 * 1024;
/// Most signatures of one method.
pub const SIGNATURES_MAX: usize = 32;
/// Most parameters of one method.
pub const PARAMETERS_MAX: usize = 255;
/// Longest contact, purpose or version kept, in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;

/// Longest name of a batch system.
pub(crate) const BATCH_NAME_BYTES_MAX: usize = 32;

/// One way to call a method: the type returned first, then those of the parameters.
pub type Signature = Vec<String>;

/// A method that a service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Its name inside the service: letters, digits, `_` and `-`.
    pub name: String,
    /// What `system.methodHelp` says; may be empty.
    pub help: String,
    /// What `system.methodSignature` says; empty is unknown.
    pub signatures: Vec<Signature>,
    /// What the parameters of the longest signature are called; the shorter ones have the first of
    /// these. Empty is unknown.
    pub parameters: Vec<String>,
}

/// What a throwaway worker in `describe` mode says of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The methods, as they came; names are unique.
    pub methods: Vec<Method>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The batch system of its jobs that name none.
    pub batch: Option<String>,
}

/// The description is none, or says that the service is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// The worker says why the service cannot be loaded.
    #[error("{0}")]
    Broken(String),
    /// The text is not what a worker in `describe` mode answers.
    #[error("the description is malformed: {0}")]
    Malformed(String),
}

#[derive(Deserialize)]
struct Written {
    error: Option<String>,
    #[serde(default)]
    methods: Vec<WrittenMethod>,
    contact: Option<String>,
    purpose: Option<String>,
    version: Option<String>,
    batch: Option<String>,
}

#[derive(Deserialize)]
struct WrittenMethod {
    name: String,
    help: Option<String>,
    signature: Option<Vec<Signature>>,
    parameters: Option<Vec<String>>,
}

impl Description {
    /// Reads the one JSON object that a worker in `describe` mode writes.
    ///
    /// # Errors
    /// [`DescriptionError`].
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        let written: Written = serde_json::from_str(text)
            .map_err(|error| DescriptionError::Malformed(error.to_string()))?;
        if let Some(error) = written.error {
            return Err(DescriptionError::Broken(error));
        }
        if written.methods.len() > METHODS_MAX {
            return Err(malformed(&format!("more than {METHODS_MAX} methods")));
        }
        let mut methods: Vec<Method> = Vec::with_capacity(written.methods.len());
        for method in written.methods {
            let method = meant(method)?;
            if methods.iter().any(|known| known.name == method.name) {
                return Err(malformed(&format!("method {} is described twice", method.name)));
            }
            methods.push(method);
        }
        Ok(Self {
            methods,
            contact: written.contact.map(note),
            purpose: written.purpose.map(note),
            version: written.version.map(note),
            batch: written.batch.map(batch_name).transpose()?,
        })
    }
}

fn meant(written: WrittenMethod) -> Result<Method, DescriptionError> {
    let WrittenMethod { name, help, signature, parameters } = written;
    if !is_method_part(&name) {
        return Err(malformed("a method's name is not of letters, digits, '_' and '-'"));
    }
    let signatures = signature.unwrap_or_default();
    let good = |s: &Signature| {
        !s.is_empty() && s.len() <= PARAMETERS_MAX + 1 && s.iter().all(|t| is_type_word(t))
    };
    if signatures.len() > SIGNATURES_MAX || !signatures.iter().all(good) {
        return Err(malformed(&format!("the signature of {name} is not a list of type names")));
    }
    let parameters = parameters.unwrap_or_default();
    if let Err(wrong) = check_parameters(&parameters, &signatures) {
        return Err(malformed(&format!("the parameters of {name} {wrong}")));
    }
    let help = clean(help.unwrap_or_default(), HELP_BYTES_MAX);
    Ok(Method { name, help, signatures, parameters })
}

fn batch_name(name: String) -> Result<String, DescriptionError> {
    if is_batch_name(&name) {
        return Ok(name);
    }
    Err(malformed("its batch is no name of a batch system"))
}

/// Whether a batch system may be called so.
pub(crate) fn is_batch_name(name: &str) -> bool {
    let fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    first && name.len() <= BATCH_NAME_BYTES_MAX && name.bytes().all(fit)
}

fn malformed(text: &str) -> DescriptionError {
    DescriptionError::Malformed(text.to_owned())
}

/// Whether `names` may be those of the parameters in `signatures`; none at all always may.
///
/// # Errors
/// What is wrong with them, to follow "the parameters".
pub(crate) fn check_parameters(names: &[String], signatures: &[Signature]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    if names.len() > PARAMETERS_MAX {
        return Err(format!("are more than {PARAMETERS_MAX}"));
    }
    let is_name = |name: &String| name.len() <= 100 && crate::name::is_identifier(name);
    if !names.iter().all(is_name) {
        return Err("are not all words of letters, digits and '_'".to_owned());
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if sorted.is_sorted_by(|a, b| a < b) {
        match signatures.iter().map(|signature| signature.len().saturating_sub(1)).max() {
            Some(most) if most != names.len() => {
                Err(format!("are {}, and its longest signature has {most}", names.len()))
            }
            _ => Ok(()),
        }
    } else {
        Err("have one name twice".to_owned())
    }
}

/// Whether `name` may stand behind the last dot of a method's name.
pub(crate) fn is_method_part(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether `word` can be the name of a type.
pub(crate) fn is_type_word(word: &str) -> bool {
    (1..=32).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
}

fn note(text: String) -> String {
    clean(text, NOTE_BYTES_MAX)
}

/// At most `bytes_max` bytes of `text`, and no character that an answer could not carry.
pub(crate) fn clean(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    if crate::json::is_xml_text(&text) {
        return text;
    }
    let fit =
        |c: char| if crate::json::is_xml_text(c.encode_utf8(&mut [0; 4])) { c } else { '\u{FFFD}' };
    text.chars().map(fit).collect()
}

#[cfg(test)]
mod tests;
