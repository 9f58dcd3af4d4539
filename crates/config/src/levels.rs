//! Levels in the configuration, and NESSSI's own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nesssi_policy::written::{Lined, Table};
use nesssi_policy::{AccountName, DnPattern, From, IpNet, Level, LevelName, Limits, ProxyWord};

use crate::keys;

const DAY_SECONDS: u64 = 86_400;
const GIB: u64 = 1024 * 1024 * 1024;
/// Above what any limit is meant to be, and below what a signed 64-bit number holds.
const LIMIT_MAX: u64 = 1 << 62;

/// What a level allows where its table does not say.
#[must_use]
pub fn default_limits(from: From) -> Limits {
    let (call_wall_seconds, call_cpu_seconds) = (60, 10);
    match from {
        From::Gridmap => Limits {
            cpu_seconds: 216_000,
            wall_seconds: 7 * DAY_SECONDS,
            jobs_at_once: 100,
            calls_per_minute: 6_000,
            call_wall_seconds,
            call_cpu_seconds,
            sandbox_bytes: 100 * GIB,
            retention_seconds: 30 * DAY_SECONDS,
            cpu_seconds_per_day: u64::MAX,
        },
        From::Certificate => Limits {
            cpu_seconds: 3_600,
            wall_seconds: DAY_SECONDS,
            jobs_at_once: 10,
            calls_per_minute: 600,
            call_wall_seconds,
            call_cpu_seconds,
            sandbox_bytes: 10 * GIB,
            retention_seconds: 7 * DAY_SECONDS,
            cpu_seconds_per_day: 36_000,
        },
        From::Anonymous => Limits {
            cpu_seconds: 900,
            wall_seconds: 7_200,
            jobs_at_once: 4,
            calls_per_minute: 120,
            call_wall_seconds,
            call_cpu_seconds,
            sandbox_bytes: GIB,
            retention_seconds: DAY_SECONDS,
            cpu_seconds_per_day: 9_000,
        },
    }
}

/// The levels of the file, or NESSSI's own where it has none. Those have no community accounts,
/// and so the weak and the anonymous one refuse until the file names them.
pub(crate) fn read(root: &mut Table<'_>, shared_account: bool) -> Vec<Level> {
    let tables = root.tables("level");
    if tables.is_empty() {
        return defaults();
    }
    let mut found = Found::default();
    tables.into_iter().filter_map(|table| read_one(table, &mut found, shared_account)).collect()
}

fn defaults() -> Vec<Level> {
    [("strong", From::Gridmap), ("weak", From::Certificate), ("anonymous", From::Anonymous)]
        .into_iter()
        .filter_map(|(name, from)| {
            let name = LevelName::parse(name).ok()?;
            Some(Level::new(name, from, None, default_limits(from)))
        })
        .collect()
}

/// What the tables above have taken, and on which line.
#[derive(Default)]
struct Found {
    names: BTreeMap<LevelName, usize>,
    accounts: BTreeMap<AccountName, (LevelName, usize)>,
}

fn read_one(mut table: Table<'_>, found: &mut Found, shared_account: bool) -> Option<Level> {
    let name = read_name(&mut table, found);
    let from = read_from(&mut table);
    let account = read_account(&mut table, from);
    let limits = read_limits(&mut table, from.unwrap_or(From::Anonymous));
    if let (Some(name), Some(account)) = (&name, &account) {
        check_account(&table, name, account, found, shared_account);
    }
    let gridmapped = read_gridmapped(&mut table, from);
    let (subjects, issuers) =
        (read_patterns(&mut table, "subjects", from), read_patterns(&mut table, "issuers", from));
    let (proxies, addresses) = (read_proxies(&mut table, from), read_addresses(&mut table));
    table.finish(keys::advice);
    let account = account.map(|lined| lined.value);
    let conditions = |level| Level { subjects, issuers, gridmapped, proxies, addresses, ..level };
    Some(conditions(Level::new(name?, from?, account, limits)))
}

/// What only a certificate can have is no condition on callers without one.
fn is_about_certificates(table: &Table<'_>, line: usize, key: &str, from: Option<From>) -> bool {
    let anonymous = from == Some(From::Anonymous);
    if anonymous {
        table.mistake(line, format!("callers without a certificate have no `{key}`"));
    }
    !anonymous
}

fn read_gridmapped(table: &mut Table<'_>, from: Option<From>) -> Option<bool> {
    let truth = table.truth("gridmapped")?;
    if from == Some(From::Gridmap) {
        table.mistake(truth.line, "`from = \"gridmap\"` says `gridmapped` already");
        return None;
    }
    is_about_certificates(table, truth.line, "gridmapped", from).then_some(truth.value)
}

fn read_patterns(table: &mut Table<'_>, key: &str, from: Option<From>) -> Vec<DnPattern> {
    let Some(list) = table.texts(key) else { return Vec::new() };
    is_about_certificates(table, list.line, key, from);
    none_taken(table, key, &list);
    let mut patterns = Vec::new();
    for item in &list.value {
        match DnPattern::parse(&item.value) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                table.mistake(item.line, format!("`{key}` {:?}: {error}", item.value));
            }
        }
    }
    patterns
}

/// An empty list would take everybody, which nobody means who writes one.
fn none_taken<T>(table: &Table<'_>, key: &str, list: &Lined<Vec<T>>) {
    if list.value.is_empty() {
        table.mistake(list.line, format!("`{key}` is empty: leave it out, or say who is taken"));
    }
}

