//! `access.*`: edits of who may call which service, by administrators while the server runs.

use nesssi_identity::ProxyKind;
use nesssi_policy::{AccessEdit, SubjectDn, Whom};
use nesssi_rpc::{DateTime, Fault, FaultCode, Reply, Value};

use super::{Builtin, Context, Later, Run, exactly, text};
use crate::Answer;
use crate::call::UPLOAD;
use crate::clock::{date_time, ms_of};
use crate::jobs::{AccessChange, Asker};
use crate::registry::MONITOR;

/// The services of the server's own at which an edit may stand, to deny.
const DENIABLE: [&str; 5] = ["file", "job", "session", "shell", "vo"];

/// With and without times; nil is no time.
const CHANGE_SIGNATURES: &[&[&str]] = &[
    &["int", "string", "string", "string"],
    &["int", "string", "string", "string", "dateTime.iso8601", "dateTime.iso8601"],
    &["int", "string", "string", "string", "dateTime.iso8601", "nil"],
    &["int", "string", "string", "string", "nil", "dateTime.iso8601"],
    &["int", "string", "string", "string", "nil", "nil"],
];
const CHANGE_PARAMETERS: &[&str] = &["service", "method", "who", "start", "end"];

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "access.list",
        help: "The edits that stand beside the access files, or those that concern one service, as \
               an array of structs: `number`, `service` (or a folder of services), `method` (\"\" is \
               all), `allow`, `who`, `start` and `end` (nil if there is none), `by`, `at`. For \
               access administrators. Example: access.list(\"sleepy\").",
        signatures: &[&["array"], &["array", "string"]],
        parameters: &["service"],
        run: Run::Now(list),
    },
    Builtin {
        name: "access.allow",
        help: "Admits somebody to a service, to all in a folder of services, or to one method (\"\" \
               is all): allow(service, method, who) or allow(service, method, who, start, end), in \
               UTC. Who is a DN or the beginning of DNs, or group:NAME. Whom an access file denies \
               by name it does not admit. Answers the edit's number. For access administrators. \
               Example: access.allow(\"sleepy\", \"burn\", \"/O=Grid/CN=Alice\").",
        signatures: CHANGE_SIGNATURES,
        parameters: CHANGE_PARAMETERS,
        run: Run::Later(|context, params| add(context, params, true)),
    },
    Builtin {
        name: "access.deny",
        help: "Refuses somebody whatever access files say, with the parameters of access.allow; at \
               the server's own services file, job, session, shell and vo as well. Answers the \
               edit's number. For access administrators. Example: access.deny(\"sleepy\", \"\", \
               \"group:atlas.visitors\").",
        signatures: CHANGE_SIGNATURES,
        parameters: CHANGE_PARAMETERS,
        run: Run::Later(|context, params| add(context, params, false)),
    },
    Builtin {
        name: "access.remove",
        help: "Takes an edit back: remove(number) is true. For access administrators. Example: \
               access.remove(7).",
        signatures: &[&["boolean", "int"]],
        parameters: &["number"],
        run: Run::Later(remove),
    },
];

/// The caller, if he is an access administrator.
fn administrator<'a>(context: &Context<'a>) -> Result<&'a SubjectDn, Fault> {
    let Some(subject) = context.subject() else {
        let text = "access administration is for callers with a certificate";
        return Err(Fault::new(FaultCode::NoCredential, text));
    };
    if !context.inner.grants.rules().now().is_access_administrator(subject) {
        return Err(Fault::refused(format!("{subject} is no access administrator")));
    }
    Ok(subject)
}

/// The caller, if he may change access.
fn changer(context: &Context<'_>) -> Result<Asker, Fault> {
    let subject = administrator(context)?.clone();
    context.may_change()?;
    // He was given none of his holder's rights.
    if context.caller.proxy() == Some(ProxyKind::Independent) {
        return Err(Fault::refused("an independent proxy administers no access"));
    }
    Ok(Asker { subject, request_id: context.caller.request_id.clone() })
}

fn list(context: &Context<'_>, params: Vec<Value>) -> Reply {
    administrator(context)?;
    let edits = context.inner.edits.now();
    let mut told: Vec<&AccessEdit> = match params.into_iter().next() {
        None => edits.iter().map(AsRef::as_ref).collect(),
        Some(service) => {
            let service = text(service, "the service")?;
            edits.of_service(&service).map(AsRef::as_ref).collect()
        }
    };
    told.sort_by_key(|edit| edit.number);
    Ok(Value::Array(told.into_iter().map(shown).collect()))
}

fn shown(edit: &AccessEdit) -> Value {
    let time = |unix: Option<i64>| unix.map_or(Value::Nil, |unix| Value::DateTime(date(unix)));
    Value::record([
        ("number", Value::Int(i64::try_from(edit.number).unwrap_or(i64::MAX))),
        ("service", edit.service.as_str().into()),
        ("method", edit.method.as_deref().unwrap_or_default().into()),
        ("allow", edit.allow.into()),
        ("who", edit.whom.to_string().into()),
        ("start", time(edit.start_unix)),
        ("end", time(edit.end_unix)),
        ("by", edit.by.to_string().into()),
        ("at", Value::DateTime(date_time(edit.at_ms))),
    ])
}

