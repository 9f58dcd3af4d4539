//! What a caller may call, described: for callers who must know a method's types before they call.

use std::collections::BTreeMap;
use std::sync::Arc;

use nesssi_identity::Peer;
use nesssi_rpc::soap::Signature;
use nesssi_rpc::wsdl::Operation;
use nesssi_rpc::{Fault, FaultCode, MethodName, Value};

use super::{Arrived, Decided, arrive, count, judge, permission, record};
use crate::builtin::{self, Context, system};
use crate::{Answer, Caller, Inner};

/// A service, as far as a caller may call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its full name.
    pub service: String,
    /// What it is for; may be empty.
    pub purpose: String,
    /// Its methods that the caller may call; at least one.
    pub methods: Vec<Operation>,
}

/// What a description is counted and audited as.
const COUNTED_AS: &str = "system.listMethods";

/// The signatures of a method that the caller may call; none of any other, and none where they are not
/// known. Not counted: the call itself follows.
pub(crate) async fn signatures(
    inner: &Arc<Inner>,
    caller: &Caller,
    method: &MethodName,
) -> Vec<Signature> {
    if matches!(&*caller.peer, Peer::Refused(_)) {
        return Vec::new();
    }
    if let Some(builtin) = builtin::find(method.as_str()) {
        let denied = permission::denied_builtin(inner, caller, builtin.name).is_err();
        return if denied { Vec::new() } else { builtin.operation(builtin.name).signatures };
    }
    // What is wrong with the login, the call is told.
    let Ok(logged_in) = inner.logins.caller(&inner.audit, caller, method) else {
        return Vec::new();
    };
    let caller = logged_in.as_ref().unwrap_or(caller);
    let grant = judge(inner, caller).await;
    let context = Context { inner, caller, grant: &grant, answer: None };
    match system::look_up(&context, method).await {
        Ok(found) => found.operation(method).signatures,
        Err(_) => Vec::new(),
    }
}

/// Every service, or `only` one, with the methods that the caller may call, sorted by name.
///
/// # Errors
/// The fault that `system.listMethods` is answered with; -32601 where there is nothing to describe.
pub(crate) async fn offers(
    inner: &Arc<Inner>,
    caller: &Caller,
    only: Option<&str>,
) -> Result<Vec<Offered>, Fault> {
    let method = MethodName::parse(COUNTED_AS)
        .map_err(|error| Fault::new(FaultCode::Internal, error.to_string()))?;
    let Arrived { caller, grant } = arrive(inner, caller, &method).await?;
    let found = match count(inner, &caller, &grant) {
        Ok(()) => {
            Ok(described(&Context { inner, caller: &caller, grant: &grant, answer: None }, only)
                .await)
        }
        Err(fault) => Err(fault),
    };
    let reply = found.as_ref().map(|_| Value::Nil).map_err(Clone::clone);
    record(inner, &caller, &grant, &method, &Decided::of(Answer::of(reply)));
    let found = found?;
    if found.is_empty() {
        return Err(Fault::new(FaultCode::NoSuchMethod, "no such service"));
    }
    Ok(found)
}

/// Every service, or `only` one, with the methods that the caller may call.
pub(crate) async fn described(context: &Context<'_>, only: Option<&str>) -> Vec<Offered> {
    let asked_for = |service: &str| only.is_none_or(|only| only == service);
    let mut offers = builtins(context, asked_for);
    context.inner.services.all_found().await;
    let services = context.inner.services.current().clone();
    for service in services.iter().filter(|one| one.is_ok() && asked_for(one.name.as_str())) {
        let methods = system::callable(context, service).await;
        if !methods.is_empty() {
            let methods = methods.into_iter().map(|name| system::operation(service, name));
            offers.push(Offered {
                service: service.name.to_string(),
                purpose: service.purpose.clone().unwrap_or_default(),
                methods: methods.collect(),
            });
        }
    }
    offers.sort_by(|a, b| a.service.cmp(&b.service));
    offers
}

fn builtins(context: &Context<'_>, asked_for: impl Fn(&str) -> bool) -> Vec<Offered> {
    let mut services: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for builtin in system::open_builtins(context) {
        let (service, name) = builtin.name.rsplit_once('.').unwrap_or(("", builtin.name));
        if asked_for(service) {
            services.entry(service).or_default().push(builtin.operation(name));
        }
    }
    let offered = |(service, methods): (&str, _)| Offered {
        service: service.to_owned(),
        purpose: builtin::purpose(service).to_owned(),
        methods,
    };
    services.into_iter().map(offered).collect()
}
