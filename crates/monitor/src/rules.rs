//! What callers are judged by, kept up to date: gridmap and levels, with a generation that rises
//! whenever they or the accounts of this machine change.
//!
//! Files are looked at once a second, and read again when inode, size or times differ. The last good
//! ones stay in force when new ones have an error. At the start there are no last good ones, so
//! an error then is one of the start: a gridmap that cannot be read would put mapped users into the community's account.

use std::path::{Path, PathBuf};

use nesssi_config::Config;
use nesssi_policy::{From, GRIDMAP_BYTES_MAX, Gridmap, Rules};

use crate::files::{Stamp, read_trusted};

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
    /// Accounts of this machine may have changed: what is known of them is to be looked up again.
    Accounts,
    /// Something odd that refuses nothing.
    Warning(String),
    /// A new file is not in force, and why.
    Error(String),
}

/// The rules in force.
#[derive(Debug)]
pub struct RulesKeeper {
    config_path: PathBuf,
    config_text: String,
    gridmap_path: PathBuf,
    rules: Rules,
    uid_min: u32,
    generation: u64,
    config_stamp: Option<Stamp>,
    gridmap_stamp: Option<Stamp>,
    account_stamps: [Option<Stamp>; 3],
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
            rules: Rules { gridmap: Gridmap::default(), levels: config.levels.clone() },
            uid_min: config.policy.uid_min,
            generation: 1,
            config_stamp,
            gridmap_stamp: Stamp::of(&config.policy.gridmap),
            account_stamps: account_stamps(),
        };
        let mut warnings = Vec::new();
        if keeper.needs_gridmap() {
            (keeper.rules.gridmap, warnings) = read_gridmap(&keeper.gridmap_path)?;
        }
        Ok((keeper, config, warnings))
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
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

    /// Looks at the files, and reads again what has changed.
    pub fn look(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let stamp = Stamp::of(&self.config_path);
        if stamp != self.config_stamp {
            self.config_stamp = stamp;
            self.reread_config(&mut news);
        }
        let stamp = Stamp::of(&self.gridmap_path);
        if stamp != self.gridmap_stamp && self.needs_gridmap() {
            self.gridmap_stamp = stamp;
            self.reread_gridmap(&mut news);
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
        self.config_text = text;
        if config.policy.gridmap != self.gridmap_path {
            self.gridmap_path.clone_from(&config.policy.gridmap);
            // Not read yet: the gridmap's own look follows.
            self.gridmap_stamp = None;
        }
        if config.levels != self.rules.levels || config.policy.uid_min != self.uid_min {
            self.rules.levels.clone_from(&config.levels);
            self.uid_min = config.policy.uid_min;
            self.rise("levels", news);
        }
    }

    fn reread_gridmap(&mut self, news: &mut Vec<News>) {
        match read_gridmap(&self.gridmap_path) {
            Ok((gridmap, warnings)) => {
                self.rules.gridmap = gridmap;
                news.extend(warnings.into_iter().map(News::Warning));
                self.rise("gridmap", news);
            }
            Err(mistakes) => news.extend(mistakes.into_iter().map(News::Error)),
        }
    }

    fn rise(&mut self, because: &'static str, news: &mut Vec<News>) {
        self.generation += 1;
        news.push(News::Generation { generation: self.generation, because });
    }

    fn needs_gridmap(&self) -> bool {
        self.rules.levels.iter().any(|level| level.from == From::Gridmap)
    }
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
