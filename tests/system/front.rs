//! Behind a site's own proxy: real ones, with the very configurations of `docs/front`.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nesssi_testkit::{
    Credential, ProxyPolicy, World, WorldBuilder, is_root, repository, skipped, wait_until,
};

use crate::hostile;

const CALL: &str =
    "<?xml version='1.0'?><methodCall><methodName>asks.who</methodName><params/></methodCall>";

/// A program that stands before NESSSI, ended by its pid with the test.
struct Front {
    child: Child,
    address: SocketAddr,
}

impl Drop for Front {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        // Its workers end with it.
        drop(self.child.wait());
    }
}

/// Where a program is, if it is installed; without it the test is skipped, loudly, or fails where all tools are to be there.
fn program(path: &str) -> Option<PathBuf> {
    if Path::new(path).exists() {
        return Some(PathBuf::from(path));
    }
    let all = std::env::var_os("NESSSI_TOOLS").is_some_and(|word| word == "1");
    assert!(!all, "{path} is not installed, and NESSSI_TOOLS=1 says that all tools are");
    skipped(&format!("{path} is not installed"));
    None
}

/// A World behind a front whose certificate is `/O=NESSSI Test/CN=front`.
fn behind(keys: &[&str]) -> World {
    let keys =
        keys.iter().fold(World::builder(), |world: WorldBuilder, key| world.key("front", key));
    let mut world = keys.key("front", "peers = [\"127.0.0.1/32\"]").build();
    world.service("asks", hostile::ASKS, None);
    world.start_server();
    world
}

fn headers_of(form: &str) -> World {
    behind(&[
        &format!("certificate_header = \"{form}\""),
        "subjects = [\"/O=NESSSI Test/CN=front\"]",
        "address_header = \"X-Forwarded-For\"",
    ])
}

/// The configuration of `docs/front`, filled in, and the address that it listens on.
fn configure(world: &World, name: &str, certificate: &Credential) -> (PathBuf, SocketAddr) {
    let folder = world.path().join("front");
    fs::create_dir_all(&folder).unwrap();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = folder.join("front.pem");
    let pem = |path: &Path| fs::read_to_string(path).unwrap();
    fs::write(&both, pem(&certificate.certificate) + &pem(&certificate.key)).unwrap();
    let host = world.grid.host();
    let user = if is_root() { "root".to_owned() } else { world.accounts.strong.clone() };
    let mut text = pem(&repository().join("docs/front").join(name));
    for (word, value) in [
        ("folder", folder.display().to_string()),
        ("listen", listen.to_string()),
        ("nesssi", world.https.to_string()),
        ("nesssi_port", world.https.port().to_string()),
        ("user", if name == "httpd.conf" && is_root() { "www-data".to_owned() } else { user }),
        ("modules", "/usr/lib/apache2/modules".to_owned()),
        ("host_certificate", host.certificate.display().to_string()),
        ("host_key", host.key.display().to_string()),
        ("front_certificate", certificate.certificate.display().to_string()),
        ("front_key", certificate.key.display().to_string()),
        ("front_both", both.display().to_string()),
        ("ca", world.grid.ca_file().display().to_string()),
    ] {
        text = text.replace(&format!("@{word}@"), &value);
    }
    let unfilled =
        text.lines().find(|line| !line.starts_with('#') && line.matches('@').count() > 1);
    assert_eq!(unfilled, None);
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    (file, listen)
}

