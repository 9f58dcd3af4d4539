//! `vo`: the VO groups, as the server keeps them.

use clap::Subcommand;
use nesssi_client::{Client, Value};

use super::Failure;
use super::show::Screen;

pub(super) const HELP: &str = "\
A group has a dotted name: atlas.calo is in atlas, and members of atlas are members of atlas.calo. An
entry among its members or administrators is a whole DN, or the beginning of DNs up to the end of an
RDN: /O=Grid/OU=People is everybody whose DN begins so. DNs are written as /O=Grid/CN=Alice, or as
RFC 4514 writes them.

The administrators of a group, and of those around it, change it and what is in it. Groups at the top
are made by the root administrators, whom the server's configuration names (vo_administrators).

Access files name groups in allow_groups and deny_groups.";

/// What is done with groups.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The names of all groups
    List,
    /// The members of a group, and its administrators
    Members {
        /// Its dotted name
        group: String,
    },
    /// Make a group
    Create {
        /// Its dotted name; the group around it must be there
        group: String,
    },
    /// Delete a group, with all that are in it
    Delete {
        /// Its dotted name
        group: String,
    },
    /// Add a member
    Add(Entry),
    /// Take a member out
    Remove(Entry),
    /// Add an administrator
    AddAdmin(Entry),
    /// Take an administrator out
    RemoveAdmin(Entry),
}

/// An entry of a group's lists.
#[derive(Debug, clap::Args)]
pub(super) struct Entry {
    /// The group's dotted name
    group: String,
    /// A DN, or the beginning of DNs
    dn: String,
}

/// Does it.
pub(super) async fn run(client: &Client, verb: Verb, screen: &Screen) -> Result<(), Failure> {
    match verb {
        Verb::List => Ok(screen.items(&ask(client, "vo.groups", vec![]).await?)?),
        Verb::Members { group } => members(client, &group, screen).await,
        Verb::Create { group } => change(client, "vo.create", vec![group]).await,
        Verb::Delete { group } => change(client, "vo.delete", vec![group]).await,
        Verb::Add(entry) => change(client, "vo.addMember", entry.words()).await,
        Verb::Remove(entry) => change(client, "vo.removeMember", entry.words()).await,
        Verb::AddAdmin(entry) => change(client, "vo.addAdministrator", entry.words()).await,
        Verb::RemoveAdmin(entry) => change(client, "vo.removeAdministrator", entry.words()).await,
    }
}

impl Entry {
    fn words(self) -> Vec<String> {
        vec![self.group, self.dn]
    }
}

async fn members(client: &Client, group: &str, screen: &Screen) -> Result<(), Failure> {
    let members = ask(client, "vo.members", vec![group.to_owned()]).await?;
    let administrators = ask(client, "vo.administrators", vec![group.to_owned()]).await?;
    let of = |what: &str, entries: &Value| -> Vec<(String, String)> {
        let Value::Array(entries) = entries else { return Vec::new() };
        let shown = |entry: &Value| entry.as_str().unwrap_or_default().to_owned();
        entries.iter().map(|entry| (what.to_owned(), shown(entry))).collect()
    };
    let rows = [of("member", &members), of("administrator", &administrators)].concat();
    let both = Value::record([("members", members), ("administrators", administrators)]);
    Ok(screen.table(&rows, &both)?)
}

/// A change says nothing when it is made, as commands do.
async fn change(client: &Client, method: &str, words: Vec<String>) -> Result<(), Failure> {
    ask(client, method, words).await.map(drop)
}

async fn ask(client: &Client, method: &str, words: Vec<String>) -> Result<Value, Failure> {
    let params = words.into_iter().map(Value::String).collect();
    Ok(Box::pin(client.call(method, params)).await?)
}
