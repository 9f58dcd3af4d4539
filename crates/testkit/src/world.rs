//! The World itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::place::{copy_tree, stage_binaries};
use crate::{Accounts, Credential, Grid, Place, Server, is_root, repository, wait_until};

/// What a World shall be; every field has a sensible default.
#[derive(Debug, Default)]
pub struct WorldBuilder {
    keys: Vec<(String, String)>,
    levels: Vec<(String, String)>,
    trees: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    gridmap: Option<String>,
    ship_services: bool,
}

impl WorldBuilder {
    /// Adds a line to a section of nesssi.toml: `.key("bounds", "body_bytes_max = 1000")`. A batch system is a
    /// section of its own: `.key("batch.pbs", "submit = \"/opt/pbs/bin/qsub\"")`.
    #[must_use]
    pub fn key(mut self, section: &str, line: &str) -> Self {
        self.keys.push((section.to_owned(), line.to_owned()));
        self
    }

    /// Adds a line to a level: `.level("weak", "cpu_seconds = 2")`.
    #[must_use]
    pub fn level(mut self, level: &str, line: &str) -> Self {
        self.levels.push((level.to_owned(), line.to_owned()));
        self
    }

    /// A tree, an empty folder `trees/<name>` of this World: `.tree("data", "anonymous = true")`.
    #[must_use]
    pub fn tree(mut self, name: &str, keys: &str) -> Self {
        self.trees.push((name.to_owned(), keys.to_owned()));
        self
    }

    /// A batch system, `[batch.<name>]`, with such lines as [`Slurm::keys`](crate::Slurm::keys).
    #[must_use]
    pub fn batch(self, name: &str, keys: &[String]) -> Self {
        let section = format!("batch.{name}");
        keys.iter().fold(self, |builder, line| builder.key(&section, line))
    }

    /// A variable in the environment of the monitor.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The gridmap, in place of the usual one (which maps Alice and Bob).
    #[must_use]
    pub fn gridmap(mut self, text: &str) -> Self {
        self.gridmap = Some(text.to_owned());
        self
    }

    /// Puts the services that ship into the World.
    #[must_use]
    pub fn with_shipped_services(mut self) -> Self {
        self.ship_services = true;
        self
    }

    /// Lays the World out, without a server.
    #[must_use]
    pub fn build(self) -> World {
        World::lay_out(self)
    }

    /// Lays the World out and starts its server.
    #[must_use]
    pub fn start(self) -> World {
        let mut world = self.build();
        world.start_server();
        world
    }
}

/// A grid, accounts, a configuration and (once started) a server.
#[derive(Debug)]
pub struct World {
    /// The server, if it runs. Dropped before the place it lies in.
    pub server: Option<Server>,
    /// The CA.
    pub grid: Grid,
    /// In the gridmap.
    pub alice: Credential,
    /// In the gridmap, another account (as root).
    pub bob: Credential,
    /// Trusted, and not in the gridmap.
    pub wendy: Credential,
    /// The accounts.
    pub accounts: Accounts,
    /// `https://localhost:<port>/clarens/`.
    pub url: String,
    /// `127.0.0.1:<port>` of the TLS port.
    pub https: SocketAddr,
    /// `127.0.0.1:<port>` of the plain port.
    pub http: SocketAddr,
    /// nesssi.toml.
    pub config: PathBuf,
    place: Place,
    environment: Vec<(String, String)>,
}

impl World {
    /// A builder.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    fn lay_out(builder: WorldBuilder) -> Self {
        let place = Place::new();
        let accounts = Accounts::ensure();
        let grid = Grid::new(&place.folder("grid"), "CA");
        let (alice, bob, wendy) = (grid.person("Alice"), grid.person("Bob"), grid.person("Wendy"));
        let host = grid.host();
        let (https, http) = (free_port(), free_port());
        stage_binaries(&place.folder("bin"));
        copy_tree(&repository().join("python"), &place.folder("python"));
        let services = place.folder("services");
        if builder.ship_services {
            copy_tree(&repository().join("services"), &services);
        }
        let gridmap = builder.gridmap.clone().unwrap_or_else(|| {
            format!("\"{}\" {}\n\"{}\" {}\n", alice.dn, accounts.strong, bob.dn, accounts.other)
        });
        fs::write(place.path().join("gridmap"), gridmap).unwrap();
        let config = place.path().join("nesssi.toml");
        let mut text = config_text(&builder, &accounts, &host, https, http);
        for (name, keys) in &builder.trees {
            let folder = place.folder(&format!("trees/{name}"));
            text.push_str(&format!("\n[[tree]]\nname = {name:?}\npath = {folder:?}\n{keys}\n"));
        }
        fs::write(&config, text).unwrap();
        Self {
            server: None,
            grid,
            alice,
            bob,
            wendy,
            accounts,
            url: format!("https://localhost:{}/clarens/", https.port()),
            https,
            http,
            config,
            place,
            environment: builder.environment,
        }
    }

    /// The folder of this World.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// A staged program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.path().join("bin").join(name)
    }

    /// Writes a Python service: its code, and an access file (everyone, where none is given).
    pub fn service(&self, name: &str, code: &str, access: Option<&str>) {
        let folder = self.place.folder(&format!("services/{}", name.replace('.', "/")));
        fs::write(folder.join("__init__.py"), code).unwrap();
        let access = access.unwrap_or("allow = [\"/\"]\nanonymous = true\n");
        fs::write(folder.join(".clarens_access"), access).unwrap();
    }

    /// Writes a file of this World anew, at once: nobody ever sees half of it.
    pub fn replace(&self, name: &str, text: &str) {
        crate::grid::replace(&self.path().join(name), text.as_bytes());
    }

    /// Links a service's folder from elsewhere, as an administrator does for a developer.
    pub fn link_service(&self, name: &str, folder: &Path) {
        symlink(folder, self.path().join("services").join(name)).unwrap();
    }

    /// Starts the server and waits until it answers on both ports.
    ///
    /// # Panics
    /// If it ends or does not answer within 30 seconds; its log is printed.
    pub fn start_server(&mut self) {
        let log = self.path().join("nesssid.log");
        let mut server =
            Server::start(&self.program("nesssid"), &self.config, &log, &self.environment);
        wait_until("the server answers", 30, || {
            if let Some(status) = server.ended() {
                panic!("nesssid ended with {status}; its log:\n{}", server.log());
            }
            answers(self.http).then_some(())
        });
        self.server = Some(server);
    }

    /// The running server.
    pub fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("the server was started")
    }

    /// Stops the server with SIGTERM, if it runs.
    pub fn stop_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    /// One plain HTTP request of the sandbox port: the head and the body of the answer.
    #[must_use]
    pub fn http(&self, request_line: &str, headers: &[(&str, &str)]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head =
            format!("{request_line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let body = answer.split_off(at + 4);
        (String::from_utf8_lossy(&answer).into_owned(), body)
    }
}

