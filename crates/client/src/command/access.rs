//! `access`: who may call which service, changed on a server while it runs; and what `nesssi-admin`
//! does with access files.

use clap::Subcommand;
use nesssi_client::{Client, Value};
use nesssi_rpc::DateTime;

use super::show::Screen;
use super::{Administration, Failure};

pub(super) const HELP: &str = "\
rules, allow, deny and remove are about edits on a running server, by those whom its configuration names
(access_administrators). An edit stands at a service, or at a folder of services and so at all in it, and
holds from the next call on. A denial is asked before everything; an allowance admits whom no access file
denies by name. WHO is a DN or the beginning of DNs (/O=Grid/CN=Alice, or as RFC 4514 writes it), / for
anyone with a certificate, or group:NAME.

check and convert are about access files, and need no server.";

/// What is done about access.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The edits on the server, or those that concern one service
    Rules {
        /// Its dotted name
        service: Option<String>,
    },
    /// Admit somebody whom no access file denies by name; prints the edit's number
    Allow(Edit),
    /// Refuse somebody, whatever access files say; prints the edit's number
    Deny(Edit),
    /// Take an edit back
    Remove {
        /// Its number
        number: u32,
    },
    /// Check access files, and say in words who may call what
    #[command(disable_help_flag = true)]
    Check(Administration),
    /// Print an access file of the original in TOML
    #[command(disable_help_flag = true)]
    Convert(Administration),
}

/// A new edit.
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The service, or a folder of services, by its dotted name
    service: String,
    /// A DN or the beginning of DNs, / or group:NAME
    who: String,
    /// One method alone
    #[arg(long, value_name = "NAME", default_value = "")]
    method: String,
    /// From then on, such as 2026-03-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    start: Option<DateTime>,
    /// Until then
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Option<DateTime>,
}

fn time(text: &str) -> Result<DateTime, String> {
    DateTime::parse(text).map_err(|_| "a time is written 2026-03-01T00:00:00Z".to_owned())
}

/// Does it.
pub(super) async fn run(client: &Client, verb: Verb, screen: &Screen) -> Result<(), Failure> {
    match verb {
        Verb::Rules { service } => rules(client, service, screen).await,
        Verb::Allow(edit) => add(client, "access.allow", edit, screen).await,
        Verb::Deny(edit) => add(client, "access.deny", edit, screen).await,
        Verb::Remove { number } => {
            let number = Value::Int(number.into());
            Box::pin(client.call("access.remove", vec![number])).await?;
            Ok(())
        }
        Verb::Check(_) | Verb::Convert(_) => {
            let text = "this command comes first, and its options after it: such as nesssi access check FILE";
            Err(Failure::Usage(text.to_owned()))
        }
    }
}

async fn add(client: &Client, method: &str, edit: Edit, screen: &Screen) -> Result<(), Failure> {
    let number = Box::pin(client.call(method, edit.params())).await?;
    Ok(screen.value(&number)?)
}

impl Edit {
    /// Without times, as most are, there are three.
    fn params(self) -> Vec<Value> {
        let Self { service, who, method, start, end } = self;
        let mut params: Vec<Value> = [service, method, who].map(Value::String).into();
        if start.is_some() || end.is_some() {
            params.extend([start, end].map(|time| time.map_or(Value::Nil, Value::DateTime)));
        }
        params
    }
}

async fn rules(client: &Client, service: Option<String>, screen: &Screen) -> Result<(), Failure> {
    let params = service.into_iter().map(Value::String).collect();
    let all = Box::pin(client.call("access.list", params)).await?;
    let rows: Vec<(String, String)> = all.as_array().unwrap_or_default().iter().map(row).collect();
    Ok(screen.table(&rows, &all)?)
}

/// The number of an edit, and what it says in a line.
fn row(edit: &Value) -> (String, String) {
    let text = |name: &str| edit.member(name).and_then(Value::as_str).unwrap_or_default();
    let number = edit.member("number").and_then(Value::as_int).unwrap_or_default();
    let word = if edit.member("allow") == Some(&Value::Bool(true)) { "allow" } else { "deny" };
    let dot = if text("method").is_empty() { "" } else { "." };
    let mut line = format!("{word} {} at {}{dot}{}", text("who"), text("service"), text("method"));
    for (name, before) in [("start", "from"), ("end", "until")] {
        if let Some(Value::DateTime(time)) = edit.member(name) {
            line.push_str(&format!(", {before} {time}"));
        }
    }
    line.push_str(&format!(" (by {})", text("by")));
    (number.to_string(), line)
}

#[cfg(test)]
mod tests;
