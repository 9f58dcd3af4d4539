//! Whole files in and out of a sandbox: downloads that can be resumed, uploads.

mod body;
mod part;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use nesssi_rpc::{FaultCode, Value};
use tokio::fs;

use crate::client::{AGENT, host_header, unreadable};
use crate::connection::Body;
use crate::error::{Error, SetupError, TransportError};
use crate::files::{Entry, Got, IDLE_SECONDS_MAX, Part};
use crate::session::{Outage, Session};
use body::{FileBody, Sent};
use part::PartFile;

/// Attempts in a row that bring nothing.
const BREAKS_MAX: u32 = 5;
/// Files and directories of one sandbox that are taken.
const ENTRIES_MAX: usize = 100_000;
/// Directories in one another.
const DEPTH_MAX: usize = 64;
/// How often an upload is begun at most.
const UPLOADS_MAX: u32 = 3;

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its path in the sandbox.
    pub path: String,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes in all, if that is known.
    pub of: Option<u64>,
}

/// Who wants to know how far a file is.
pub type OnProgress<'a> = &'a mut (dyn FnMut(&Progress) + Send);

/// What a download came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downloaded {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of it that were there from an earlier attempt.
    pub resumed_from: u64,
}

/// What a download of a whole directory came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Files that were fetched.
    pub files: u64,
    /// Files that were there already, of the same size and time.
    pub kept: u64,
    /// Bytes of those that were fetched.
    pub bytes: u64,
    /// What was not taken, and why: a name that could leave the directory, or hurts a terminal.
    pub refused: Vec<String>,
}

impl Session {
    /// Fetches the file `path` of the sandbox into the file `to`.
    ///
    /// It is written beside it as `to` with `.nesssi-part` behind, and renamed when it is whole. What
    /// an earlier attempt has left there is not fetched again if the file is still the same.
    ///
    /// # Errors
    /// A fault 404 where there is no such file, [`SetupError::File`] where `to` cannot be written,
    /// otherwise as [`Client::call`](crate::Client::call).
    pub async fn download(
        &self,
        path: &str,
        to: &Path,
        progress: OnProgress<'_>,
    ) -> Result<Downloaded, Error> {
        let wrong = |source| SetupError::File { path: to.to_owned(), source };
        let mut part = PartFile::open(to).await.map_err(wrong)?;
        let (mut outage, mut breaks) = (Outage::default(), 0);
        loop {
            let before = part.length();
            let fetched = self.fetch(path, &mut part, progress).await;
            match fetched {
                Ok(()) => {
                    let (bytes, resumed_from) = (part.length(), part.kept());
                    part.finish(to).await.map_err(wrong)?;
                    return Ok(Downloaded { bytes, resumed_from });
                }
                Err(error @ Error::Setup(_)) => return Err(error),
                Err(error) => {
                    breaks = if part.length() > before { 0 } else { breaks + 1 };
                    if breaks >= BREAKS_MAX {
                        return Err(error);
                    }
                    outage.pause_or(error).await?;
                }
            }
        }
    }

    /// One attempt.
    async fn fetch(
        &self,
        path: &str,
        part: &mut PartFile,
        progress: OnProgress<'_>,
    ) -> Result<(), Error> {
        let wrong = |source| SetupError::File { path: PathBuf::from(path), source };
        let wanted = match part.version() {
            Some(version) if part.length() > 0 => Part::Rest(part.length(), version.to_owned()),
            _ => Part::Whole,
        };
        let mut file = match self.place().await?.open(path, &wanted).await? {
            Got::File(file) => file,
            // The same version, and all of it is there.
            Got::Beyond(size) if size == part.length() => return Ok(()),
            Got::Beyond(_) => {
                part.begin(None).await.map_err(wrong)?;
                return Err(unreadable(self.client().address(), "a file that has changed").into());
            }
        };
        if file.offset != part.length() || file.offset == 0 {
            part.begin(file.version.clone()).await.map_err(wrong)?;
        }
        if file.offset != part.length() {
            return Err(unreadable(self.client().address(), "another part than was asked").into());
        }
        let of = file.length.map(|length| length.saturating_add(file.offset));
        let mut told = Progress { path: path.to_owned(), bytes: file.offset, of };
        progress(&told);
        while let Some(piece) = file.chunk().await? {
            part.write(&piece).await.map_err(wrong)?;
            told.bytes = part.length();
            progress(&told);
        }
        match of {
            Some(of) if of != part.length() => {
                Err(unreadable(self.client().address(), "a file of another length").into())
            }
            _ => Ok(()),
        }
    }

