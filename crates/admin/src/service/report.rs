//! The report on one service: its methods with who may call them, and every problem.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nesssi_policy::{
    Access, AccessEdits, Ask, Graded, LevelName, Offer, Refused, SubjectDn, decide,
};
use nesssi_service::folder::{ACCESS_FILE, MANIFEST_FILE};
use nesssi_service::{Description, DescriptionError, Findings, LevelFacts, Manifest, Method};
use nesssi_service::{ServerKnows, ServiceName};
use serde_json::{Value, json};

use crate::cli::{Failure, say};

/// The method that the container answers for every service that has none of its own.
const MONITOR: &str = "monitor";
/// A caller whom no list names: who is admitted like him is anyone of his level.
const NOBODY_IN_PARTICULAR: &str = "/O=nobody whom a list would name/CN=nobody";

/// How the findings came about.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// Whether a server's account looked.
    pub(super) by_server: bool,
    /// The levels there are.
    pub(super) levels: Vec<LevelFacts>,
    /// The names of the batch systems.
    pub(super) batch: Vec<String>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Error,
    Warning,
    Hint,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "warning" => Self::Warning,
            "hint" => Self::Hint,
            _ => Self::Error,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    /// From the folder on; none where it is about no file.
    pub(super) file: Option<String>,
    pub(super) line: Option<u64>,
    pub(super) text: String,
}

/// A method with who may call it.
#[derive(Debug, Clone)]
struct Callable {
    method: Method,
    place: Option<(String, u64)>,
    callers: Vec<Callers>,
}

/// Whether anyone of a level may call a method.
#[derive(Debug, Clone)]
struct Callers {
    level: String,
    anyone: bool,
    /// The rule that decides.
    rule: String,
}

/// All that is told of one service.
#[derive(Debug, Clone)]
pub(super) struct Report {
    findings: Findings,
    by_server: bool,
    methods: Vec<Callable>,
    /// Its own access list, in words.
    access: Vec<String>,
    levels: Vec<String>,
    problems: Vec<Problem>,
    traceback: Vec<String>,
}

impl Report {
    /// Judges findings.
    pub(super) fn of(findings: &Findings, judged: &Judged) -> Self {
        let mut reading = Reading { findings, judged, problems: Vec::new() };
        reading.name();
        let manifest = reading.manifest();
        let told = Told::of(findings.description.as_deref());
        let description = reading.description(&manifest, &told);
        let access = reading.access();
        reading.rest_of_problem(&told);
        let methods = methods_of(&manifest, description);
        reading.methods_of_access(access.as_ref(), &methods);
        reading.approval(&manifest);
        reading.server();
        let callers = Callers::for_each(findings, judged, access.as_ref(), &manifest);
        let methods: Vec<Callable> = methods
            .into_iter()
            .map(|method| Callable {
                place: told.places.get(&method.name).cloned(),
                callers: callers(&method.name),
                method,
            })
            .collect();
        let mut problems = reading.problems;
        problems.sort_by_key(|problem| problem.severity);
        Self {
            findings: findings.clone(),
            by_server: judged.by_server,
            methods,
            access: access.as_ref().map(Access::in_words).unwrap_or_default(),
            levels: manifest.levels.clone(),
            problems,
            traceback: told.traceback,
        }
    }

