//! The command `nesssi` against a whole server, and its proxies against the grid's own tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nesssi_testkit::{World, skipped};

/// A World in which everybody may submit commands.
fn world() -> World {
    let levels = "submit_levels = [\"strong\", \"weak\", \"anonymous\"]";
    World::builder().key("job", levels).with_shipped_services().start()
}

fn nesssi(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new(world.program("nesssi"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", world.path());
    command.env("NESSSI_URL", &world.url).env("NESSSI_CA", world.grid.trust_directory());
    command.env("X509_USER_PROXY", world.path().join("x509up")).args(words);
    command
}

fn as_guest(world: &World, words: &[&str]) -> (i32, String, String) {
    told(&nesssi(world, &[&["--guest"], words].concat()).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_command_is_submitted_waited_for_and_its_files_fetched() {
    let world = world();
    let input = world.path().join("input");
    fs::write(&input, "seven\n").unwrap();
    let words = ["submit", "--put", input.to_str().unwrap(), "--", "/bin/cat", "input"];
    let (code, output, errors) = as_guest(&world, &words);
    assert_eq!(code, 0, "{errors}");
    let session = output.trim();
    let (code, status, errors) = as_guest(&world, &["wait", session, "--json"]);
    assert_eq!(code, 0, "{errors}");
    assert!(status.contains("\"state\": \"done\""), "{status}");
    assert_eq!(as_guest(&world, &["cat", session, "stdout"]).1, "seven\n");
    assert_eq!(as_guest(&world, &["tail", "-n", "4", session]).1, "ven\n");
    assert!(as_guest(&world, &["ls", session]).1.contains("  input\n"));
    let to = world.path().join("fetched");
    let (code, _, errors) = as_guest(&world, &["get", session, "-o", to.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(fs::read_to_string(to.join("stdout")).unwrap(), "seven\n");
    assert_eq!(as_guest(&world, &["extend", session, "60"]).0, 0);
    assert_eq!(as_guest(&world, &["destroy", session]).0, 0);
    assert_eq!(as_guest(&world, &["status", session]).0, 1);
}

#[test]
fn the_exit_code_is_the_jobs() {
    let world = world();
    let (code, status, errors) =
        as_guest(&world, &["submit", "--wait", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(code, 4, "{errors}");
    assert!(errors.contains("job failed") && errors.ends_with("exit code 7\n"), "{errors}");
    assert!(status.contains("exit_code: 7"), "{status}");
    let asleep = as_guest(&world, &["submit", "--", "/bin/sleep", "60"]).1;
    assert_eq!(as_guest(&world, &["wait", asleep.trim(), "--seconds", "0"]).0, 5);
    assert_eq!(as_guest(&world, &["cancel", asleep.trim()]).1, "cancelled\n");
    assert_eq!(as_guest(&world, &["wait", asleep.trim()]).0, 4);
    assert_eq!(as_guest(&world, &["submit", "--cpu-seconds", "1e6", "/bin/true"]).0, 1);
    assert_eq!(as_guest(&world, &["jobs"]).0, 1, "a guest has no list");
    let (code, help, errors) = as_guest(&world, &["help", "echo.echo"]);
    let said = "Answers its parameters as a list, to try a connection and to measure it.";
    assert_eq!((code, help, errors), (0, format!("echo.echo(...)\n    {said}\n"), String::new()));
    let help = as_guest(&world, &["help", "job.wait"]).1;
    assert!(help.starts_with("job.wait(session: string, seconds: double) -> struct\n"), "{help}");
    let help = as_guest(&world, &["help", "sleepy.sleepyAdd"]).1;
    assert!(
        help.starts_with("sleepy.sleepyAdd(seconds: double, n1: double, n2: double) -> "),
        "{help}"
    );
    assert_eq!(as_guest(&world, &["help", "no.such"]).0, 1);
    assert!(as_guest(&world, &["services"]).1.contains("ok"));
}

#[test]
fn a_tail_outlives_the_gatekeeper() {
    let world = world();
    let line = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.5; done";
    let session = as_guest(&world, &["submit", "--", "/bin/sh", "-c", line]).1;
    let mut follow = nesssi(&world, &["--guest", "tail", "-f", session.trim()]);
    let follow = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut restart = Command::new(world.program("nesssi"));
    restart.env_clear().args(["restart", "--config"]).arg(&world.config);
    let restarted = restart.output().unwrap();
    assert!(restarted.status.success(), "{restarted:?}");
    let (code, output, _) = told(&follow.wait_with_output().unwrap());
    assert_eq!((code, output.as_str()), (0, "1\n2\n3\n4\n5\n6\n"));
}

fn tool(path: &str, proxy: &Path, trust: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(path);
    command.env("X509_USER_PROXY", proxy).env("X509_CERT_DIR", trust).args(words);
    told(&command.output().unwrap())
}

#[test]
fn the_grids_own_tools_and_the_server_take_our_proxies() {
    for tool in ["/usr/bin/grid-proxy-info", "/usr/bin/openssl"] {
        if !Path::new(tool).exists() {
            return skipped(&format!("needs {tool}"));
        }
    }
    let world = world();
    let (proxy, trust) = (world.path().join("x509up"), world.grid.trust_directory());
    let (cert, key) = (&world.alice.certificate, &world.alice.key);
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let ca = fs::read_dir(&trust).unwrap().map(|entry| entry.unwrap().path());
    let ca = ca.into_iter().find(|path| fs::read_to_string(path).unwrap().contains("BEGIN CERT"));
    let ca = ca.unwrap();
    let whoami = || told(&nesssi(&world, &["whoami", "--json"]).output().unwrap());
    for (more, kind) in [(&["--bits", "p256"][..], "full"), (&["--limited"], "limited")] {
        let init = ["proxy", "init", "--hours", "3", "--cert", cert, "--key", key];
        let (code, _, errors) =
            told(&nesssi(&world, &[&init[..], more].concat()).output().unwrap());
        assert_eq!(code, 0, "{errors}");
        let (code, info, errors) = tool("/usr/bin/grid-proxy-info", &proxy, &trust, &[]);
        assert_eq!(code, 0, "{info}{errors}");
        assert!(info.contains(&format!("identity : {}", world.alice.dn)), "{info}");
        assert!(info.contains("RFC 3820 compliant"), "{info}");
        let words = ["verify", "-allow_proxy_certs", "-CAfile", ca.to_str().unwrap(), "-untrusted"];
        let path = proxy.to_str().unwrap();
        let verified =
            tool("/usr/bin/openssl", &proxy, &trust, &[&words[..], &[path, path]].concat());
        assert_eq!(verified.0, 0, "{verified:?}");
        let voms = Path::new("/usr/bin/voms-proxy-info");
        if voms.exists() {
            let told = tool(voms.to_str().unwrap(), &proxy, &trust, &["-identity"]);
            assert_eq!(told.1.trim(), world.alice.dn, "{told:?}");
        }
        let (code, who, errors) = whoami();
        assert_eq!(code, 0, "{errors}");
        assert!(who.contains(&format!("\"dn\": \"{}\"", world.alice.dn)), "{who}");
        assert!(who.contains(&format!("\"proxy\": \"{kind}\"")), "{who}");
    }
    assert_eq!(told(&nesssi(&world, &["proxy", "destroy"]).output().unwrap()).0, 0);
    assert!(!proxy.exists());
}
