//! A growing file, followed over lost connections and replaced servers.

use bytes::Bytes;
use nesssi_rpc::FaultCode;

use crate::error::{Error, TransportError};
use crate::files::{File, Got, Part};
use crate::session::{Outage, Session};

/// Attempts in a row that bring nothing: a file that was cut short never goes on.
const BREAKS_MAX: u32 = 12;

/// The end of a file, and what comes. Begun with [`Session::tail`].
#[derive(Debug)]
pub struct Tail {
    session: Session,
    path: String,
    /// The next byte.
    offset: u64,
    follow: bool,
    file: Option<File>,
    /// Whether the job was seen to have ended: what it wrote last is read after that.
    ended: bool,
    outage: Outage,
    breaks: u32,
}

impl Session {
    /// The file `path` of the sandbox: its last `bytes`, or all of it. With `follow` it goes on until
    /// the job has ended, and begins when the job does: a file that is not there yet is waited for.
    ///
    /// # Errors
    /// A fault 404 where there is no such file and none is waited for, otherwise as
    /// [`Client::call`](crate::Client::call).
    pub async fn tail(&self, path: &str, bytes: Option<u64>, follow: bool) -> Result<Tail, Error> {
        let tail = |offset, file| Tail {
            session: self.clone(),
            path: path.to_owned(),
            offset,
            follow,
            file,
            ended: false,
            outage: Outage::default(),
            breaks: 0,
        };
        let part = match bytes {
            None if follow => return Ok(tail(0, None)),
            None => Part::Whole,
            Some(count) => Part::Last(count),
        };
        match self.place().await?.open(path, &part).await {
            Ok(Got::File(file)) => Ok(tail(file.offset, Some(file).filter(|_| !follow))),
            Ok(Got::Beyond(size)) => Ok(tail(size, None)),
            Err(Error::Fault(fault)) if follow && fault.code == FaultCode::NotFound => {
                Ok(tail(0, None))
            }
            Err(error) => Err(error),
        }
    }
}

impl Tail {
    /// The next piece, or `None` at the end: of the file, or of the job if it is followed.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call), where it does not pass.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(file) = &mut self.file else {
                if !self.follow || !self.reopen().await? {
                    return Ok(None);
                }
                continue;
            };
            match file.chunk().await {
                Ok(Some(piece)) => {
                    self.offset += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                    (self.outage, self.breaks) = (Outage::default(), 0);
                    return Ok(Some(piece));
                }
                Ok(None) => {
                    self.file = None;
                    if !self.follow || self.ended {
                        return Ok(None);
                    }
                    self.pause_unless_ended().await?;
                }
                Err(error) if !self.follow => return Err(error),
                Err(error) => {
                    self.file = None;
                    self.broke(error).await?;
                }
            }
        }
    }

    /// Where in the file the next piece begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Opens the file where it was left; `false` if it is not there and will not be.
    async fn reopen(&mut self) -> Result<bool, Error> {
        let part = Part::Follow(self.offset);
        match self.session.open_part(&self.path, &part).await {
            Ok(file) => {
                self.file = Some(file);
                Ok(true)
            }
            Err(Error::Fault(fault)) if fault.code == FaultCode::NotFound => {
                if self.ended {
                    return Err(Error::Fault(fault));
                }
                self.pause_unless_ended().await.map(|()| true)
            }
            Err(error) => self.broke(error).await.map(|()| true),
        }
    }

    async fn broke(&mut self, error: Error) -> Result<(), Error> {
        // Silence is none: a job may say nothing for hours.
        if !matches!(error, Error::Transport(TransportError::Deadline { .. })) {
            self.breaks += 1;
        }
        if self.breaks > BREAKS_MAX {
            return Err(error);
        }
        self.outage.pause_or(error).await
    }

    /// A job that has ended is asked for the rest at once.
    async fn pause_unless_ended(&mut self) -> Result<(), Error> {
        loop {
            match self.session.status().await {
                Ok(status) => {
                    self.ended = status.state.has_ended();
                    if !self.ended {
                        self.outage.pause().await;
                    }
                    return Ok(());
                }
                Err(error) => self.outage.pause_or(error).await?,
            }
        }
    }
}
