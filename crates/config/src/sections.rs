//! From the file to the configuration: one function a section.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use nesssi_policy::written::{Document, Lined, Table};
use nesssi_policy::{AccountName, Level, LevelName, SubjectDn};

use crate::meant::{
    AccessLogTo, Bounds, Config, JobKeys, Missing, Places, PolicyKeys, Sandboxes, Server, Services,
};
use crate::{Mistake, batch, front, keys, levels, shell, trees};

const PORT_HTTPS: u16 = 8443;
const PORT_HTTP: u16 = 8080;

pub(crate) fn read(text: &str, path: &str) -> Result<Config, Vec<Mistake>> {
    let document = Document::new(text);
    let base = Path::new(path).parent().unwrap_or(Path::new(""));
    let config = read_root(document.root(), path, base);
    let mistakes = document.mistakes();
    if mistakes.is_empty() {
        return Ok(config);
    }
    let located = |m: nesssi_policy::written::Mistake| Mistake {
        file: path.to_owned(),
        line: m.line,
        text: m.text,
    };
    Err(mistakes.into_iter().map(located).collect())
}

fn read_root(mut root: Table<'_>, path: &str, base: &Path) -> Config {
    let (server, public_line) = section(&mut root, "server", base, read_server);
    let bounds = section(&mut root, "bounds", base, read_bounds);
    let front = section(&mut root, "front", base, front::read);
    let policy = section(&mut root, "policy", base, read_policy);
    let levels = levels::read(&mut root, policy.shared_account);
    let sandboxes = section(&mut root, "sandboxes", base, read_sandboxes);
    let trees = trees::read(&mut root, &levels, &sandboxes.root);
    let (services, services_line) = section(&mut root, "services", base, read_services);
    let job = section(&mut root, "job", base, |section| JobKeys {
        submit_levels: read_level_names(section, "submit_levels", &levels),
    });
    let shell = section(&mut root, "shell", base, |section| shell::read(section, &levels));
    let (batch, written) =
        section(&mut root, "batch", base, |section| batch::read(section, &levels));
    root.finish(keys::advice);
    let places = Places { file: path.to_owned(), public_line, services_line, batch: written };
    Config {
        server,
        bounds,
        front,
        policy,
        levels,
        sandboxes,
        trees,
        services,
        job,
        shell,
        batch,
        places,
    }
}

/// One section being read; absent, it has no keys and gives all defaults.
pub(crate) struct Section<'d, 'b> {
    pub(crate) table: Option<Table<'d>>,
    pub(crate) base: &'b Path,
}

fn section<'d, T>(
    root: &mut Table<'d>,
    name: &str,
    base: &Path,
    read: impl FnOnce(&mut Section<'d, '_>) -> T,
) -> T {
    let mut section = Section { table: root.table(name), base };
    let meant = read(&mut section);
    if let Some(table) = section.table {
        table.finish(keys::advice);
    }
    meant
}

impl Section<'_, '_> {
    pub(crate) fn text(&mut self, key: &str) -> Option<Lined<String>> {
        let text = self.table.as_mut()?.text(key)?;
        if text.value.is_empty() || text.value.contains(char::is_control) {
            self.mistake(text.line, format!("`{key}` is empty or has control characters"));
            return None;
        }
        Some(text)
    }

    fn path(&mut self, key: &str, default: &str) -> PathBuf {
        self.path_if(key).unwrap_or_else(|| self.base.join(default))
    }

    fn path_if(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|text| self.base.join(text.value))
    }

    pub(crate) fn truth(&mut self, key: &str) -> Option<Lined<bool>> {
        self.table.as_mut()?.truth(key)
    }

    fn long(&mut self, key: &str, low: u64, high: u64, default: u64) -> u64 {
        let number = self.table.as_mut().and_then(|table| table.number(key, low..=high));
        number.map_or(default, |lined| lined.value)
    }

    pub(crate) fn short(&mut self, key: &str, low: u32, high: u32, default: u32) -> u32 {
        u32::try_from(self.long(key, low.into(), high.into(), default.into())).unwrap_or(default)
    }

    fn account(&mut self, key: &str) -> Option<Lined<String>> {
        let text = self.text(key)?;
        if let Err(error) = AccountName::parse(&text.value) {
            self.mistake(text.line, format!("`{key}` {:?}: {error}", text.value));
        }
        Some(text)
    }

    /// The line of the section's heading.
    pub(crate) fn line(&self) -> usize {
        self.table.as_ref().map_or(1, Table::line)
    }

    pub(crate) fn mistake(&self, line: usize, text: impl Into<String>) {
        if let Some(table) = &self.table {
            table.mistake(line, text);
        }
    }
}

