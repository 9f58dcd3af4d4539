//! `service.*`: the services there are, how they are, and what they are for.

use std::sync::Arc;

use nesssi_rpc::soap::{Param, Signature};
use nesssi_rpc::wsdl::Operation;
use nesssi_rpc::{Fault, FaultCode, Reply, Value};
use nesssi_service::ServiceState;

use super::{Builtin, Context, Run, between, exactly, text, whole};
use crate::call::{Offered, described};
use crate::registry::{self, MONITOR};
use crate::{Answer, Inner};

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "service.health",
        help: "How the services are: health() of all, health(name) of one, each a struct: `name`, \
           `state` (\"ok\", \"unhealthy\" or \"broken\"), `reason`, `workers` (processes that run its \
           code now) and `restarts` (how many of them have ended by themselves since its code was \
           last read). Example: service.health(\"sleepy\")[\"state\"].",
        signatures: &[&["array"], &["struct", "string"]],
        parameters: &["name"],
        run: Run::Later(|context, params| {
            Box::pin(async move {
                context.inner.services.all_found().await;
                Answer::of(health(&context, params))
            })
        }),
    },
    Builtin {
        name: "service.help",
        help: "What a service is for, whom to ask about it, and every method of it that the caller may \
           call, as text: help(name). Of a method's full name: how that one is called. Example: print \
           service.help(\"job\"), service.help(\"job.wait\").",
        signatures: &[&["string", "string"]],
        parameters: &["name"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(help(&context, params).await) })
        }),
    },
    Builtin {
        name: "service.list",
        help: "All services, each a struct: name, state (\"ok\", \"unhealthy\" or \"broken\"), reason \
           (why it is not ok, else \"\"), remark (what keeps a changed access list from being in \
           force, and how many edits of administrators stand beside it, else \"\"), methods, contact, purpose, version, levels (those \
           served, empty for all), size_parameter and policy. Example: \
               service.list()[0][\"purpose\"].",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Later(|context, params| {
            Box::pin(async move {
                context.inner.services.all_found().await;
                Answer::of(list(&context, params))
            })
        }),
    },
];

fn health(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [name] = between(0, params)?;
    let inner = context.inner;
    let services = inner.services.current();
    let Some(name) = name else {
        let all = services.iter().map(|service| health_of(inner, service));
        return Ok(Value::Array(all.collect()));
    };
    let name = text(name, "the service's name")?;
    services.get(&name).map(|service| health_of(inner, service)).ok_or_else(no_such_service)
}

fn no_such_service() -> Fault {
    Fault::new(FaultCode::NotFound, "no such service")
}

fn health_of(inner: &Inner, service: &registry::Service) -> Value {
    let closed = inner.services.lists.path(&service.name).err();
    let (state, reason) = state_of(inner, service, closed);
    let behind = service.access.as_ref();
    let (workers, deaths) = behind.map_or((0, 0), |behind| behind.desks.workers_and_deaths());
    Value::record([
        ("name", service.name.as_str().into()),
        ("state", state.into()),
        ("reason", reason.into()),
        ("workers", whole(workers)),
        ("restarts", whole(deaths)),
    ])
}

async fn help(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [name] = exactly(params)?;
    let name = text(name, "the name of a service or a method")?;
    let offered = described(context, Some(&name)).await;
    let Some(offered) = offered.into_iter().next() else {
        return Ok(help_of_method(context, &name).await?.into());
    };
    let contact = context.inner.services.current().get(&name).and_then(|one| one.contact.clone());
    Ok(help_text(&offered, contact.as_deref()).into())
}

/// How a method is called, and what it says of itself.
///
/// # Errors
/// 404 alike for what is not there and what the caller may not call.
async fn help_of_method(context: &Context<'_>, name: &str) -> Result<String, Fault> {
    let none = || Fault::new(FaultCode::NotFound, "no such service or method");
    let name = super::find(name).map_or(name, |builtin| builtin.name);
    let (service, method) = name.rsplit_once('.').ok_or_else(none)?;
    let offered = described(context, Some(service)).await;
    let mut methods = offered.into_iter().flat_map(|service| service.methods);
    let found = methods.find(|one| one.name == method).ok_or_else(none)?;
    Ok(method_lines(service, &found).join("\n") + "\n")
}

/// A service as a person reads of it.
fn help_text(service: &Offered, contact: Option<&str>) -> String {
    let mut lines = vec![match service.purpose.as_str() {
        "" => service.service.clone(),
        purpose => format!("{}: {purpose}", service.service),
    }];
    lines.extend(contact.map(|contact| format!("contact: {contact}")));
    for method in &service.methods {
        lines.push(String::new());
        lines.extend(method_lines(&service.service, method));
    }
    lines.join("\n") + "\n"
}

/// The forms in which a method is called, and below them its help.
fn method_lines(service: &str, method: &Operation) -> Vec<String> {
    let name = format!("{service}.{}", method.name);
    let mut lines: Vec<String> =
        method.signatures.iter().map(|signature| signature_line(&name, signature)).collect();
    if lines.is_empty() {
        lines.push(format!("{name}(...)"));
    }
    lines.extend(method.help.lines().map(|line| format!("    {line}").trim_end().to_owned()));
    lines
}

