//! `nesssid --check`: everything that would go wrong, told at once, with nothing bound and nothing made.
//!
//! It looks at what is the monitor's (configuration, gridmap, accounts, directories, files), then runs the
//! other programs' own `--check`, and the Python interpreter, as the users that they would run as:
//!
//! * `nesssi-gatekeeper --check FILE` as the gatekeeper's user,
//! * `nesssi-jobmanager --check` as each account that the configuration names,
//! * a jobmanager as the services account, which finds the services and loads each one's code.

mod services;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nesssi_config::{Config, Shell, Tree};
use nesssi_policy::{Assigned, Gridmap, PoolName};
use nesssi_privsep::{Account, Command, Ending, Spawn, account};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::paths::{self, Missing};
use crate::pools::Pools;
use crate::programs;
use crate::rules::{names_pools, read_config, read_gridmap};
use crate::setup::{self, Directories, Identity, Problem, WaysOfRules};

/// How long another program's check may take.
const PROGRAM_SECONDS_MAX: u64 = 30;
/// Accounts of a gridmap that are looked up.
const GRIDMAP_ACCOUNTS_MAX: usize = 1000;
/// What a Python interpreter is asked: whether it is new enough.
const PYTHON_TEST: &str = "import sys; sys.exit(0 if sys.version_info >= (3, 9) else 9)";

/// What a check has found.
#[derive(Debug, Default)]
pub struct Report {
    /// Every problem with a configuration, one text each; none means that NESSSI would start.
    pub problems: Vec<String>,
    /// What an administrator should know, and what is no problem: who may change each service.
    pub notes: Vec<String>,
}

/// Checks a configuration with all that it names.
#[must_use]
pub fn report(config_path: &Path) -> Report {
    let only = |problems| Report { problems, notes: Vec::new() };
    let config_path = match setup::absolute(config_path) {
        Ok(path) => path,
        Err(problem) => return only(vec![problem.to_string()]),
    };
    match read_config(&config_path) {
        Ok((_, config)) => Check::new(config, &config_path).run(),
        Err(mistakes) => only(mistakes),
    }
}

