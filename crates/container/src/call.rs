//! A call's way through the container: who calls, how often, what, and may he.
//!
//! The order is the contract's: a refused credential is refused whatever it calls; then the service
//! is found, the access lists asked, and only then a grant is needed. Every decision is audited.

mod callers;
mod job_method;
mod multicall;
mod offers;
pub(crate) mod permission;
pub(crate) mod tagged;
mod uploads;

use std::borrow::Cow;
use std::sync::Arc;

use nesssi_identity::Peer;
use nesssi_policy::LevelName;
use nesssi_rpc::multicall::METHOD as MULTICALL;
use nesssi_rpc::{Call, Fault, FaultCode, MethodName, NamedCall, Reply, Value, check_params};
use nesssi_service::Method;
use nesssi_session::SessionId;

use crate::answers::{AnswerNumber, Recording};
use crate::builtin::system::{MONITOR_PARAMETERS, MONITOR_SIGNATURE};
use crate::builtin::{self, Builtin, Context, Run};
use crate::grants::{CallerGrant, Grant, fault_of};
use crate::registry::{MONITOR, Service};
use crate::workers::{self, Called, ServiceCall};
use crate::{Answer, Caller, Inner, raw};

pub(crate) use callers::Callers;
pub use multicall::CallsBudget;
pub use offers::Offered;
pub(crate) use offers::{described, offers, signatures};
use permission::{NotPermitted, Permission, permission};
pub(crate) use uploads::{COUNTED_AS as UPLOAD, begin_upload};

/// Calls a minute of a caller whom no level takes: he may still see and cancel what he has.
const UNJUDGED_CALLS_PER_MINUTE: u32 = 60;

/// Answers a call.
pub(crate) async fn dispatch(inner: &Arc<Inner>, caller: &Caller, call: Call) -> Answer {
    let Call { method, params } = call;
    let Arrived { caller, grant } = match arrive(inner, caller, &method).await {
        Ok(arrived) => arrived,
        Err(refused) => return Answer::of(Err(refused)),
    };
    let decided = decide(inner, &caller, &grant, &method, params).await;
    told(inner, &caller, &grant, &method, decided).await
}

/// Answers a call whose parameters are named, which the method must be found for.
pub(crate) async fn dispatch_named(inner: &Arc<Inner>, caller: &Caller, call: NamedCall) -> Answer {
    let method = call.method.clone();
    let Arrived { caller, grant } = match arrive(inner, caller, &method).await {
        Ok(arrived) => arrived,
        Err(refused) => return Answer::of(Err(refused)),
    };
    let decided = match in_order(inner, &caller, &grant, call).await {
        Ok(Call { method, params }) => decide(inner, &caller, &grant, &method, params).await,
        Err(refused) => match count(inner, &caller, &grant) {
            Ok(()) => *refused,
            Err(many) => Decided::fault(many),
        },
    };
    told(inner, &caller, &grant, &method, decided).await
}

/// Puts the parameters of a call in order.
///
/// # Errors
/// The answer where nobody takes the call, the caller may not, or its names do not fit.
async fn in_order(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    call: NamedCall,
) -> Result<Call, Box<Decided>> {
    let (ordered, rule) = match find(inner, caller, grant, &call.method).await? {
        Target::Builtin(builtin) => (call.in_order(builtin.parameters, builtin.signatures), None),
        Target::Service { service, permission } => {
            let (_, name) = call.method.split();
            let ordered = match service.methods.get(name) {
                Some(method) => call.in_order(&method.parameters, &method.signatures),
                None if name == MONITOR => call.in_order(&MONITOR_PARAMETERS, &[MONITOR_SIGNATURE]),
                None => Err(no_such_method(&call.method)),
            };
            (ordered, Some(permission.rule))
        }
    };
    ordered.map_err(|fault| Box::new(Decided { rule, ..Decided::fault(fault) }))
}

