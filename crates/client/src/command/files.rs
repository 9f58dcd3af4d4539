//! `ls`, `cat`, `tail`, `get`, `put`: a session's files.

use std::path::{Path, PathBuf};

use nesssi_client::{Client, Error, FaultCode, Session, Value};

use super::Failure;
use super::jobs::name_of;
use super::show::Screen;
use super::terminal::Line;

/// Prints a file, or its end; with `follow` what comes, until the job has ended.
pub(super) async fn tail(
    session: &Session,
    path: &str,
    bytes: Option<u64>,
    follow: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let mut tail = Box::pin(session.tail(path, bytes, follow)).await?;
    let mut pour = screen.pour();
    while let Some(piece) = Box::pin(tail.chunk()).await? {
        pour.write(&piece)?;
    }
    pour.finish()?;
    Ok(())
}

/// Prints a file as it is.
pub(super) async fn cat(session: &Session, path: &str, screen: &Screen) -> Result<(), Failure> {
    let mut file = Box::pin(session.open(path)).await?;
    let mut pour = screen.pour();
    while let Some(piece) = Box::pin(file.chunk()).await? {
        pour.write(&piece)?;
    }
    pour.finish()?;
    Ok(())
}

/// Fetches a file, or a directory with all that is in it.
pub(super) async fn get(
    client: &Client,
    id: &str,
    path: &str,
    to: Option<PathBuf>,
    screen: &Screen,
) -> Result<(), Failure> {
    let session = client.session(id);
    let path = path.trim_matches('/');
    let mut line = Line::of_process(screen.is_json());
    if !path.is_empty() {
        let name = path.rsplit('/').next().unwrap_or(path);
        let file = match &to {
            Some(to) if to.is_dir() => to.join(name),
            Some(to) => to.clone(),
            None => PathBuf::from(name),
        };
        let mut progress = |progress: &_| line.progress(progress);
        match Box::pin(session.download(path, &file, &mut progress)).await {
            Ok(done) => {
                drop(line);
                let facts = Value::record([
                    ("file", text(&file)),
                    ("bytes", int(done.bytes)),
                    ("resumed_from", int(done.resumed_from)),
                ]);
                return Ok(screen.quietly(&facts)?);
            }
            // It may be a directory: the next question tells.
            Err(Error::Transport(_)) if session.files(path).await.is_ok() => {}
            Err(Error::Fault(fault))
                if fault.code == FaultCode::NotFound && session.files(path).await.is_ok() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let last = if path.is_empty() { id } else { path.rsplit('/').next().unwrap_or(path) };
    let folder = to.unwrap_or_else(|| PathBuf::from(last));
    let mut progress = |progress: &_| line.progress(progress);
    let done = Box::pin(session.download_all(path, &folder, &mut progress)).await?;
    drop(line);
    let refused = done.refused.iter().map(|one| Value::from(one.as_str())).collect();
    let facts = Value::record([
        ("directory", text(&folder)),
        ("files", int(done.files)),
        ("kept", int(done.kept)),
        ("bytes", int(done.bytes)),
        ("refused", Value::Array(refused)),
    ]);
    screen.quietly(&facts)?;
    if done.refused.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!("not taken:\n  {}", done.refused.join("\n  "))))
}

/// Sends a file into a sandbox: `SESSION`, `SESSION/PATH`, or `SESSION/DIRECTORY/`.
pub(super) async fn put(
    client: &Client,
    file: &Path,
    to: &str,
    screen: &Screen,
) -> Result<(), Failure> {
    let (id, path) = to.split_once('/').unwrap_or((to, ""));
    let path = if path.is_empty() || path.ends_with('/') {
        format!("{path}{}", name_of(file)?)
    } else {
        path.to_owned()
    };
    let bytes = put_one(&client.session(id), file, &path).await?;
    let facts = [("path", Value::from(path.as_str())), ("bytes", int(bytes))];
    Ok(screen.quietly(&Value::record(facts))?)
}

pub(super) async fn put_one(session: &Session, file: &Path, path: &str) -> Result<u64, Failure> {
    let mut line = Line::of_process(false);
    let mut progress = |progress: &_| line.progress(progress);
    Ok(Box::pin(session.upload(file, path, &mut progress)).await?)
}

fn text(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