/// The section, and the line of `public = true`.
fn read_server(section: &mut Section<'_, '_>) -> (Server, usize) {
    let public = section.truth("public");
    let is_public = public.as_ref().is_some_and(|lined| lined.value);
    let listen_https = read_address(section, "listen_https", PORT_HTTPS, is_public);
    let listen_http = read_address(section, "listen_http", PORT_HTTP, is_public);
    if listen_https == listen_http && listen_https.port() != 0 {
        section.mistake(section.line(), "`listen_https` and `listen_http` are one address");
    }
    let server = Server {
        listen_https,
        listen_http,
        public: is_public,
        base_url: read_url(section, "base_url", &["https"], listen_https),
        sandbox_url: read_url(section, "sandbox_url", &["http", "https"], listen_http),
        certificate: section.path("certificate", "hostcert.pem"),
        private_key: section.path("private_key", "hostkey.pem"),
        trust_directory: section.path("trust_directory", "/etc/grid-security/certificates"),
        missing_crl: read_missing(section, "missing_crl", Missing::Accept),
        missing_signing_policy: read_missing(section, "missing_signing_policy", Missing::Refuse),
        user: section.account("user").map_or_else(|| "nesssi".to_owned(), |user| user.value),
        control_socket: section.path("control_socket", "/run/nesssi/control"),
        control_group: section.account("control_group").map(|group| group.value),
        state_directory: section.path("state_directory", "/var/lib/nesssi/state"),
        log_directory: section.path("log_directory", "/var/log/nesssi"),
        access_log: read_access_log(section),
        libexec_directory: section.path_if("libexec_directory"),
        drain_seconds_max: section.short("drain_seconds_max", 1, 86_400, 30),
    };
    (server, public.map_or(section.line(), |lined| lined.line))
}

fn read_missing(section: &mut Section<'_, '_>, key: &str, default: Missing) -> Missing {
    let Some(text) = section.text(key) else { return default };
    match text.value.as_str() {
        "accept" => Missing::Accept,
        "refuse" => Missing::Refuse,
        other => {
            let wrong = format!("`{key}` is \"accept\" or \"refuse\", not {other:?}");
            section.mistake(text.line, wrong);
            default
        }
    }
}

fn read_access_log(section: &mut Section<'_, '_>) -> AccessLogTo {
    let socket = section.path("syslog_socket", "/dev/log");
    let Some(text) = section.text("access_log") else { return AccessLogTo::File };
    match text.value.as_str() {
        "file" => AccessLogTo::File,
        "syslog" => AccessLogTo::Syslog(socket),
        other => {
            let wrong = format!("`access_log` is \"file\" or \"syslog\", not {other:?}");
            section.mistake(text.line, wrong);
            AccessLogTo::File
        }
    }
}

fn read_address(section: &mut Section<'_, '_>, key: &str, port: u16, public: bool) -> SocketAddr {
    let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let Some(text) = section.text(key) else { return default };
    let Ok(address) = text.value.parse::<SocketAddr>() else {
        let example = "such as \"127.0.0.1:8443\" or \"[::1]:8443\"";
        section.mistake(text.line, format!("`{key}` is an address and a port, {example}"));
        return default;
    };
    if !address.ip().to_canonical().is_loopback() && !public {
        let ip = address.ip();
        let text_ = format!("`{key}`: {ip} is not loopback; if that is meant say `public = true`");
        section.mistake(text.line, text_);
    }
    address
}

/// Scheme, host and port, without a `/` at the end; by default those of `listen`.
fn read_url(
    section: &mut Section<'_, '_>,
    key: &str,
    schemes: &[&str],
    listen: SocketAddr,
) -> String {
    let default = || format!("{}://{listen}", schemes.first().unwrap_or(&"https"));
    let Some(text) = section.text(key) else { return default() };
    let url = text.value.trim_end_matches('/');
    match check_url(url, schemes) {
        Ok(()) => url.to_owned(),
        Err(wrong) => {
            section.mistake(text.line, format!("`{key}` {wrong}, not {:?}", text.value));
            default()
        }
    }
}