/// The answer to a call, recorded.
async fn told(
    inner: &Inner,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    mut decided: Decided,
) -> Answer {
    decided.answer = raw::for_dialect(inner, decided.answer, caller.dialect).await;
    record(inner, caller, grant, method, &decided);
    decided.answer
}

/// Counts what is no call, though it stands where one should.
pub(crate) async fn miscalled(inner: &Arc<Inner>, caller: &Caller, fault: Fault) -> Fault {
    let Ok(method) = MethodName::parse(MULTICALL) else { return fault };
    let counted = match arrive(inner, caller, &method).await {
        Ok(Arrived { caller, grant }) => count(inner, &caller, &grant),
        Err(refused) => Err(refused),
    };
    counted.err().unwrap_or(fault)
}

/// Who calls, and what he is granted or the fault that says why nothing.
struct Arrived<'a> {
    caller: Cow<'a, Caller>,
    grant: Result<Arc<Grant>, Fault>,
}

/// Finds out who it is that calls `method`.
///
/// # Errors
/// 403 for a credential that was refused, the fault of a login that is not taken; recorded both.
async fn arrive<'a>(
    inner: &Inner,
    caller: &'a Caller,
    method: &MethodName,
) -> Result<Arrived<'a>, Fault> {
    if let Peer::Refused(refusal) = &*caller.peer {
        let text = refusal.to_string();
        inner
            .audit
            .line("credential_refused")
            .text("request", &caller.request_id)
            .text("address", caller.address)
            .text("method", method)
            .text("reason", &text)
            .write();
        return Err(Fault::refused(text));
    }
    let caller = match inner.logins.caller(&inner.audit, caller, method) {
        Ok(None) => Cow::Borrowed(caller),
        Ok(Some(logged_in)) => Cow::Owned(logged_in),
        Err(refused) => return Err(login_refused(inner, caller, method, refused)),
    };
    let grant = judge(inner, &caller).await;
    Ok(Arrived { caller, grant })
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
    /// The level that the service has lowered him to.
    lowered: Option<LevelName>,
    cpu_usec: u64,
    /// The session that it made.
    session: Option<SessionId>,
    /// Whether it was refused before anything was carried out.
    refused: bool,
    /// Whether its line in the audit is written.
    recorded: bool,
}

impl Decided {
    fn of(answer: Answer) -> Self {
        Self {
            answer,
            rule: None,
            lowered: None,
            cpu_usec: 0,
            session: None,
            refused: false,
            recorded: false,
        }
    }

    /// Refused.
    fn fault(fault: Fault) -> Self {
        Self { refused: true, ..Self::of(Answer::of(Err(fault))) }
    }
}

/// What the caller is granted; remembered, since most callers call again.
async fn judge(inner: &Inner, caller: &Caller) -> Result<Arc<Grant>, Fault> {
    let callers = &inner.services.callers;
    let generation = inner.grants.generation();
    let address = inner.grants.rules().now().address_key(caller.address);
    if let Some(grant) = callers.known(caller, address, generation) {
        return Ok(grant);
    }
    let grant = inner.grants.judge(caller).await?;
    callers.remember(caller, address, &grant);
    inner
        .audit
        .line("mapping")
        .maybe("subject", caller.subject())
        .maybe("issuer", caller.issuer())
        .text("address", caller.address)
        .text("level", &grant.level)
        .text("account", &grant.account)
        .text("rule", &grant.rule)
        .count("generation", grant.generation)
        .write();
    Ok(grant)
}

async fn decide(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    params: Vec<Value>,
) -> Decided {
    if method.as_str() == MULTICALL {
        // It counts as what is in it.
        return Box::pin(multicall::answer(inner, caller, grant, params)).await;
    }
    match count(inner, caller, grant) {
        Ok(()) => one(inner, caller, grant, method, params).await,
        Err(fault) => Decided::fault(fault),
    }
}