    /// Whether there is no error.
    pub(super) fn is_good(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity != Severity::Error)
    }

    /// Its folder, as the one who looked sees it.
    pub(super) fn folder(&self) -> &Path {
        Path::new(&self.findings.folder)
    }

    /// The problems that are at least so bad, the worst first, a line each.
    pub(super) fn problem_lines(&self, at_least: Severity) -> Vec<String> {
        let told = self.problems.iter().filter(|problem| problem.severity <= at_least);
        told.map(|problem| self.problem_line(problem)).collect()
    }

    fn problem_line(&self, problem: &Problem) -> String {
        let place = match &problem.file {
            Some(file) => self.folder().join(file),
            None => self.folder().to_owned(),
        };
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}: {}: {}", place.display(), problem.severity.word(), problem.text)
    }

    /// The end of the import's traceback, if it failed.
    pub(super) fn traceback(&self) -> &[String] {
        &self.traceback
    }

    /// `1 error, 2 warnings`.
    pub(super) fn tally(&self) -> String {
        let count = |severity: Severity| {
            let count = self.problems.iter().filter(|one| one.severity == severity).count();
            let s = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{s}", severity.word()))
        };
        let told: Vec<String> = [Severity::Error, Severity::Warning, Severity::Hint]
            .into_iter()
            .filter_map(count)
            .collect();
        if told.is_empty() { "no problem".to_owned() } else { told.join(", ") }
    }

    fn lines(&self) -> Vec<String> {
        let Findings { name, folder, account, digest, .. } = &self.findings;
        let whose = if self.by_server { "the services account of the server" } else { "you" };
        let mut lines = vec![
            format!("{name}: {}", self.tally()),
            format!("  looked at by {account} ({whose}) in {folder}"),
        ];
        if !digest.is_empty() {
            lines.push(format!("  digest of its code {digest}"));
        }
        let levels = if self.levels.is_empty() { "all".into() } else { self.levels.join(", ") };
        lines.push(format!("  serves the levels: {levels}"));
        if let Some(server) =
            self.findings.server.as_ref().filter(|server| !server.state.is_empty())
        {
            lines.push(format!("  on the server it is {}", server.state));
        }
        for one in &self.methods {
            lines.push(String::new());
            lines.push(one.line(name));
            lines.extend(one.callers.iter().map(Callers::line));
        }
        if !self.access.is_empty() {
            lines.push(String::new());
            lines.push(format!("its {ACCESS_FILE} says:"));
            lines.extend(self.access.iter().map(|line| format!("  {line}")));
        }
        if !self.problems.is_empty() {
            lines.push(String::new());
            lines.extend(self.problem_lines(Severity::Hint));
        }
        lines.extend(self.traceback.iter().map(|line| format!("  {line}")));
        lines
    }

    fn json(&self) -> Value {
        let Findings { name, folder, account, digest, server, .. } = &self.findings;
        let problem = |one: &Problem| json!({"severity": one.severity.word(), "file": one.file, "line": one.line, "text": one.text});
        let state = server.as_ref().map(|server| {
            json!({"state": server.state, "reason": server.reason,
                   "running_digest": server.running_digest, "edits": server.edits})
        });
        json!({
            "name": name,
            "folder": folder,
            "account": account,
            "digest": digest,
            "good": self.is_good(),
            "levels": self.levels,
            "methods": self.methods.iter().map(Callable::json).collect::<Vec<_>>(),
            "access": self.access,
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "traceback": self.traceback,
            "server": state,
        })
    }
}

/// Prints a report, in words or as one JSON object.
///
/// # Errors
/// None in practice: JSON of strings and numbers.
pub(super) fn print(report: &Report, as_json: bool) -> Result<(), Failure> {
    if as_json {
        say(&serde_json::to_string_pretty(&report.json())?);
    } else {
        report.lines().iter().for_each(|line| say(line));
    }
    Ok(())
}

impl Callable {
    fn line(&self, service: &str) -> String {
        let Method { name, signatures, parameters, .. } = &self.method;
        let called = |signature: &Vec<String>| {
            let (result, types) = signature.split_first()?;
            let word = |(at, kind): (usize, &String)| match parameters.get(at) {
                Some(name) => format!("{name}: {kind}"),
                None => format!("arg{at}: {kind}"),
            };
            let words: Vec<String> = types.iter().enumerate().map(word).collect();
            Some(format!("{service}.{name}({}) -> {result}", words.join(", ")))
        };
        let forms: Vec<String> = signatures.iter().filter_map(called).collect();
        let forms =
            if forms.is_empty() { format!("{service}.{name}(...)") } else { forms.join("\n") };
        match &self.place {
            Some((file, line)) => format!("{forms}    {file}:{line}"),
            None => forms,
        }
    }

