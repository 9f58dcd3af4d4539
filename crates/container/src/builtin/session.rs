//! `session.*`: a session of one's own, where its files are, how long it is kept.

use nesssi_rpc::{Fault, FaultCode, Reply, Value};

use super::{Builtin, Context, Run, between, exactly, seconds, text};
use crate::Answer;
use crate::clock::date_time;
use crate::jobs::Holder;

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "session.destroy",
        help: "Ends a session and removes its files: destroy(session), for whose it is. Answers \
               true; a job that has not ended is to be cancelled first. Example: \
               session.destroy(session).",
        signatures: &[&["boolean", "string"]],
        parameters: &["session"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(destroy(&context, params).await) })
        }),
    },
    Builtin {
        name: "session.extend",
        help: "Keeps a session longer: extend(session, seconds) from now, at most as long as its \
               level keeps sessions, and never shorter than before. Answers until when (UTC) it is \
               kept; while its job has not ended, until when at least. Example: \
               session.extend(session, 86400).",
        signatures: &[&["dateTime.iso8601", "string", "double"]],
        parameters: &["session", "seconds"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(extend(&context, params).await) })
        }),
    },
    Builtin {
        name: "session.list",
        help: "The caller's own sessions, the newest first, each a struct: `session`, `state`, \
               `service`, `method`, `level`, `created`, `expires` (not there while its job has not \
               ended) and `url`. Needs a certificate. Example: session.list()[0][\"expires\"].",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Now(list),
    },
    Builtin {
        name: "session.new",
        help: "Makes a session with an empty sandbox, for a job to come: new() or new(cpu_seconds), \
               which is refused at once where it would be more than the caller may use. An hour \
               without a job ends it. Answers the session. Example: session.new(60).",
        signatures: &[&["string"], &["string", "double"]],
        parameters: &["cpu_seconds"],
        run: Run::Later(|context, params| Box::pin(make(context, params))),
    },
    Builtin {
        name: "session.url",
        help: "The address under which a session's files are read with a browser: url(session). \
               Example: session.url(session).",
        signatures: &[&["string", "string"]],
        parameters: &["session"],
        run: Run::Now(url),
    },
];

/// What a new session is held against where nothing is said.
const SECONDS_LEAST: f64 = 1.0;

fn url(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [session] = exactly(params)?;
    Ok(context.inner.jobs.url(&text(session, "the session")?)?.into())
}

fn list(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let Some(subject) = context.subject() else {
        let text = "a list needs a certificate: an anonymous caller has the ids he was given";
        return Err(Fault::new(FaultCode::NoCredential, text));
    };
    Ok(context.inner.jobs.sessions(subject))
}

async fn make(context: Context<'_>, params: Vec<Value>) -> Answer {
    let made = async {
        context.may_change()?;
        let who = context.who()?;
        let [asked] = between(0, params)?;
        let asked = asked.map_or(Ok(SECONDS_LEAST), |asked| seconds(&asked, "the CPU seconds"))?;
        Ok(context.inner.jobs.prepare(&who, "session", "session.new", asked).await?.0)
    };
    match made.await {
        Ok(session) => Answer {
            session: Some(context.inner.jobs.url_of(&session)),
            ..Answer::of(Ok(session.reveal().into()))
        },
        Err(fault) => Answer::of(Err(fault)),
    }
}

async fn extend(context: &Context<'_>, params: Vec<Value>) -> Reply {
    context.may_change()?;
    let [session, asked] = exactly(params)?;
    let session = text(session, "the session")?;
    let asked = seconds(&asked, "the time to keep it")?;
    let until = context.inner.jobs.extend(holder(context), &session, asked).await?;
    Ok(Value::DateTime(date_time(until)))
}

async fn destroy(context: &Context<'_>, params: Vec<Value>) -> Reply {
    context.may_change()?;
    let [session] = exactly(params)?;
    let session = text(session, "the session")?;
    context.inner.jobs.destroy(holder(context), &session).await?;
    Ok(Value::Bool(true))
}

fn holder(context: &Context<'_>) -> Holder {
    let request_id = context.caller.request_id.clone();
    Holder { subject: context.subject().cloned(), request_id }
}
