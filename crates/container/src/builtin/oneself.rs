//! `system.whoami` and `system.explain`: what a caller is to this server, and what a call would get.

use std::collections::BTreeMap;
use std::time::Duration;

use nesssi_identity::{Peer, ProxyKind};
use nesssi_policy::{Explanation, LevelName, Limits, Outcome, Step, next_midnight};
use nesssi_rpc::{Fault, FaultCode, MethodName, Reply, Value};

use super::{Builtin, Context, Run, exactly, text, whole};
use crate::Answer;
use crate::call::{no_such_method, permission};
use crate::clock::{iso, now_ms};
use crate::registry::MONITOR;

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "system.whoami",
        help: "Who the caller is to this server, as a struct: `dn` and `issuer` (\"\" without a \
               certificate), `proxy` (none, full, limited or independent), `credential_ends`, \
               `level` and `account` (\"\" where no level takes him: then `refused` says why), \
               `rule`, `limits`, and `used`: `cpu_seconds_today`, `cpu_seconds_reserved` by jobs that have \
               not ended, `jobs`, `calls_this_minute`, `day_renews_at`, `minute_renews_at`. A limit \
               that is not there is none. Example: \
               system.whoami()[\"level\"] is \"strong\".",
        signatures: &[&["struct"]],
        parameters: &[],
        run: Run::Now(whoami),
    },
    Builtin {
        name: "system.explain",
        help: "What a call of a method would get, and which rules decide it: explain(method) or \
               explain(method, cpu_seconds). A struct: `outcome` (granted or refused), `code` and \
               `text` of the fault if refused, `account`, `level`, `cpu_seconds` (0 if none were \
               asked), and `steps`, each a struct of `rule`, `place` and `verdict`. Example: \
               system.explain(\"sleepy.sleepyAdd\", 5000)[\"outcome\"].",
        signatures: &[&["struct", "string"], &["struct", "string", "double"]],
        parameters: &["method", "cpu_seconds"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(explain(&context, params).await) })
        }),
    },
];

fn whoami(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let caller = context.caller;
    let shown = |name: Option<&nesssi_dn::SubjectDn>| {
        name.map_or_else(String::new, ToString::to_string).into()
    };
    let (level, account, rule, limits, refused) = match context.grant {
        Ok(grant) => {
            let (level, rule) = (grant.level.as_str(), grant.rule.as_str());
            (level, grant.account.as_str(), rule, limits_of(&grant.limits), "")
        }
        Err(fault) => ("", "", "", Value::Struct(BTreeMap::new()), fault.text.as_str()),
    };
    let ends = match &*caller.peer {
        Peer::Certified(identity) => u64::try_from(identity.not_after)
            .map_or_else(|_| String::new(), |seconds| iso(seconds.min(DATES_SECONDS_MAX) * 1000)),
        Peer::Anonymous(_) | Peer::Refused(_) => String::new(),
    };
    Ok(Value::record([
        ("dn", shown(caller.subject())),
        ("issuer", shown(caller.issuer())),
        ("proxy", proxy(caller.proxy()).into()),
        ("credential_ends", ends.into()),
        ("level", level.into()),
        ("account", account.into()),
        ("rule", rule.into()),
        ("refused", refused.into()),
        ("limits", limits),
        ("used", used(context)),
    ]))
}

/// The end of the year 9999: later ones have no date of four digits.
const DATES_SECONDS_MAX: u64 = 253_402_300_799;

fn proxy(kind: Option<ProxyKind>) -> &'static str {
    match kind {
        None => "none",
        Some(ProxyKind::Full) => "full",
        Some(ProxyKind::Limited) => "limited",
        Some(ProxyKind::Independent) => "independent",
    }
}

pub(crate) fn limits_of(limits: &Limits) -> Value {
    let all = [
        ("cpu_seconds", limits.cpu_seconds),
        ("wall_seconds", limits.wall_seconds),
        ("jobs_at_once", limits.jobs_at_once.into()),
        ("calls_per_minute", limits.calls_per_minute.into()),
        ("call_wall_seconds", limits.call_wall_seconds.into()),
        ("call_cpu_seconds", limits.call_cpu_seconds.into()),
        ("sandbox_bytes", limits.sandbox_bytes),
        ("retention_seconds", limits.retention_seconds),
        ("cpu_seconds_per_day", limits.cpu_seconds_per_day),
    ];
    let there = all.into_iter().filter(|(_, limit)| *limit != u64::MAX);
    Value::Struct(there.map(|(name, limit)| (name.to_owned(), whole(limit))).collect())
}