    fn json(&self) -> Value {
        let Method { name, help, signatures, parameters } = &self.method;
        let callers =
            |one: &Callers| json!({"level": one.level, "anyone": one.anyone, "rule": one.rule});
        json!({
            "name": name,
            "help": help,
            "signatures": signatures,
            "parameters": parameters,
            "file": self.place.as_ref().map(|(file, _)| file),
            "line": self.place.as_ref().map(|(_, line)| line),
            "callers": self.callers.iter().map(callers).collect::<Vec<_>>(),
        })
    }
}

/// A caller who has just this level.
struct OfLevel(LevelName);

impl Graded for OfLevel {
    fn level(&self) -> &LevelName {
        &self.0
    }
}

impl Callers {
    fn line(&self) -> String {
        let Self { level, anyone, rule } = self;
        let who = if *anyone { "anyone" } else { "only whom a list names" };
        format!("    {level}: {who} ({rule})")
    }

    /// What the server would say to anyone of each level who calls a method.
    fn for_each<'a>(
        findings: &'a Findings,
        judged: &'a Judged,
        access: Option<&'a Access>,
        manifest: &'a Manifest,
    ) -> impl Fn(&str) -> Vec<Self> + 'a {
        let around = findings.server.iter().flat_map(|server| &server.around);
        let around =
            around.filter_map(|one| Some(Access::parse(&one.text).ok()?.of_folder(&one.name)));
        let around: Vec<Access> = around.collect();
        let changed = |approved: &String| *approved != findings.digest;
        let community = manifest.approved.as_ref().filter(|it| changed(it)).map(|_| {
            let levels = judged.levels.iter().filter(|level| !level.own_accounts);
            levels.filter_map(|level| LevelName::parse(&level.name).ok()).collect::<Vec<_>>()
        });
        let edits = AccessEdits::default();
        move |method| {
            let Some(own) = access else { return Vec::new() };
            let lists: Vec<&Access> = around.iter().chain([own]).collect();
            let offer = Offer {
                service: &findings.name,
                access: &lists,
                edits: &edits,
                levels: &manifest.levels,
                approved_for: community.as_deref(),
            };
            judged.levels.iter().filter_map(|level| Self::of(&offer, method, level)).collect()
        }
    }

    fn of(offer: &Offer<'_>, method: &str, facts: &LevelFacts) -> Option<Self> {
        let level = LevelName::parse(&facts.name).ok()?;
        let nobody = SubjectDn::parse_oneline(NOBODY_IN_PARTICULAR).ok()?;
        let ask = Ask {
            method,
            subject: facts.certified.then_some(&nobody),
            level: Some(&level),
            groups: &(),
            now_unix: crate::clock::now_unix(),
        };
        let granted = Ok::<_, Refused>(OfLevel(level.clone()));
        let (anyone, rule) = match decide(offer, &ask, granted, |to| Ok(OfLevel(to.clone()))) {
            Ok(decided) => (true, decided.rule().to_owned()),
            Err(refused) => (false, refused.rule.unwrap_or(refused.text)),
        };
        Some(Self { level: facts.name.clone(), anyone, rule })
    }
}

/// What the worker said beside the description.
#[derive(Debug, Default)]
struct Told {
    error: Option<String>,
    problems: Option<Vec<Problem>>,
    traceback: Vec<String>,
    places: BTreeMap<String, (String, u64)>,
}

impl Told {
    fn of(description: Option<&str>) -> Self {
        let Some(text) = description else { return Self::default() };
        // What is no JSON is told where the description is read.
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let problem = |one: &Value| {
            Some(Problem {
                severity: Severity::of(one.get("severity")?.as_str()?),
                file: one.get("file").and_then(Value::as_str).map(str::to_owned),
                line: one.get("line").and_then(Value::as_u64),
                text: one.get("text")?.as_str()?.to_owned(),
            })
        };
        let list = |name: &str| value.get(name).and_then(Value::as_array);
        let place = |one: &Value| {
            let name = one.get("name")?.as_str()?.to_owned();
            Some((name, (one.get("file")?.as_str()?.to_owned(), one.get("line")?.as_u64()?)))
        };
        let lines = list("traceback").into_iter().flatten();
        Self {
            error: value.get("error").and_then(Value::as_str).map(str::to_owned),
            problems: list("problems").map(|all| all.iter().filter_map(problem).collect()),
            traceback: lines.filter_map(Value::as_str).map(str::to_owned).collect(),
            places: list("methods").into_iter().flatten().filter_map(place).collect(),
        }
    }
}

