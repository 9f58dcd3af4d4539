//! Logins of the original's clients, and the audit of a whole server: walked as an administrator does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nesssi_testkit::{World, repository, wait_until};

const RUN: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n    return run_job(req, method_name, [5], ['/bin/true'])\n\
    methods_list = {'run': run}\n";

/// Logs in as the original's programs do, and calls on another connection without a certificate.
const LOG_IN: &str = r#"
import ClarensDpe, http.client, ssl, sys
url, cafile, certificate, key = sys.argv[1:]
def anonymous(method):
    alone = ClarensDpe.client(url, cafile=cafile, guest=1)
    alone._core.login = login
    try:
        return alone[method]()
    except ClarensDpe.Fault as fault:
        return fault.code
with ClarensDpe.client(url, certificate, key, cafile=cafile, do_login=1) as svr:
    login = svr._core.login
    assert len(login[1]) == 64, "a secret of our own"
    print(svr.system.whoami()["dn"])
    print(anonymous("system.whoami")["dn"])
    login = (login[0], "BROWSER")
    print(anonymous("system.whoami"), anonymous("system.auth2"), anonymous("system.auth"))
    login = svr._core.login
print(anonymous("system.whoami"))
print(login[0], login[1])
"#;

fn python(world: &World) -> Vec<String> {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", LOG_IN, &world.url])
        .args([&world.grid.ca_file(), &world.alice.certificate, &world.alice.key])
        .env("PYTHONPATH", repository().join("python"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_client_of_the_original_logs_in_and_its_secret_is_in_no_log() {
    let world = World::builder().start();
    let [with, alone, wrong, after, canary] = python(&world).try_into().unwrap();
    assert_eq!([&with, &alone], [&world.alice.dn; 2]);
    assert_eq!([wrong.as_str(), &after], ["401 401 403", "401"]);
    let mut world = world;
    world.stop_server();
    let mut todo = vec![world.path().join("log"), world.path().join("state")];
    let mut files = vec![world.path().join("nesssid.log")];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let list = if entry.path().is_dir() { &mut todo } else { &mut files };
            list.push(entry.path());
        }
    }
    for file in &files {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        for secret in canary.split(' ') {
            assert!(!text.contains(secret), "{} holds a login", file.display());
        }
    }
    assert!(files.len() > 3, "{files:?}");
}

/// Whether all is well, and what was said.
fn verify(world: &World) -> (bool, String) {
    let output = Command::new(world.program("nesssi"))
        .args(["audit", "verify", "--config"])
        .arg(&world.config)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn audit(world: &World) -> PathBuf {
    world.path().join("state/gatekeeper/audit.jsonl")
}

fn events(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let event =
        |line: &str| line.split("\"event\":\"").nth(1)?.split('"').next().map(str::to_owned);
    text.lines().filter_map(event).collect()
}

#[test]
fn the_audit_of_a_server_is_whole_over_rotation_and_every_change_is_found() {
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    let session = world.session(Some(&world.alice), "t.run", vec![]);
    let _ = world.ended(Some(&world.alice), &session);
    assert_eq!(world.file(&session, "stdout").0, 200);
    let due = ["authentication", "mapping", "call", "job_admitted", "job_ended", "file"];
    wait_until("all that was done is in the audit", 10, || {
        let found = events(&audit(&world));
        due.iter().all(|event| found.iter().any(|found| found == event)).then_some(())
    });
    let moved = audit(&world).with_extension("jsonl.1");
    fs::rename(audit(&world), &moved).unwrap();
    world.call(Some(&world.alice), "echo.echo", vec![]).unwrap();
    wait_until("the audit goes on in a new file", 10, || {
        audit(&world).exists().then(|| events(&audit(&world))).filter(|found| !found.is_empty())
    });
    // The monitor keeps both heads from the first second on.
    wait_until("all is well while it runs", 10, || verify(&world).0.then_some(()));
    world.stop_server();
    let (well, said) = verify(&world);
    assert!(well && said.matches("all vouched for").count() == 2, "{said}");

    let whole = fs::read_to_string(&moved).unwrap();
    let edited = whole.replacen("/CN=Alice", "/CN=Alicf", 1);
    let last = whole.trim_end().rfind('\n').unwrap() + 1;
    for (what, text) in [
        ("edited", edited.as_str()),
        ("a line is missing", &whole[..last]),
        ("only a line is left", &whole[..=whole.find('\n').unwrap()]),
    ] {
        fs::write(&moved, text).unwrap();
        let (well, said) = verify(&world);
        assert!(!well && said.contains("WRONG"), "{what}: {said}");
    }
    fs::write(&moved, &whole).unwrap();
    assert!(verify(&world).0);
    fs::remove_file(audit(&world)).unwrap();
    let (well, said) = verify(&world);
    assert!(!well && said.contains("the end is cut off"), "{said}");
}
