//! A call's way through the container: who calls, how often, what, and may he.
//!
//! The order is the contract's: a refused credential is refused whatever it calls; then the method
//! is found, the access list asked, and only then a grant is needed. Every decision is audited.

mod callers;

use std::sync::Arc;

use nesssi_identity::Peer;
use nesssi_policy::{Access, Ask, Denied, From as LevelFrom, SubjectDn};
use nesssi_rpc::{Call, Fault, FaultCode, MethodName, Reply, Value};
use nesssi_service::Method;
use nesssi_session::SessionId;

use crate::builtin::{self, Builtin, Context, Run};
use crate::clock::now_ms;
use crate::grants::{CallerGrant, Grant};
use crate::registry::{MONITOR, Service};
use crate::workers::{self, Called, ServiceCall};
use crate::{Answer, Caller, Inner};

pub(crate) use callers::Callers;

/// Calls a minute of a caller whom no level takes: he may still see and cancel what he has.
const UNJUDGED_CALLS_PER_MINUTE: u32 = 60;

/// Answers a call.
pub(crate) async fn dispatch(inner: &Arc<Inner>, caller: &Caller, call: Call) -> Answer {
    if let Peer::Refused(refusal) = &*caller.peer {
        let text = refusal.to_string();
        inner
            .audit
            .line("credential_refused")
            .text("request", &caller.request_id)
            .text("address", caller.address)
            .text("method", &call.method)
            .text("reason", &text)
            .write();
        return Answer::of(Err(Fault::refused(text)));
    }
    let logged_in = match inner.logins.caller(&inner.audit, caller, &call.method) {
        Ok(other) => other,
        Err(refused) => {
            return Answer::of(Err(login_refused(inner, caller, &call.method, refused)));
        }
    };
    let caller = logged_in.as_ref().unwrap_or(caller);
    let grant = judge(inner, caller).await;
    let Call { method, params } = call;
    let decided = decide(inner, caller, &grant, &method, params).await;
    record(inner, caller, &grant, &method, &decided);
    decided.answer
}

/// Counts and records a login that is not taken: whoever tries many is told so, and fills no log.
fn login_refused(inner: &Inner, caller: &Caller, method: &MethodName, refused: Fault) -> Fault {
    if let Err(many) = inner.services.callers.count(caller, UNJUDGED_CALLS_PER_MINUTE, "none") {
        return many;
    }
    inner
        .audit
        .line("login_refused")
        .text("request", &caller.request_id)
        .maybe("subject", caller.subject())
        .text("address", caller.address)
        .text("method", method)
        .text("reason", &refused.text)
        .write();
    refused
}

/// A call's answer, with what the audit tells of it beside.
struct Decided {
    answer: Answer,
    /// Which rule of the access list let him through or refused him.
    rule: Option<String>,
    cpu_usec: u64,
    /// The session that it made.
    session: Option<SessionId>,
}

impl Decided {
    fn of(answer: Answer) -> Self {
        Self { answer, rule: None, cpu_usec: 0, session: None }
    }

    fn fault(fault: Fault) -> Self {
        Self::of(Answer::of(Err(fault)))
    }
}

/// What the caller is granted; remembered, since most callers call again.
async fn judge(inner: &Inner, caller: &Caller) -> Result<Arc<Grant>, Fault> {
    let callers = &inner.services.callers;
    let generation = inner.grants.generation();
    if let Some(grant) = callers.known(caller, generation) {
        return Ok(grant);
    }
    let judged = inner.grants.judge(caller).await?;
    callers.remember(caller, &judged.grant);
    Ok(judged.grant)
}

async fn decide(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    params: Vec<Value>,
) -> Decided {
    let (most, level) = match grant {
        Ok(grant) => (grant.limits.calls_per_minute, grant.level.as_str()),
        Err(_) => (UNJUDGED_CALLS_PER_MINUTE, "none"),
    };
    if let Err(fault) = inner.services.callers.count(caller, most, level) {
        return Decided::fault(fault);
    }
    match builtin::find(method.as_str()) {
        Some(builtin) => Decided::of(run(inner, caller, grant, builtin, params).await),
        // Boxed, so that the many built-in calls do not carry its room.
        None => Box::pin(call_service(inner, caller, grant, method, params)).await,
    }
}

async fn run(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    builtin: &Builtin,
    params: Vec<Value>,
) -> Answer {
    let context = Context { inner, caller, grant };
    match builtin.run {
        Run::Now(run) => Answer::of(run(&context, params)),
        Run::Later(run) => run(context, params).await,
    }
}

async fn call_service(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    full_name: &MethodName,
    params: Vec<Value>,
) -> Decided {
    let service = match inner.services.find(full_name).await {
        Ok(service) => service,
        Err(fault) => return Decided::fault(fault),
    };
    let (_, method) = full_name.split();
    let rule = match permitted(&service, method, caller, grant) {
        Ok(rule) => rule,
        Err((fault, rule)) => {
            return Decided { rule, ..Decided::fault(fault) };
        }
    };
    let decided = match admitted(inner, &service, grant, full_name, params.len()) {
        Ok((grant, Callee::Own)) => {
            into_worker(inner, caller, &service, grant, full_name, params).await
        }
        Ok((_, Callee::Monitor)) => Decided::of(Answer::of(monitor(inner, params).await)),
        Err(fault) => Decided::fault(fault),
    };
    Decided { rule: Some(rule), ..decided }
}

