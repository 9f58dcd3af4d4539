//! `job.*`: what became of a job, ending it, and the caller's own list.

use nesssi_rpc::{Reply, Value};

use super::{Builtin, Context, Later, Run, exactly, text};
use crate::Answer;

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "job.status",
        help: "What is known of a session's job, as a struct: status(session_id). `state` is \
               prepared, queued, running, done, failed, cancelled, over_limit or lost; \
               `cpu_seconds` of `cpu_limit`, `wall_seconds`, `exit_code`, `reason`, `url`, and \
               `as_of`: of when the answer is.",
        signatures: &[&["struct", "string"]],
        parameters: &["session"],
        run: Run::Now(status),
    },
    Builtin {
        name: "job.cancel",
        help: "Ends a job: cancel(session_id), for who submitted it. Answers `cancelled` once \
               nothing of it is left, `asked` while something is, or the state in which it had \
               ended before.",
        signatures: &[&["string", "string"]],
        parameters: &["session"],
        run: Run::Later(cancel),
    },
    Builtin {
        name: "job.list",
        help: "The caller's own sessions, the newest first, each as job.status answers it with \
               its `session`. Needs a certificate.",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Now(list),
    },
];

fn status(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [session] = exactly(params)?;
    context.inner.jobs.status_value(&text(session, "the session")?)
}

fn list(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    context.inner.jobs.list(context.subject())
}

fn cancel(context: Context<'_>, params: Vec<Value>) -> Later<'_> {
    Box::pin(async move {
        let cancelled = async {
            context.may_change()?;
            let [session] = exactly(params)?;
            let session = text(session, "the session")?;
            context.inner.jobs.cancel(context.subject(), &session).await
        };
        Answer::of(cancelled.await.map(Value::String))
    })
}