fn methods_of(manifest: &Manifest, description: Description) -> Vec<Method> {
    let all = description.methods.into_iter().chain(manifest.methods.iter().cloned());
    let all: BTreeMap<String, Method> = all.map(|one| (one.name.clone(), one)).collect();
    all.into_values().collect()
}

/// The findings, and the problems met so far.
struct Reading<'a> {
    findings: &'a Findings,
    judged: &'a Judged,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn add(&mut self, severity: Severity, file: Option<&str>, line: Option<usize>, text: String) {
        let line = line.and_then(|line| u64::try_from(line).ok());
        self.problems.push(Problem { severity, file: file.map(str::to_owned), line, text });
    }

    fn name(&mut self) {
        if let Err(error) = ServiceName::parse(&self.findings.name) {
            self.add(Severity::Error, None, None, format!("{:?}: {error}", self.findings.name));
        }
    }

    fn manifest(&mut self) -> Manifest {
        let Some(text) = &self.findings.manifest else { return Manifest::default() };
        let manifest = Manifest::parse(text).unwrap_or_else(|mistakes| {
            for one in mistakes {
                self.add(Severity::Error, Some(MANIFEST_FILE), Some(one.line), one.text);
            }
            Manifest::default()
        });
        let judged = self.judged;
        let is_level = |name: &str| judged.levels.iter().any(|level| level.name == name);
        for level in manifest.levels.iter().filter(|level| !is_level(level)) {
            let text = format!("levels: there is no level {level}");
            self.add(Severity::Error, Some(MANIFEST_FILE), None, text);
        }
        let named = manifest.jobs.values().filter_map(|job| job.batch());
        for name in named.chain(manifest.batch.as_deref()).collect::<BTreeSet<_>>() {
            self.batch(Some(MANIFEST_FILE), name);
        }
        manifest
    }

    /// Says so where there is no batch system of that name.
    fn batch(&mut self, file: Option<&str>, name: &str) {
        let known = &self.judged.batch;
        if !known.iter().any(|one| one == name) {
            let there = known.join(", ");
            let text = format!("batch: there is no batch system {name} (there is {there})");
            self.add(Severity::Error, file, None, text);
        }
    }

    fn is_level(&self, name: &str) -> bool {
        self.judged.levels.iter().any(|level| level.name == name)
    }

    fn description(&mut self, manifest: &Manifest, told: &Told) -> Description {
        let in_list = told.problems.clone().unwrap_or_default();
        let has_error = in_list.iter().any(|one| one.severity == Severity::Error);
        self.problems.extend(in_list);
        let Some(text) = &self.findings.description else {
            if manifest.methods.is_empty() && self.findings.problem.is_none() {
                let text = "it describes no methods".to_owned();
                self.add(Severity::Error, None, None, text);
            }
            return Description::default();
        };
        match Description::parse(text) {
            Ok(description) => {
                if description.methods.is_empty() && manifest.methods.is_empty() {
                    self.add(Severity::Error, None, None, "it has no methods".to_owned());
                }
                if let (Some(name), None) = (&description.batch, &manifest.batch) {
                    self.batch(None, name);
                }
                return description;
            }
            Err(DescriptionError::Broken(why)) if !has_error => {
                self.add(Severity::Error, None, None, why);
            }
            Err(DescriptionError::Broken(_)) => {}
            Err(error @ DescriptionError::Malformed(_)) => {
                self.add(Severity::Error, None, None, error.to_string());
            }
        }
        Description::default()
    }

    fn access(&mut self) -> Option<Access> {
        let problem = self.findings.problem.as_deref().unwrap_or_default();
        let Some(text) = &self.findings.access else {
            if !problem.contains(&format!("{ACCESS_FILE}:")) && !problem.contains("cannot be read")
            {
                let text = "there is none, and without it nobody may call the service: \
                            `allow = [\"/\"]` admits anyone with a valid certificate"
                    .to_owned();
                self.add(Severity::Error, Some(ACCESS_FILE), None, text);
            }
            return None;
        };
        let access = match Access::parse(text) {
            Ok(access) => access,
            Err(mistakes) => {
                for one in mistakes {
                    self.add(Severity::Error, Some(ACCESS_FILE), Some(one.line), one.text);
                }
                return None;
            }
        };
        for remark in access.remarks() {
            self.add(Severity::Warning, Some(ACCESS_FILE), Some(remark.line), remark.text);
        }
        let unknown = access.levels().filter(|(level, _)| !self.is_level(level.as_str()));
        let unknown: Vec<_> =
            unknown.map(|(level, line)| (line, format!("there is no level {level}"))).collect();
        for (line, text) in unknown {
            self.add(Severity::Error, Some(ACCESS_FILE), Some(line), text);
        }
        Some(access)
    }

    /// What the one who looked could not read or run, and nothing above has told.
    fn rest_of_problem(&mut self, told: &Told) {
        let Some(problem) = &self.findings.problem else { return };
        let mut left = problem.clone();
        if let Some(error) = &told.error {
            left = left.replacen(error.as_str(), "", 1);
        }
        let is_mistake = |part: &str| {
            let line = part.strip_prefix("service.toml:");
            line.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let parts: Vec<String> = left
            .split("; ")
            .filter(|part| !part.is_empty() && *part != "no .clarens_access" && !is_mistake(part))
            .map(str::to_owned)
            .collect();
        for part in parts {
            self.add(Severity::Error, None, None, part);
        }
    }

    fn methods_of_access(&mut self, access: Option<&Access>, methods: &[Method]) {
        if methods.is_empty() {
            return;
        }
        let known = |name: &str| name == MONITOR || methods.iter().any(|one| one.name == name);
        for name in access.iter().flat_map(|access| access.methods()).filter(|name| !known(name)) {
            let text = format!("[method.{name}]: the service has no such method");
            self.add(Severity::Warning, Some(ACCESS_FILE), None, text);
        }
    }

    fn approval(&mut self, manifest: &Manifest) {
        let Some(approved) = &manifest.approved else { return };
        if *approved != self.findings.digest {
            let text =
                "the code is not the approved one: it serves those levels alone whose callers \
                        have no account of their own"
                    .to_owned();
            self.add(Severity::Warning, Some(MANIFEST_FILE), None, text);
        }
    }

    /// Where what runs is not what lies there.
    fn server(&mut self) {
        if let Some(why) = &self.findings.in_place {
            let text =
                format!("{why}: its workers run what lies in the folder, be it half of an edit");
            self.add(Severity::Warning, None, None, text);
        }
        let Some(server) = &self.findings.server else { return };
        let ServerKnows { state, reason, running_digest, edits, .. } = server;
        let name = &self.findings.name;
        match state.as_str() {
            "" => self.add(
                Severity::Hint,
                None,
                None,
                format!("the server does not know it yet: nesssi service restart {name}"),
            ),
            "ok" if *running_digest != self.findings.digest => self.add(
                Severity::Hint,
                None,
                None,
                format!("the server runs older code: nesssi service restart {name} takes this up"),
            ),
            "ok" => {}
            _ => self.add(
                Severity::Warning,
                None,
                None,
                format!("on the server it is {state}: {reason}"),
            ),
        }
        if *edits > 0 {
            let text = format!("{edits} edits of administrators stand beside its access list");
            self.add(Severity::Hint, Some(ACCESS_FILE), None, text);
        }
    }
}

#[cfg(test)]
mod tests;
