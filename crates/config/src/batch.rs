//! A batch system is what jobs are started by: `local`, or one that is spoken to by its commands.
//!
//! Here its commands are paths and its directives are texts `key=value`. What they mean the monitor
//! (whose files they are) and the gatekeeper (which directives there are) find out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nesssi_policy::written::Lined;
use nesssi_policy::{Level, LevelName};

use crate::sections::Section;
use crate::{Config, Mistake, keys};

/// The batch system that there always is: this machine.
pub const LOCAL_BATCH: &str = "local";
/// Most batch systems beside it: each is on the command line of every jobmanager.
pub const BATCH_SYSTEMS_MAX: usize = 16;
/// Most directives in one list.
pub const BATCH_DIRECTIVES_MAX: usize = 32;
/// Most CPUs that a directive may ask for.
pub const BATCH_CPUS_MAX: u32 = 65_536;
/// Most memory that a directive may ask for, in MiB: 1 EiB.
pub const BATCH_MEMORY_MIB_MAX: u64 = 1 << 40;
/// What `dialect` may be, beside `auto`.
pub const DIALECTS: &[&str] = &["openpbs", "torque", "torque-on-slurm", "slurm"];

/// The server's own service whose jobs are callers' own words, by `job.submit`.
const JOB_SERVICE: &str = "job";
/// Longest name of a batch system.
const NAME_BYTES_MAX: usize = 32;
/// Longest path of a command.
const PROGRAM_BYTES_MAX: usize = 1024;
/// Longest directive.
const DIRECTIVE_BYTES_MAX: usize = 256;
/// Longest name of a service.
const SERVICE_BYTES_MAX: usize = 255;
/// The directive that is a number of CPUs.
const CPUS: &str = "cpus";
/// The directive that is memory.
const MEMORY_MIB: &str = "memory_mib";

/// `[batch]`
#[derive(Debug, Clone)]
pub struct Batch {
    /// The batch system of jobs that name none.
    pub default: String,
    /// `[batch.local]`
    pub local: LocalBatch,
    /// Every `[batch.NAME]`, by name.
    pub systems: Vec<BatchSystem>,
}

/// `[batch.local]`
#[derive(Debug, Clone)]
pub struct LocalBatch {
    /// Jobs at one time; 0 is the number of CPUs.
    pub slots: u32,
    /// Jobs that wait.
    pub queue_max: u32,
}

/// `[batch.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSystem {
    /// Its name: lowercase letters, digits, `-` and `_`, a letter first.
    pub name: String,
    /// One of [`DIALECTS`]; none is found out by asking.
    pub dialect: Option<String>,
    /// The command that submits, absolute.
    pub submit: PathBuf,
    /// The command that lists.
    pub status: PathBuf,
    /// The command that cancels.
    pub cancel: PathBuf,
    /// The command that tells of ended jobs, where accounting runs.
    pub account: Option<PathBuf>,
    /// The command that tells what running jobs use, where accounting runs.
    pub usage: Option<PathBuf>,
    /// What is said of every job, each `key=value`.
    pub directives: Vec<String>,
    /// What is said of jobs of a level.
    pub levels: BTreeMap<String, Vec<String>>,
    /// What is said of jobs of a service, by its dotted name.
    pub services: BTreeMap<String, Vec<String>>,
    /// Commands of one account at one time.
    pub commands_at_once: u32,
    /// Jobs that wait to be submitted.
    pub queue_max: u32,
    /// Seconds that one command may take.
    pub command_seconds_max: u32,
    /// Seconds between two listings, at least.
    pub poll_seconds_min: u32,
    /// Seconds between two listings, at most, while all is well.
    pub poll_seconds_max: u32,
    /// Whether an account sees no jobs but its own, so that each lists for itself.
    pub own_jobs_only: bool,
}

/// What a batch system is told of one job beside its command and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedFor {
    /// CPUs on one node.
    pub cpus: u32,
    /// Memory, where a list says it.
    pub memory_mib: Option<u64>,
    /// The other directives, each `key=value`.
    pub directives: Vec<String>,
}

impl Batch {
    /// The batch system of that name; `local` is none of these.
    #[must_use]
    pub fn system(&self, name: &str) -> Option<&BatchSystem> {
        self.systems.iter().find(|system| system.name == name)
    }

    /// The names of all, `local` first.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let others = self.systems.iter().map(|system| system.name.as_str());
        std::iter::once(LOCAL_BATCH).chain(others).collect()
    }
}

