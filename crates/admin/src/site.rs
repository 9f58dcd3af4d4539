//! The files of a site that decide about callers, as the server would read them: configuration,
//! gridmap, VO groups, trust directory. They are read and never changed.

use std::fs;
use std::path::{Path, PathBuf};

use nesssi_config::Config;
use nesssi_identity::{Missing, Problem, TrustDirectory, TrustOptions};
use nesssi_policy::{AccessEdits, GRIDMAP_BYTES_MAX, Gridmap, Level, Rules, VoTree};

use crate::files;

/// Largest configuration, as the server takes it.
const CONFIG_BYTES_MAX: usize = 128 * 1024;
/// Most files in a trust directory, as the server takes it.
const TRUST_FILES_MAX: usize = 50_000;

/// Configuration and gridmap without a mistake, and the VO groups if they can be read.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config_path: PathBuf,
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    /// Or why they are not known.
    pub(crate) groups: Result<VoTree, String>,
    /// The access edits of administrators, or why they are not known.
    pub(crate) edits: Result<AccessEdits, String>,
}

impl Site {
    /// Reads all that a site's configuration names of it.
    ///
    /// # Errors
    /// Every mistake, with its file and line.
    pub(crate) fn read(config_path: &Path) -> Result<Self, Vec<String>> {
        let config = config(config_path)?;
        let asked = config.levels.iter().any(Level::asks_gridmap);
        let gridmap = if asked { gridmap(&config.policy.gridmap)? } else { Gridmap::default() };
        let rules = Rules { gridmap, levels: config.levels.clone() };
        let (groups, edits) = (groups(&config), edits(&config));
        Ok(Self { config_path: config_path.to_owned(), config, rules, groups, edits })
    }
}

/// Reads the configuration.
///
/// # Errors
/// Every mistake, with file and line.
pub(crate) fn config(path: &Path) -> Result<Config, Vec<String>> {
    let shown = path.display().to_string();
    let one = |error: String| vec![format!("{shown}: {error}")];
    let absolute = std::path::absolute(path).map_err(|error| one(error.to_string()))?;
    let bytes = files::read_trusted(&absolute, CONFIG_BYTES_MAX).map_err(one)?;
    let text = String::from_utf8(bytes).map_err(|_| one("it is not UTF-8".to_owned()))?;
    nesssi_config::parse(&text, &absolute.display().to_string())
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The journal of a site.
pub(crate) fn journal(config: &Config) -> PathBuf {
    config.server.state_directory.join("gatekeeper").join("journal.sqlite")
}

/// The VO groups, as the journal has them.
///
/// # Errors
/// Why they are not known.
pub(crate) fn groups(config: &Config) -> Result<VoTree, String> {
    let path = journal(config);
    let changes =
        nesssi_journal::read_vo(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut tree = VoTree::default();
    tree.set_roots(&config.policy.vo_administrators);
    for change in &changes {
        tree.apply(change).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(tree)
}

/// The access edits, as the journal has them.
///
/// # Errors
/// Why they are not known.
fn edits(config: &Config) -> Result<AccessEdits, String> {
    let path = journal(config);
    if path.try_exists().is_ok_and(|is_there| !is_there) {
        // No server has run here, so nobody can have made any.
        return Ok(AccessEdits::default());
    }
    let all = nesssi_journal::read_access(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut edits = AccessEdits::default();
    all.into_iter().for_each(|edit| edits.add(edit));
    Ok(edits)
}

/// The trust directory, with what in it is of no use.
///
/// # Errors
/// Why it cannot be read at all.
pub(crate) fn trust(
    config: &Config,
    now_unix: i64,
) -> Result<(TrustDirectory, Vec<Problem>), String> {
    let server = &config.server;
    let path = &server.trust_directory;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for (number, entry) in fs::read_dir(path).map_err(failed)?.enumerate() {
        if number == TRUST_FILES_MAX {
            return Err(format!("{}: more than {TRUST_FILES_MAX} files", path.display()));
        }
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if TrustDirectory::is_trust_file(&name) {
            // Without content it counts as broken, and is told as a problem.
            let content = files::read(&entry.path(), TrustDirectory::file_bytes_max(&name));
            files.push((name, content.unwrap_or_default()));
        }
    }
    let options = TrustOptions {
        missing_crl: missing(server.missing_crl),
        missing_signing_policy: missing(server.missing_signing_policy),
    };
    let (trust, mut problems) = TrustDirectory::from_files(files, options);
    problems.extend(trust.out_of_date(now_unix));
    Ok((trust, problems))
}

fn missing(meant: nesssi_config::Missing) -> Missing {
    match meant {
        nesssi_config::Missing::Accept => Missing::Accept,
        nesssi_config::Missing::Refuse => Missing::Refuse,
    }
}

fn gridmap(path: &Path) -> Result<Gridmap, Vec<String>> {
    let shown = path.display();
    let bytes = files::read_trusted(path, GRIDMAP_BYTES_MAX)
        .map_err(|error| vec![format!("gridmap {shown}: {error}")])?;
    let (gridmap, _) = Gridmap::parse_bytes(&bytes).map_err(|mistakes| {
        let told = |m: &nesssi_policy::GridmapError| {
            format!("gridmap {shown}:{}:{}: {}", m.line, m.column, m.text)
        };
        mistakes.iter().map(told).collect::<Vec<_>>()
    })?;
    Ok(gridmap)
}
