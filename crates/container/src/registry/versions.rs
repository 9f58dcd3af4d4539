//! The versions of services: the code that each runs, kept so that it goes on when what lies in the folder does not.
//!
//! A version comes with what discovery found, and every worker of the service is given it. The newest good one of
//! each service is kept on the disk too, where no account that runs services' code can write, so that a server that
//! starts while a folder is broken has it. Nothing of it is served once the folder is gone: then it is removed.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use nesssi_config::Config;
use nesssi_service::{ServiceName, VERSION_BYTES_MAX, VersionFacts};
use rustix::fs::{SealFlags, fcntl_get_seals};
use sha2::{Digest as _, Sha256};

use super::{ScanFound, hex};

/// How a kept version's file ends.
const SUFFIX: &str = ".version";

/// Where versions are kept.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    folder: PathBuf,
}

/// A version that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) facts: VersionFacts,
    /// To be given to workers; none where the service has no modules.
    pub(super) modules: Option<Arc<File>>,
}

impl Versions {
    /// Those of the server with this configuration.
    pub(super) fn of(config: &Config) -> Self {
        Self { folder: config.server.state_directory.join("gatekeeper").join("services") }
    }

    /// Keeps what was found of a sound service in the place of the version before, and answers its modules as
    /// workers are to have them.
    pub(super) fn keep(&self, name: &ServiceName, found: &ScanFound) -> Option<Arc<File>> {
        let modules = found.modules.as_ref().filter(|file| is_sealed(file))?;
        match self.try_keep(name, found, modules) {
            Ok(file) => Some(Arc::new(file)),
            Err(why) => {
                tracing::warn!(service = %name, why, "its version is not kept over a restart of the server");
                Some(Arc::clone(modules))
            }
        }
    }

    fn try_keep(
        &self,
        name: &ServiceName,
        found: &ScanFound,
        modules: &File,
    ) -> Result<File, String> {
        let told = |error: io::Error| error.to_string();
        let bytes = read(modules).map_err(told)?;
        let facts = VersionFacts {
            name: name.to_string(),
            folder: found.folder.clone(),
            manifest: found.manifest.clone(),
            description: found.description.clone().unwrap_or_default(),
            digest: hex(&found.digest),
            modules: hex(&Sha256::digest(&bytes)),
        };
        let line = facts.to_line()?;
        fs::create_dir_all(&self.folder).map_err(told)?;
        let path = self.path(name.as_str());
        let beside = self.folder.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).map_err(told)?;
        file.write_all(&line).and_then(|()| file.write_all(&bytes)).map_err(told)?;
        fs::rename(&beside, &path).and_then(|()| File::open(&path)).map_err(told)
    }

    /// The version that was kept of a service, unless it is damaged or of another folder.
    pub(super) fn kept(&self, name: &ServiceName, folder: &str) -> Option<Kept> {
        let file = File::open(self.path(name.as_str())).ok()?;
        let read = read(&file).map_err(|error| error.to_string());
        let whole = read.and_then(|bytes| {
            let (facts, modules) = VersionFacts::read(&bytes)?;
            if facts.modules == hex(&Sha256::digest(modules)) {
                Ok(facts)
            } else {
                Err("it is damaged".to_owned())
            }
        });
        match whole {
            Ok(facts) if facts.name == name.as_str() && facts.folder == folder => {
                Some(Kept { facts, modules: Some(Arc::new(file)) })
            }
            Ok(_) => None,
            Err(why) => {
                tracing::warn!(service = %name, why, "the version that was kept is of no use");
                None
            }
        }
    }

    /// The service is gone.
    pub(super) fn forget(&self, name: &str) {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(service = name, %error, "the version that was kept cannot be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Forgets all services but these.
    pub(super) fn keep_only(&self, names: &HashSet<String>) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(SUFFIX));
            if let Some(name) = name.filter(|name| !names.contains(*name)) {
                self.forget(name);
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }
}

/// Whether nobody can change a file in memory any more: reading it waits for nobody either.
fn is_sealed(file: &File) -> bool {
    let wanted = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(wanted))
}

/// All of it, whatever was read of it before.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > VERSION_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
