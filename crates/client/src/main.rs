//! NAME
//!     nesssi - call a NESSSI server, and look after its jobs
//!
//! DESCRIPTION
//!     `call`, `help` and `services` are for any method; `submit`, `jobs`, `status`, `wait`, `tail`, `ls`,
//!     `cat`, `get`, `put`, `cancel`, `extend` and `destroy` look after sessions; `whoami` and `may` say what
//!     the caller is and may; `vo` keeps VO groups; `proxy` makes the caller's proxy certificates. `service`,
//!     `restart`, `health`, `demo`, `access`, `gridmap` and `explain` run the program `nesssi-admin` beside
//!     this one, with the same words. `completions` and `man` write what a packager installs.
//!
//! SECURITY
//!     The credential is found where grid tools leave it; a guest (`--guest`) shows none. A passphrase is
//!     asked for on the terminal and kept nowhere. A session id on the command line can be seen by others on
//!     the same machine while the command runs. What the server sends is shown on a terminal with its
//!     control characters escaped; names of its files that lead out of the directory are refused.
//!
//! DIAGNOSTICS
//!     Exit 0 done, 1 a fault (`fault 413: ...` on standard error), 2 wrong usage or set-up, 3 the server
//!     was not reached or did not answer, 4 the job that was waited for failed, 5 it had not ended in time.

#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run(std::env::args_os().collect())
}
