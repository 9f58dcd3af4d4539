//! NAME
//!     nesssi-admin - what developers and administrators do to a NESSSI
//!
//! DESCRIPTION
//!     `service new` makes a service's folder, `service list` shows what the server offers, `service
//!     restart` and `restart` go through the control socket, `explain` says what a call would get by the
//!     files of this site, `access` and `gridmap` check such files, `demo` shows the whole on one machine.
//!     `nesssi` runs this program for those words, so nobody needs to know its name.
//!
//! SECURITY
//!     It has no rights of its own. Whoever may open the control socket may restart; the monitor logs
//!     the uid that asked. `demo` as root makes accounts named `nesssi-demo-*` and removes them.
//!
//! DIAGNOSTICS
//!     Exit 0 done, 1 refused or failed, 2 wrong usage, 3 (`explain`) mistakes in the files.

mod access;
mod audit;
mod backup;
mod cli;
mod clock;
mod control;
mod demo;
mod explain;
mod files;
mod gridmap;
mod service;
mod site;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("nesssi-admin: {error}");
            ExitCode::FAILURE
        }
    }
}
