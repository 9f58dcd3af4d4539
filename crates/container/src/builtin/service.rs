//! `service.list`: the services there are, and which of them are broken.

use std::sync::Arc;

use nesssi_rpc::{Reply, Value};
use nesssi_service::ServiceState;

use super::{Builtin, Context, Run, exactly};
use crate::registry::{self, MONITOR};
use crate::{Answer, Inner};

pub(crate) const METHODS: &[Builtin] = &[Builtin {
    name: "service.list",
    help: "All services, each a struct: name, state (\"ok\", \"unhealthy\" or \"broken\"), reason \
           (why it is not ok, else \"\"), remark (what keeps a changed access list from being in \
           force, else \"\"), methods, contact, purpose, version, levels (those \
           served, empty for all), size_parameter and policy.",
    signatures: &[&["array"]],
    parameters: &[],
    run: Run::Later(|context, params| {
        Box::pin(async move {
            context.inner.services.all_found().await;
            Answer::of(list(&context, params))
        })
    }),
}];

fn list(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let services = context.inner.services.current();
    let lists = &context.inner.services.lists;
    let described = |service: &Arc<registry::Service>| {
        described(service, lists.path(&service.name).err(), lists.remark(&service.name))
    };
    Ok(Value::Array(services.iter().map(described).collect()))
}

/// How many services are ok, unhealthy and broken.
pub(crate) fn tally(inner: &Inner) -> [i64; 3] {
    let services = inner.services.current();
    let mut tally = [0; 3];
    let [ok, unhealthy, broken] = &mut tally;
    for service in services.iter() {
        let closed = inner.services.lists.path(&service.name).err();
        *match state_of(service, closed).0 {
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

/// Its state, and why that is not `ok`; `closed` is why its access lists let nobody through.
fn state_of<'a>(
    service: &'a registry::Service,
    closed: Option<&'static str>,
) -> (&'static str, &'a str) {
    match (&service.state, closed) {
        (ServiceState::Broken(why), _) => (BROKEN, why.kind.as_str()),
        (ServiceState::Ok, Some(why)) => (BROKEN, why),
        (ServiceState::Ok, None) => {
            let throttled =
                service.access.as_ref().is_some_and(|behind| behind.desks.is_throttled());
            if throttled { (UNHEALTHY, "its worker ends too fast") } else { (OK, "") }
        }
    }
}

/// `closed` is why its access lists let nobody through, `remark` what else is to be said of them.
fn described(
    service: &registry::Service,
    closed: Option<&'static str>,
    remark: Option<&'static str>,
) -> Value {
    let (state, reason) = state_of(service, closed);
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
        ("remark", remark.unwrap_or_default().into()),
        ("methods", texts(&methods)),
        ("contact", or_empty(&service.contact)),
        ("purpose", or_empty(&service.purpose)),
        ("version", or_empty(&service.version)),
        ("levels", texts(&levels)),
        ("size_parameter", or_empty(&service.manifest.size_parameter)),
        ("policy", or_empty(&service.manifest.policy)),
    ])
}
