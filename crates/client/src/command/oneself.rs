//! `whoami` and `may`: what the caller is to the server, and what a call would get him.

use std::collections::BTreeMap;

use nesssi_client::{Client, Value};

use super::Failure;
use super::show::{Screen, plain};

pub(super) const WHOAMI_HELP: &str = "\
A limit that is not shown is none. Under `refused` stands why no level takes you, if none does.

Exit codes: 0 answered, 1 a fault (a certificate that is refused is one), 2 wrong usage, 3 server not
reached.";

pub(super) const MAY_HELP: &str = "\
The answer is the list of rules that were asked, in their order, and what comes of it at the end: the
account and level that the call would have, or the fault that would answer it. Nothing is started.

Exit codes: 0 granted, 1 refused or a fault, 2 wrong usage, 3 server not reached.";

/// Shows who the caller is to the server.
pub(super) async fn whoami(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let answer = Box::pin(client.call("system.whoami", Vec::new())).await?;
    let Value::Struct(facts) = &answer else { return Ok(screen.value(&answer)?) };
    Ok(screen.table(&rows(facts), &answer)?)
}

/// What a person asks first stands first; members that this program does not know stand last.
const FIRST: [&str; 8] =
    ["dn", "issuer", "proxy", "credential_ends", "level", "account", "rule", "refused"];

fn rows(facts: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    let known = FIRST.iter().filter_map(|name| Some(((*name).to_owned(), facts.get(*name)?)));
    let others = facts.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    let others = others.map(|(name, value)| (name.clone(), value));
    let mut rows = Vec::new();
    for (name, value) in known.chain(others) {
        match value {
            Value::Struct(members) => {
                let row =
                    |(inner, value): (&String, &Value)| (format!("{name}: {inner}"), plain(value));
                rows.extend(members.iter().map(row));
            }
            value if plain(value).is_empty() => {}
            value => rows.push((name, plain(value))),
        }
    }
    rows
}

/// Shows what a call would get; refused is an exit code of its own.
pub(super) async fn may(
    client: &Client,
    method: &str,
    seconds: Option<f64>,
    screen: &Screen,
) -> Result<(), Failure> {
    let asked = [Some(Value::from(method)), seconds.map(Value::Double)];
    let params = asked.into_iter().flatten().collect();
    let answer = Box::pin(client.call("system.explain", params)).await?;
    let Value::Struct(facts) = &answer else { return Ok(screen.value(&answer)?) };
    screen.lines(&steps(facts), &answer)?;
    let text = |name: &str| facts.get(name).map(plain).unwrap_or_default();
    if text("outcome") == "granted" {
        return Ok(());
    }
    Err(Failure::Refused(format!("refused: fault {}: {}", text("code"), text("text"))))
}

fn steps(facts: &BTreeMap<String, Value>) -> Vec<String> {
    let text = |facts: &BTreeMap<String, Value>, name: &str| {
        facts.get(name).map(plain).unwrap_or_default()
    };
    let steps = match facts.get("steps") {
        Some(Value::Array(steps)) => steps.as_slice(),
        _ => &[],
    };
    let steps = steps.iter().filter_map(|step| match step {
        Value::Struct(step) => Some(step),
        _ => None,
    });
    let mut lines: Vec<String> = steps
        .enumerate()
        .map(|(number, step)| {
            let (rule, place) = (text(step, "rule"), text(step, "place"));
            format!("{}. {rule} ({place}): {}", number + 1, text(step, "verdict"))
        })
        .collect();
    if text(facts, "outcome") == "granted" {
        lines.push(match text(facts, "account").as_str() {
            "" => "granted".to_owned(),
            account => granted(account, &text(facts, "level"), facts.get("cpu_seconds")),
        });
    }
    lines
}

fn granted(account: &str, level: &str, seconds: Option<&Value>) -> String {
    let seconds = match seconds {
        Some(Value::Int(seconds)) if *seconds > 0 => format!(", {seconds} CPU seconds"),
        _ => String::new(),
    };
    format!("granted: account {account}, level {level}{seconds}")
}

#[cfg(test)]
mod tests;
