//! Clients that we did not write, each against a whole server: the table of `docs/protocol.md`.
//!
//! A client is a program of `tests/system/clients/` that calls with its own library over mutual TLS and
//! prints a line `result <TAB> words` for each thing it tried; `services/kinds` says what the words are.
//! The table says for each client which words must come; what is missing, other or more is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nesssi_testkit::{World, repository, skipped};

use table::{Client, Family};

mod jsonrpc;
mod soap;
mod table;
mod xmlrpc;

/// The folder of what the package managers of other languages installed; see `packages` in `./test`.
fn installed() -> PathBuf {
    match std::env::var_os("NESSSI_CLIENTS") {
        Some(named) => PathBuf::from(named),
        None => nesssi_testkit::binaries().join("../clients"),
    }
}

/// Whether everything named is there; without it the test is skipped, loudly, or fails where all tools are to be there.
fn have(paths: &[&Path]) -> bool {
    let Some(missing) = paths.iter().find(|path| !path.exists()) else { return true };
    let all = std::env::var_os("NESSSI_TOOLS").is_some_and(|word| word == "1");
    let missing = missing.display();
    assert!(!all, "{missing} is not installed, and NESSSI_TOOLS=1 says that all tools are");
    skipped(&format!("{missing} is not installed"));
    false
}

/// A running server with the services of these tests, and a relay before it that counts connections.
struct Site {
    world: World,
    relay: Relay,
    /// Where a client may write.
    scratch: PathBuf,
}

impl Site {
    fn start() -> Self {
        let mut world = World::builder().build();
        let code = |name: &str| {
            let file = repository().join("tests/system/services").join(name).join("__init__.py");
            fs::read_to_string(file).unwrap()
        };
        for name in ["kinds", "validator1"] {
            world.service(name, &code(name), None);
        }
        // One worker, so that what one call notes the next one finds.
        fs::write(world.path().join("services/kinds/service.toml"), "concurrency = 1\n").unwrap();
        world.start_server();
        let relay = Relay::start(world.https);
        let scratch = world.path().join("client");
        fs::create_dir(&scratch).unwrap();
        let both = [&world.alice.certificate, &world.alice.key].map(|f| fs::read(f).unwrap());
        fs::write(scratch.join("both.pem"), both.concat()).unwrap();
        fs::set_permissions(scratch.join("both.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        Self { world, relay, scratch }
    }

    /// A program of a client with what it needs to know in its environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(&self.scratch)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.scratch)
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("URL", &self.world.url)
            .env("RELAY", format!("https://localhost:{}/clarens/", self.relay.address.port()))
            .env("CA", self.world.grid.ca_file())
            .env("CERTIFICATE", &self.world.alice.certificate)
            .env("KEY", &self.world.alice.key)
            .env("BOTH", self.scratch.join("both.pem"))
            .env("INSTALLED", installed());
        command
    }

    /// Runs a client and holds what it printed against the table.
    fn check(&self, family: &Family, client: &Client, mut command: Command) {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{text}\n{errors}", client.name, output.status);
        let mut came = BTreeMap::new();
        for line in text.lines() {
            let (result, words) = line.split_once('\t').unwrap_or_else(|| panic!("{line:?}"));
            let before = came.insert(result.to_owned(), words.to_owned());
            assert_eq!(before, None, "{result} was printed twice");
        }
        if came.contains_key("keep-alive") {
            let connections = self.relay.connections.swap(0, Ordering::SeqCst).to_string();
            came.insert("keep-alive.connections".to_owned(), connections);
        }
        let meant = family.meant(client);
        let names = came.keys().chain(meant.keys().filter(|name| !came.contains_key(*name)));
        let wrong: Vec<String> = names
            .filter(|name| came.get(*name) != meant.get(*name))
            .map(|name| {
                format!("{name}\n  came  {:?}\n  meant {:?}", came.get(name), meant.get(name))
            })
            .collect();
        assert!(wrong.is_empty(), "{}:\n{}\n{errors}", client.name, wrong.join("\n"));
    }
}

/// Runs what must succeed; what it printed.
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [text, errors] = [&output.stdout, &output.stderr].map(|out| String::from_utf8_lossy(out));
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    text.into_owned()
}

/// A program of `tests/system/clients`.
fn source(name: &str) -> PathBuf {
    repository().join("tests/system/clients").join(name)
}

/// Passes bytes on to the server, both ways, and counts the connections that came.
struct Relay {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    /// Its threads end with the connections, and with the test's process.
    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pass_on(client, server));
                thread::spawn(move || pass_on(back.0, back.1));
            }
        });
        Self { address, connections }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    std::io::copy(&mut from, &mut to).ok();
    to.shutdown(std::net::Shutdown::Write).ok();
}
