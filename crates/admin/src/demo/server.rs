//! The demo's server: started, waited for, stopped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{self, SignalKind};

use super::ground::Ground;
use super::tools;
use crate::cli::Failure;

const START_SECONDS_MAX: u64 = 30;
const STOP_SECONDS_MAX: u64 = 40;

/// Ctrl-C or SIGTERM, whichever comes.
#[derive(Debug)]
pub(super) struct Stop {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Stop {
    /// From now on neither of them ends this process by itself.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn listen() -> Result<Self, Failure> {
        let interrupt = unix::signal(SignalKind::interrupt())?;
        let terminate = unix::signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for one.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The running `nesssid`.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

/// Starts `nesssid` and waits until it answers on its plain port.
///
/// # Errors
/// If it ends or does not answer in time, with its log.
pub(super) async fn start(ground: &Ground) -> Result<Running, Failure> {
    let log = ground.folder.join("nesssid.log");
    let child = tools::command(ground.folder.join("bin/nesssid"))
        .arg("--config")
        .arg(ground.folder.join("nesssi.toml"))
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        // A group of its own: Ctrl-C reaches the demo, and the demo stops the server in order.
        .process_group(0)
        .spawn()?;
    fs::write(ground.folder.join("nesssid.pid"), child.id().to_string())?;
    let mut running = Running { child, log };
    let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while get(ground.http_port, "/").is_err() {
        if let Some(status) = running.child.try_wait()? {
            return Err(format!("nesssid ended with {status}:\n{}", running.log()).into());
        }
        if Instant::now() > end {
            return Err(format!("nesssid does not answer:\n{}", running.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(running)
}

impl Running {
    /// What it has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("{status}\n{}", self.log()),
                Ok(None) => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(error) => return error.to_string(),
            }
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// If it does not end within its own deadline and some; it is killed then.
    pub(super) async fn stop(mut self) -> Result<ExitStatus, Failure> {
        self.signal(Signal::TERM);
        let end = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("nesssid did not end within {STOP_SECONDS_MAX} s").into())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may be gone already, and then there is nothing to do.
            kill_process(pid, signal).ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            for _ in 0..100 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            self.signal(Signal::KILL);
        }
    }
}

/// Ends the server that a killed demo left, if the pid it noted is still that server.
///
/// # Errors
/// The system's.
pub(super) fn end_left_over(folder: &Path) -> Result<(), Failure> {
    let Ok(noted) = fs::read_to_string(folder.join("nesssid.pid")) else { return Ok(()) };
    let Some(pid) = noted.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    let link = format!("/proc/{}/exe", pid.as_raw_nonzero());
    let program = folder.join("bin/nesssid");
    for signal in [Signal::TERM, Signal::KILL] {
        for _ in 0..100 {
            if fs::read_link(&link).ok().as_deref() != Some(program.as_path()) {
                return Ok(());
            }
            kill_process(pid, signal).ok();
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Err(format!("the server of an earlier demo, pid {}, does not end", noted.trim()).into())
}

/// Head and body of a plain HTTP GET on loopback.
///
/// # Errors
/// If nothing answers.
pub(super) fn get(port: u16, path: &str) -> Result<(String, String), Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok((head.to_owned(), body.to_owned()))
}
