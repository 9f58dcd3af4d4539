//! What callers are judged by, kept up to date: gridmap and levels, with a generation that rises
//! whenever they or the accounts of this machine change.
//!
//! Files are looked at once a second, and read again when inode, size or times differ. The last good
//! ones stay in force when new ones have an error. At the start there are no last good ones, so
//! an error then is one of the start: a gridmap that cannot be read would put mapped users into the community's account.
//!
//! Judging is a matter of these files alone, but for pools: whoever is given one is leased an account of it.

use std::path::{Path, PathBuf};

use nesssi_config::Config;
use nesssi_policy::{
    AccountName, Assigned, GRIDMAP_BYTES_MAX, Gridmap, Judgement, Level, PoolName, Rules, Who,
};

use crate::files::{Stamp, read_trusted};
use crate::pools::{Lease, Look, Pools};
use crate::setup::WaysOfRules;

/// Largest configuration: it goes to the gatekeeper in one record.
pub const CONFIG_BYTES_MAX: usize = 128 * 1024;
/// Where this machine's own accounts are. Those of directories are looked at again after a time.
const ACCOUNT_FILES: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/shadow"];

/// What happened since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The rules are others now: grants of earlier generations are void.
    Generation {
        /// The new one.
        generation: u64,
        /// What changed.
        because: &'static str,
    },
    /// The configuration's text is another now, whether or not it changes any judgement.
    Config,
    /// Accounts of this machine may have changed: what is known of them is to be looked up again.
    Accounts,
    /// Something odd that refuses nothing.
    Warning(String),
    /// A new file is not in force, and why.
    Error(String),
}

/// A caller judged, with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// By which rule, at which level.
    pub judgement: Judgement,
    /// The account, leased if it is one of a pool.
    pub account: AccountName,
    /// The pool of which he was leased it just now.
    pub new_lease: Option<PoolName>,
}

/// The rules in force.
#[derive(Debug)]
pub struct RulesKeeper {
    config_path: PathBuf,
    config_text: String,
    gridmap_path: PathBuf,
    gridmapdir_path: PathBuf,
    rules: Rules,
    /// Where the gridmap names pools.
    pools: Option<Pools>,
    uid_min: u32,
    generation: u64,
    config_stamp: Option<Stamp>,
    gridmap_stamp: Option<Stamp>,
    account_stamps: [Option<Stamp>; 3],
    /// The gridmap for want of which a new configuration is not in force, as it was then.
    wanted: Option<(PathBuf, Option<Stamp>)>,
}

/// A gridmap for levels that asked none before.
struct FirstGridmap {
    gridmap: Gridmap,
    stamp: Option<Stamp>,
    warnings: Vec<String>,
}

