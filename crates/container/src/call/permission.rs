//! May this caller call this method, and as what? The one answer, for a call, for a list of methods
//! and for an explanation. It is decided by `nesssi_policy::decide`; here it gets what it asks for:
//! the access lists in force, the VO groups, and the judgements of the monitor.

use std::sync::Arc;

use nesssi_policy::{
    Access, AccessEdits, Ask, Explanation, Granted, LevelName, Offer, Question, Refused, Today,
    Unjudged, Who, decide, denied_by, explain_case,
};
use nesssi_rpc::Fault;

use crate::clock::now_ms;
use crate::grants::{Grant, JudgedBy, fault_of};
use crate::registry::Service;
use crate::{Caller, Inner, workers};

/// A caller may call a method of a service.
#[derive(Debug)]
pub(crate) struct Permission {
    /// As what: what he was granted, or what he was lowered to.
    pub(crate) grant: Arc<Grant>,
    /// The level that the service lowers him to.
    pub(crate) lowered: Option<LevelName>,
    /// The rule of the access lists that let him through.
    pub(crate) rule: String,
}

/// He may not.
#[derive(Debug)]
pub(crate) struct NotPermitted {
    pub(crate) fault: Fault,
    /// The rule of the access lists that refuses him, if one does.
    pub(crate) rule: Option<String>,
}

impl NotPermitted {
    fn of(fault: Fault) -> Self {
        Self { fault, rule: None }
    }
}

/// Decides whether a caller may call a method of a service that exists, whether or not it has that
/// method.
///
/// # Errors
/// The fault that his call gets.
pub(crate) async fn permission(
    inner: &Inner,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    service: &Service,
    method: &str,
) -> Result<Permission, NotPermitted> {
    let case = Case::of(inner, service).map_err(NotPermitted::of)?;
    let mut lowered = None;
    loop {
        match case.decide(inner, caller, grant, method, &lowered) {
            Ok(permission) => return Ok(permission),
            Err(Stop::Refused(not)) => return Err(not),
            // At most once: then it is known.
            Err(Stop::Judge(to)) => lowered = Some(lower(inner, caller, to).await),
        }
    }
}

/// Why an administrator's edit keeps a caller from a method of the server's own, which answers
/// everybody else. Costs nothing while there are no edits.
///
/// # Errors
/// 403, with the edit as the rule.
pub(crate) fn denied_builtin(
    inner: &Inner,
    caller: &Caller,
    name: &str,
) -> Result<(), NotPermitted> {
    let edits = inner.edits.now();
    let Some(subject) = caller.subject().filter(|_| !edits.is_empty()) else { return Ok(()) };
    let (service, method) = name.rsplit_once('.').unwrap_or(("", name));
    let groups = inner.groups.now();
    let ask =
        Ask { method, subject: Some(subject), level: None, groups: &*groups, now_unix: now_unix() };
    match edits.denial(service, &ask) {
        None => Ok(()),
        Some(edit) => {
            let mut refused = denied_by(edit, &ask);
            let rule = refused.rule.take();
            Err(NotPermitted { fault: fault_of(refused), rule })
        }
    }
}

/// What a call would get and why, and what it would if it asked for so many CPU seconds.
///
/// # Errors
/// 503 for a service that answers nothing.
pub(crate) async fn explanation(
    inner: &Inner,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    service: &Service,
    method: &str,
    seconds: Option<f64>,
) -> Result<Explanation, Fault> {
    let case = Case::of(inner, service)?;
    let mut lowered = None;
    loop {
        let mut wanted = None;
        let explanation =
            case.explain(inner, caller, grant, (method, seconds), &lowered, &mut wanted);
        match wanted {
            None => return Ok(explanation),
            Some(to) => lowered = Some(lower(inner, caller, to).await),
        }
    }
}

/// What is used up of a caller's day, at a level.
pub(crate) fn today(inner: &Inner, caller: &Caller, level: &LevelName) -> Today {
    inner.jobs.today(caller.subject(), caller.address, level).0
}

/// As whom a caller is judged for a service that lowers him.
pub(crate) fn claim_of(
    inner: &Inner,
    caller: &Caller,
    lowered: Option<&LevelName>,
) -> Result<JudgedBy, Fault> {
    Ok(JudgedBy { lowered: lowered.cloned(), ..inner.grants.claim_of(caller)? })
}

/// What a caller is granted at a level that a service lowers him to.
type Lowered = (LevelName, Result<Arc<Grant>, Fault>);

async fn lower(inner: &Inner, caller: &Caller, to: LevelName) -> Lowered {
    let judged = match claim_of(inner, caller, Some(&to)) {
        Ok(claim) => inner.grants.judge_claim(&claim, caller.address, &caller.request_id).await,
        Err(fault) => Err(fault),
    };
    (to, judged)
}

/// Why a decision is not made.
enum Stop {
    Refused(NotPermitted),
    /// The monitor is to be asked what the caller is granted at this level.
    Judge(LevelName),
}

