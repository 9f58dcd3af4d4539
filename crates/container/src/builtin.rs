//! Methods that the container answers itself.
//!
//! A *built-in* is a method with no service worker behind it. Each room below holds a table of
//! them; [`find`] and [`all`] are the only readers of the tables.

pub(crate) mod access;
pub(crate) mod echo;
pub(crate) mod file;
pub(crate) mod job;
pub(crate) mod last_call;
pub(crate) mod oneself;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod system;
pub(crate) mod vo;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use nesssi_dn::SubjectDn;
use nesssi_identity::ProxyKind;
use nesssi_policy::READS_ONLY;
use nesssi_rpc::soap::Signature;
use nesssi_rpc::wsdl::Operation;
use nesssi_rpc::{Fault, Reply, Value, check_params};

use crate::answers::Recording;
use crate::grants::{CallerGrant, Grant};
use crate::{Answer, Caller, Inner};

/// A built-in method.
#[derive(Debug)]
pub(crate) struct Builtin {
    /// Its full name.
    pub(crate) name: &'static str,
    /// What `system.methodHelp` says.
    pub(crate) help: &'static str,
    /// What `system.methodSignature` says: the returned type first in each.
    pub(crate) signatures: &'static [&'static [&'static str]],
    /// The names of the parameters of its longest signature; the shorter ones have the first of them.
    pub(crate) parameters: &'static [&'static str],
    /// What it does.
    pub(crate) run: Run,
}

impl Builtin {
    /// Holds the parameters of a call against its signatures.
    ///
    /// # Errors
    /// Fault -32602. Of a multicall it tells by itself what is wrong.
    pub(crate) fn check(&self, params: &[Value]) -> Result<(), Fault> {
        match self.run {
            Run::Many => Ok(()),
            Run::Now(_) | Run::Later(_) => {
                let as_text = names_as_text(self.parameters, params);
                let params = as_text.as_deref().unwrap_or(params);
                check_params(self.name, self.parameters, self.signatures, params)
            }
        }
    }

    /// Its description, under its own `name` in its service.
    pub(crate) fn operation(&self, name: &str) -> Operation {
        let signed = |words: &&[&str]| Signature::named(words, self.parameters);
        Operation {
            name: name.to_owned(),
            help: self.help.to_owned(),
            signatures: self.signatures.iter().map(signed).collect(),
        }
    }
}

/// How a built-in runs: at once, or with waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// Never waits.
    Now(fn(&Context<'_>, Vec<Value>) -> Reply),
    /// May wait for other processes.
    Later(for<'a> fn(Context<'a>, Vec<Value>) -> Later<'a>),
    /// Stands for the calls in its parameter, see `call::multicall`.
    Many,
}

/// An answer to come.
pub(crate) type Later<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// By whom and in what container a built-in is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The container.
    pub(crate) inner: &'a Arc<Inner>,
    /// Who calls. His credential has not been refused.
    pub(crate) caller: &'a Caller,
    /// What he was granted, or the fault that says why nothing: seeing and cancelling what one has
    /// needs no grant, starting does.
    pub(crate) grant: &'a Result<Arc<Grant>, Fault>,
    /// Under which the sessions that he makes are recorded, of a call that has a tag.
    pub(crate) answer: Option<Recording>,
}

impl<'a> Context<'a> {
    /// The caller's subject; `None` is anonymous.
    pub(crate) fn subject(&self) -> Option<&'a SubjectDn> {
        self.caller.subject()
    }

    /// The caller with what he was granted: as whom he starts things.
    ///
    /// # Errors
    /// The fault that says why he was granted nothing.
    pub(crate) fn who(&self) -> Result<CallerGrant, Fault> {
        let grant = self.grant.as_ref().map_err(Clone::clone)?;
        let claim = self.inner.grants.claim_of(self.caller)?;
        let (address, request_id) = (self.caller.address, self.caller.request_id.clone());
        let who = CallerGrant::new(claim, address, Arc::clone(grant), request_id);
        Ok(CallerGrant { answer: self.answer, ..who })
    }

    /// Whether the caller may change anything: not with a limited proxy.
    ///
    /// # Errors
    /// Fault 403.
    pub(crate) fn may_change(&self) -> Result<(), Fault> {
        let reads_only = self.grant.as_ref().is_ok_and(|grant| grant.reads_only);
        if reads_only || self.caller.proxy() == Some(ProxyKind::Limited) {
            return Err(Fault::refused(READS_ONLY));
        }
        Ok(())
    }
}

/// The tables, in the order they are listed.
const TABLES: [&[Builtin]; 12] = [
    access::METHODS,
    echo::METHODS,
    file::METHODS,
    job::METHODS,
    last_call::METHODS,
    oneself::METHODS,
    server::METHODS,
    service::METHODS,
    session::METHODS,
    shell::METHODS,
    system::METHODS,
    vo::METHODS,
];