impl RulesKeeper {
    /// Reads configuration and gridmap for the first time; the warnings are worth a line each.
    ///
    /// # Errors
    /// Every mistake in them, with file and line.
    pub fn load(config_path: &Path) -> Result<(Self, Config, Vec<String>), Vec<String>> {
        let config_stamp = Stamp::of(config_path);
        let (config_text, config) = read_config(config_path)?;
        let mut keeper = Self {
            config_path: config_path.to_owned(),
            config_text,
            gridmap_path: config.policy.gridmap.clone(),
            gridmapdir_path: config.policy.gridmapdir.clone(),
            pools: None,
            rules: Rules { gridmap: Gridmap::default(), levels: config.levels.clone() },
            uid_min: config.policy.uid_min,
            generation: 1,
            config_stamp,
            gridmap_stamp: Stamp::of(&config.policy.gridmap),
            account_stamps: account_stamps(),
            wanted: None,
        };
        let mut warnings = Vec::new();
        if keeper.needs_gridmap() {
            (keeper.rules.gridmap, warnings) = read_gridmap(&keeper.gridmap_path)?;
        }
        if let Some(problem) = keeper.open_pools() {
            return Err(vec![problem]);
        }
        Ok((keeper, config, warnings))
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Judges a caller, and leases him an account if he is given a pool.
    ///
    /// # Errors
    /// Why he gets none.
    pub fn judge(&mut self, who: &Who<'_>) -> Result<Judged, String> {
        let mut judgement = self.rules.judge(who).map_err(|error| error.to_string())?;
        let pool = match &judgement.account {
            Assigned::Account(account) => {
                let account = account.clone();
                return Ok(Judged { judgement, account, new_lease: None });
            }
            Assigned::Pool(pool) => pool.clone(),
        };
        let (Some(pools), Some(subject)) = (&mut self.pools, who.subject) else {
            return Err(format!("{}: there is no gridmapdir for pool {pool}", judgement.rule));
        };
        let Lease { account, new } =
            pools.lease(subject, &pool).map_err(|error| format!("{}: {error}", judgement.rule))?;
        pools.used(&account);
        judgement.rule.push_str(&format!(", pool {pool}, leased"));
        Ok(Judged { judgement, account, new_lease: new.then_some(pool) })
    }

    /// Whether a caller would be given a pool.
    #[must_use]
    pub fn is_pooled(&self, who: &Who<'_>) -> bool {
        let is_pool = |judged: Judgement| matches!(judged.account, Assigned::Pool(_));
        self.pools.is_some() && self.rules.judge(who).is_ok_and(is_pool)
    }

    /// An account is used: if it is leased, its lease says when.
    pub fn used(&mut self, account: &AccountName) {
        if let Some(pools) = &mut self.pools {
            pools.used(account);
        }
    }

    /// Before the end: what is not on the disk yet.
    pub fn sync(&mut self) {
        if let Some(pools) = &mut self.pools {
            pools.sync();
        }
    }

    /// The lowest uid that an account may have.
    #[must_use]
    pub fn uid_min(&self) -> u32 {
        self.uid_min
    }

    /// Their generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The text of the configuration in force, for the next gatekeeper.
    #[must_use]
    pub fn config_text(&self) -> &str {
        &self.config_text
    }

    /// Which files are in use.
    #[must_use]
    pub fn ways(&self) -> WaysOfRules {
        WaysOfRules { gridmap: self.needs_gridmap(), pools: self.pools.is_some() }
    }

    /// Looks at the files, and reads again what has changed.
    pub fn look(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let stamp = Stamp::of(&self.config_path);
        let has_come = |(path, seen): &(PathBuf, Option<Stamp>)| Stamp::of(path) != *seen;
        if stamp != self.config_stamp || self.wanted.as_ref().is_some_and(has_come) {
            self.config_stamp = stamp;
            self.reread_config(&mut news);
        }
        let stamp = Stamp::of(&self.gridmap_path);
        if stamp != self.gridmap_stamp && self.needs_gridmap() {
            self.gridmap_stamp = stamp;
            self.reread_gridmap(&mut news);
        }
        match self.pools.as_mut().map_or(Look::Same, Pools::look) {
            Look::Same => {}
            Look::Changed => self.rise("leases in the gridmapdir", &mut news),
            Look::Unusable(text) => news.push(News::Error(text)),
        }
        let stamps = account_stamps();
        if stamps != self.account_stamps {
            self.account_stamps = stamps;
            news.push(News::Accounts);
            self.rise("accounts of this machine", &mut news);
        }
        news
    }

    fn reread_config(&mut self, news: &mut Vec<News>) {
        let (text, config) = match read_config(&self.config_path) {
            Ok(read) => read,
            Err(mistakes) => {
                news.extend(mistakes.into_iter().map(News::Error));
                return;
            }
        };
        let first = match self.first_gridmap(&config) {
            Ok(first) => first,
            Err(mistakes) => {
                news.extend(mistakes.into_iter().map(News::Error));
                return;
            }
        };
        if text != self.config_text {
            self.config_text = text;
            news.push(News::Config);
        }
        if config.policy.gridmap != self.gridmap_path {
            self.gridmap_path.clone_from(&config.policy.gridmap);
            // Not read yet: the gridmap's own look follows.
            self.gridmap_stamp = None;
        }
        if config.policy.gridmapdir != self.gridmapdir_path {
            self.gridmapdir_path.clone_from(&config.policy.gridmapdir);
            self.pools = None;
            self.renew_pools(news);
            self.rise("gridmapdir", news);
        }
        if let Some(FirstGridmap { gridmap, stamp, warnings }) = first {
            (self.rules.gridmap, self.gridmap_stamp) = (gridmap, stamp);
            self.renew_pools(news);
            news.extend(warnings.into_iter().map(News::Warning));
        }
        if config.levels != self.rules.levels || config.policy.uid_min != self.uid_min {
            self.rules.levels.clone_from(&config.levels);
            self.uid_min = config.policy.uid_min;
            self.rise("levels", news);
        }
    }

    /// The gridmap of levels that come to ask it: while there is none that can be read, they are not in
    /// force, since whoever is in it would be taken for somebody who is not.
    fn first_gridmap(&mut self, config: &Config) -> Result<Option<FirstGridmap>, Vec<String>> {
        self.wanted = None;
        if self.needs_gridmap() || !asks_gridmap(&config.levels) {
            return Ok(None);
        }
        let path = &config.policy.gridmap;
        let stamp = Stamp::of(path);
        match read_gridmap(path) {
            Ok((gridmap, warnings)) => Ok(Some(FirstGridmap { gridmap, stamp, warnings })),
            Err(mistakes) => {
                self.wanted = Some((path.clone(), stamp));
                Err(mistakes)
            }
        }
    }

    fn reread_gridmap(&mut self, news: &mut Vec<News>) {
        match read_gridmap(&self.gridmap_path) {
            Ok((gridmap, warnings)) => {
                self.rules.gridmap = gridmap;
                self.renew_pools(news);
                news.extend(warnings.into_iter().map(News::Warning));
                self.rise("gridmap", news);
            }
            Err(mistakes) => news.extend(mistakes.into_iter().map(News::Error)),
        }
    }

    fn renew_pools(&mut self, news: &mut Vec<News>) {
        news.extend(self.open_pools().map(News::Error));
    }

    /// Opens the gridmapdir if the gridmap has come to name pools; answers why it cannot be used.
    fn open_pools(&mut self) -> Option<String> {
        if !names_pools(&self.rules.gridmap) {
            self.pools = None;
            return None;
        }
        if self.pools.is_some() {
            return None;
        }
        let pools = self.pools.insert(Pools::open(&self.gridmapdir_path));
        pools.problem().map(str::to_owned)
    }

    fn rise(&mut self, because: &'static str, news: &mut Vec<News>) {
        self.generation += 1;
        news.push(News::Generation { generation: self.generation, because });
    }

    fn needs_gridmap(&self) -> bool {
        asks_gridmap(&self.rules.levels)
    }
}

fn asks_gridmap(levels: &[Level]) -> bool {
    levels.iter().any(Level::asks_gridmap)
}

/// Whether a line of a gridmap gives a pool.
#[must_use]
pub fn names_pools(gridmap: &Gridmap) -> bool {
    let is_pool = |assigned: &Assigned| matches!(assigned, Assigned::Pool(_));
    gridmap.entries().iter().any(|entry| entry.accounts.iter().any(is_pool))
}

fn account_stamps() -> [Option<Stamp>; 3] {
    ACCOUNT_FILES.map(|path| Stamp::of(Path::new(path)))
}

/// Reads the configuration.
///
/// # Errors
/// Every mistake, with file and line.
pub fn read_config(path: &Path) -> Result<(String, Config), Vec<String>> {
    let shown = path.display().to_string();
    let bytes =
        read_trusted(path, CONFIG_BYTES_MAX).map_err(|error| vec![format!("{shown}: {error}")])?;
    let text = String::from_utf8(bytes).map_err(|_| vec![format!("{shown}: it is not UTF-8")])?;
    let config = nesssi_config::parse(&text, &shown)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok((text, config))
}

/// Reads a gridmap; answers its warnings too.
///
/// # Errors
/// Every mistake, with file and line.
pub fn read_gridmap(path: &Path) -> Result<(Gridmap, Vec<String>), Vec<String>> {
    let shown = path.display().to_string();
    let bytes = read_trusted(path, GRIDMAP_BYTES_MAX)
        .map_err(|error| vec![format!("gridmap {shown}: {error}")])?;
    match Gridmap::parse_bytes(&bytes) {
        Ok((gridmap, warnings)) => {
            let warnings = warnings.iter().map(|w| format!("gridmap {shown}: {w}")).collect();
            Ok((gridmap, warnings))
        }
        Err(mistakes) => Err(mistakes
            .iter()
            .map(|m| format!("gridmap {shown}:{}:{}: {}", m.line, m.column, m.text))
            .collect()),
    }
}

#[cfg(test)]
mod tests;
