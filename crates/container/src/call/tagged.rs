//! A call with a client tag: carried out once, and answered again whenever it is sent again.
//!
//! It is counted, and its caller judged and permitted, as any other; only then is asked whether it is
//! known.

use std::sync::Arc;
use std::time::Duration;

use nesssi_rpc::{CLIENT_TAG_MEMBER, ClientTag, Fault, FaultCode, MethodName, Value, kept};

use super::{Decided, Target, carry_out, find, record, run};
use crate::answers::{self, AnswerNumber, Ask, Came, Kept, Key, Outcome, owner};
use crate::builtin;
use crate::grants::Grant;
use crate::{Answer, Caller, Inner};

/// For how long a built-in call may be waited for that has been sent before, in seconds, beside the
/// longest that one of them waits itself. A service's call has the time that the level gives to one.
const BUILTIN_SECONDS_MAX: u64 = 30;

/// Methods whose answer is a secret, which is kept nowhere.
const SECRET: [&str; 1] = ["system.auth2"];

/// Methods that read files: they are carried out anew whenever they are sent. To read is no act, and what was read
/// is not for who may read it no more.
const READING: [&str; 8] = [
    "file.find",
    "file.ls",
    "file.md5",
    "file.read",
    "file.sha256",
    "file.size",
    "file.stat",
    "job.tail",
];

/// The built-in that answers the session it makes.
const SUBMIT: &str = "job.submit";

/// The tag of a call, from the request's head or from its parameters, where it is taken out.
///
/// # Errors
/// -32602 where what should be a tag is none, -32600 where there are two.
pub(super) fn tag_of(caller: &Caller, params: &mut Vec<Value>) -> Result<Option<ClientTag>, Fault> {
    let member = ClientTag::take(params)?;
    match (&caller.tag, member) {
        (None, member) => Ok(member),
        (Some(head), None) => Ok(Some(head.clone())),
        (Some(head), Some(member)) if *head == member => Ok(Some(member)),
        (Some(_), Some(_)) => {
            let text = format!(
                "the request has a client tag in its head and another one as {CLIENT_TAG_MEMBER}"
            );
            Err(Fault::new(FaultCode::InvalidRequest, text))
        }
    }
}

/// Refuses a tag in the head of a request for several calls.
///
/// # Errors
/// -32600.
pub(super) fn none_for_several(caller: &Caller) -> Result<(), Fault> {
    match &caller.tag {
        None => Ok(()),
        Some(_) => Err(Fault::new(
            FaultCode::InvalidRequest,
            format!(
                "a multicall has no client tag: each call in it has its own, as the member \
                 {CLIENT_TAG_MEMBER} of its last parameter"
            ),
        )),
    }
}

/// Answers a call that has a tag and has been counted.
pub(super) async fn call(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    method: &MethodName,
    tag: ClientTag,
    params: Vec<Value>,
) -> Decided {
    if let Err(fault) = check(caller, method, &tag) {
        return Decided::fault(fault);
    }
    let target = match find(inner, caller, grant, method).await {
        Ok(target) => target,
        Err(refused) => return *refused,
    };
    if let Target::Builtin(builtin) = &target
        && READING.contains(&builtin.name)
    {
        return Decided::of(run(inner, caller, grant, builtin, params, None).await);
    }
    let ask = Ask {
        key: Key {
            owner: owner(caller.subject(), caller.address),
            method: target.method(method).to_owned(),
            tag,
        },
        params: answers::digest(&params),
        granted: grant.as_ref().map(|_| ()).map_err(Clone::clone),
    };
    let patience = patience(inner, &target);
    let of_decision = target.facts();
    let work = Work {
        inner: Arc::clone(inner),
        caller: caller.clone(),
        grant: grant.clone(),
        method: method.clone(),
        target,
        params,
    };
    let came = inner.answers.once(ask, patience, |number| work.carry_out(number)).await;
    let decided = match came {
        Came::First(decided) => return decided,
        Came::Again(Kept { reply, session }) => {
            let url = session.as_ref().map(|session| inner.jobs.url_of(session));
            let answer = Answer { session: url, again: true, ..Answer::of(reply) };
            Decided { session, ..Decided::of(answer) }
        }
        Came::Refused(fault) => Decided::fault(fault),
    };
    Decided { rule: of_decision.0, lowered: of_decision.1, ..decided }
}