impl From<Refused> for Stop {
    fn from(mut refused: Refused) -> Self {
        let rule = refused.rule.take();
        Self::Refused(NotPermitted { fault: fault_of(refused), rule })
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Refused(NotPermitted::of(fault))
    }
}

/// A service, with what decides about it now.
struct Case<'a> {
    service: &'a Service,
    lists: Vec<Arc<Access>>,
    edits: Arc<AccessEdits>,
    approved_for: Option<Vec<LevelName>>,
}

impl<'a> Case<'a> {
    fn of(inner: &Inner, service: &'a Service) -> Result<Self, Fault> {
        let lists = inner.services.lists.path(&service.name);
        let lists = lists.map_err(|_| workers::broken(service))?;
        if service.access.is_none() {
            return Err(workers::broken(service));
        }
        let edits = Arc::clone(&inner.edits.now());
        Ok(Self { service, lists, edits, approved_for: approved_for(inner, service) })
    }

    fn decide(
        &self,
        inner: &Inner,
        caller: &Caller,
        grant: &Result<Arc<Grant>, Fault>,
        method: &str,
        lowered: &Option<Lowered>,
    ) -> Result<Permission, Stop> {
        let lists: Vec<&Access> = self.lists.iter().map(AsRef::as_ref).collect();
        let groups = inner.groups.now();
        let ask = Ask {
            method,
            subject: caller.subject(),
            level: grant.as_ref().ok().map(|grant| &grant.level),
            groups: &*groups,
            now_unix: now_unix(),
        };
        let mut lowered_to = None;
        let natural = grant.clone().map_err(Stop::from);
        let decided = decide(&self.offer(&lists), &ask, natural, |to| {
            lowered_to = Some(to.clone());
            match lowered {
                Some((known, judged)) if known == to => judged.clone().map_err(Stop::from),
                _ => remembered(inner, caller, to).ok_or_else(|| Stop::Judge(to.clone())),
            }
        })?;
        let rule = decided.rule().to_owned();
        Ok(Permission { grant: decided.into_granted(), lowered: lowered_to, rule })
    }

    fn explain(
        &self,
        inner: &Inner,
        caller: &Caller,
        grant: &Result<Arc<Grant>, Fault>,
        (method, seconds): (&str, Option<f64>),
        lowered: &Option<Lowered>,
        wanted: &mut Option<LevelName>,
    ) -> Explanation {
        let lists: Vec<&Access> = self.lists.iter().map(AsRef::as_ref).collect();
        let groups = inner.groups.now();
        let of_level = |level: &LevelName| today(inner, caller, level);
        let level = match lowered {
            Some((_, Ok(grant))) => Some(&grant.level),
            _ => grant.as_ref().ok().map(|grant| &grant.level),
        };
        let now_unix = now_unix();
        let question = Question {
            who: Who::of(caller.subject(), caller.address),
            offer: self.offer(&lists),
            method,
            seconds,
            groups: &*groups,
            today: level.map_or(Today { now_unix, ..Today::default() }, of_level),
        };
        explain_case(&question, |to| match (to, lowered) {
            (None, _) => granted(grant),
            (Some(to), Some((known, judged))) if known == to => granted(judged),
            (Some(to), _) => {
                *wanted = Some(to.clone());
                granted(grant)
            }
        })
    }

    fn offer<'b>(&'b self, lists: &'b [&'b Access]) -> Offer<'b> {
        Offer {
            service: self.service.name.as_str(),
            access: lists,
            edits: &self.edits,
            levels: &self.service.manifest.levels,
            approved_for: self.approved_for.as_deref(),
        }
    }
}

fn remembered(inner: &Inner, caller: &Caller, to: &LevelName) -> Option<Arc<Grant>> {
    inner.grants.known(&claim_of(inner, caller, Some(to)).ok()?)
}

fn granted(judged: &Result<Arc<Grant>, Fault>) -> Result<Granted, Unjudged> {
    match judged {
        Ok(grant) => Ok(Granted {
            account: grant.account.clone(),
            level: grant.level.clone(),
            limits: grant.limits.clone(),
            reads_only: grant.reads_only,
            rule: grant.rule.clone(),
        }),
        Err(fault) => {
            let code = i32::try_from(fault.code.number()).unwrap_or_default();
            let refused = Refused { code, text: fault.text.clone(), rule: None };
            Err(Unjudged { refused, why: None })
        }
    }
}

/// The levels that a service's code is good for; `None` is all. Changed code of a pinned service is
/// for levels alone whose callers have no account of their own.
fn approved_for(inner: &Inner, service: &Service) -> Option<Vec<LevelName>> {
    let changed = |approved: &String| *approved != service.digest;
    let is_changed = service.manifest.approved.as_ref().is_some_and(changed);
    is_changed.then(|| inner.grants.rules().now().community_levels())
}

fn now_unix() -> i64 {
    i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX)
}