impl BatchSystem {
    /// Its commands, each with its key.
    #[must_use]
    pub fn programs(&self) -> Vec<(&'static str, &PathBuf)> {
        let needed = [("submit", &self.submit), ("status", &self.status), ("cancel", &self.cancel)];
        let more = [("account", self.account.as_ref()), ("usage", self.usage.as_ref())];
        let more = more.into_iter().filter_map(|(key, path)| path.map(|path| (key, path)));
        needed.into_iter().chain(more).collect()
    }

    /// What is said of a job of this level and service: the site's list, then the level's, then the service's, in which a
    /// directive replaces an earlier one of the same key.
    #[must_use]
    pub fn asked_for(&self, level: &str, service: &str) -> AskedFor {
        let lists = [Some(&self.directives), self.levels.get(level), self.services.get(service)];
        let mut all: Vec<(&str, &str)> = Vec::new();
        for (key, value) in lists.into_iter().flatten().flatten().filter_map(|d| d.split_once('='))
        {
            match all.iter_mut().find(|(known, _)| *known == key) {
                Some(earlier) => earlier.1 = value,
                None => all.push((key, value)),
            }
        }
        let mut asked = AskedFor { cpus: 1, memory_mib: None, directives: Vec::new() };
        for (key, value) in all {
            match key {
                CPUS => asked.cpus = value.parse().unwrap_or(1),
                MEMORY_MIB => asked.memory_mib = value.parse().ok(),
                _ => asked.directives.push(format!("{key}={value}")),
            }
        }
        asked
    }
}

/// What stands in `[batch.NAME]` and its lists, and where: for those who can judge it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    directives: Vec<Directive>,
    services: Vec<Lined<String>>,
}

#[derive(Debug, Clone)]
struct Directive {
    line: usize,
    /// The batch system of whose it is.
    system: String,
    /// The heading under which it stands.
    section: String,
    key: String,
    value: String,
}

impl Config {
    /// What `judge` finds wrong in the directives of each batch system, which it is given as key and value. CPUs and
    /// memory are not among them.
    #[must_use]
    pub fn check_directives(
        &self,
        judge: impl Fn(&BatchSystem, &str, &str) -> Result<(), String>,
    ) -> Vec<Mistake> {
        let wrong = |one: &Directive| {
            let Directive { line, system, section, key, value } = one;
            let why = judge(self.batch.system(system)?, key, value).err()?;
            Some(self.mistake(*line, format!("[{section}]: \"{key}={value}\": {why}")))
        };
        self.places.batch.directives.iter().filter_map(wrong).collect()
    }

    /// The services in `[batch.NAME.services]` that are not `there`. `job`, the server's own, always is.
    #[must_use]
    pub fn check_batch_services(&self, there: impl Fn(&str) -> bool) -> Vec<Mistake> {
        let is_missing = |name: &&Lined<String>| name.value != JOB_SERVICE && !there(&name.value);
        let missing = self.places.batch.services.iter().filter(is_missing);
        let told = missing
            .map(|name| self.mistake(name.line, format!("there is no service `{}`", name.value)));
        told.collect()
    }
}

pub(crate) fn read(section: &mut Section<'_, '_>, levels: &[Level]) -> (Batch, Written) {
    let mut written = Written::default();
    let default = section.text("default");
    let local = inside(section, LOCAL_BATCH, |local| LocalBatch {
        slots: local.short("slots", 0, 100_000, 0),
        queue_max: local.short("queue_max", 1, 10_000_000, 100_000),
    });
    let keys = section.table.as_ref().map(|table| table.table_keys()).unwrap_or_default();
    let own = [LOCAL_BATCH, "default"];
    let others: Vec<String> = keys.into_iter().filter(|key| !own.contains(&key.as_str())).collect();
    if others.len() > BATCH_SYSTEMS_MAX {
        let text = format!("there are more than {BATCH_SYSTEMS_MAX} of [batch.NAME]");
        section.mistake(section.line(), text);
    }
    let read_one = |name: &String| {
        inside(section, name, |inner| read_system(inner, name, levels, &mut written))
    };
    let systems: Vec<BatchSystem> = others.iter().filter_map(read_one).collect();
    if let Some(default) = &default
        && default.value != LOCAL_BATCH
        && !others.contains(&default.value)
    {
        let names: Vec<String> = others.iter().map(|name| format!("\"{name}\"")).collect();
        let names = [vec!["\"local\"".to_owned()], names].concat().join(" or ");
        section.mistake(default.line, format!("`default` is {names}, not {:?}", default.value));
    }
    let default = default.map_or_else(|| LOCAL_BATCH.to_owned(), |default| default.value);
    (Batch { default, local, systems }, written)
}