fn signature_line(name: &str, signature: &Signature) -> String {
    let param = |(at, param): (usize, &Param)| {
        let kind = param.kind.word();
        match &param.name {
            Some(name) => format!("{name}: {kind}"),
            None => format!("arg{at}: {kind}"),
        }
    };
    let params: Vec<String> = signature.params.iter().enumerate().map(param).collect();
    format!("{name}({}) -> {}", params.join(", "), signature.returns.word())
}

fn list(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let services = context.inner.services.current();
    let lists = &context.inner.services.lists;
    let edits = context.inner.edits.now();
    let of_list_of = |service: &Arc<registry::Service>| {
        let edits = edits.of_service(service.name.as_str()).count();
        let remark = remark(lists.remark(&service.name), edits);
        of_list(context.inner, service, lists.path(&service.name).err(), &remark)
    };
    Ok(Value::Array(services.iter().map(of_list_of).collect()))
}

/// What else is to be said of its access lists, and of what stands beside them.
fn remark(of_lists: Option<&str>, edits: usize) -> String {
    let edits = match edits {
        0 => String::new(),
        1 => "1 edit of an administrator stands beside its access list".to_owned(),
        _ => format!("{edits} edits of administrators stand beside its access list"),
    };
    match of_lists {
        None => edits,
        Some(said) if edits.is_empty() => said.to_owned(),
        Some(said) => format!("{said}; {edits}"),
    }
}

/// How many services are ok, unhealthy and broken.
pub(crate) fn tally(inner: &Inner) -> [i64; 3] {
    let services = inner.services.current();
    let mut tally = [0; 3];
    let [ok, unhealthy, broken] = &mut tally;
    for service in services.iter() {
        let closed = inner.services.lists.path(&service.name).err();
        *match state_of(inner, service, closed).0 {
            OK => &mut *ok,
            UNHEALTHY => &mut *unhealthy,
            _ => &mut *broken,
        } += 1;
    }
    tally
}

const OK: &str = "ok";
const UNHEALTHY: &str = "unhealthy";
const BROKEN: &str = "broken";
/// What goes on where what lies in the folder is broken.
const LAST_GOOD: &str = "its last good version answers";

/// Its state, and why that is not `ok`; `closed` is why its access lists let nobody through.
fn state_of(
    inner: &Inner,
    service: &registry::Service,
    closed: Option<&'static str>,
) -> (&'static str, String) {
    match (&service.state, closed) {
        (ServiceState::Broken(why), _) => (BROKEN, why.kind.clone()),
        (ServiceState::Ok, Some(why)) => (BROKEN, why.to_owned()),
        (ServiceState::Ok, None) => {
            let throttled =
                service.access.as_ref().is_some_and(|behind| behind.desks.is_throttled());
            if throttled {
                return (UNHEALTHY, "its worker ends too fast".to_owned());
            }
            match inner.services.outdone(&service.name) {
                Some(why) => (UNHEALTHY, format!("{}: {LAST_GOOD}", why.kind)),
                None => (OK, String::new()),
            }
        }
    }
}

/// The same for its developers: every detail is in it.
pub(crate) fn state_in_full(inner: &Inner, service: &registry::Service) -> (String, String) {
    let closed = inner.services.lists.path(&service.name).err();
    let (state, reason) = state_of(inner, service, closed);
    let reason = match (&service.state, inner.services.outdone(&service.name)) {
        (ServiceState::Broken(why), _) => why.to_string(),
        (ServiceState::Ok, Some(why)) if state == UNHEALTHY => format!("{LAST_GOOD}, since: {why}"),
        (ServiceState::Ok, _) => reason,
    };
    (state.to_owned(), reason)
}

/// `closed` is why its access lists let nobody through, `remark` what else is to be said of them.
fn of_list(
    inner: &Inner,
    service: &registry::Service,
    closed: Option<&'static str>,
    remark: &str,
) -> Value {
    let (state, reason) = state_of(inner, service, closed);
    let mut methods: Vec<&str> = service.methods.keys().map(String::as_str).collect();
    if service.is_ok() && !methods.contains(&MONITOR) {
        methods.push(MONITOR);
    }
    let texts = |texts: &[&str]| Value::Array(texts.iter().map(|one| Value::from(*one)).collect());
    let or_empty = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
    let levels: Vec<&str> = service.manifest.levels.iter().map(String::as_str).collect();
    Value::record([
        ("name", service.name.as_str().into()),
        ("state", state.into()),
        ("reason", reason.into()),
        ("remark", remark.into()),
        ("methods", texts(&methods)),
        ("contact", or_empty(&service.contact)),
        ("purpose", or_empty(&service.purpose)),
        ("version", or_empty(&service.version)),
        ("levels", texts(&levels)),
        ("size_parameter", or_empty(&service.manifest.size_parameter)),
        ("policy", or_empty(&service.manifest.policy)),
    ])
}
