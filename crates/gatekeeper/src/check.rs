//! `nesssi-gatekeeper --check`: whether a gatekeeper could serve by a configuration, as the user it
//! is run as. Nothing is bound and nothing is changed.

use std::path::Path;

use nesssi_config::Config;
use rustix::fs::{Access, access};

use crate::clock::now_unix;
use crate::tls;

/// What was found, one line each.
#[derive(Debug, Default)]
pub struct Report {
    /// What would keep a gatekeeper from serving as is meant.
    pub problems: Vec<String>,
    /// What is worth knowing: a grid's trust directory is never without a CA that has expired.
    pub notes: Vec<String>,
}

/// What the configuration at `path` would give a gatekeeper.
#[must_use]
pub fn check(path: &Path) -> Report {
    let only = |problems| Report { problems, ..Report::default() };
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return only(vec![format!("{shown}: {error}")]),
    };
    match nesssi_config::parse(&text, &shown.to_string()) {
        Ok(config) => check_config(&config),
        Err(mistakes) => only(mistakes.iter().map(ToString::to_string).collect()),
    }
}

fn check_config(config: &Config) -> Report {
    let server = &config.server;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let trust = server.trust_directory.display();
    match tls::trust_directory(server, now_unix()) {
        Ok((directory, found)) => {
            notes.extend(found.iter().map(|problem| format!("{trust}: {problem}")));
            if directory.is_empty() {
                problems.push(format!("{trust}: no CA certificate in it: nobody is trusted"));
            }
        }
        Err(error) => problems.push(format!("{trust}: {error}")),
    }
    problems.extend(check_certificate(&server.certificate));
    // What is not there yet, the monitor makes, and gives to this user.
    let folders = [server.log_directory.clone(), server.state_directory.join("gatekeeper")];
    problems.extend(folders.iter().filter(|f| f.exists()).filter_map(|f| check_writable(f)));
    let directives = nesssi_container::check_directives(config);
    problems.extend(directives.iter().map(ToString::to_string));
    Report { problems, notes }
}

/// The certificate is the monitor's to open; if this user may read it, it is looked at.
fn check_certificate(path: &Path) -> Option<String> {
    let pem = std::fs::read(path).ok()?;
    tls::certificates(&pem).err().map(|error| format!("{}: {error}", path.display()))
}

fn check_writable(folder: &Path) -> Option<String> {
    let allowed = access(folder, Access::WRITE_OK | Access::EXEC_OK);
    allowed.err().map(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests;
