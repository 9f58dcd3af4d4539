//! NAME
//!     nesssi - call a NESSSI server, and look after its jobs
//!
//! DESCRIPTION
//!     `call` calls any method; `status`, `ls`, `cat` and `cancel` look after a session; `whoami` and
//!     `may` say what the caller is and may; `vo` keeps VO groups. `service`, `restart`, `health`, `demo`,
//!     `access`, `gridmap` and `explain` run the program `nesssi-admin` beside this one, with the same words.
//!
//! SECURITY
//!     The credential is found where grid tools leave it; a guest (`--guest`) shows none. A session id on
//!     the command line can be seen by others on the same machine while the command runs. What the server
//!     sends is shown on a terminal with its control characters escaped.
//!
//! DIAGNOSTICS
//!     Exit 0 done, 1 a fault (`fault 413: ...` on standard error), 2 wrong usage or set-up, 3 the server
//!     was not reached or did not answer.

#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run(std::env::args_os().collect())
}