/// The rule that lets the caller through.
///
/// # Errors
/// The fault, and the rule that refuses him, for the audit.
fn permitted(
    service: &Service,
    method: &str,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
) -> Result<String, (Fault, Option<String>)> {
    let Some(behind) = &service.access else { return Err((workers::broken(service), None)) };
    let ask = access_ask(method, caller.subject(), grant);
    match Access::permits(&[&behind.access], &ask) {
        Ok(permitted) => Ok(permitted.rule().to_owned()),
        Err(denied) => {
            let text = denied.to_string();
            Err(match denied {
                Denied::NoCredential { rule } => {
                    (Fault::new(FaultCode::NoCredential, text), Some(rule))
                }
                Denied::Refused { rule, .. } => (Fault::refused(text), Some(rule)),
            })
        }
    }
}

/// What is asked of a service's access lists, as things stand now.
pub(crate) fn access_ask<'a>(
    method: &'a str,
    subject: Option<&'a SubjectDn>,
    grant: &'a Result<Arc<Grant>, Fault>,
) -> Ask<'a> {
    let level = grant.as_ref().ok().map(|grant| &grant.level);
    let now_unix = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
    Ask { method, subject, level, groups: &(), now_unix }
}

/// Who answers a permitted call.
enum Callee {
    /// The service's own method.
    Own,
    /// The container, for a service that has no `monitor` of its own.
    Monitor,
}

/// Holds a permitted call against what there is and what the caller is granted.
fn admitted<'a>(
    inner: &Inner,
    service: &Service,
    grant: &'a Result<Arc<Grant>, Fault>,
    full_name: &MethodName,
    count: usize,
) -> Result<(&'a Arc<Grant>, Callee), Fault> {
    let (_, name) = full_name.split();
    let callee = match service.methods.get(name) {
        Some(method) => {
            check_count(method, count)?;
            Callee::Own
        }
        None if name == MONITOR => Callee::Monitor,
        None => return Err(no_such_method(full_name)),
    };
    let grant = grant.as_ref().map_err(Clone::clone)?;
    if !service.serves_level(grant.level.as_str()) {
        return Err(Fault::refused(format!(
            "the service {} does not serve level {}",
            service.name, grant.level
        )));
    }
    if !is_approved_for(inner, service, grant.level.as_str()) {
        return Err(Fault::refused(format!(
            "the code of service {} has changed and is not approved for level {}",
            service.name, grant.level
        )));
    }
    Ok((grant, callee))
}

/// Changed code of a pinned service serves only levels that have no account of their own callers.
fn is_approved_for(inner: &Inner, service: &Service, level: &str) -> bool {
    let changed = |approved: &String| *approved != service.digest;
    if !service.manifest.approved.as_ref().is_some_and(changed) {
        return true;
    }
    let of_own = |from: LevelFrom| from == LevelFrom::Gridmap;
    inner.config.levels.iter().any(|known| known.name.as_str() == level && !of_own(known.from))
}

/// The number of parameters, where the method says which it takes.
fn check_count(method: &Method, count: usize) -> Result<(), Fault> {
    let fits = |signature: &nesssi_service::Signature| signature.len() == count + 1;
    if method.signatures.is_empty() || method.signatures.iter().any(fits) {
        return Ok(());
    }
    let mut counts: Vec<usize> =
        method.signatures.iter().map(|signature| signature.len().saturating_sub(1)).collect();
    counts.sort_unstable();
    counts.dedup();
    let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
    Err(Fault::invalid_params(format!(
        "{} takes {} parameters, {count} were given",
        method.name,
        counts.join(" or ")
    )))
}

pub(crate) fn no_such_method(method: &MethodName) -> Fault {
    Fault::new(FaultCode::NoSuchMethod, format!("no such method: {method}"))
}

async fn into_worker(
    inner: &Arc<Inner>,
    caller: &Caller,
    service: &Arc<Service>,
    grant: &Arc<Grant>,
    method: &MethodName,
    params: Vec<Value>,
) -> Decided {
    let who = CallerGrant {
        subject: caller.subject().cloned(),
        issuer: caller.issuer().cloned(),
        address: caller.address,
        grant: Arc::clone(grant),
        request_id: caller.request_id.clone(),
    };
    let call = ServiceCall { method, params: &params, dialect: caller.dialect };
    let called = workers::call(inner, service, who, call).await;
    inner.services.callers.charge(caller, called.cpu_usec);
    let Called { reply, session, cpu_usec } = called;
    let url = session.as_ref().map(|session| inner.jobs.url_of(session));
    Decided { answer: Answer { reply, session: url }, rule: None, cpu_usec, session }
}

async fn monitor(inner: &Inner, params: Vec<Value>) -> Reply {
    let [session] = builtin::exactly(params)?;
    let session = builtin::text(session, "the session's id")?;
    Ok(inner.jobs.status_text(&session).await?.into())
}

/// One line for the call, whatever came of it.
fn record(
    inner: &Inner,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    decided: &Decided,
) {
    let code = decided.answer.reply.as_ref().map_or_else(|fault| fault.code.number(), |_| 0);
    let grant = grant.as_ref().ok();
    inner
        .audit
        .line("call")
        .text("request", &caller.request_id)
        .maybe("subject", caller.subject())
        .text("address", caller.address)
        .maybe("level", grant.map(|grant| &grant.level))
        .maybe("account", grant.map(|grant| &grant.account))
        .text("method", method)
        .maybe("rule", decided.rule.as_ref())
        .maybe("session", decided.session.as_ref().map(SessionId::short))
        .number("code", code)
        .count("cpu_usec", decided.cpu_usec)
        .write();
}

#[cfg(test)]
mod tests;
