//! `service new`, `list`, `check`, `logs` and `watch`.

pub(crate) mod check;
pub(crate) mod logs;
mod report;
pub(crate) mod watch;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::{Failure, say};

const CODE: &str = include_str!("service/template.py");
const ACCESS: &str = include_str!("service/template.clarens_access");

/// Where the server answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// Address of the server
    #[arg(long, env = "NESSSI_URL", default_value = "https://localhost:8443/clarens/")]
    url: String,
    /// CA certificates that the server's is to be held against
    #[arg(long, env = "NESSSI_CA")]
    ca: Option<PathBuf>,
    /// Certificate (else found as grid tools leave it)
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long)]
    key: Option<PathBuf>,
    /// Call without a certificate
    #[arg(long)]
    guest: bool,
}

/// Why no folder was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewError {
    #[error("a service's name is letters, digits and '_', and begins with no digit: {0:?} is not")]
    Name(String),
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Makes `<directory>/<name>` with code that runs and an access file that admits certificates.
///
/// # Errors
/// [`NewError`]; nothing that exists is written over.
pub(crate) fn new(directory: &Path, name: &str) -> Result<(), NewError> {
    let first_is_letter = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first_is_letter || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(NewError::Name(name.to_owned()));
    }
    let folder = directory.join(name);
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::Io { path, source }
    };
    fs::create_dir(&folder).map_err(fault(&folder))?;
    for (file, text) in
        [("__init__.py", CODE.replace("NAME", name)), (".clarens_access", ACCESS.to_owned())]
    {
        let path = folder.join(file);
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(fault(&path))?;
    }
    let shown = folder.display();
    say(&format!(
        "made {shown}\n\nNext:\n  1. look at {shown}/__init__.py\n  2. ask the administrator to link the folder into the services directory\n  3. nesssi service check {shown}\n  4. nesssi service restart {name} (or nesssi service watch {name})\n  5. nesssi call {name}.add 1 3 5"
    ));
    Ok(())
}

/// Prints a line a service: name, state, and its methods or the reason why it is broken.
///
/// # Errors
/// The client's.
pub(crate) fn list(server: &Server) -> Result<(), Failure> {
    let services = ask(server)?;
    let nesssi_client::Value::Array(services) = services else {
        return Err("the server's answer is no list of services".into());
    };
    for service in &services {
        if let nesssi_client::Value::Struct(members) = service {
            say(&line(members));
        }
    }
    Ok(())
}

fn line(members: &std::collections::BTreeMap<String, nesssi_client::Value>) -> String {
    let text = |name: &str| members.get(name).and_then(nesssi_client::Value::as_str).unwrap_or("");
    let methods: Vec<&str> = match members.get("methods") {
        Some(nesssi_client::Value::Array(items)) => {
            items.iter().filter_map(nesssi_client::Value::as_str).collect()
        }
        _ => Vec::new(),
    };
    let reason = text("reason");
    let tail = if reason.is_empty() { methods.join(" ") } else { reason.to_owned() };
    format!("{:<24} {:<8} {tail}", text("name"), text("state"))
}

/// Asks the server for its services.
#[tokio::main(flavor = "current_thread")]
async fn ask(server: &Server) -> Result<nesssi_client::Value, Failure> {
    let mut builder = nesssi_client::Client::builder(server.url.as_str()).guest(server.guest);
    if let Some(ca) = &server.ca {
        builder = builder.ca(ca);
    }
    if let Some(certificate) = &server.cert {
        builder = builder.certificate(certificate);
    }
    if let Some(key) = &server.key {
        builder = builder.key(key);
    }
    Ok(builder.build()?.call("service.list", Vec::new()).await?)
}