/// Counts a call against what the caller's level allows in a minute.
fn count(inner: &Inner, caller: &Caller, grant: &Result<Arc<Grant>, Fault>) -> Result<(), Fault> {
    let (most, level) = match grant {
        Ok(grant) => (grant.limits.calls_per_minute, grant.level.as_str()),
        Err(_) => (UNJUDGED_CALLS_PER_MINUTE, "none"),
    };
    inner.services.callers.count(caller, most, level)
}

/// A call that is no multicall and has been counted.
async fn one(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    mut params: Vec<Value>,
) -> Decided {
    match tagged::tag_of(caller, &mut params) {
        Ok(None) => {}
        Ok(Some(tag)) => {
            return Box::pin(tagged::call(inner, caller, grant, method, tag, params)).await;
        }
        Err(fault) => return Decided::fault(fault),
    }
    match builtin::find(method.as_str()) {
        Some(builtin) => match permission::denied_builtin(inner, caller, builtin.name) {
            Ok(()) => Decided::of(run(inner, caller, grant, builtin, params, None).await),
            Err(NotPermitted { fault, rule }) => Decided { rule, ..Decided::fault(fault) },
        },
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
    answer: Option<Recording>,
) -> Answer {
    if let Err(fault) = builtin.check(&params) {
        return Answer::of(Err(fault));
    }
    let context = Context { inner, caller, grant, answer };
    match builtin.run {
        Run::Now(run) => Answer::of(run(&context, params)),
        Run::Later(run) => run(context, params).await,
        Run::Many => {
            let text = "a multicall may not stand inside of another";
            Answer::of(Err(Fault::new(FaultCode::InvalidRequest, text)))
        }
    }
}

async fn call_service(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    full_name: &MethodName,
    params: Vec<Value>,
) -> Decided {
    match find_service(inner, caller, grant, full_name).await {
        Ok((service, permission)) => {
            serve(inner, caller, service, permission, full_name, params, None).await
        }
        Err(refused) => *refused,
    }
}

/// What answers a call, for a caller who is permitted.
enum Target {
    Builtin(&'static Builtin),
    Service { service: Arc<Service>, permission: Permission },
}

/// Finds what answers a call.
///
/// # Errors
/// The answer where nothing does, or the caller may not.
async fn find(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
) -> Result<Target, Box<Decided>> {
    if let Some(builtin) = builtin::find(method.as_str()) {
        return match permission::denied_builtin(inner, caller, builtin.name) {
            Ok(()) => Ok(Target::Builtin(builtin)),
            Err(NotPermitted { fault, rule }) => {
                Err(Box::new(Decided { rule, ..Decided::fault(fault) }))
            }
        };
    }
    let (service, permission) = find_service(inner, caller, grant, method).await?;
    Ok(Target::Service { service, permission })
}

/// # Errors
/// As [`find`].
async fn find_service(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    full_name: &MethodName,
) -> Result<(Arc<Service>, Permission), Box<Decided>> {
    let service = inner.services.find(full_name).await;
    let service = service.map_err(|fault| Box::new(Decided::fault(fault)))?;
    let (_, method) = full_name.split();
    match permission(inner, caller, grant, &service, method).await {
        Ok(permission) => Ok((service, permission)),
        Err(NotPermitted { fault, rule }) => {
            Err(Box::new(Decided { rule, ..Decided::fault(fault) }))
        }
    }
}

/// Carries a call out that has a tag, for a caller who is permitted.
async fn carry_out(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    target: Target,
    params: Vec<Value>,
    number: AnswerNumber,
) -> Decided {
    let answer = Some(Recording { number, answers_session: target.answers_session(method) });
    match target {
        Target::Builtin(builtin) => {
            let answer = run(inner, caller, grant, builtin, params, answer).await;
            Decided { refused: tagged::is_refusal(&answer), ..Decided::of(answer) }
        }
        Target::Service { service, permission } => {
            serve(inner, caller, service, permission, method, params, answer).await
        }
    }
}

/// A permitted call into a service.
async fn serve(
    inner: &Arc<Inner>,
    caller: &Caller,
    service: Arc<Service>,
    permission: Permission,
    full_name: &MethodName,
    params: Vec<Value>,
    answer: Option<Recording>,
) -> Decided {
    let decided = match callee(&service, full_name, &params) {
        Ok(Callee::Own) => {
            into_worker(inner, caller, &service, &permission, full_name, params, answer).await
        }
        Ok(Callee::Monitor) => {
            let answer = Answer::of(monitor(inner, params).await);
            Decided { refused: tagged::is_refusal(&answer), ..Decided::of(answer) }
        }
        Err(fault) => Decided::fault(fault),
    };
    Decided { rule: Some(permission.rule), lowered: permission.lowered, ..decided }
}

/// Who answers a permitted call.
enum Callee {
    /// The service's own method.
    Own,
    /// The container, for a service that has no `monitor` of its own.
    Monitor,
}

/// Holds a permitted call against what there is, and against what that declares that it takes.
fn callee(service: &Service, full_name: &MethodName, params: &[Value]) -> Result<Callee, Fault> {
    let (_, name) = full_name.split();
    match service.methods.get(name) {
        Some(method) => {
            let Method { parameters, signatures, .. } = method;
            check_params(full_name.as_str(), parameters, signatures, params)?;
            Ok(Callee::Own)
        }
        None if name == MONITOR => {
            let signatures = [MONITOR_SIGNATURE];
            check_params(full_name.as_str(), &MONITOR_PARAMETERS, &signatures, params)?;
            Ok(Callee::Monitor)
        }
        None => Err(no_such_method(full_name)),
    }
}

pub(crate) fn no_such_method(method: &MethodName) -> Fault {
    Fault::new(FaultCode::NoSuchMethod, format!("no such method: {method}"))
}

async fn into_worker(
    inner: &Arc<Inner>,
    caller: &Caller,
    service: &Arc<Service>,
    permission: &Permission,
    method: &MethodName,
    params: Vec<Value>,
    answer: Option<Recording>,
) -> Decided {
    let grant = &permission.grant;
    let today = permission::today(inner, caller, &grant.level);
    if let Err(refused) = nesssi_policy::admit_call(&grant.level, &grant.limits, &today) {
        return Decided::fault(fault_of(refused));
    }
    let claim = match permission::claim_of(inner, caller, permission.lowered.as_ref()) {
        Ok(claim) => claim,
        Err(fault) => return Decided::fault(fault),
    };
    let who = CallerGrant::new(claim, caller.address, Arc::clone(grant), caller.request_id.clone());
    let who = CallerGrant { answer, ..who };
    let (_, name) = method.split();
    if let Some(template) = service.manifest.jobs.get(name) {
        return job_method::start(inner, service, &who, template, method, &params).await;
    }
    let call = ServiceCall { method, params: &params, dialect: caller.dialect };
    let Called { reply, session, cpu_usec, refused } =
        workers::call(inner, service, who, call).await;
    let url = session.as_ref().map(|session| inner.jobs.url_of(session));
    let answer = Answer { session: url, ..Answer::of(reply) };
    Decided { cpu_usec, session, refused, ..Decided::of(answer) }
}

async fn monitor(inner: &Inner, params: Vec<Value>) -> Reply {
    let [session] = builtin::exactly(params)?;
    let session = builtin::text(session, "the session's id")?;
    Ok(inner.jobs.status_text(&session).await?.into())
}

/// One line for the call, whatever came of it; none where it has one.
fn record(
    inner: &Inner,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    decided: &Decided,
) {
    if decided.recorded {
        return;
    }
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
        .maybe("lowered", decided.lowered.as_ref())
        .maybe("session", decided.session.as_ref().map(SessionId::short))
        .number("code", code)
        .maybe("again", decided.answer.again.then_some("yes"))
        .count("cpu_usec", decided.cpu_usec)
        .write();
}

#[cfg(test)]
mod tests;