/// Other spellings of some names.
const ALIASES: [(&str, &str); 5] = [
    ("system.get_capabilities", "system.getCapabilities"),
    ("system.lastCall", "system.last_call"),
    ("system.list_methods", "system.listMethods"),
    ("system.method_help", "system.methodHelp"),
    ("system.method_signature", "system.methodSignature"),
];

/// What the services of built-in methods are for, one line each.
const PURPOSES: [(&str, &str); 9] = [
    (
        "access",
        "Who may call which service, changed while the server runs: for its administrators.",
    ),
    ("echo", "Answers what it was given, to try a connection and to measure it."),
    ("file", "The files of the caller's sessions, and of the trees that are open to him."),
    ("job", "What became of jobs: their state, their output, waiting for them, and ending them."),
    ("service", "The services that this server has, and how they are."),
    ("session", "The sessions of jobs, and where their files are read."),
    (
        "shell",
        "Commands that the administrator of this server has listed, run as the caller's account.",
    ),
    ("system", "What can be called and how, who the caller is, and several calls in one."),
    (
        "vo",
        "Groups of people, for access lists: who is in them, and changes by their administrators.",
    ),
];

/// What a service of built-in methods is for; empty where there is no such service.
pub(crate) fn purpose(service: &str) -> &'static str {
    PURPOSES.iter().find(|(name, _)| *name == service).map_or("", |(_, purpose)| purpose)
}

/// The built-in of this full name, or of the other spelling of it.
pub(crate) fn find(name: &str) -> Option<&'static Builtin> {
    let by_name = |name: &str| all().find(|builtin| builtin.name == name);
    by_name(name).or_else(|| {
        let (_, meant) = ALIASES.iter().find(|(alias, _)| *alias == name)?;
        by_name(meant)
    })
}

/// Every built-in.
pub(crate) fn all() -> impl Iterator<Item = &'static Builtin> {
    TABLES.into_iter().flatten()
}

/// Parameters that name files: a user may name a file anything, so base64 stands for text there.
const NAMES_OF_FILES: [&str; 4] = ["path", "pattern", "from", "to"];

/// The parameters as they are declared, where one names a file and is base64.
fn names_as_text(parameters: &[&str], params: &[Value]) -> Option<Vec<Value>> {
    let is_name = |value: &Value, parameter: &&str| {
        matches!(value, Value::Binary(_)) && NAMES_OF_FILES.contains(parameter)
    };
    params.iter().zip(parameters).find(|(value, name)| is_name(value, name))?;
    let mut declared = params.to_vec();
    for (value, name) in declared.iter_mut().zip(parameters) {
        if is_name(value, name) {
            *value = Value::String(String::new());
        }
    }
    Some(declared)
}

/// Exactly the parameters that a method takes.
///
/// # Errors
/// Fault -32602 for another number of them.
pub(crate) fn exactly<const N: usize>(params: Vec<Value>) -> Result<[Value; N], Fault> {
    let count = params.len();
    <[Value; N]>::try_from(params).map_err(|_| {
        Fault::invalid_params(format!("{N} parameters are expected, {count} were given"))
    })
}

/// The parameters that a method takes, the later ones of which may be left out; one that is nil is.
///
/// # Errors
/// Fault -32602 for too few or too many.
pub(crate) fn between<const N: usize>(
    least: usize,
    params: Vec<Value>,
) -> Result<[Option<Value>; N], Fault> {
    let count = params.len();
    if count < least || count > N {
        let text = format!("{least} to {N} parameters are expected, {count} were given");
        return Err(Fault::invalid_params(text));
    }
    let mut params = params.into_iter().map(|value| (value != Value::Nil).then_some(value));
    let taken = std::array::from_fn(|_| params.next().flatten());
    match taken.iter().take(least).all(Option::is_some) {
        true => Ok(taken),
        false => Err(Fault::invalid_params("a parameter that is needed is nil")),
    }
}

/// A parameter that must be a number of seconds.
///
/// # Errors
/// Fault -32602 for another type, and for what is less than nothing.
pub(crate) fn seconds(value: &Value, what: &str) -> Result<f64, Fault> {
    let Some(seconds) = value.as_number() else {
        let text = format!("{what} must be a number of seconds, not {}", value.type_name());
        return Err(Fault::invalid_params(text));
    };
    if seconds.is_finite() && seconds >= 0.0 {
        Ok(seconds)
    } else {
        Err(Fault::invalid_params(format!("{what} must be 0 seconds or more")))
    }
}

/// A count as a value.
pub(crate) fn whole(number: impl TryInto<i64>) -> Value {
    Value::Int(number.try_into().unwrap_or(i64::MAX))
}

/// A parameter that must be text.
///
/// # Errors
/// Fault -32602 for another type.
pub(crate) fn text(value: Value, what: &str) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Fault::invalid_params(format!(
            "{what} must be a string, not {}",
            other.type_name()
        ))),
    }
}

#[cfg(test)]
mod tests;
