//! The commands `qsub`, `qstat` and `qdel` of the stand-in for OpenPBS, and its server: by the name it is called by.

use std::process::ExitCode;

fn main() -> ExitCode {
    nesssi_testkit::standin::main()
}
