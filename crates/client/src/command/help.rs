//! `help`, `services`, `completions`, `man`: what there is to call, on the server and here.

use std::io::{self, Write as _};
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_complete::Shell;
use nesssi_client::{Client, Error, FaultCode, Value};

use super::show::{Screen, plain};
use super::{Failure, Words};

/// A verb of `service`, which `nesssi-admin` does: its own `--help` has every word.
struct ServiceVerb {
    name: &'static str,
    about: &'static str,
    operand: Option<&'static str>,
    flags: &'static [Flag],
}

/// A flag: its short and its long form, what its value is called, and what it does.
type Flag = (Option<char>, &'static str, Option<&'static str>, &'static str);

const CONTROL: Flag = (None, "control", Some("FILE"), "The control socket");
const CONFIG: Flag =
    (None, "config", Some("FILE"), "The configuration that names the control socket");

/// All of them, held against that program by a test of the whole system.
const SERVICE: [ServiceVerb; 6] = [
    ServiceVerb {
        name: "new",
        about: "Make the folder of a new Python service",
        operand: Some("NAME"),
        flags: &[(None, "directory", Some("FOLDER"), "The folder to make it in")],
    },
    ServiceVerb {
        name: "check",
        about: "Import a service in a throwaway worker, and tell its methods, who may call them, and \
                every problem",
        operand: Some("NAME|FOLDER"),
        flags: &[
            (None, "as", Some("NAME"), "The name that the service in a folder is to have"),
            (None, "json", None, "Print one JSON object in place of text"),
            CONTROL,
            CONFIG,
        ],
    },
    ServiceVerb {
        name: "list",
        about: "What the server offers, and what is broken",
        operand: None,
        flags: &[
            (None, "url", Some("URL"), "Address of the server"),
            (None, "ca", Some("PATH"), "CA certificates that the server's is to be held against"),
            (None, "cert", Some("FILE"), "Certificate"),
            (None, "key", Some("FILE"), "Its key"),
            (None, "guest", None, "Call without a certificate"),
        ],
    },
    ServiceVerb {
        name: "logs",
        about: "Print the end of a service's log, and follow it",
        operand: Some("NAME"),
        flags: &[
            (Some('f'), "follow", None, "Go on as the log grows, until Ctrl-C"),
            (Some('n'), "lines", Some("LINES"), "How many lines of what is there"),
            CONTROL,
            CONFIG,
        ],
    },
    ServiceVerb {
        name: "restart",
        about: "Take up a service's changed code; running calls finish on the old",
        operand: Some("NAME"),
        flags: &[(None, "watch", None, "Then go on as service watch does"), CONTROL, CONFIG],
    },
    ServiceVerb {
        name: "watch",
        about: "Check and restart a service whenever its folder changes",
        operand: Some("NAME"),
        flags: &[CONTROL, CONFIG],
    },
];

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

/// The words of this program, with those of `service` that another program has.
fn whole() -> Command {
    let all = Words::command();
    let everywhere: Vec<String> = all
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    all.mut_subcommand("service", |service| {
        let service = service.mut_arg("words", |words| words.trailing_var_arg(false));
        SERVICE.iter().fold(service, |service, verb| service.subcommand(of(verb, &everywhere)))
    })
}

/// A verb's words; the flags that the whole program has are there without it.
fn of(verb: &ServiceVerb, everywhere: &[String]) -> Command {
    let mut command = Command::new(verb.name).about(verb.about);
    if let Some(operand) = verb.operand {
        command = command.arg(Arg::new("operand").value_name(operand).required(true));
    }
    for (short, long, value, help) in verb.flags {
        if everywhere.iter().any(|known| known == long) {
            continue;
        }
        let arg = Arg::new(*long).long(*long).help(*help);
        let arg = short.map_or(arg.clone(), |short| arg.short(short));
        command = command.arg(match value {
            Some(value) => arg.value_name(*value),
            None => arg.action(ArgAction::SetTrue),
        });
    }
    command
}

/// A shell's completions, on standard output.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole(), "nesssi", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

/// The man pages, as files of a directory.
pub(super) fn man(directory: &Path) -> Result<(), Failure> {
    // As a home is at first: without ~/.local/share/man/man1.
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(whole(), directory)?;
    Ok(())
}