fn date(unix: i64) -> DateTime {
    date_time(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}

fn add(context: Context<'_>, params: Vec<Value>, allow: bool) -> Later<'_> {
    Box::pin(async move { Answer::of(added(&context, params, allow).await) })
}

async fn added(context: &Context<'_>, params: Vec<Value>, allow: bool) -> Reply {
    let by = match changer(context) {
        Ok(by) => by,
        Err(refused) => return Err(told(context, if allow { "allow" } else { "deny" }, refused)),
    };
    let change = asked(params, allow)?;
    if let AccessChange::Add { service, method, whom, .. } = &change {
        context.inner.services.all_found().await;
        stands_somewhere(context, service, method.as_deref(), allow)?;
        names_somebody(context, whom)?;
    }
    let number = context.inner.jobs.change_access(by, change).await?;
    Ok(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn remove(context: Context<'_>, params: Vec<Value>) -> Later<'_> {
    Box::pin(async move { Answer::of(removed(&context, params).await) })
}

async fn removed(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let by = changer(context).map_err(|refused| told(context, "remove", refused))?;
    let [number] = exactly(params)?;
    let number = number.as_int().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    context.inner.jobs.change_access(by, AccessChange::Remove(number)).await?;
    Ok(true.into())
}

/// The refusal, recorded.
fn told(context: &Context<'_>, what: &str, refused: Fault) -> Fault {
    context
        .inner
        .audit
        .line("access_changed")
        .text("request", &context.caller.request_id)
        .maybe("subject", context.subject())
        .text("what", what)
        .text("refused", &refused.text)
        .write();
    refused
}

/// What is asked for, as the table of methods has let it through.
fn asked(params: Vec<Value>, allow: bool) -> Result<AccessChange, Fault> {
    let mut params = params.into_iter();
    let mut next = |what: &str| text(params.next().unwrap_or(Value::Nil), what);
    let (service, method) = (next("the service")?, next("the method")?);
    let whom = next("who")?;
    let whom = Whom::parse(&whom)
        .map_err(|error| Fault::invalid_params(format!("who is {whom:?}: {error}")))?;
    let mut time = || match params.next() {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::DateTime(date)) => {
            Ok(Some(i64::try_from(ms_of(date) / 1000).unwrap_or(i64::MAX)))
        }
        Some(_) => Err(Fault::invalid_params("a time is a dateTime, in UTC")),
    };
    let (start_unix, end_unix) = (time()?, time()?);
    let method = Some(method).filter(|method| !method.is_empty());
    Ok(AccessChange::Add { service, method, allow, whom, start_unix, end_unix })
}

/// An edit at a misspelt name would decide about nothing, and nobody would know.
fn stands_somewhere(
    context: &Context<'_>,
    service: &str,
    method: Option<&str>,
    allow: bool,
) -> Result<(), Fault> {
    if !super::purpose(service).is_empty() {
        return at_own(service, method, allow);
    }
    let services = context.inner.services.current();
    let Some(found) = services.get(service) else {
        let inside = format!("{service}.");
        let is_folder = services.iter().any(|one| one.name.as_str().starts_with(&inside));
        return if is_folder {
            Ok(())
        } else {
            let text = format!("there is no service {service:?}, and no folder of services");
            Err(Fault::new(FaultCode::NotFound, text))
        };
    };
    match method {
        Some(method)
            if found.is_ok() && method != MONITOR && !found.methods.contains_key(method) =>
        {
            let text = format!("{service} has no method {method:?}");
            Err(Fault::new(FaultCode::NotFound, text))
        }
        _ => Ok(()),
    }
}

fn at_own(service: &str, method: Option<&str>, allow: bool) -> Result<(), Fault> {
    if allow {
        return Err(Fault::invalid_params(format!(
            "{service} is of the server's own and answers everybody: an edit there can only deny"
        )));
    }
    if !DENIABLE.contains(&service) {
        return Err(Fault::invalid_params(format!(
            "{service} is denied to nobody; of the server's own services these may be: {}",
            DENIABLE.join(", ")
        )));
    }
    let Some(method) = method else { return Ok(()) };
    let name = format!("{service}.{method}");
    if name == UPLOAD || super::find(&name).is_some() {
        return Ok(());
    }
    Err(Fault::new(FaultCode::NotFound, format!("{service} has no method {method:?}")))
}

fn names_somebody(context: &Context<'_>, whom: &Whom) -> Result<(), Fault> {
    match whom {
        Whom::Group(group) if !context.inner.groups.now().groups().any(|known| known == group) => {
            Err(Fault::new(FaultCode::NotFound, format!("there is no VO group {group}")))
        }
        _ => Ok(()),
    }
}