struct Check<'a> {
    config: Config,
    config_path: &'a Path,
    problems: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(config: Config, config_path: &'a Path) -> Self {
        Self { config, config_path, problems: Vec::new(), notes: Vec::new() }
    }

    fn run(mut self) -> Report {
        let gridmap = self.gridmap();
        self.ways(&gridmap);
        self.levels();
        self.administrators();
        self.words_of_callers();
        if let Err(problems) = setup::check_certificate(&self.config) {
            self.tell(problems);
        }
        match Identity::find(&self.config) {
            Ok(who) => self.as_somebody(&who, &gridmap),
            Err(problem) => {
                self.tell([problem]);
                self.without_gatekeeper(&gridmap);
            }
        }
        Report { problems: self.problems, notes: self.notes }
    }

    /// What can be said of the other accounts where the gatekeeper's own is no good: in one run, all of it.
    fn without_gatekeeper(&mut self, gridmap: &Gridmap) {
        let Ok(invoker) = account::current() else { return };
        let root = rustix::process::geteuid().is_root();
        let who = Identity { root, gatekeeper: invoker.clone(), invoker };
        self.gridmap_accounts(&who, gridmap);
        self.configured_accounts(&who);
        self.control_group();
    }

    /// Whether trees are directories, and lie apart from sandboxes, wherever links lead. What an account may read of
    /// them it finds out itself.
    fn trees(&mut self) {
        let sandboxes = real(&self.config.sandboxes.root);
        for tree in &self.config.trees {
            let Tree { name, path, .. } = tree;
            let shown = path.display();
            let found = match std::fs::canonicalize(path) {
                Ok(found) if found.is_dir() => found,
                Ok(_) => {
                    self.problems.push(format!("[[tree]] {name}: {shown} is not a directory"));
                    continue;
                }
                Err(error) => {
                    self.problems.push(format!("[[tree]] {name}: {shown}: {error}"));
                    continue;
                }
            };
            if found.starts_with(&sandboxes) || sandboxes.starts_with(&found) {
                let root = self.config.sandboxes.root.display();
                let text = format!(
                    "[[tree]] {name}: {shown} and the root of sandboxes {root} lie in one another"
                );
                self.problems.push(text);
            }
            if let Err(problem) = paths::check_above(path) {
                self.notes.push(format!(
                    "[[tree]] {name}: others can put another directory in its place: {problem}"
                ));
            }
        }
    }

    /// Whoever may run words of his own, or those of the list: said loudly, and held against what the
    /// programs really are.
    fn words_of_callers(&mut self) {
        let names = |levels: &[nesssi_policy::LevelName]| {
            levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let submit_levels = &self.config.job.submit_levels;
        if !submit_levels.is_empty() {
            let levels = names(submit_levels);
            self.notes.push(format!(
                "job.submit: callers of {levels} may run any command as their account"
            ));
        }
        let shell = &self.config.shell;
        if !shell.enabled {
            return;
        }
        let levels = names(&shell.levels);
        for command in &shell.commands {
            let words = command.join(" ");
            self.notes
                .push(format!("shell.cmd: callers of {levels} may run as their account: {words}"));
            let Some(program) = command.first() else { continue };
            match std::fs::canonicalize(program) {
                Err(error) => self.problems.push(format!("[shell] commands: {program}: {error}")),
                Ok(program_is)
                    if !shell.interpreters
                        && Shell::is_interpreter(&program_is.to_string_lossy()) =>
                {
                    self.problems.push(format!(
                        "[shell] commands: {program} is {}, which makes a command of its arguments: \
                         if that is meant say `interpreters = true`",
                        program_is.display()
                    ));
                }
                Ok(_) => {}
            }
        }
    }

    fn control_group(&mut self) {
        if let Some(group) = &self.config.server.control_group
            && !matches!(account::group_id(group), Ok(Some(_)))
        {
            self.problems.push(format!("[server] control_group: no group {group}"));
        }
    }

    fn tell(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems.into_iter().map(|problem| problem.to_string()));
    }

    fn gridmap(&mut self) -> Gridmap {
        let levels = &self.config.levels;
        if !levels.iter().any(nesssi_policy::Level::asks_gridmap) {
            return Gridmap::default();
        }
        match read_gridmap(&self.config.policy.gridmap) {
            Ok((gridmap, warnings)) => {
                self.problems.extend(warnings);
                gridmap
            }
            Err(mistakes) => {
                self.problems.extend(mistakes);
                Gridmap::default()
            }
        }
    }

    /// What is on the way to files that decide who may do what, and the accounts of pools.
    fn ways(&mut self, gridmap: &Gridmap) {
        let pools = names_pools(gridmap);
        let asked = self.config.levels.iter().any(nesssi_policy::Level::asks_gridmap);
        let rules = WaysOfRules { gridmap: asked, pools };
        if let Err(problems) = setup::check_ways(&self.config, self.config_path, rules) {
            self.tell(problems);
        }
        // As a name in it, so that the directory itself is looked at.
        let trusted = self.config.server.trust_directory.join("any");
        if let Err(problem) = paths::check_above(&trusted)
            && !is_missing(&problem)
        {
            self.problems.push(format!("[server] trust_directory: {problem}"));
        }
        if pools {
            let pools = Pools::open(&self.config.policy.gridmapdir);
            self.problems.extend(pools.problem().map(str::to_owned));
            self.pools(gridmap, &pools);
        }
    }

    fn pools(&mut self, gridmap: &Gridmap, pools: &Pools) {
        let assigned = gridmap.entries().iter().flat_map(|entry| &entry.accounts);
        let named: BTreeSet<&PoolName> = assigned
            .filter_map(|assigned| match assigned {
                Assigned::Pool(pool) => Some(pool),
                Assigned::Account(_) => None,
            })
            .collect();
        let shown = self.config.policy.gridmapdir.display();
        for pool in named.into_iter().filter(|pool| pools.accounts(pool).next().is_none()) {
            let text = format!("gridmapdir {shown}: there is no account of pool {pool} in it");
            self.problems.push(text);
        }
    }

    /// Levels that nobody is taken by; a service may lower its callers to one.
    fn levels(&mut self) {
        let levels = &self.config.levels;
        for (at, level) in levels.iter().enumerate() {
            let above = levels.iter().take(at).find(|above| above.covers(level));
            self.notes.extend(above.map(|above| {
                format!(
                    "[[level]] {}: it takes nobody whom level {} above it has not taken already",
                    level.name, above.name
                )
            }));
        }
    }

    fn administrators(&mut self) {
        let roots = &self.config.policy.vo_administrators;
        let names: Vec<String> = roots.iter().map(ToString::to_string).collect();
        self.notes.push(match names.as_slice() {
            [] => "[policy] vo_administrators: none, so nobody makes VO groups at the top".into(),
            names => format!("VO groups: administered by {}", names.join(" and ")),
        });
        let access = &self.config.policy.access_administrators;
        if !access.is_empty() {
            let names: Vec<String> = access.iter().map(ToString::to_string).collect();
            self.notes.push(format!("access to services: administered by {}", names.join(" and ")));
        }
    }

    fn as_somebody(&mut self, who: &Identity, gridmap: &Gridmap) {
        let exposed = self.config.check_exposure(who.root);
        self.problems.extend(exposed.iter().map(ToString::to_string));
        if let Err(problems) = Directories::open(&self.config, who, Missing::Refuse) {
            let shared = self.config.sandboxes.shared;
            let made_at_start = |problem: &Problem| match problem {
                Problem::Path { key: "[sandboxes] root", .. } if shared => false,
                Problem::Path { source, .. } => is_missing(source),
                _ => false,
            };
            self.tell(problems.into_iter().filter(|problem| !made_at_start(problem)));
        }
        self.control_group();
        self.trees();
        self.problems.extend(self.config.batch.systems.iter().flat_map(programs::problems_of));
        self.problems.extend(programs::problems_of_python(&self.config));
        self.gridmap_accounts(who, gridmap);
        let accounts = self.configured_accounts(who);
        match setup::libexec(&self.config) {
            Ok(libexec) => {
                self.programs(who, &libexec, &accounts);
                self.services(who, &libexec);
            }
            Err(problem) => self.tell([problem]),
        }
    }

    /// The first account of every line, as it would be used.
    fn gridmap_accounts(&mut self, who: &Identity, gridmap: &Gridmap) {
        let mut seen = BTreeSet::new();
        for entry in gridmap.entries() {
            let Some(Assigned::Account(name)) = entry.accounts.first() else { continue };
            if !seen.insert(name.clone()) || seen.len() > GRIDMAP_ACCOUNTS_MAX {
                continue;
            }
            if let Err(text) = self.fit(who, name.as_str()) {
                let shown = self.config.policy.gridmap.display();
                self.problems.push(format!("gridmap {shown}:{}: {text}", entry.line));
            }
        }
    }

    /// The accounts that the configuration names, with where it does; those that are fit are answered.
    fn configured_accounts(&mut self, who: &Identity) -> Vec<Account> {
        let mut named: Vec<(String, String)> = Vec::new();
        for level in &self.config.levels {
            if let Some(name) = &level.account {
                let key = format!("[[level]] {}: account", level.name.as_str());
                named.push((key, name.as_str().to_owned()));
            }
        }
        match &self.config.services.account {
            Some(name) => named.push(("[services] account".into(), name.clone())),
            None if who.root => self.problems.push(
                "[services] account: it is not set, and services are discovered as nobody else"
                    .into(),
            ),
            None => {}
        }
        let mut accounts: Vec<Account> = Vec::new();
        for (key, name) in named {
            match self.fit(who, &name) {
                Ok(found) if !accounts.contains(&found) => accounts.push(found),
                Ok(_) => {}
                Err(text) => self.problems.push(format!("{key}: {text}")),
            }
        }
        accounts
    }

    fn fit(&self, who: &Identity, name: &str) -> Result<Account, String> {
        let own = who.invoker.name();
        if !who.root {
            return if name == own {
                Ok(who.invoker.clone())
            } else {
                Err(format!("not started as root: only account {own} can be used, not {name}"))
            };
        }
        let rules = who.account_rules(self.config.policy.uid_min);
        let found = account::look_up(name, &rules).map_err(|error| error.to_string())?;
        account::in_good_standing(&found, clock::today()).map_err(|error| error.to_string())?;
        Ok(found)
    }

    fn programs(&mut self, who: &Identity, libexec: &Path, accounts: &[Account]) {
        let program = |name: &str| Command::new(libexec.join(name)).named(name).arg("--check");
        let gatekeeper = program("nesssi-gatekeeper").arg(self.config_path);
        self.program("nesssi-gatekeeper --check", gatekeeper, &who.gatekeeper);
        for account in accounts {
            let sandboxes = &self.config.sandboxes;
            let mut jobmanager = program("nesssi-jobmanager");
            if sandboxes.shared {
                jobmanager = jobmanager
                    .args(["--shared", "--account", account.name(), "--sandboxes"])
                    .arg(sandboxes.root.join(account.name()));
            }
            self.program("nesssi-jobmanager --check", jobmanager, account);
            let python = Command::new(&self.config.services.python).args(["-I", "-c", PYTHON_TEST]);
            let shown = format!("[services] python: {}", self.config.services.python.display());
            self.program(&shown, python, account);
        }
    }

    fn services(&mut self, who: &Identity, libexec: &Path) {
        let account = match &self.config.services.account {
            // A name that is not fit was told already.
            Some(name) => match self.fit(who, name) {
                Ok(account) => account,
                Err(_) => return,
            },
            None if who.root => return,
            None => who.invoker.clone(),
        };
        let findings = services::look(&self.config, libexec, &account);
        self.problems.extend(findings.problems);
        self.notes.extend(findings.notes);
    }

    /// Runs a program as an account. What it says of its problems goes to standard error.
    fn program(&mut self, shown: &str, command: Command, account: &Account) {
        let command = command.envs(setup::children_environment());
        let ended = Spawn::new(command)
            .account(account)
            .spawn()
            .map_err(|error| error.to_string())
            .and_then(|child| wait(&child));
        let name = account.name();
        match ended {
            Ok(Ending::Exited(0)) => {}
            Ok(Ending::Exited(9)) if shown.contains("python") => {
                self.problems.push(format!("{shown}: older than Python 3.9"));
            }
            Ok(ending) => self.problems.push(format!("{shown} as {name}: {ending}")),
            Err(text) => self.problems.push(format!("{shown} as {name}: {text}")),
        }
    }
}

fn wait(child: &nesssi_privsep::Child) -> Result<Ending, String> {
    let mut polled = [PollFd::new(child, PollFlags::IN)];
    let timeout = Timespec::try_from(Duration::from_secs(PROGRAM_SECONDS_MAX)).ok();
    let ended = rustix::io::retry_on_intr(|| poll(&mut polled, timeout.as_ref()));
    if ended == Ok(0) {
        child.signal(rustix::process::Signal::KILL).map_err(|error| error.to_string())?;
        child.wait().map_err(|error| error.to_string())?;
        return Err(format!("took more than {PROGRAM_SECONDS_MAX} s"));
    }
    child.wait().map_err(|error| error.to_string())
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    match (std::fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(real), _, _) => real,
        (Err(_), Some(parent), Some(name)) => real(parent).join(name),
        (Err(_), _, _) => path.to_owned(),
    }
}

/// What is not there is made at the start.
fn is_missing(problem: &crate::paths::PathProblem) -> bool {
    use crate::paths::PathProblem;
    match problem {
        PathProblem::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        PathProblem::Unsafe { .. } => false,
    }
}
