//! `service.toml`: what a developer says of a service beside its code.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Method;
use crate::method::{
    BATCH_NAME_BYTES_MAX, HELP_BYTES_MAX, METHODS_MAX, NOTE_BYTES_MAX, SIGNATURES_MAX, Signature,
    check_parameters, is_batch_name, is_method_part, is_type_word,
};
use crate::template::{self, JobTemplate, Seconds};

/// Longest word of a job's command, in bytes: Linux's own limit of an argument.
const WORD_BYTES_MAX: usize = 128 * 1024;

/// Longest `service.toml`, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// Workers of one (service, account, level) where the manifest gives no `concurrency`.
pub const CONCURRENCY_DEFAULT: u32 = 2;

/// Highest `concurrency` that a manifest may ask for; the configuration may bound it lower.
pub const CONCURRENCY_MAX: u32 = 256;

/// What `service.toml` says, with defaults for what it leaves out.
///
/// Every field has been checked: a manifest of this type can be used as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Program and arguments of a worker that is not the Python one; `serve` or `describe`, the
    /// service's name and its folder are appended.
    pub command: Option<Vec<String>>,
    /// Whether jobs may be given as a string for `/bin/sh -c`.
    pub shell_commands: bool,
    /// Most workers of one account and level at once.
    pub concurrency: u32,
    /// Whom to ask about the service.
    pub contact: Option<String>,
    /// What the service is for.
    pub purpose: Option<String>,
    /// The levels served; empty is all.
    pub levels: Vec<String>,
    /// Which parameter decides the size of a request.
    pub size_parameter: Option<String>,
    /// What the policy is with respect to that parameter, in words.
    pub policy: Option<String>,
    /// The batch system of its jobs that name none.
    pub batch: Option<String>,
    /// SHA-256 of the code that an administrator has approved, as 64 hexadecimal digits.
    pub approved: Option<String>,
    /// Methods described here rather than by the worker.
    pub methods: Vec<Method>,
    /// Those of them, by name, that are jobs and need no code of the service's own.
    pub jobs: BTreeMap<String, JobTemplate>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            command: None,
            shell_commands: false,
            concurrency: CONCURRENCY_DEFAULT,
            contact: None,
            purpose: None,
            levels: Vec::new(),
            size_parameter: None,
            policy: None,
            batch: None,
            approved: None,
            methods: Vec::new(),
            jobs: BTreeMap::new(),
        }
    }
}

/// One mistake in `service.toml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct ManifestMistake {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl Manifest {
    /// Reads the text of a `service.toml`.
    ///
    /// # Errors
    /// Every mistake there is, in the order of their lines.
    pub fn parse(text: &str) -> Result<Self, Vec<ManifestMistake>> {
        if text.len() > MANIFEST_BYTES_MAX {
            let text = format!("service.toml is longer than {MANIFEST_BYTES_MAX} bytes");
            return Err(vec![ManifestMistake { line: 1, text }]);
        }
        let mut reading = Reading { text, mistakes: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reading.mistake(error.span().unwrap_or_default(), error.message());
        }
        let manifest = reading.manifest(table.get_ref());
        reading.mistakes.sort_by_key(|mistake| mistake.line);
        if reading.mistakes.is_empty() { Ok(manifest) } else { Err(reading.mistakes) }
    }
}

impl Manifest {
    /// Whether all is said here: no worker is ever asked or started, unless there is code beside it.
    #[must_use]
    pub fn is_all_jobs(&self) -> bool {
        self.command.is_none() && !self.methods.is_empty() && self.jobs.len() == self.methods.len()
    }
}

/// The text, to count lines in, and the mistakes met so far.
struct Reading<'a> {
    text: &'a str,
    mistakes: Vec<ManifestMistake>,
}

type Item<'a> = Spanned<DeValue<'a>>;