/// A section within another, with what nobody asked for told at the end.
fn inside<'d, T>(
    section: &mut Section<'d, '_>,
    key: &str,
    read: impl FnOnce(&mut Section<'d, '_>) -> T,
) -> T {
    let table = section.table.as_mut().and_then(|table| table.table(key));
    let mut inner = Section { table, base: section.base };
    let meant = read(&mut inner);
    if let Some(table) = inner.table {
        table.finish(keys::advice);
    }
    meant
}

fn read_system(
    section: &mut Section<'_, '_>,
    name: &str,
    levels: &[Level],
    written: &mut Written,
) -> Option<BatchSystem> {
    check_name(section, name);
    let heading = format!("batch.{name}");
    let dialect = read_dialect(section);
    let [submit, status, cancel] =
        ["submit", "status", "cancel"].map(|key| read_program(section, key, Needed::Yes));
    let [account, usage] = ["account", "usage"].map(|key| read_program(section, key, Needed::No));
    let directives = read_directives(section, "directives", &heading, written);
    let by_level = inside(section, "levels", |inner| {
        read_lists(inner, &format!("{heading}.levels"), written, |inner, key| {
            let known = levels.iter().any(|level: &Level| is_name(&level.name, &key.value));
            if !known {
                inner.mistake(key.line, format!("there is no level `{}`", key.value));
            }
        })
    });
    let mut names = Vec::new();
    let by_service = inside(section, "services", |inner| {
        read_lists(inner, &format!("{heading}.services"), written, |inner, key| {
            if is_service(&key.value) {
                names.push(key);
            } else {
                inner.mistake(key.line, format!("{:?} is no name of a service", key.value));
            }
        })
    });
    written.services.extend(names);
    let poll_seconds_min = section.short("poll_seconds_min", 1, 3_600, 2);
    let poll_seconds_max = section.short("poll_seconds_max", 1, 3_600, 60.max(poll_seconds_min));
    if poll_seconds_min > poll_seconds_max {
        section.mistake(section.line(), "`poll_seconds_min` is over `poll_seconds_max`");
    }
    let system = BatchSystem {
        name: name.to_owned(),
        dialect,
        submit: submit?,
        status: status?,
        cancel: cancel?,
        account,
        usage,
        directives,
        levels: by_level,
        services: by_service,
        commands_at_once: section.short("commands_at_once", 1, 256, 16),
        queue_max: section.short("queue_max", 1, 10_000_000, 100_000),
        command_seconds_max: section.short("command_seconds_max", 1, 600, 60),
        poll_seconds_min,
        poll_seconds_max,
        own_jobs_only: section.truth("own_jobs_only").is_some_and(|lined| lined.value),
    };
    if directives_max(&system) > BATCH_DIRECTIVES_MAX {
        let text =
            format!("its lists together are over {BATCH_DIRECTIVES_MAX} directives for one job");
        section.mistake(section.line(), text);
    }
    Some(system)
}

/// How many directives a job has at most.
fn directives_max(system: &BatchSystem) -> usize {
    let levels: Vec<&str> = system.levels.keys().map(String::as_str).chain([""]).collect();
    let services = system.services.keys().map(String::as_str).chain([""]);
    let count = |service: &str| {
        let of = |level: &&str| system.asked_for(level, service).directives.len();
        levels.iter().map(of).max().unwrap_or(0)
    };
    services.map(count).max().unwrap_or(0)
}

fn is_name(name: &LevelName, text: &str) -> bool {
    name.as_str() == text
}

fn check_name(section: &Section<'_, '_>, name: &str) {
    let fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !first || name.len() > NAME_BYTES_MAX || !name.bytes().all(fit) {
        let form = "lowercase letters, digits, `-` and `_`, a letter first";
        let text = format!("a batch system's name is 1 to {NAME_BYTES_MAX} {form}, not {name:?}");
        section.mistake(section.line(), text);
    }
}

