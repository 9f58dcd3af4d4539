//! `system.last_call`: what became of a call whose answer the client lost.

use nesssi_rpc::{ClientTag, Fault, FaultCode, MethodName, Reply, Value};

use super::{Builtin, Context, Run, text};
use crate::Answer;
use crate::answers::{Seen, Standing};
use crate::call::{no_such_method, tagged};
use crate::clock::date_time;

pub(crate) const METHODS: &[Builtin] = &[Builtin {
    name: "system.last_call",
    help: "What became of the caller's last call with this client tag, of one method or of any: a \
           struct of `method`, `state` (running, done, or lost: the server stopped in the middle of \
           it), `called`, `params_sha256`, and where there is one `value` or `fault` (`code`, `text`), \
           `session` and `url`. Fault 404 where none is known. Needs a certificate. Example: \
           system.last_call(\"3f0c9d5a-41\", \"job.submit\")[\"session\"].",
    signatures: &[&["struct", "string"], &["struct", "string", "string"]],
    parameters: &["tag", "method"],
    run: Run::Later(|context, params| {
        Box::pin(async move { Answer::of(last_call(&context, params).await) })
    }),
}];

async fn last_call(context: &Context<'_>, params: Vec<Value>) -> Reply {
    if context.subject().is_none() {
        let text = "system.last_call needs a certificate: an anonymous caller sends the call again";
        return Err(Fault::new(FaultCode::NoCredential, text));
    }
    let mut params = params.into_iter();
    let tag = text(params.next().unwrap_or(Value::Nil), "the client tag")?;
    let tag = ClientTag::parse(&tag).map_err(|error| Fault::invalid_params(error.to_string()))?;
    let method = params.next().map(|name| text(name, "the method's name")).transpose()?;
    let method = method.map(|name| {
        let unknown = || Fault::new(FaultCode::NoSuchMethod, "no such method");
        MethodName::parse(&name).map_err(|_| unknown())
    });
    let method = method.transpose()?;
    if let Some(method) = &method
        && method.split().0.is_empty()
    {
        return Err(no_such_method(method));
    }
    let (method, seen) = tagged::last(context, method.as_ref(), &tag).await?;
    Ok(described(context, &method, &seen))
}

fn described(context: &Context<'_>, method: &str, seen: &Seen) -> Value {
    let Seen { standing, params, called_ms, session, .. } = seen;
    let state = match standing {
        Standing::Running => "running",
        Standing::Done(_) => "done",
        Standing::Lost => "lost",
    };
    let mut members = vec![
        ("method", Value::from(method)),
        ("state", state.into()),
        ("called", Value::DateTime(date_time(*called_ms))),
        ("params_sha256", hex(params).into()),
    ];
    if let Standing::Done(_) = standing {
        members.push(match seen.reply().and_then(|reply| reply) {
            Ok(value) => ("value", value),
            Err(fault) => {
                let code = Value::Int(fault.code.number());
                ("fault", Value::record([("code", code), ("text", fault.text.into())]))
            }
        });
    }
    if let Some(session) = session {
        members.push(("session", session.reveal().into()));
        members.push(("url", context.inner.jobs.url_of(session).into()));
    }
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Struct(members.collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