fn used(context: &Context<'_>) -> Value {
    let (inner, caller) = (context.inner, context.caller);
    // Of the caller himself: what all anonymous callers have used is no business of his.
    let level = context.grant.as_ref().ok().map(|grant| grant.level.clone());
    let level = level.or_else(|| LevelName::parse("none").ok());
    let (today, jobs) = level
        .map(|level| inner.jobs.today(caller.subject(), caller.address, &level))
        .unwrap_or_default();
    let (calls, left) = inner.services.callers.calls_of(caller);
    let minute = now_ms().saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    Value::record([
        (
            "cpu_seconds_today",
            Value::Double(Duration::from_micros(today.own.cpu_usec).as_secs_f64()),
        ),
        ("cpu_seconds_reserved", whole(today.own.reserved_seconds)),
        ("jobs", whole(jobs)),
        ("calls_this_minute", whole(calls)),
        ("day_renews_at", next_midnight(today.now_unix).into()),
        ("minute_renews_at", iso(minute).into()),
    ])
}

async fn explain(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let (name, seconds) = asked(params)?;
    if let Some(builtin) = super::find(&name) {
        return Ok(of_builtin(context, builtin.name));
    }
    let method = MethodName::parse(&name)
        .map_err(|_| Fault::new(FaultCode::NoSuchMethod, "no such method"))?;
    Ok(match of_service(context, &method, seconds).await {
        Ok(Explanation { steps, outcome }) => shown(&steps, Some(&outcome)),
        Err(fault) => {
            let code = i32::try_from(fault.code.number()).unwrap_or_default();
            shown(&[], Some(&Outcome::Refused { code, text: fault.text }))
        }
    })
}

fn asked(params: Vec<Value>) -> Result<(String, Option<f64>), Fault> {
    let mut params = params.into_iter();
    let (Some(name), seconds, None) = (params.next(), params.next(), params.next()) else {
        return Err(Fault::invalid_params("a method's name is expected, and perhaps CPU seconds"));
    };
    let seconds = match seconds {
        None | Some(Value::Nil) => None,
        Some(Value::Double(seconds)) => Some(seconds),
        Some(Value::Int(seconds)) => Some(whole_seconds(seconds)),
        Some(_) => return Err(Fault::invalid_params("the CPU seconds must be a number")),
    };
    Ok((text(name, "the method's name")?, seconds))
}

#[allow(clippy::cast_precision_loss, reason = "limits are far below 2^53 seconds")]
fn whole_seconds(seconds: i64) -> f64 {
    seconds as f64
}

async fn of_service(
    context: &Context<'_>,
    method: &MethodName,
    seconds: Option<f64>,
) -> Result<Explanation, Fault> {
    let Context { inner, caller, grant, .. } = context;
    let service = inner.services.find(method).await?;
    let (_, name) = method.split();
    let explained = permission::explanation(inner, caller, grant, &service, name, seconds).await?;
    let admitted = matches!(explained.outcome, Outcome::Granted { .. });
    // A caller whom the lists let through learns what there is.
    if admitted && name != MONITOR && !service.methods.contains_key(name) {
        return Err(no_such_method(method));
    }
    Ok(explained)
}

/// The container's own methods answer everybody whom no edit denies them, whom no level takes as well;
/// what they do is theirs to refuse.
fn of_builtin(context: &Context<'_>, name: &str) -> Value {
    if let Err(not) = permission::denied_builtin(context.inner, context.caller, name) {
        let step = Step {
            rule: "access edits".to_owned(),
            place: not.rule.unwrap_or_default(),
            verdict: "does not admit the caller".to_owned(),
        };
        let code = i32::try_from(not.fault.code.number()).unwrap_or_default();
        return shown(&[step], Some(&Outcome::Refused { code, text: not.fault.text }));
    }
    let step = Step {
        rule: "the server's own method".to_owned(),
        place: name.to_owned(),
        verdict: "answers every caller whose credential is not refused".to_owned(),
    };
    let outcome = context.grant.as_ref().ok().map(|grant| Outcome::Granted {
        account: grant.account.clone(),
        level: grant.level.clone(),
        cpu_seconds: None,
        limits: grant.limits.clone(),
    });
    shown(&[step], outcome.as_ref())
}

/// Without an outcome the call is answered, under no account.
fn shown(steps: &[Step], outcome: Option<&Outcome>) -> Value {
    let step = |step: &Step| {
        Value::record([
            ("rule", step.rule.as_str().into()),
            ("place", step.place.as_str().into()),
            ("verdict", step.verdict.as_str().into()),
        ])
    };
    let steps = Value::Array(steps.iter().map(step).collect());
    let (outcome, code, text, account, level, cpu_seconds) = match outcome {
        Some(Outcome::Granted { account, level, cpu_seconds, .. }) => {
            ("granted", 0, "", account.as_str(), level.as_str(), cpu_seconds.unwrap_or(0))
        }
        None => ("granted", 0, "", "", "", 0),
        Some(Outcome::Refused { code, text }) => ("refused", *code, text.as_str(), "", "", 0),
    };
    Value::record([
        ("outcome", outcome.into()),
        ("code", Value::Int(code.into())),
        ("text", text.into()),
        ("account", account.into()),
        ("level", level.into()),
        ("cpu_seconds", whole(cpu_seconds)),
        ("steps", steps),
    ])
}
