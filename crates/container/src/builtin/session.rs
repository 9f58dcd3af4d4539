//! `session.*`: where a session's files are.

use nesssi_rpc::{Reply, Value};

use super::{Builtin, Context, Run, exactly, text};

pub(crate) const METHODS: &[Builtin] = &[Builtin {
    name: "session.url",
    help: "The address under which a session's files are read with a browser: url(session_id).",
    signatures: &[&["string", "string"]],
    parameters: &["session"],
    run: Run::Now(url),
}];

fn url(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [session] = exactly(params)?;
    Ok(context.inner.jobs.url(&text(session, "the session")?)?.into())
}