/// Starts a front and waits until it listens.
fn start(world: &World, mut command: Command, address: SocketAddr) -> Front {
    let log = world.path().join("front/output.log");
    let output = fs::File::options().create(true).append(true).open(&log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let mut front = Front { child, address };
    wait_until("the front listens", 20, || {
        if let Some(status) = front.child.try_wait().unwrap() {
            panic!("the front ended with {status}: {}", fs::read_to_string(&log).unwrap());
        }
        TcpStream::connect(address).ok()
    });
    front
}

fn nginx(world: &World, certificate: &Credential) -> Option<Front> {
    let program = program("/usr/sbin/nginx")?;
    let (file, address) = configure(world, "nginx.conf", certificate);
    let mut command = Command::new(program);
    command.arg("-c").arg(file).arg("-e").arg(world.path().join("front/nginx-error.log"));
    Some(start(world, command, address))
}

fn httpd(world: &World, certificate: &Credential) -> Option<Front> {
    let program = program("/usr/sbin/apache2")?;
    let (file, address) = configure(world, "httpd.conf", certificate);
    let mut command = Command::new(program);
    command.arg("-f").arg(file).arg("-DFOREGROUND");
    Some(start(world, command, address))
}

fn rfc9440(world: &World, certificate: &Credential) -> Front {
    let folder = world.path().join("front");
    fs::create_dir_all(folder).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = world.grid.host();
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg(repository().join("tests/system/front_rfc9440.py"))
        .arg(address.to_string())
        .arg(world.https.to_string())
        .args([&host.certificate, &host.key, &certificate.certificate, &certificate.key])
        .arg(world.grid.ca_file());
    start(world, command, address)
}

/// Calls `asks.who` at `address` with curl, as somebody and with further headers; the whole answer.
fn curl(
    world: &World,
    address: SocketAddr,
    who: Option<&Credential>,
    headers: &[String],
) -> String {
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "--max-time",
        "30",
        "-H",
        "Content-Type: text/xml",
        "--data-binary",
        CALL,
    ]);
    command.arg("--cacert").arg(world.grid.ca_file());
    if let Some(who) = who {
        command.arg("--cert").arg(&who.certificate).arg("--key").arg(&who.key);
    }
    for header in headers {
        command.arg("-H").arg(header);
    }
    let output =
        command.arg(format!("https://localhost:{}/clarens/", address.port())).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[track_caller]
fn says(answer: &str, text: &str) {
    assert!(answer.contains(text), "no {text:?} in: {answer}");
}

/// The certificate of `of` in every form and under every name that a forger could try.
fn forged(of: &Credential) -> Vec<String> {
    let pem = fs::read_to_string(&of.certificate).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let escaped =
        pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B").replace('/', "%2F");
    let blanks = pem.replace('\n', " ");
    ["X-SSL-Client-Cert", "X_SSL_CLIENT_CERT", "x-ssl_client-cert"]
        .iter()
        .flat_map(|name| [format!("{name}: {escaped}"), format!("{name}: {blanks}")])
        .chain([format!("Client-Cert: :{base64}:"), format!("client_cert: :{base64}:")])
        .collect()
}

/// What every front that ends TLS must do.
fn tells_its_callers_apart(world: &World, front: &Front) {
    let at = front.address;
    says(&curl(world, at, Some(&world.alice), &[]), &world.alice.dn);
    says(&curl(world, at, Some(&world.wendy), &[]), &world.wendy.dn);
    says(&curl(world, at, None, &[]), "nobody");
    for header in forged(&world.alice) {
        // Through the front, and past it.
        let one = std::slice::from_ref(&header);
        says(&curl(world, at, None, one), "nobody");
        says(&curl(world, at, Some(&world.wendy), one), &world.wendy.dn);
        says(&curl(world, world.https, None, one), "nobody");
        says(&curl(world, world.https, Some(&world.wendy), one), &world.wendy.dn);
    }
    let log = || fs::read_to_string(world.path().join("log/access.log")).unwrap();
    let seen = format!("127.0.0.1 - {} [", world.alice.dn.replace(' ', "%20"));
    wait_until("the access log shows who called", 10, || log().contains(&seen).then_some(()));
    assert!(!log().contains("CN=front"), "{}", log());

    world.grid.revoke(&[&world.wendy]);
    let refused = wait_until("the CRL is in force", 30, || {
        let answer = curl(world, at, Some(&world.wendy), &[]);
        answer.contains("revoked").then_some(answer)
    });
    says(&refused, ">403<");
    says(&curl(world, at, Some(&world.alice), &[]), &world.alice.dn);
}

