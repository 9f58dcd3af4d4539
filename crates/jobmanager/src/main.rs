//! The binary `nesssi-jobmanager`; the library beside it says what it does.

use std::process::ExitCode;

use nesssi_jobmanager::{Arguments, run};

fn main() -> ExitCode {
    let result = Arguments::parse(std::env::args_os().skip(1))
        .map_err(|error| error.to_string())
        .and_then(|arguments| run(arguments).map_err(|error| error.to_string()));
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(text) => {
            eprintln!("nesssi-jobmanager: {text}");
            ExitCode::FAILURE
        }
    }
}