/// # Errors
/// -32600 for a method whose answer is not kept, -32602 for an anonymous caller's tag that could be
/// guessed.
fn check(caller: &Caller, method: &MethodName, tag: &ClientTag) -> Result<(), Fault> {
    if SECRET.contains(&method.as_str()) {
        let text = format!("{method} takes no client tag: its answer is a secret, and never kept");
        return Err(Fault::new(FaultCode::InvalidRequest, text));
    }
    if caller.subject().is_none() && !tag.may_be_unguessable() {
        return Err(Fault::invalid_params(
            "the client tag of an anonymous caller holds 128 random bits: 32 hexadecimal digits, or \
             22 characters of letters, digits, '-' and '_'",
        ));
    }
    Ok(())
}

fn patience(inner: &Inner, target: &Target) -> Duration {
    let seconds = match target {
        Target::Service { permission, .. } => permission.grant.limits.call_wall_seconds.into(),
        Target::Builtin(_) => u64::from(inner.config.bounds.wait_seconds_max) + BUILTIN_SECONDS_MAX,
    };
    Duration::from_secs(seconds)
}

/// All that carrying a call out needs, whoever waits for it.
struct Work {
    inner: Arc<Inner>,
    caller: Caller,
    grant: Result<Arc<Grant>, Fault>,
    method: MethodName,
    target: Target,
    params: Vec<Value>,
}

impl Work {
    async fn carry_out(self, number: AnswerNumber) -> Outcome<Decided> {
        let Self { inner, caller, grant, method, target, params } = self;
        let decided = carry_out(&inner, &caller, &grant, &method, target, params, number).await;
        let reply = kept::reply_bytes(&decided.answer.reply);
        if decided.answer.raw.is_some() {
            // A part of a file: to read it is no act, and it is read anew.
            return Outcome { whole: decided, reply, refused: true };
        }
        // Here, since whoever asked may have left.
        record(&inner, &caller, &grant, &method, &decided);
        let refused = decided.refused;
        Outcome { whole: Decided { recorded: true, ..decided }, reply, refused }
    }
}

/// Whether a built-in that faults so has carried nothing out.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    let Err(fault) = &answer.reply else { return false };
    matches!(
        fault.code,
        FaultCode::NoCredential
            | FaultCode::Refused
            | FaultCode::NotFound
            | FaultCode::OverLimit
            | FaultCode::TooMany
            | FaultCode::Unavailable
            | FaultCode::InvalidRequest
            | FaultCode::NoSuchMethod
            | FaultCode::InvalidParams
            | FaultCode::Parse
    )
}

impl Target {
    /// The method's own name, whichever other spelling it is called by.
    fn method<'a>(&'a self, called: &'a MethodName) -> &'a str {
        match self {
            Self::Builtin(builtin) => builtin.name,
            Self::Service { .. } => called.as_str(),
        }
    }

    /// Whether the session that the call makes is its answer.
    pub(super) fn answers_session(&self, called: &MethodName) -> bool {
        match self {
            Self::Builtin(builtin) => builtin.name == SUBMIT,
            Self::Service { service, .. } => service.manifest.jobs.contains_key(called.split().1),
        }
    }

    /// The rule that let the caller through, and the level that he was lowered to.
    fn facts(&self) -> (Option<String>, Option<nesssi_policy::LevelName>) {
        match self {
            Self::Builtin(_) => (None, None),
            Self::Service { permission, .. } => {
                (Some(permission.rule.clone()), permission.lowered.clone())
            }
        }
    }
}

/// What `system.last_call` knows of a call with this tag, if the caller may call its method now.
///
/// # Errors
/// 404 where there is none, and the fault that the call itself would get.
pub(crate) async fn last(
    context: &builtin::Context<'_>,
    method: Option<&MethodName>,
    tag: &ClientTag,
) -> Result<(String, answers::Seen), Fault> {
    let builtin::Context { inner, caller, grant, .. } = context;
    let named = method.map(|method| {
        builtin::find(method.as_str()).map_or(method.as_str(), |builtin| builtin.name)
    });
    let known = inner.answers.last(&owner(caller.subject(), caller.address), named, tag);
    let none = || Fault::new(FaultCode::NotFound, "no call with this client tag is known");
    let (method, seen) = known.ok_or_else(none)?;
    if let (true, Err(fault)) = (seen.granted, grant) {
        return Err(fault.clone());
    }
    let name = MethodName::parse(&method).map_err(|_| none())?;
    find(inner, caller, grant, &name).await.map_err(|refused| match refused.answer.reply {
        Err(fault) => fault,
        Ok(_) => none(),
    })?;
    Ok((method, seen))
}
