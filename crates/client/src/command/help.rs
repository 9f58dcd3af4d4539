//! `help`, `services`, `completions`, `man`: what there is to call, on the server and here.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use nesssi_client::{Client, Error, FaultCode, Value};

use super::show::{Screen, plain};
use super::{Failure, Words};

/// Without a word: the methods; with a method's or a service's name: what it is for.
pub(super) async fn on(
    client: &Client,
    what: Option<&str>,
    screen: &Screen,
) -> Result<(), Failure> {
    let Some(name) = what else {
        let methods = Box::pin(client.call("system.listMethods", vec![])).await?;
        return Ok(screen.items(&methods)?);
    };
    let asked = || vec![Value::from(name)];
    let help = Box::pin(client.call("service.help", asked())).await?;
    if !screen.is_json() {
        return Ok(screen.value(&Value::from(plain(&help).trim_end()))?);
    }
    let words = match Box::pin(client.call("system.methodHelp", asked())).await {
        Ok(words) => words,
        Err(Error::Fault(fault)) if fault.code == FaultCode::NoSuchMethod => {
            return Ok(screen.value(&help)?);
        }
        Err(error) => return Err(error.into()),
    };
    let signatures = Box::pin(client.call("system.methodSignature", asked())).await?;
    let method = Value::from(name);
    Ok(screen.value(&Value::record([
        ("method", method),
        ("help", words),
        ("signatures", signatures),
    ]))?)
}

/// The services, with their state and what they are for.
pub(super) async fn services(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = Box::pin(client.call("service.list", vec![])).await?;
    let text = |service: &Value, name: &str| service.member(name).map(plain).unwrap_or_default();
    let row = |service: &Value| {
        let said = ["reason", "purpose", "remark"].map(|name| text(service, name));
        let said = said.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        (text(service, "name"), format!("{:<9}  {said}", text(service, "state")))
    };
    let rows: Vec<_> = list.as_array().unwrap_or_default().iter().map(row).collect();
    Ok(screen.table(&rows, &list)?)
}

/// A shell's completions, on standard output.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Words::command(), "nesssi", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

/// The man pages, as files of a directory.
pub(super) fn man(directory: &Path) -> Result<(), Failure> {
    // As a home is at first: without ~/.local/share/man/man1.
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Words::command(), directory)?;
    Ok(())
}