fn check_url(url: &str, schemes: &[&str]) -> Result<(), String> {
    let form = || format!("begins with {}://", schemes.join(":// or "));
    let (scheme, rest) = url.split_once("://").ok_or_else(form)?;
    if !schemes.contains(&scheme) {
        return Err(form());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() {
        return Err("names a host".to_owned());
    }
    if authority.contains('@') {
        return Err("holds no user or password".to_owned());
    }
    let fit = |c: char| c.is_ascii_alphanumeric() || "-._~:[]/%".contains(c);
    if !rest.chars().all(fit) {
        return Err("is a plain address without query, fragment and blanks".to_owned());
    }
    Ok(())
}

fn read_bounds(section: &mut Section<'_, '_>) -> Bounds {
    const HOUR_SECONDS: u32 = 3_600;
    Bounds {
        body_bytes_max: section.long("body_bytes_max", 1024, 1 << 40, 16 * 1024 * 1024),
        xml_depth_max: section.short("xml_depth_max", 8, 1024, 64),
        xml_elements_max: section.short("xml_elements_max", 16, 100_000_000, 200_000),
        calls_max: section.short("calls_max", 1, 100_000, 512),
        wait_seconds_max: section.short("wait_seconds_max", 1, HOUR_SECONDS, 300),
        waiters_max: section.short("waiters_max", 1, 1_000_000, 20_000),
        waiters_per_caller_max: section.short("waiters_per_caller_max", 1, 1_000_000, 256),
        connections_max: section.short("connections_max", 1, 1_000_000, 4_096),
        connections_per_address_max: section.short(
            "connections_per_address_max",
            1,
            1_000_000,
            256,
        ),
        handshake_seconds_max: section.short("handshake_seconds_max", 1, HOUR_SECONDS, 10),
        header_seconds_max: section.short("header_seconds_max", 1, HOUR_SECONDS, 10),
        body_seconds_max: section.short("body_seconds_max", 1, HOUR_SECONDS, 60),
        idle_seconds_max: section.short("idle_seconds_max", 1, 24 * HOUR_SECONDS, 75),
        answers_kept_seconds: section.short(
            "answers_kept_seconds",
            60,
            30 * 24 * HOUR_SECONDS,
            24 * HOUR_SECONDS,
        ),
    }
}

fn read_policy(section: &mut Section<'_, '_>) -> PolicyKeys {
    PolicyKeys {
        gridmap: section.path("gridmap", "/etc/grid-security/grid-mapfile"),
        gridmapdir: section.path("gridmapdir", "/etc/grid-security/gridmapdir"),
        uid_min: section.short("uid_min", 1, u32::MAX - 1, 1_000),
        shared_account: section.truth("shared_account").is_some_and(|lined| lined.value),
        vo_administrators: read_names(section, "vo_administrators"),
        access_administrators: read_names(section, "access_administrators"),
    }
}

/// A list of whole DNs, in either form.
fn read_names(section: &mut Section<'_, '_>, key: &str) -> Vec<SubjectDn> {
    let Some(list) = section.table.as_mut().and_then(|table| table.texts(key)) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for item in &list.value {
        match SubjectDn::parse_any(&item.value) {
            Ok(name) => names.push(name),
            Err(error) => section.mistake(item.line, format!("`{key}` {:?}: {error}", item.value)),
        }
    }
    names
}

/// A list of levels that there are.
pub(crate) fn read_level_names(
    section: &mut Section<'_, '_>,
    key: &str,
    levels: &[Level],
) -> Vec<LevelName> {
    let Some(list) = section.table.as_mut().and_then(|table| table.texts(key)) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for item in &list.value {
        match levels.iter().find(|level| level.name.as_str() == item.value) {
            Some(level) => names.push(level.name.clone()),
            None => {
                section.mistake(item.line, format!("`{key}`: there is no level {:?}", item.value));
            }
        }
    }
    names
}

fn read_sandboxes(section: &mut Section<'_, '_>) -> Sandboxes {
    Sandboxes {
        root: section.path("root", "/var/lib/nesssi/sandboxes"),
        shared: section.truth("shared").is_some_and(|lined| lined.value),
        umask: section.short("umask", 0, 0o777, 0o077),
    }
}

/// The section, and the line of `account`.
fn read_services(section: &mut Section<'_, '_>) -> (Services, usize) {
    let account = section.account("account");
    let line = account.as_ref().map_or(section.line(), |account| account.line);
    let services = Services {
        directory: section.path("directory", "/usr/share/nesssi/services"),
        account: account.map(|account| account.value),
        python: section.path("python", "/usr/bin/python3"),
        python_path: section.path("python_path", "/usr/share/nesssi/python"),
        describe_seconds_max: section.short("describe_seconds_max", 1, 3_600, 10),
        workers_max_per_service: section.short("workers_max_per_service", 1, 10_000, 16),
        worker_calls_max: section.long("worker_calls_max", 1, 1 << 62, 10_000),
        worker_idle_seconds_max: section.long("worker_idle_seconds_max", 1, 1 << 31, 300),
    };
    (services, line)
}
