//! Methods without code of their own: a job whose command `service.toml` writes down.
//!
//! ```toml
//! [[method]]
//! name = "count"
//! help = "count(text): the number of its lines."
//! parameters = ["text"]
//! signature = ["string", "string"]
//! job = ["./count-lines", "--", "{text}"]
//! cpu_seconds = 10
//! ```
//!
//! Each word becomes one argument, whatever is in it: no shell reads it. `{name}` in a word stands
//! for the parameter of that name, `{{` and `}}` for the braces themselves.

use nesssi_rpc::Value;

/// Most words of a template.
pub const TEMPLATE_WORDS_MAX: usize = 1024;

/// The types that a word can be made of.
const WORD_TYPES: [&str; 6] = ["int", "i4", "i8", "double", "boolean", "string"];
/// Those that can say how many CPU seconds a job asks for.
const NUMBER_TYPES: [&str; 4] = ["int", "i4", "i8", "double"];

/// What a method runs, and for how many CPU seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTemplate {
    words: Vec<Word>,
    seconds: Seconds,
    parameters: Vec<String>,
    batch: Option<String>,
}

/// CPU seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seconds {
    Fixed(f64),
    /// What the parameter of this number says.
    Parameter(usize),
}

#[derive(Debug, Clone, PartialEq)]
struct Word {
    parts: Vec<Part>,
    /// A program would take what begins with `-` here for an option.
    guarded: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// The parameter of this number.
    Parameter(usize),
}

/// A job as a call asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobAsked {
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// CPU seconds.
    pub seconds: f64,
}

impl JobTemplate {
    /// Reads the words of a template. `types` are those of the parameters, in order.
    ///
    /// # Errors
    /// What is wrong, for the developer.
    pub(crate) fn new(
        words: &[String],
        seconds: Seconds,
        parameters: &[String],
        types: &[String],
    ) -> Result<Self, String> {
        let Some(program) = words.first() else { return Err("names no program".to_owned()) };
        if words.len() > TEMPLATE_WORDS_MAX {
            return Err(format!("has more than {TEMPLATE_WORDS_MAX} words"));
        }
        let is_placed = program.starts_with('/') || program.starts_with("./");
        if !is_placed || program.split('/').any(|part| part == "..") || program.contains('{') {
            return Err(format!(
                "begins with '{program}': the program is an absolute path, or one in the service's \
                 folder that begins with './'"
            ));
        }
        if let Some((name, kind)) =
            parameters.iter().zip(types).find(|(_, kind)| !WORD_TYPES.contains(&kind.as_str()))
        {
            return Err(format!("cannot make a word of '{name}', which is of type {kind}"));
        }
        if let Seconds::Parameter(at) = seconds
            && !types.get(at).is_some_and(|kind| NUMBER_TYPES.contains(&kind.as_str()))
        {
            return Err("takes its CPU seconds from a parameter that is no number".to_owned());
        }
        let mut options_over = false;
        let mut read = Vec::with_capacity(words.len());
        for word in words {
            let parts = parts(word, parameters)?;
            let guarded = !options_over && matches!(parts.first(), Some(Part::Parameter(_)));
            options_over |= word == "--";
            read.push(Word { parts, guarded });
        }
        let uses = |at: usize| {
            let in_word = |word: &Word| word.parts.contains(&Part::Parameter(at));
            seconds == Seconds::Parameter(at) || read.iter().any(in_word)
        };
        if let Some((_, name)) = parameters.iter().enumerate().find(|(at, _)| !uses(*at)) {
            return Err(format!("does not use the parameter '{name}'"));
        }
        Ok(Self { words: read, seconds, parameters: parameters.to_vec(), batch: None })
    }

    /// The same, on this batch system.
    pub(crate) fn on(self, batch: Option<String>) -> Self {
        Self { batch, ..self }
    }

    /// The batch system that it names.
    #[must_use]
    pub fn batch(&self) -> Option<&str> {
        self.batch.as_deref()
    }

    /// The job that a call with these parameters asks for. A program that begins with `./` lies in
    /// `folder`.
    ///
    /// # Errors
    /// What is wrong with a parameter, for the caller.
    pub fn fill(&self, folder: &str, args: &[Value]) -> Result<JobAsked, String> {
        if args.len() != self.parameters.len() {
            let (takes, given) = (self.parameters.len(), args.len());
            return Err(format!("{takes} parameters are expected, {given} were given"));
        }
        let seconds = match self.seconds {
            Seconds::Fixed(seconds) => seconds,
            Seconds::Parameter(at) => args
                .get(at)
                .and_then(Value::as_number)
                .ok_or_else(|| format!("{} must be a number of CPU seconds", self.told(at)))?,
        };
        let mut argv = Vec::with_capacity(self.words.len());
        for word in &self.words {
            let mut text = String::new();
            for part in &word.parts {
                match part {
                    Part::Text(literal) => text.push_str(literal),
                    Part::Parameter(at) => self.push(&mut text, word, *at, args)?,
                }
            }
            argv.push(text.into_bytes());
        }
        if let Some(program) = argv.first_mut()
            && program.starts_with(b"./")
        {
            program.splice(..1, folder.bytes());
        }
        Ok(JobAsked { argv, seconds })
    }

    fn push(
        &self,
        text: &mut String,
        word: &Word,
        at: usize,
        args: &[Value],
    ) -> Result<(), String> {
        match args.get(at) {
            Some(Value::String(given)) => {
                if text.is_empty() && word.guarded && given.starts_with('-') {
                    return Err(format!("{} must not begin with '-'", self.told(at)));
                }
                text.push_str(given);
            }
            Some(Value::Int(number)) => text.push_str(&number.to_string()),
            Some(Value::Double(number)) => text.push_str(&number.to_string()),
            Some(Value::Bool(truth)) => text.push_str(if *truth { "true" } else { "false" }),
            _ => return Err(format!("{} must be a number, a string or a boolean", self.told(at))),
        }
        Ok(())
    }

    fn told(&self, at: usize) -> String {
        let name = self.parameters.get(at).map_or("", String::as_str);
        format!("parameter {} ({name})", at + 1)
    }
}

/// The parameter that the whole of `text` stands for, as in `"{seconds}"`.
pub(crate) fn the_parameter(text: &str, parameters: &[String]) -> Option<usize> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    parameters.iter().position(|known| known == name)
}

/// What a word is made of.
fn parts(word: &str, parameters: &[String]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else {
            let named = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let Some((name, after)) = named else {
                return Err(format!("has a brace in '{word}' that belongs to no parameter"));
            };
            let known = parameters.iter().position(|known| known == name);
            let number = known.ok_or_else(|| format!("names '{name}', which is no parameter"))?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Parameter(number));
            rest = after;
        }
    }
    text.push_str(rest);
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
