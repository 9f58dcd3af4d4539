//! `shell.*`: commands that the administrator has listed, run as a job of the caller's account.
//!
//! The words are held against the list, and given to the system as they are: no shell reads them.

use std::sync::Arc;
use std::time::Duration;

use nesssi_config::Shell;
use nesssi_job::Command;
use nesssi_rpc::{Fault, FaultCode, Reply, Value};
use nesssi_session::SessionId;

use super::{Builtin, Context, Run, exactly, text};
use crate::Answer;
use crate::files::{self, Found};
use crate::grants::CallerGrant;
use crate::jobs::{Owner, Submission};
use crate::raw::RawFile;
use crate::reading::read_whole;
use crate::waiting;

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "shell.cmd",
        help: "Runs a command that this server's administrator has listed (see shell.cmd_info) as a \
               job of the caller's account: cmd(command), an array of strings, or a string that is \
               split at blanks, with no quoting; no shell reads it. Answers a struct once it has \
               ended, or after as long as a call of his level may take: `session`, `state`, \
               `exit_code` (if it has one), `stdout` and `stderr` (at most 65536 bytes each, base64 \
               where it is no text) and `cut` (whether there is more in the session). Example: \
               shell.cmd([\"/usr/bin/uptime\"])[\"stdout\"].",
        signatures: &[&["struct", "array"], &["struct", "string"]],
        parameters: &["command"],
        run: Run::Later(|context, params| Box::pin(cmd(context, params))),
    },
    Builtin {
        name: "shell.cmd_info",
        help: "What shell.cmd runs for the caller, as a struct: `account`, and `commands`, an array \
               of argument vectors in which \"*\" stands for one word that does not begin with \
               \"-\". Example: shell.cmd_info()[\"commands\"].",
        signatures: &[&["struct"]],
        parameters: &[],
        run: Run::Now(cmd_info),
    },
];

/// How much of each output an answer has.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// What the caller may run, and who he is.
///
/// # Errors
/// 403 where there is no such service for him.
fn allowed(context: &Context<'_>) -> Result<(CallerGrant, Arc<Shell>), Fault> {
    let shell = Arc::clone(&context.inner.grants.rules().now().shell);
    if !shell.enabled {
        return Err(Fault::refused("shell.cmd is not offered by this server"));
    }
    let who = context.who()?;
    if !shell.levels.contains(&who.grant.level) {
        let text = format!("shell.cmd is not open to level {} here", who.grant.level);
        return Err(Fault::refused(text));
    }
    Ok((who, shell))
}

fn cmd_info(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let (who, shell) = allowed(context)?;
    let command = |words: &Vec<String>| {
        Value::Array(words.iter().map(|word| Value::from(word.as_str())).collect())
    };
    Ok(Value::record([
        ("account", who.grant.account.as_str().into()),
        ("commands", Value::Array(shell.commands.iter().map(command).collect())),
    ]))
}

async fn cmd(context: Context<'_>, params: Vec<Value>) -> Answer {
    let (who, session) = match start(&context, params).await {
        Ok(started) => started,
        Err(fault) => return Answer::of(Err(fault)),
    };
    let url = context.inner.jobs.url_of(&session);
    let reply = outcome(&context, &who, &session).await;
    Answer { session: Some(url), ..Answer::of(reply) }
}

/// Gives the job.
async fn start(
    context: &Context<'_>,
    params: Vec<Value>,
) -> Result<(CallerGrant, SessionId), Fault> {
    context.may_change()?;
    let (who, shell) = allowed(context)?;
    let [command] = exactly(params)?;
    let words = words(command)?;
    if !shell.allows(&words) {
        let text = "this command is none of those that shell.cmd_info lists, word for word";
        return Err(Fault::refused(text));
    }
    let inner = context.inner;
    let line = inner.audit.line("shell_command").text("request", &who.request_id);
    line.maybe("subject", who.subject.as_ref())
        .text("account", &who.grant.account)
        .text("level", &who.grant.level)
        .maybe("program", words.first())
        .write();
    let limits = &who.grant.limits;
    let submission = |seconds: u64| Submission {
        service: "shell".to_owned(),
        method: "shell.cmd".to_owned(),
        #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^53 seconds")]
        seconds: seconds as f64,
        session: None,
        command: Command::Argv(words.iter().map(|word| word.clone().into_bytes()).collect()),
        shell_allowed: false,
        batch: Some("local".to_owned()),
    };
    let submitted = inner.jobs.submit(&who, submission(limits.cpu_seconds)).await;
    let session = match submitted {
        // So much is not left of his day: a short one may be.
        Err(fault) if fault.code == FaultCode::OverLimit => {
            let short = u64::from(limits.call_cpu_seconds).min(limits.cpu_seconds);
            inner.jobs.submit(&who, submission(short)).await?
        }
        other => other?,
    };
    Ok((who, session))
}

