//! `echo.echo`: answers what it was given.

use nesssi_rpc::Value;

use super::{Builtin, Run};

pub(crate) const METHODS: &[Builtin] = &[Builtin {
    name: "echo.echo",
    help: "Answers its parameters as a list, to try a connection and to measure it. Example: \
               echo.echo(\"hello\", 3) is [\"hello\", 3].",
    // Any number of any type: whoever reads parameters by a signature must not read them as strings.
    signatures: &[],
    parameters: &[],
    run: Run::Now(|_, params| Ok(Value::Array(params))),
}];
