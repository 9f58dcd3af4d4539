//! `nesssi demo`: the whole of NESSSI on one machine, with a throwaway grid.
//!
//! It makes its ground (a folder; as root also accounts), a CA and credentials, starts the real
//! server, plays three callers with the commands that a visitor would type, and checks each answer.
//! What it made it removes; what a killed demo left it sweeps; what it did not make it does not touch.

mod accounts;
mod configuration;
mod grid;
mod ground;
mod server;
mod show;
pub(crate) mod tools;

use std::path::PathBuf;

use crate::cli::{Failure, say};

/// How the demo is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// End by itself, instead of leaving the server running until Ctrl-C
    #[arg(long)]
    once: bool,
    /// The folder that holds `python/` and `services/`
    #[arg(long, env = "NESSSI_SOURCE", default_value = ".")]
    source: PathBuf,
}

/// Runs the demo from an empty machine to the last check.
///
/// # Errors
/// The first thing that did not come out as it must.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let mut stop = server::Stop::listen()?;
    let ground = ground::Ground::prepare(&options.source)?;
    say(&ground.describe());
    let grid = grid::make(&ground)?;
    configuration::write(&ground, &grid)?;
    let mut running = server::start(&ground).await?;
    let shown = tokio::select! {
        shown = show::all(&ground, &grid) => shown,
        () = stop.asked() => Err("interrupted".into()),
    };
    if let Err(error) = shown {
        say(&format!("\nThe server's log:\n{}", running.log()));
        return Err(error);
    }
    say(&ground.showed());
    if !options.once {
        say(&ground.invitation());
        tokio::select! {
            () = stop.asked() => say("\nstopping"),
            status = running.ended() => return Err(format!("the server ended: {status}").into()),
        }
    }
    running.stop().await?;
    ground.remove()?;
    Ok(())
}