/// The words of a command.
///
/// # Errors
/// -32602 for what is neither an array of strings nor a string.
fn words(command: Value) -> Result<Vec<String>, Fault> {
    match command {
        Value::String(line) => {
            Ok(line.split([' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
        }
        Value::Array(words) => {
            words.into_iter().map(|word| text(word, "a word of the command")).collect()
        }
        other => {
            let text = format!("the command is an array of strings, not {}", other.type_name());
            Err(Fault::invalid_params(text))
        }
    }
}

/// Waits for the end, and tells of it, or of how far it is.
async fn outcome(context: &Context<'_>, who: &CallerGrant, session: &SessionId) -> Reply {
    let inner = context.inner;
    let patience = Duration::from_secs(who.grant.limits.call_wall_seconds.into());
    let owner = Owner::of(who.subject.as_ref(), who.address);
    if let Err(fault) = waiting::wait(inner, owner, session.reveal(), patience).await {
        // The job goes on all the same, and he has its session.
        tracing::debug!(%fault, "nobody waits for a command");
    }
    let status = inner.jobs.status_value(session.reveal())?;
    let (stdout, more_out) = output(context, session, "stdout").await?;
    let (stderr, more_err) = output(context, session, "stderr").await?;
    let mut members = vec![
        ("session", session.reveal().into()),
        ("state", status.member("state").cloned().unwrap_or(Value::Nil)),
        ("stdout", stdout),
        ("stderr", stderr),
        ("cut", (more_out || more_err).into()),
    ];
    members.extend(status.member("exit_code").map(|code| ("exit_code", code.clone())));
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Ok(Value::Struct(members.collect()))
}

/// The beginning of an output, and whether there is more of it. One that is not there is empty.
async fn output(
    context: &Context<'_>,
    session: &SessionId,
    name: &str,
) -> Result<(Value, bool), Fault> {
    let opened = files::open(&context.inner.jobs, session.reveal(), name.as_bytes()).await;
    let Ok(Found::File { file, size, account, .. }) = opened else {
        return Ok(("".into(), false));
    };
    let length = size.min(OUTPUT_BYTES_MAX);
    let name = name.as_bytes().to_vec();
    let raw = RawFile { file: Arc::new(file), offset: 0, length, account, name };
    let bytes = read_whole(&context.inner.reading, &raw).await?;
    let cut = size > length;
    Ok((Value::text_or_binary(if cut { whole_letters(bytes) } else { bytes }), cut))
}

/// Without the part of a letter that a cut has left at the end.
fn whole_letters(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use nesssi_rpc::{FaultCode, Value};

    use super::{whole_letters, words};

    #[test]
    fn words_are_split_at_blanks_and_nothing_else_of_them_is_read() {
        let split = |text: &str| words(text.into()).unwrap();
        assert_eq!(split(" /bin/ls\t -l  'a b' $X;\n"), ["/bin/ls", "-l", "'a", "b'", "$X;\n"]);
        assert_eq!(split(""), [""; 0]);
        let array = Value::Array(vec!["a b".into(), "".into(), "*".into()]);
        assert_eq!(words(array).unwrap(), ["a b", "", "*"]);
        for wrong in [Value::Int(1), Value::Array(vec![Value::Int(1)])] {
            assert_eq!(words(wrong).unwrap_err().code, FaultCode::InvalidParams);
        }
    }

    #[test]
    fn a_letter_is_never_cut() {
        assert_eq!(whole_letters("aé".as_bytes()[..2].to_vec()), b"a");
        assert_eq!(whole_letters("aé".as_bytes().to_vec()), "aé".as_bytes());
        assert_eq!(whole_letters(vec![0xFF, b'a']), [0xFF, b'a']);
    }
}