fn read_dialect(section: &mut Section<'_, '_>) -> Option<String> {
    let text = section.text("dialect")?;
    if text.value == "auto" {
        return None;
    }
    if !DIALECTS.contains(&text.value.as_str()) {
        let known: Vec<String> = DIALECTS.iter().map(|name| format!("\"{name}\"")).collect();
        let known = known.join(", ");
        section.mistake(text.line, format!("`dialect` is \"auto\", {known}, not {:?}", text.value));
    }
    Some(text.value)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    Yes,
    No,
}

fn read_program(section: &mut Section<'_, '_>, key: &str, needed: Needed) -> Option<PathBuf> {
    let Some(Lined { line, value }) = section.table.as_mut().and_then(|table| table.text(key))
    else {
        if needed == Needed::Yes {
            let text = format!("a batch system needs `{key}`, the absolute path of its command");
            section.mistake(section.line(), text);
        }
        return None;
    };
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte);
    let whole = value.starts_with('/') && !value.ends_with('/') && value.len() <= PROGRAM_BYTES_MAX;
    let climbs = value.split('/').any(|part| part == "..");
    if !whole || climbs || !value.bytes().all(fit) {
        let form = "an absolute path of letters, digits and / . _ + -, without ..";
        section.mistake(line, format!("`{key}` is {form}, not {value:?}"));
        return None;
    }
    Some(PathBuf::from(value))
}

/// Lists of directives by a key that `check` sees.
fn read_lists(
    section: &mut Section<'_, '_>,
    heading: &str,
    written: &mut Written,
    mut check: impl FnMut(&Section<'_, '_>, Lined<String>),
) -> BTreeMap<String, Vec<String>> {
    let keys = section.table.as_ref().map(|table| table.keys()).unwrap_or_default();
    let mut lists = BTreeMap::new();
    for key in keys {
        let line = section.table.as_ref().and_then(|table| table.line_of(&key)).unwrap_or(1);
        check(section, Lined { line, value: key.clone() });
        let list = read_directives(section, &key, heading, written);
        lists.insert(key, list);
    }
    lists
}

fn read_directives(
    section: &mut Section<'_, '_>,
    key: &str,
    heading: &str,
    written: &mut Written,
) -> Vec<String> {
    let Some(list) = section.table.as_mut().and_then(|table| table.texts(key)) else {
        return Vec::new();
    };
    if list.value.len() > BATCH_DIRECTIVES_MAX {
        let text = format!("`{key}` are {}, {BATCH_DIRECTIVES_MAX} at most", list.value.len());
        section.mistake(list.line, text);
    }
    let mut seen: Vec<String> = Vec::new();
    let mut directives = Vec::new();
    for Lined { line, value: text } in list.value {
        let (name, value) = match check_directive(&text) {
            Ok(parts) => parts,
            Err(wrong) => {
                section.mistake(line, format!("`{key}` {text:?}: {wrong}"));
                continue;
            }
        };
        if seen.iter().any(|earlier| earlier == name) {
            section.mistake(line, format!("`{key}` {text:?}: {name} stands there already"));
        }
        seen.push(name.to_owned());
        if name != CPUS && name != MEMORY_MIB {
            // `batch.NAME`, and what may follow.
            let system = heading.split('.').nth(1).unwrap_or_default().to_owned();
            let (key, value, section) = (name.to_owned(), value.to_owned(), heading.to_owned());
            written.directives.push(Directive { line, system, section, key, value });
        }
        directives.push(text);
    }
    directives
}

/// A directive's shape: `key=value`, printable, bounded; CPUs and memory in whole.
fn check_directive(text: &str) -> Result<(&str, &str), String> {
    if text.len() > DIRECTIVE_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("it is up to {DIRECTIVE_BYTES_MAX} printable letters without blanks"));
    }
    let (key, value) = text.split_once('=').ok_or("it has the form key=value")?;
    if key.is_empty() || value.is_empty() {
        return Err("it has the form key=value".to_owned());
    }
    let most = match key {
        CPUS => u64::from(BATCH_CPUS_MAX),
        MEMORY_MIB => BATCH_MEMORY_MIB_MAX,
        _ => return Ok((key, value)),
    };
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| digits && (1..=most).contains(number));
    number.map(|_: u64| (key, value)).ok_or(format!("{key} is a number from 1 to {most}"))
}

/// Identifiers with dots between.
fn is_service(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let part = |part: &str| !part.is_empty() && part.bytes().all(fit);
    name.len() <= SERVICE_BYTES_MAX && name.split('.').all(part)
}

#[cfg(test)]
mod tests;