impl Reading<'_> {
    fn mistake(&mut self, at: Range<usize>, text: impl Into<String>) {
        let before = self.text.as_bytes().get(..at.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        self.mistakes.push(ManifestMistake { line, text: text.into() });
    }

    fn manifest(&mut self, table: &DeTable<'_>) -> Manifest {
        let mut meant = Manifest::default();
        for (key, item) in table {
            match key.get_ref().as_ref() {
                "command" => meant.command = self.command(item),
                "shell_commands" => meant.shell_commands = self.truth(key, item),
                "concurrency" => meant.concurrency = self.concurrency(item),
                "contact" => meant.contact = self.note(key, item),
                "purpose" => meant.purpose = self.note(key, item),
                "levels" => meant.levels = self.levels(item),
                "size_parameter" => meant.size_parameter = self.note(key, item),
                "policy" => meant.policy = self.note(key, item),
                "batch" => meant.batch = self.batch(item),
                "approved" => meant.approved = self.digest(item),
                "method" => (meant.methods, meant.jobs) = self.methods(item),
                unknown => self.mistake(key.span(), format!("unknown key '{unknown}'")),
            }
        }
        meant
    }

    fn text(&mut self, key: &str, item: &Item<'_>, bytes_max: usize) -> Option<String> {
        let Some(text) = item.get_ref().as_str() else {
            self.mistake(item.span(), format!("'{key}' must be a string"));
            return None;
        };
        if text.len() > bytes_max {
            self.mistake(item.span(), format!("'{key}' is longer than {bytes_max} bytes"));
            return None;
        }
        if !crate::json::is_xml_text(text) {
            self.mistake(item.span(), format!("'{key}' holds a control character"));
            return None;
        }
        Some(text.to_owned())
    }

    fn note(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        item: &Item<'_>,
    ) -> Option<String> {
        self.text(key.get_ref(), item, NOTE_BYTES_MAX)
    }

    fn truth(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, item: &Item<'_>) -> bool {
        item.get_ref().as_bool().unwrap_or_else(|| {
            self.mistake(item.span(), format!("'{}' must be true or false", key.get_ref()));
            false
        })
    }

    fn concurrency(&mut self, item: &Item<'_>) -> u32 {
        let number = item
            .get_ref()
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok())
            .filter(|number| (1..=CONCURRENCY_MAX).contains(number));
        number.unwrap_or_else(|| {
            let text = format!("'concurrency' must be a whole number from 1 to {CONCURRENCY_MAX}");
            self.mistake(item.span(), text);
            CONCURRENCY_DEFAULT
        })
    }

    fn texts(&mut self, key: &str, item: &Item<'_>) -> Vec<String> {
        let Some(items) = item.get_ref().as_array() else {
            self.mistake(item.span(), format!("'{key}' must be a list of strings"));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.text(key, item, NOTE_BYTES_MAX)).collect()
    }

    fn command(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let words = self.texts("command", item);
        if item.get_ref().as_array().is_some_and(|items| items.is_empty())
            || words.first().is_some_and(String::is_empty)
        {
            self.mistake(item.span(), "'command' must name a program");
        }
        Some(words)
    }

    fn levels(&mut self, item: &Item<'_>) -> Vec<String> {
        let levels = self.texts("levels", item);
        if item.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            self.mistake(item.span(), "'levels' is empty: leave it out to serve all levels");
        }
        levels
    }

    /// The name of a batch system. Whether there is one of that name the server knows.
    fn batch(&mut self, item: &Item<'_>) -> Option<String> {
        let name = self.text("batch", item, NOTE_BYTES_MAX)?;
        if is_batch_name(&name) {
            return Some(name);
        }
        let form = "lowercase letters, digits, '-' and '_', a letter first";
        let text = format!("'batch' is a name of 1 to {BATCH_NAME_BYTES_MAX} {form}");
        self.mistake(item.span(), text);
        None
    }

    fn digest(&mut self, item: &Item<'_>) -> Option<String> {
        let text = self.text("approved", item, NOTE_BYTES_MAX)?.to_ascii_lowercase();
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some(text);
        }
        self.mistake(item.span(), "'approved' must be 64 hexadecimal digits");
        None
    }

    fn methods(&mut self, item: &Item<'_>) -> (Vec<Method>, BTreeMap<String, JobTemplate>) {
        let Some(items) = item.get_ref().as_array() else {
            self.mistake(item.span(), "methods are written as [[method]] tables");
            return Default::default();
        };
        if items.len() > METHODS_MAX {
            self.mistake(item.span(), format!("more than {METHODS_MAX} methods"));
        }
        let mut methods: Vec<Method> = Vec::new();
        let mut jobs = BTreeMap::new();
        for item in items {
            let Some((method, job)) = self.method(item) else { continue };
            if let Some(job) = job {
                jobs.insert(method.name.clone(), job);
            }
            if methods.iter().any(|known| known.name == method.name) {
                self.mistake(item.span(), format!("method '{}' stands twice", method.name));
            }
            methods.push(method);
        }
        (methods, jobs)
    }

    fn method(&mut self, item: &Item<'_>) -> Option<(Method, Option<JobTemplate>)> {
        let Some(table) = item.get_ref().as_table() else {
            self.mistake(item.span(), "methods are written as [[method]] tables");
            return None;
        };
        let (mut name, mut help) = (None, String::new());
        let (mut signatures, mut parameters) = (Vec::new(), Vec::new());
        let (mut job, mut seconds, mut batch) = (None, None, None);
        for (key, item) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.method_name(item)),
                "help" => help = self.text("help", item, HELP_BYTES_MAX).unwrap_or_default(),
                "signature" => signatures = self.signatures(item),
                "parameters" => parameters = self.texts("parameters", item),
                "job" => job = Some(item),
                "cpu_seconds" => seconds = Some(item),
                "batch" => batch = Some(item),
                unknown => {
                    self.mistake(key.span(), format!("unknown key '{unknown}' in [[method]]"));
                }
            }
        }
        if name.is_none() {
            self.mistake(item.span(), "a [[method]] has no 'name'");
        }
        if let Err(wrong) = check_parameters(&parameters, &signatures) {
            self.mistake(item.span(), format!("the 'parameters' {wrong}"));
        }
        let named = batch.and_then(|batch| self.batch(batch));
        if let (Some(batch), None) = (batch, job) {
            self.mistake(batch.span(), "'batch' goes with 'job'");
        }
        let job = self.job(item, (job, seconds), &signatures, &parameters);
        let job = job.map(|job| job.on(named));
        Some((Method { name: name??, help, signatures, parameters }, job))
    }

    /// What the keys `job` and `cpu_seconds` of a method mean together.
    fn job(
        &mut self,
        method: &Item<'_>,
        keys: (Option<&Item<'_>>, Option<&Item<'_>>),
        signatures: &[Signature],
        parameters: &[String],
    ) -> Option<JobTemplate> {
        let (job, seconds) = match keys {
            (None, None) => return None,
            (Some(job), Some(seconds)) => (job, seconds),
            (Some(_), None) | (None, Some(_)) => {
                self.mistake(method.span(), "'job' and 'cpu_seconds' go together");
                return None;
            }
        };
        let [signature] = signatures else {
            self.mistake(method.span(), "a method with a 'job' has one 'signature'");
            return None;
        };
        let types = match signature.split_first() {
            Some((result, types)) if result == "string" && types.len() == parameters.len() => types,
            _ => {
                let text = "the 'signature' of a 'job' begins with \"string\", its session, and has a \
                            type for each of the 'parameters'";
                self.mistake(method.span(), text);
                return None;
            }
        };
        let seconds = self.seconds(seconds, parameters)?;
        let Some(words) = job.get_ref().as_array() else {
            self.mistake(job.span(), "'job' must be a list of strings");
            return None;
        };
        let words: Vec<String> =
            words.iter().filter_map(|word| self.text("job", word, WORD_BYTES_MAX)).collect();
        let read = JobTemplate::new(&words, seconds, parameters, types);
        read.inspect_err(|wrong| self.mistake(job.span(), format!("the 'job' {wrong}"))).ok()
    }

    /// A number of CPU seconds, or the parameter that holds it.
    fn seconds(&mut self, item: &Item<'_>, parameters: &[String]) -> Option<Seconds> {
        let written = item.get_ref();
        let number = match (written.as_integer(), written.as_float()) {
            (Some(number), _) => number.as_str().parse::<f64>().ok(),
            (None, Some(number)) => number.as_str().parse::<f64>().ok(),
            (None, None) => None,
        };
        if let Some(number) = number.filter(|number| number.is_finite() && *number > 0.0) {
            return Some(Seconds::Fixed(number));
        }
        let named = written.as_str().and_then(|text| template::the_parameter(text, parameters));
        if named.is_none() {
            let text = "'cpu_seconds' must be a number above 0, or \"{name}\" of a parameter";
            self.mistake(item.span(), text);
        }
        named.map(Seconds::Parameter)
    }

    fn method_name(&mut self, item: &Item<'_>) -> Option<String> {
        let name = self.text("name", item, NOTE_BYTES_MAX)?;
        if is_method_part(&name) {
            return Some(name);
        }
        self.mistake(item.span(), "a method's name is made of letters, digits, '_' and '-'");
        None
    }

    /// One signature (a list of type names) or several (a list of such lists).
    fn signatures(&mut self, item: &Item<'_>) -> Vec<Signature> {
        let Some(items) = item.get_ref().as_array() else {
            self.mistake(item.span(), "'signature' must be a list of type names");
            return Vec::new();
        };
        let all: Vec<Signature> = if items.iter().any(|item| item.get_ref().is_array()) {
            items.iter().map(|item| self.texts("signature", item)).collect()
        } else {
            vec![self.texts("signature", item)]
        };
        let good = |s: &Signature| !s.is_empty() && s.iter().all(|word| is_type_word(word));
        if all.len() > SIGNATURES_MAX || !all.iter().all(good) {
            self.mistake(
                item.span(),
                "a signature names types of letters, digits, '.' and '_', the returned one first",
            );
        }
        all
    }
}

#[cfg(test)]
mod tests;
