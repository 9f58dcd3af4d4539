//! Where the lines of the access log go: a file, or the system's log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::{Civil, now_unix};

/// Facility local0, severity informational (RFC 3164, section 4.1.1).
const PRIORITY: &str = "<134>";
/// How long a batch waits for a system log that takes no more; what then is left of it is lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two words about lines that were lost.
const TELL_SECONDS: Duration = Duration::from_secs(60);

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// A file, opened anew when it was moved away.
    File { file: File, path: PathBuf },
    /// The system's log.
    Syslog(Syslog),
}

impl Sink {
    /// # Errors
    /// The system's, if the file cannot be opened.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        Ok(Self::File { file: open(&path)?, path })
    }

    /// The system's log at this socket; it may come and go.
    pub(super) fn syslog(path: PathBuf) -> Self {
        Self::Syslog(Syslog { path, socket: None, told: None, unsaid: 0 })
    }

    /// Writes whole lines; what cannot be written is lost, and told.
    pub(super) fn write(&mut self, lines: &[u8]) {
        match self {
            Self::File { file, path } => {
                if was_moved(file, path) {
                    match open(path) {
                        Ok(anew) => *file = anew,
                        Err(error) => tracing::warn!(%error, "access log: cannot open it anew"),
                    }
                }
                if let Err(error) = file.write_all(lines) {
                    tracing::warn!(%error, "access log: lines lost");
                }
            }
            Self::Syslog(syslog) => syslog.write(lines),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn was_moved(file: &File, path: &Path) -> bool {
    let (Ok(there), Ok(ours)) = (std::fs::metadata(path), file.metadata()) else {
        return true;
    };
    (there.dev(), there.ino()) != (ours.dev(), ours.ino())
}

/// The system's log: a datagram for each line, as the C library's `syslog` writes them to a socket of
/// the same machine, so without the host's name.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// When it was last told that lines were lost.
    told: Option<Instant>,
    /// Lines that were lost since.
    unsaid: u64,
}

impl Syslog {
    fn write(&mut self, lines: &[u8]) {
        let begin = format!(
            "{PRIORITY}{} nesssi[{}]: ",
            Civil::of(now_unix()).syslog(),
            std::process::id()
        );
        let mut datagram = begin.clone().into_bytes();
        let mut lines = lines.split_inclusive(|byte| *byte == b'\n');
        for line in lines.by_ref() {
            datagram.truncate(begin.len());
            datagram.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            if let Err(error) = self.send(&datagram) {
                let lost = 1 + u64::try_from(lines.count()).unwrap_or_default();
                return self.lost(lost, &error);
            }
        }
    }

    /// Sends one line, over a new connection if the old one is gone.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(datagram) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
        }
        self.socket = None;
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let sent = socket.send(datagram);
        self.socket = Some(socket);
        sent.map(|_| ())
    }

    fn lost(&mut self, lines: u64, error: &io::Error) {
        self.unsaid += lines;
        if self.told.is_some_and(|told| told.elapsed() < TELL_SECONDS) {
            return;
        }
        self.told = Some(Instant::now());
        let lines = std::mem::take(&mut self.unsaid);
        tracing::warn!(lines, %error, "access log: lines that the system's log did not take");
    }
}

#[cfg(test)]
mod tests;