#[test]
fn behind_nginx() {
    let world = headers_of("nginx");
    let certificate = world.grid.person("front");
    let Some(front) = nginx(&world, &certificate) else { return };
    tells_its_callers_apart(&world, &front);
    // Only the first certificate comes through: a proxy's chain is not there.
    let proxy = world.grid.proxy(&world.alice, ProxyPolicy::InheritAll);
    let answer = curl(&world, front.address, Some(&proxy), &[]);
    assert!(!answer.contains("<string>/O=NESSSI Test"), "{answer}");
}

#[test]
fn behind_apache_httpd() {
    let world = headers_of("apache");
    let certificate = world.grid.person("front");
    let Some(front) = httpd(&world, &certificate) else { return };
    tells_its_callers_apart(&world, &front);
}

/// What is hidden in a request comes through no front as a request of its own, and into nobody else's answer.
fn hides_nothing_behind(front: fn(&World, &Credential) -> Option<Front>, form: &str) {
    let mut world = headers_of(form);
    let certificate = world.grid.person("front");
    let Some(front) = front(&world, &certificate) else { return };
    let told = hostile::hides_nothing(&world, front.address);
    // A front may take the second for a request of the same caller that was sent ahead: then it answers both to him.
    // What it took for one request and we for two would be answered to somebody else.
    let answers =
        |fields: &[String]| fields[1].split(' ').filter(|status| *status != "100").count();
    let sent_ahead = told.iter().filter(|fields| answers(fields) > 1).count();
    for _ in 0..5 {
        says(&curl(&world, front.address, Some(&world.wendy), &[]), &world.wendy.dn);
    }
    drop(front);
    world.stop_server();
    assert!(hostile::carried_out(&world, "who") >= 5, "the audit tells of calls");
    let hidden = hostile::carried_out(&world, "hidden");
    assert!(hidden <= sent_ahead, "{hidden} of {sent_ahead}: {told:?}");
}

#[test]
fn a_request_hidden_in_another_comes_through_neither_nginx_nor_httpd() {
    hides_nothing_behind(nginx, "nginx");
    hides_nothing_behind(httpd, "apache");
}

#[test]
fn behind_a_front_of_rfc_9440() {
    let world = headers_of("rfc9440");
    let front = rfc9440(&world, &world.grid.person("front"));
    tells_its_callers_apart(&world, &front);
}

#[test]
fn a_front_with_another_certificate_is_none() {
    let world = headers_of("rfc9440");
    let other = rfc9440(&world, &world.bob);
    // What it says of Alice counts for nothing: it is Bob.
    says(&curl(&world, other.address, Some(&world.alice), &[]), &world.bob.dn);
    let certificate = world.grid.person("front");
    let front = rfc9440(&world, &certificate);
    says(&curl(&world, front.address, Some(&world.alice), &[]), &world.alice.dn);
    world.grid.revoke(&[&certificate]);
    wait_until("the front is revoked", 30, || {
        let answer = curl(&world, front.address, Some(&world.alice), &[]);
        (answer.contains(">403<") && answer.contains("revoked")).then_some(())
    });
}

#[test]
fn tls_passed_on_by_haproxy() {
    let world = behind(&["proxy_protocol = true"]);
    let Some(program) = program("/usr/sbin/haproxy") else { return };
    let (file, address) = configure(&world, "haproxy.cfg", &world.alice);
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    let front = start(&world, command, address);
    says(&curl(&world, front.address, Some(&world.alice), &[]), &world.alice.dn);
    says(&curl(&world, front.address, None, &forged(&world.alice)[..1]), "nobody");
    let proxy = world.grid.proxy(&world.alice, ProxyPolicy::InheritAll);
    let answer = curl(&world, front.address, Some(&proxy), &[]);
    says(&answer, &format!("<string>{}<", world.alice.dn));
    let direct = curl(&world, world.https, Some(&world.alice), &[]);
    assert!(!direct.contains("methodResponse"), "without a PROXY header: {direct}");
}