    /// Fetches the directory `path` of the sandbox with all that is in it into the directory `to`,
    /// which is made if it is not there. Files that are there already with the same size and time are
    /// left as they are.
    ///
    /// The names are somebody's job's: one that is no plain name is refused, and so is a link where a
    /// directory should be. At most 100,000 entries and 64 directories in one another are taken.
    ///
    /// # Errors
    /// As [`Self::download`].
    pub async fn download_all(
        &self,
        path: &str,
        to: &Path,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, Error> {
        let mut fetched = Fetched::default();
        let mut todo = vec![(path.trim_matches('/').to_owned(), to.to_owned(), 0_usize)];
        let mut seen = 0_usize;
        while let Some((path, to, depth)) = todo.pop() {
            make_directory(&to).await?;
            let listing = self.files(&path).await?;
            if listing.cut {
                fetched.refused.push(format!("{path}/: more entries than the server lists"));
            }
            for entry in listing.entries {
                seen += 1;
                let of_sandbox = join(&path, &entry.name);
                let refused = match plain_name(&entry.name) {
                    Err(why) => Some(why),
                    Ok(()) if seen > ENTRIES_MAX => Some("too many entries"),
                    Ok(()) if entry.directory && depth >= DEPTH_MAX => Some("too deep"),
                    Ok(()) => None,
                };
                let place = to.join(&entry.name);
                match refused {
                    Some(why) => fetched.refused.push(format!("{of_sandbox}: {why}")),
                    None if entry.directory => todo.push((of_sandbox, place, depth + 1)),
                    None => {
                        self.fetch_one(&of_sandbox, &entry, &place, &mut fetched, progress).await?
                    }
                }
                if seen > ENTRIES_MAX {
                    return Ok(fetched);
                }
            }
        }
        Ok(fetched)
    }

    async fn fetch_one(
        &self,
        path: &str,
        entry: &Entry,
        to: &Path,
        fetched: &mut Fetched,
        progress: OnProgress<'_>,
    ) -> Result<(), Error> {
        if is_same(to, entry).await {
            fetched.kept += 1;
            return Ok(());
        }
        match self.download(path, to, progress).await {
            Ok(done) => {
                fetched.files += 1;
                fetched.bytes += done.bytes;
                set_time(to, entry.modified);
                Ok(())
            }
            // It went away, or is not for us: the others are.
            Err(Error::Fault(fault)) if fault.code == FaultCode::NotFound => {
                fetched.refused.push(format!("{path}: {}", fault.text));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the file `from` into the sandbox as `path`. There is all of it or nothing; a file that is
    /// there is replaced. Answers its bytes.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); 404 for another's session, 413 beyond the level's
    /// bytes.
    pub async fn upload(
        &self,
        from: &Path,
        path: &str,
        progress: OnProgress<'_>,
    ) -> Result<u64, Error> {
        if path.trim_matches('/').is_empty() {
            return Err(SetupError::SandboxPath(path.to_owned()).into());
        }
        let client = self.client();
        let url = client.base().below(self.id(), true)?.below(path, false)?;
        let mut outage = Outage::default();
        let mut sent = 1;
        loop {
            match self.put(from, path, &url.path, progress).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) if sent >= UPLOADS_MAX || matches!(error, Error::Setup(_)) => {
                    return Err(error);
                }
                Err(error) => outage.pause_or(error).await?,
            }
            sent += 1;
        }
    }

    async fn put(
        &self,
        from: &Path,
        path: &str,
        target: &str,
        progress: OnProgress<'_>,
    ) -> Result<u64, Error> {
        let wrong = |source| SetupError::File { path: from.to_owned(), source };
        let client = self.client();
        let file = fs::File::open(from).await.map_err(wrong)?;
        let metadata = file.metadata().await.map_err(wrong)?;
        if !metadata.is_file() {
            return Err(wrong(io::Error::other("it is no plain file")).into());
        }
        let size = metadata.len();
        let sent = Arc::new(Sent::default());
        let body: Body = FileBody::new(file, size, Arc::clone(&sent)).boxed_unsync();
        let mut request = Request::new(body);
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = target.parse().map_err(|_| unreadable(client.address(), "path"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host_header(&client.address())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, size.into());
        client.put_account(headers);
        let exchange = Box::pin(async {
            let (response, sender) = client.pool().send(request).await?;
            let (head, body) = response.into_parts();
            let body = client.read_answer(body).await?;
            client.pool().keep(sender);
            if !crate::client::is_xml(&head.headers) {
                let (address, status) = (client.address(), head.status);
                return Err(Error::from(TransportError::Status { address, status }));
            }
            client.decode(&body)
        });
        match self.watched(exchange, &sent, size, path, progress).await? {
            Value::Int(bytes) => Ok(u64::try_from(bytes).unwrap_or(size)),
            _ => Ok(size),
        }
    }

    /// Waits for the answer to an upload for as long as it gets on.
    async fn watched(
        &self,
        mut exchange: std::pin::Pin<Box<impl Future<Output = Result<Value, Error>>>>,
        sent: &Sent,
        size: u64,
        path: &str,
        progress: OnProgress<'_>,
    ) -> Result<Value, Error> {
        let mut idle_ticks = 0_u64;
        let mut told = Progress { path: path.to_owned(), bytes: 0, of: Some(size) };
        let tick = Duration::from_millis(200);
        let ticks_max = (IDLE_SECONDS_MAX + self.client().call_seconds_max()) * 5;
        loop {
            let done = tokio::time::timeout(tick, &mut exchange).await;
            let now = sent.bytes();
            idle_ticks = if now > told.bytes { 0 } else { idle_ticks + 1 };
            told.bytes = now;
            progress(&told);
            if let Ok(answer) = done {
                return answer;
            }
            if idle_ticks > ticks_max {
                let (address, what) = (self.client().address(), "answer to the upload");
                let seconds = ticks_max / 5;
                return Err(TransportError::Deadline { address, what, seconds }.into());
            }
        }
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Whether a name of the server's is one plain name of a file, and harmless to read.
fn plain_name(name: &str) -> Result<(), &'static str> {
    const NAME_BYTES_MAX: usize = 255;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err("no name that a file can have");
    }
    if name.starts_with('.') {
        return Err("a name that begins with a dot");
    }
    if name.contains('/') || name.chars().any(char::is_control) {
        return Err("a name with a slash or a control character");
    }
    Ok(())
}

/// Makes a directory, or takes one that is there; a link to one is not taken.
async fn make_directory(path: &Path) -> Result<(), Error> {
    let wrong = |source| SetupError::File { path: path.to_owned(), source };
    match fs::create_dir(path).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path).await.map_err(wrong)?;
            if metadata.is_dir() {
                return Ok(());
            }
            Err(wrong(io::Error::other("it is there, and is no directory")).into())
        }
        made => Ok(made.map_err(wrong)?),
    }
}

async fn is_same(path: &Path, entry: &Entry) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path).await else { return false };
    let seconds = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_secs()).ok());
    metadata.is_file() && metadata.len() == entry.size && seconds == Some(entry.modified)
}

/// Gives a file the time that it has in the sandbox; without it, it is fetched again the next time.
fn set_time(path: &Path, unix_seconds: i64) {
    let Ok(seconds) = u64::try_from(unix_seconds) else { return };
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let file = std::fs::File::options().append(true).open(path);
    if let (Some(time), Ok(file)) = (time, file) {
        file.set_modified(time).unwrap_or_default();
    }
}