fn read_proxies(table: &mut Table<'_>, from: Option<From>) -> Vec<ProxyWord> {
    let Some(list) = table.texts("proxies") else { return Vec::new() };
    is_about_certificates(table, list.line, "proxies", from);
    none_taken(table, "proxies", &list);
    let mut words = Vec::new();
    for item in &list.value {
        match ProxyWord::from_word(&item.value) {
            Some(word) => words.push(word),
            None => {
                let known = ProxyWord::WORDS.map(|(word, _)| word).join("\", \"");
                let text = format!("`proxies` are \"{known}\", not {:?}", item.value);
                table.mistake(item.line, text);
            }
        }
    }
    words
}

fn read_addresses(table: &mut Table<'_>) -> Vec<IpNet> {
    let Some(list) = table.texts("addresses") else { return Vec::new() };
    none_taken(table, "addresses", &list);
    list.value.iter().filter_map(|item| read_network(table, "addresses", item)).collect()
}

/// A network as `192.0.2.0/24` or `2001:db8::/32`, or one address.
pub(crate) fn read_network(table: &Table<'_>, key: &str, item: &Lined<String>) -> Option<IpNet> {
    let one = |address: IpAddr| IpNet::from(address.to_canonical());
    let net = item.value.parse::<IpAddr>().map(one).or_else(|_| item.value.parse::<IpNet>());
    match net {
        Ok(net) if net.network() == net.addr() => Some(net),
        Ok(net) => {
            let text = format!("`{key}` {:?}: the network is {}", item.value, net.trunc());
            table.mistake(item.line, text);
            None
        }
        Err(_) => {
            let text = format!(
                "`{key}` {:?}: a network is such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
                item.value
            );
            table.mistake(item.line, text);
            None
        }
    }
}

fn read_name(table: &mut Table<'_>, found: &mut Found) -> Option<LevelName> {
    let Some(text) = table.text("name") else {
        table.mistake(table.line(), "a [[level]] needs a `name`");
        return None;
    };
    let name = match LevelName::parse(&text.value) {
        Ok(name) => name,
        Err(error) => {
            table.mistake(text.line, format!("`name` {:?}: {error}", text.value));
            return None;
        }
    };
    if let Some(first) = found.names.insert(name.clone(), text.line) {
        table.mistake(text.line, format!("level `{name}` stands on line {first} already"));
    }
    Some(name)
}

fn read_from(table: &mut Table<'_>) -> Option<From> {
    const WORDS: &str = "\"gridmap\", \"certificate\" or \"anonymous\"";
    let Some(text) = table.text("from") else {
        table.mistake(table.line(), format!("a [[level]] needs `from`: {WORDS}"));
        return None;
    };
    let from = From::from_word(&text.value);
    if from.is_none() {
        table.mistake(text.line, format!("`from` is {WORDS}, not {:?}", text.value));
    }
    from
}

fn read_account(table: &mut Table<'_>, from: Option<From>) -> Option<Lined<AccountName>> {
    let text = table.text("account")?;
    if from == Some(From::Gridmap) {
        let line = text.line;
        table.mistake(line, "a level from the gridmap has its accounts there: leave `account` out");
    }
    match AccountName::parse(&text.value) {
        Ok(value) => Some(Lined { line: text.line, value }),
        Err(error) => {
            table.mistake(text.line, format!("`account` {:?}: {error}", text.value));
            None
        }
    }
}

fn check_account(
    table: &Table<'_>,
    level: &LevelName,
    account: &Lined<AccountName>,
    found: &mut Found,
    shared_account: bool,
) {
    let line = account.line;
    if let Some((other, first)) = found.accounts.get(&account.value)
        && !shared_account
    {
        let text = format!(
            "level `{level}` has the account `{}` of level `{other}` (line {first}), and sessions \
             that share an account are not walled off from each other: give it one of its own, or \
             say `shared_account = true` in [policy]",
            account.value
        );
        table.mistake(line, text);
    }
    found.accounts.entry(account.value.clone()).or_insert_with(|| (level.clone(), line));
}

fn read_limits(table: &mut Table<'_>, from: From) -> Limits {
    let defaults = default_limits(from);
    let mut long = |key: &str, default: u64| {
        table.number(key, 1..=LIMIT_MAX).map_or(default, |lined| lined.value)
    };
    let mut limits = Limits {
        cpu_seconds: long("cpu_seconds", defaults.cpu_seconds),
        wall_seconds: long("wall_seconds", defaults.wall_seconds),
        sandbox_bytes: long("sandbox_bytes", defaults.sandbox_bytes),
        retention_seconds: long("retention_seconds", defaults.retention_seconds),
        cpu_seconds_per_day: long("cpu_seconds_per_day", defaults.cpu_seconds_per_day),
        ..defaults
    };
    let mut short = |key: &str, place: &mut u32| {
        let number = table.number(key, 1..=u64::from(u32::MAX));
        if let Some(number) = number.and_then(|lined| u32::try_from(lined.value).ok()) {
            *place = number;
        }
    };
    short("jobs_at_once", &mut limits.jobs_at_once);
    short("calls_per_minute", &mut limits.calls_per_minute);
    short("call_wall_seconds", &mut limits.call_wall_seconds);
    short("call_cpu_seconds", &mut limits.call_cpu_seconds);
    limits
}