impl Drop for World {
    /// Jobs outlive a server, so those that a test left are ended here.
    fn drop(&mut self) {
        drop(self.server.take());
        end_processes_in(self.place.path());
    }
}

/// Kills every process that works in a folder of this World.
fn end_processes_in(folder: &Path) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let works_in = fs::read_link(entry.path().join("cwd"));
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if works_in.is_ok_and(|place| place.starts_with(folder))
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

/// Whether something on `address` answers a request line.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) else {
        return false;
    };
    drop(stream.set_read_timeout(Some(Duration::from_secs(5))));
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut first = [0_u8; 8];
    asked.is_ok() && stream.read(&mut first).is_ok_and(|count| count > 0)
}

/// A loopback address whose port was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config_text(
    builder: &WorldBuilder,
    accounts: &Accounts,
    host: &Credential,
    https: SocketAddr,
    http: SocketAddr,
) -> String {
    let lines = |section: &str| -> String {
        let mine = builder.keys.iter().filter(|(name, _)| name == section);
        mine.map(|(_, line)| format!("{line}\n")).collect()
    };
    let level = |name: &str| -> String {
        let mine = builder.levels.iter().filter(|(of, _)| of == name);
        mine.map(|(_, line)| format!("{line}\n")).collect()
    };
    let (https_port, http_port) = (https.port(), http.port());
    let (certificate, key) = (host.certificate.display(), host.key.display());
    let mut text = format!(
        "[server]
listen_https = \"127.0.0.1:{https_port}\"
listen_http = \"127.0.0.1:{http_port}\"
base_url = \"https://localhost:{https_port}\"
sandbox_url = \"http://localhost:{http_port}\"
certificate = \"{certificate}\"
private_key = \"{key}\"
trust_directory = \"grid/certificates\"
user = \"{gatekeeper}\"
control_socket = \"run/control\"
state_directory = \"state\"
log_directory = \"log\"
{server}
[bounds]
{bounds}
[policy]
gridmap = \"gridmap\"
{shared}{policy}
[sandboxes]
root = \"sandboxes\"
{sandboxes}
[services]
directory = \"services\"
account = \"{services_account}\"
python = \"/usr/bin/python3\"
python_path = \"python\"
{services}
[batch.local]
{batch}
",
        gatekeeper = accounts.gatekeeper,
        server = lines("server"),
        bounds = lines("bounds"),
        shared = if is_root() { "" } else { "shared_account = true\n" },
        policy = lines("policy"),
        sandboxes = lines("sandboxes"),
        services_account = accounts.services,
        services = lines("services"),
        batch = lines("batch.local"),
    );
    // Sections that are not there unless a test asks for them.
    let batch = |section: &&str| *section == "batch" || section.starts_with("batch.");
    let named = builder.keys.iter().map(|(section, _)| section.as_str());
    let batch: BTreeSet<&str> =
        named.filter(batch).filter(|section| *section != "batch.local").collect();
    for section in ["front", "job", "shell"].into_iter().chain(batch) {
        let keys = lines(section);
        if !keys.is_empty() {
            text.push_str(&format!("[{section}]\n{keys}"));
        }
    }
    let levels = [
        ("strong", "gridmap", "", 216_000),
        ("weak", "certificate", accounts.weak.as_str(), 3600),
        ("anonymous", "anonymous", accounts.anonymous.as_str(), 900),
    ];
    for (name, from, account, cpu_seconds) in levels {
        text.push_str(&format!("\n[[level]]\nname = \"{name}\"\nfrom = \"{from}\"\n"));
        if !account.is_empty() {
            text.push_str(&format!("account = \"{account}\"\n"));
        }
        let own = level(name);
        if !own.lines().any(|line| line.starts_with("cpu_seconds")) {
            text.push_str(&format!("cpu_seconds = {cpu_seconds}\n"));
        }
        if !own.lines().any(|line| line.starts_with("calls_per_minute")) {
            // Tests ask again and again until something is so.
            text.push_str("calls_per_minute = 1000000\n");
        }
        text.push_str(&own);
    }
    text
}
