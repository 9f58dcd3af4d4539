//! # NAME
//!
//! `nesssi-jobmanager` - the process that is an account
//!
//! # DESCRIPTION
//!
//! `nesssi-jobmanager --account NAME --sandboxes DIRECTORY [--tree NAME=DIRECTORY]...
//! [--batch NAME,KEY=VALUE,...]...` is started by the monitor, one for each account in use, and does for the gatekeeper whatever is done to that account's files
//! and processes: it makes, reads, changes and removes sandboxes, reads the trees that it was told of, starts
//! jobs and service workers, runs the commands of the batch systems that it was told of, watches files that grow, and walks the tree of services. Descriptor 3 is the monitor's channel, descriptor 4
//! the account's directory of sandboxes, or with `--shared` the root of all, in which it opens its own. When the monitor's channel ends, it exits at once.
//!
//! It is one thread around `poll(2)`. What may take long runs in forked children: a shepherd for
//! each job, a helper for each removal, each walk and each file that is brought to the disk, a child for each
//! listing of a batch system.
//!
//! # SECURITY
//!
//! It has the account's rights and no others, is not dumpable, and hands no descriptor on that is
//! not named. What a channel may ask is fixed when the monitor hands it over: see [`permits`].
//!
//! # DIAGNOSTICS
//!
//! One line for each trouble on standard error. `--check` prints nothing and exits with 0 if the
//! system has what the jobmanager needs.

mod arguments;
mod batch;
mod clock;
mod commands;
mod find;
mod follow;
mod helpers;
mod jobs;
mod leaf;
mod log;
mod manager;
mod peers;
mod proctree;
mod records;
mod requests;
mod sandboxes;
mod scan;
mod shepherd;
mod sweep;
mod trees;
mod umask;
mod usage;
mod workers;
mod writes;

use std::io::Write as _;
use std::os::fd::AsFd as _;

use nesssi_session::AccountDir;

pub use arguments::{
    Arguments, ArgumentsError, BatchSystemArgument, Handed, Look, Mode, OwnDirectory,
};
pub use manager::StartError;
pub use requests::{permits, starts};

/// Does what the arguments say; answers the exit code.
///
/// # Errors
/// [`StartError`], what is missing.
pub fn run(arguments: Arguments) -> Result<i32, StartError> {
    match arguments.mode {
        Mode::Check(own) => manager::check(own.as_ref()).map(|()| 0),
        Mode::Look(look) => {
            let findings = scan::look_at(look)?;
            writeln!(std::io::stdout(), "{findings}").map_err(StartError::Output)?;
            Ok(0)
        }
        Mode::Serve { account, sandboxes, handed, trees, batch } => {
            let control = nesssi_privsep::sys::inherited(3).map_err(StartError::Descriptor)?;
            let directory = nesssi_privsep::sys::inherited(4).map_err(StartError::Descriptor)?;
            manager::harden()?;
            let channel = nesssi_privsep::Channel::from_fd(control);
            let directory = match handed {
                Handed::Own => AccountDir::from_fd(directory),
                Handed::Root => AccountDir::within(directory.as_fd(), &account)
                    .map_err(|source| StartError::own_directory(&sandboxes, source))?,
            };
            let trees = trees::Trees::new(trees);
            let batch = batch::Batch::new(batch);
            manager::Manager::new(account, sandboxes, trees, batch, channel, directory)?.serve();
            Ok(0)
        }
    }
}
