//! `system.status`, `system.time` and `system.limits`: how the server is, and what it takes.

use std::time::Duration;

use nesssi_rpc::{Bounds, Reply, Value};

use super::{Builtin, Context, Run, exactly, oneself, service, whole};
use crate::clock::{date_time, now_ms};
use crate::jobs::Counts;

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "system.limits",
        help: "What this server takes of the caller, as a struct: `level` (\"\" where no level takes \
               him), `limits` as in system.whoami, `bounds` of one request (`body_bytes_max`, \
               `depth_max`, `elements_max`, `name_bytes_max`, `calls_max`), \
               `answers_kept_seconds` and `wait_seconds_max`. Example: \
               system.limits()[\"bounds\"][\"calls_max\"] is 512.",
        signatures: &[&["struct"]],
        parameters: &[],
        run: Run::Now(limits),
    },
    Builtin {
        name: "system.status",
        help: "How the server is, as a struct: `version`, `started`, `uptime_seconds`, `jobs` \
               (running, waiting, slots, slots_used), `batch` (each batch system but the local one: \
               name, dialect, state, as_of, words, waiting, running, interval_seconds), `services` \
               (how many are ok, unhealthy, broken), `draining` (whether it is about to be replaced), `as_of`. Example: \
               system.status()[\"jobs\"][\"waiting\"] is 0.",
        signatures: &[&["struct"]],
        parameters: &[],
        run: Run::Now(status),
    },
    Builtin {
        name: "system.time",
        help: "The server's clock, as a struct: `now` (UTC) and `unix`, the same in seconds since \
               1970 with a fraction. Example: system.time()[\"unix\"] is 1164196800.25.",
        signatures: &[&["struct"]],
        parameters: &[],
        run: Run::Now(time),
    },
];

fn limits(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let bounds = &context.inner.config.bounds;
    let (level, limits) = match context.grant {
        Ok(grant) => (grant.level.as_str(), oneself::limits_of(&grant.limits)),
        Err(_) => ("", Value::record([])),
    };
    let of_request = Value::record([
        ("body_bytes_max", whole(bounds.body_bytes_max)),
        ("depth_max", whole(bounds.xml_depth_max)),
        ("elements_max", whole(bounds.xml_elements_max)),
        ("name_bytes_max", whole(Bounds::default().name_bytes_max)),
        ("calls_max", whole(bounds.calls_max)),
    ]);
    Ok(Value::record([
        ("level", level.into()),
        ("limits", limits),
        ("bounds", of_request),
        ("answers_kept_seconds", whole(bounds.answers_kept_seconds)),
        ("wait_seconds_max", whole(bounds.wait_seconds_max)),
    ]))
}

fn status(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let inner = context.inner;
    let now = now_ms();
    let Counts { running, waiting, slots, slots_used } = inner.jobs.counts();
    let jobs = Value::record([
        ("running", whole(running)),
        ("waiting", whole(waiting)),
        ("slots", whole(slots)),
        ("slots_used", whole(slots_used)),
    ]);
    let [ok, unhealthy, broken] = service::tally(inner);
    let services = Value::record([
        ("ok", whole(ok)),
        ("unhealthy", whole(unhealthy)),
        ("broken", whole(broken)),
    ]);
    Ok(Value::record([
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("started", Value::DateTime(date_time(inner.started_ms))),
        ("uptime_seconds", whole(now.saturating_sub(inner.started_ms) / 1000)),
        ("jobs", jobs),
        ("batch", inner.jobs.batch_value()),
        ("services", services),
        ("draining", inner.is_draining().into()),
        ("as_of", Value::DateTime(date_time(now))),
    ]))
}

fn time(_: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let now = now_ms();
    let unix = Duration::from_millis(now).as_secs_f64();
    Ok(Value::record([("now", Value::DateTime(date_time(now))), ("unix", unix.into())]))
}
