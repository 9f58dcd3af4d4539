//! A service: its methods, and the two things that its program does with them.

use std::any::Any;
use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use nesssi_rpc::{Fault, FaultCode, Value};
use nesssi_service::Token;
use nesssi_service::protocol::{AtWorker, CallerFacts, FromWorker, Outcome};

use crate::link::Link;
use crate::method::{Handler, Method, Params};
use crate::request::Request;

/// The exit code for a program that was started in another way than the server does: `EX_USAGE`.
const USAGE: u8 = 64;

/// A service, built up by what it says of itself and its methods. [`Service::run`] is the last line of
/// its `main`.
#[derive(Debug)]
pub struct Service {
    purpose: String,
    contact: Option<String>,
    version: Option<String>,
    batch: Option<String>,
    methods: Vec<Method>,
    mistakes: Vec<String>,
}

impl Service {
    /// A service without methods yet; what it is for, in a line.
    #[must_use]
    pub fn new(purpose: impl Into<String>) -> Self {
        Self {
            purpose: purpose.into(),
            contact: None,
            version: None,
            batch: None,
            methods: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Whom to ask about it.
    #[must_use]
    pub fn contact(mut self, contact: impl Into<String>) -> Self {
        self.contact = Some(contact.into());
        self
    }

    /// Its version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The batch system of its jobs that name none. Without it that is the server's default.
    #[must_use]
    pub fn batch(mut self, name: impl Into<String>) -> Self {
        self.batch = Some(name.into());
        self
    }

    /// A method: its name in the service, the names of its parameters, what `system.methodHelp` says of
    /// it, and the function that answers. The types are those of the function.
    #[must_use]
    pub fn method<P: Params, H: Handler<P> + 'static, const N: usize>(
        mut self,
        name: &'static str,
        parameters: [&'static str; N],
        help: &'static str,
        handler: H,
    ) -> Self {
        match Method::new(name, &parameters, help, handler) {
            Ok(method) => self.methods.push(method),
            Err(mistake) => self.mistakes.push(mistake),
        }
        self
    }

    /// Does what the server started this program for: describes the service, or answers calls until it
    /// is told to end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let action = match words.as_slice() {
            [action, _name, _folder] if action == "serve" || action == "describe" => {
                action.as_str()
            }
            _ => {
                log("this is a service: the server starts it with serve|describe NAME FOLDER");
                return ExitCode::from(USAGE);
            }
        };
        let done = Link::inherited().and_then(|link| match action {
            "describe" => self.describe(&link),
            _ => self.serve(&link),
        });
        match done {
            Ok(code) => code,
            Err(error) => {
                log(&format!("the socket to the server: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// What is wrong with the service, for its developer.
    fn mistake(&self) -> Option<String> {
        if let Some(mistake) = self.mistakes.first() {
            return Some(mistake.clone());
        }
        let mut seen = BTreeSet::new();
        let twice = self.methods.iter().find(|method| !seen.insert(method.name));
        twice.map(|method| format!("there are two methods {}", method.name))
    }

    fn describe(&self, link: &Link) -> io::Result<ExitCode> {
        let description = match self.mistake() {
            Some(mistake) => Value::record([("error", mistake.into())]),
            None => self.description(),
        };
        let text = nesssi_service::json::to_string(&description).map_err(io::Error::other)?;
        link.write(&format!("{text}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn description(&self) -> Value {
        let texts =
            |texts: &[&str]| Value::Array(texts.iter().map(|one| Value::from(*one)).collect());
        let method = |method: &Method| {
            let signatures = method.signatures.iter().map(|words| texts(words));
            Value::record([
                ("name", method.name.into()),
                ("help", method.help.into()),
                ("signature", Value::Array(signatures.collect())),
                ("parameters", texts(&method.parameters)),
            ])
        };
        let or_nil = |text: &Option<String>| text.clone().map_or(Value::Nil, Value::String);
        Value::record([
            ("methods", Value::Array(self.methods.iter().map(method).collect())),
            ("contact", or_nil(&self.contact)),
            ("purpose", self.purpose.clone().into()),
            ("version", or_nil(&self.version)),
            ("batch", or_nil(&self.batch)),
        ])
    }

    fn serve(&self, link: &Link) -> io::Result<ExitCode> {
        if let Some(mistake) = self.mistake() {
            link.say(&FromWorker::Broken { error: mistake })?;
            return Ok(ExitCode::FAILURE);
        }
        let methods = self.methods.iter().map(|method| method.name.to_owned()).collect();
        link.say(&FromWorker::Ready { methods })?;
        while !link.is_over() {
            match link.receive()? {
                Some(AtWorker::Call { id, token, method, name, args, caller }) => {
                    let call = Call { token, method: &method, name: &name, caller: &caller };
                    answer(link, id, |link| self.outcome(link, &call, args))?;
                }
                Some(AtWorker::Shutdown) | None => break,
                Some(AtWorker::Answer { .. }) => {
                    return Err(io::Error::other("an answer to what was not asked"));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn outcome(&self, link: &Link, call: &Call<'_>, args: Vec<Value>) -> Outcome {
        let Some(method) = self.methods.iter().find(|method| method.name == call.name) else {
            let fault =
                Fault::new(FaultCode::NoSuchMethod, format!("no such method: {}", call.method));
            return fault_outcome(fault);
        };
        let request = Request::new(link, call.token, call.method, call.caller);
        match catch_unwind(AssertUnwindSafe(|| (method.answer)(&request, args))) {
            Ok(Ok(value)) => Outcome::Value(value),
            Ok(Err(failure)) => match failure.into_fault() {
                Ok(fault) => fault_outcome(fault),
                Err(error) => exception(call, &story_of(error.as_ref())),
            },
            Err(panic) => exception(call, &format!("panicked: {}", panic_text(panic.as_ref()))),
        }
    }
}

/// A call without its parameters.
struct Call<'a> {
    token: Token,
    method: &'a str,
    name: &'a str,
    caller: &'a CallerFacts<'a>,
}

/// Answers a call with what it came to; if that cannot be sent, with an incident.
fn answer(link: &Link, id: u64, outcome: impl FnOnce(&Link) -> Outcome) -> io::Result<()> {
    let outcome = outcome(link);
    if link.is_gone() {
        return Ok(());
    }
    match link.say(&FromWorker::Answer { id, outcome }) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let incident = incident(&format!("the answer cannot be sent: {error}"));
            link.say(&FromWorker::Answer { id, outcome: Outcome::Exception { incident } })
        }
        said => said,
    }
}

fn fault_outcome(fault: Fault) -> Outcome {
    Outcome::Fault { code: fault.code.number(), text: fault.text }
}

fn exception(call: &Call<'_>, story: &str) -> Outcome {
    let request = &call.caller.request_id;
    Outcome::Exception { incident: incident(&format!("{} ({request}): {story}", call.method)) }
}

/// An error with what caused it.
fn story_of(error: &dyn Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story.push_str(&format!(": {error}"));
        cause = error.source();
    }
    story
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// Writes the story to the service's log under an id of 8 hexadecimal digits; the caller reads that alone.
fn incident(story: &str) -> String {
    // Without randomness the story is still in the log, beside the request's id.
    let number = getrandom::u32().unwrap_or_default();
    let incident = format!("{number:08x}");
    log(&format!("incident {incident}: {story}"));
    incident
}

#[allow(clippy::print_stderr, reason = "standard error is the service's log")]
fn log(text: &str) {
    eprintln!("nesssi: {text}");
}

#[cfg(test)]
mod tests;
