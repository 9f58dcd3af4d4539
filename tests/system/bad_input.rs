//! Bad input and bad surroundings: a clear error at the right place, and the server goes on.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nesssi_testkit::{Value, World, is_root, skipped, wait_until};

fn nesssid(world: &World, words: &[&str]) -> (bool, String) {
    let output = Command::new(world.program("nesssid"))
        .args(words)
        .arg("--config")
        .arg(&world.config)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    (output.status.success(), both(&output))
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Posts raw bytes over TLS with OpenSSL's own client, a peer that we did not write.
fn post(world: &World, headers: &str, body: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect"])
        .arg(format!("127.0.0.1:{}", world.https.port()))
        .arg("-CAfile")
        .arg(world.grid.ca_file())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let head =
        format!("POST /clarens/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    input.write_all(head.as_bytes()).unwrap();
    // The server may answer and close before it has read all of an overlong body.
    drop(input.write_all(body));
    // Standard input stays open until the answer is there: at its end s_client would hang up.
    let output = child.wait_with_output().unwrap();
    drop(input);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn post_xml(world: &World, body: &[u8]) -> String {
    let headers = format!("Content-Type: text/xml\r\nContent-Length: {}\r\n", body.len());
    post(world, &headers, body)
}

#[test]
fn malformed_and_hostile_xml_is_answered_by_a_fault_and_the_server_goes_on() {
    let world = World::builder().start();
    let deep = {
        let mut text =
            "<methodCall><methodName>echo.echo</methodName><params><param><value>".to_owned();
        text.push_str(&"<array><data><value>".repeat(100_000));
        text
    };
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><methodCall><methodName>echo.echo</methodName></methodCall>";
    let cases: [(&str, &str); 7] = [
        ("<methodCall><methodName>echo.echo</methodName>", "-32700"),
        ("not xml at all", "-32"),
        (bomb, "-32"),
        (
            "<methodCall><methodName>echo.echo</methodName><params><param><value>&xx;</value></param></params></methodCall>",
            "-32700",
        ),
        ("<methodResponse></methodResponse>", "-32600"),
        (
            "<methodCall><methodName>echo.echo</methodName><params><param><value><int>12x</int></value></param></params></methodCall>",
            "-32",
        ),
        (&deep, "413"),
    ];
    for (body, code) in cases {
        let answer = post_xml(&world, body.as_bytes());
        let start: String = body.chars().take(60).collect();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("faultCode"),
            "{start}: {answer}"
        );
        assert!(answer.contains(&format!(">{code}")), "{start}: {answer}");
        assert!(!answer.contains(".rs:"), "{answer}");
    }
    assert!(world.call(None, "echo.echo", vec![]).is_ok());
}

#[test]
fn a_body_over_the_bound_is_refused_and_one_at_it_is_not() {
    let world = World::builder().key("bounds", "body_bytes_max = 2000").start();
    let frame = "<methodCall><methodName>echo.echo</methodName><params><param><value></value></param></params></methodCall>";
    for (size, refused) in [(1999, false), (2000, false), (2001, true)] {
        let padding = "x".repeat(size - frame.len());
        let body = frame.replace("<value></value>", &format!("<value>{padding}</value>"));
        assert_eq!(body.len(), size);
        let answer = post_xml(&world, body.as_bytes());
        assert_eq!(answer.contains("faultCode"), refused, "{size}: {answer}");
        if refused {
            assert!(answer.contains("413"), "{answer}");
        }
    }
    let answer = post(
        &world,
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n",
        b"a=b",
    );
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
}

#[test]
fn a_wrong_line_in_the_gridmap_is_reported_and_the_last_good_stays_in_force() {
    let mut world = World::builder().with_shipped_services().build();
    let code = "def level(req, method_name, args):\n    return req.level\nmethods_list = {'level': level}\n";
    world.service("who", code, None);
    world.start_server();
    let params = || vec![Value::Int(0), Value::Int(1), Value::Int(1)];
    let session = world.session(Some(&world.alice), "sleepy.sleepyAdd", params());
    let _ = world.ended(Some(&world.alice), &session);
    let gridmap = world.path().join("gridmap");
    let good = fs::read_to_string(&gridmap).unwrap();
    fs::write(&gridmap, format!("{good}\"/O=NESSSI Test/CN=Broken\n")).unwrap();
    wait_until("the mistake is logged with its line", 10, || {
        let log = world.server().log();
        log.lines().any(|line| line.contains("gridmap") && line.contains('3')).then_some(())
    });
    assert!(world.call(Some(&world.alice), "sleepy.sleepyAdd", params()).is_ok());
    // And a good one is taken up: Alice is not in it any more, and becomes weak.
    let level = || world.call(Some(&world.alice), "who.level", vec![]).unwrap();
    assert_eq!(level(), Value::from("strong"));
    fs::write(&gridmap, "").unwrap();
    wait_until("the new gridmap is in force", 10, || {
        (level() == Value::from("weak")).then_some(())
    });
    // What she started before can still be seen.
    assert_eq!(world.state(Some(&world.alice), &session), "done");
    assert_eq!(world.file(&session, "stdout").0, 200);
}

#[test]
fn check_prints_every_problem_and_binds_nothing() {
    let world = World::builder().build();
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(good, "a good configuration passes: {text}");
    let config = fs::read_to_string(&world.config).unwrap();
    let config = config
        .replace("drain_seconds_max", "")
        .replace("[bounds]", "[bounds]\nbody_bytes_maxx = 3\nxml_depth_max = \"deep\"\n");
    fs::write(&world.config, config).unwrap();
    fs::write(world.path().join("gridmap"), "\"unclosed\n").unwrap();
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(!good);
    for word in ["body_bytes_maxx", "xml_depth_max", "nesssi.toml:"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn check_tells_of_every_account_in_one_run() {
    if !is_root() {
        return skipped("needs root: without it one account is all there is");
    }
    let world = World::builder().key("server", "control_group = \"no-such-group\"").build();
    let config = fs::read_to_string(&world.config).unwrap();
    let config = config
        .replace(&format!("user = \"{}\"", world.accounts.gatekeeper), "user = \"no-such-gate\"")
        .replace(&format!("\"{}\"", world.accounts.weak), "\"no-such-weak\"")
        .replace(&format!("\"{}\"", world.accounts.services), "\"no-such-services\"");
    fs::write(&world.config, config).unwrap();
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(!good);
    for word in ["no-such-gate", "no-such-weak", "no-such-services", "no-such-group"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn check_looks_at_every_service_and_says_who_may_change_it() {
    let world = World::builder().with_shipped_services().build();
    world.service("wrong", "def f(:\n", None);
    world.service("odd", "methods_list = {'f': print}\n", Some("allow = 3\n"));
    world.service("closed", "methods_list = {'f': print}\n", None);
    fs::remove_file(world.path().join("services/closed/.clarens_access")).unwrap();
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(!good);
    for word in [
        "service wrong: ",
        "SyntaxError",
        "odd/.clarens_access:1",
        "service closed: no .clarens_access",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let line = text.lines().find(|line| line.contains("services/sleepy")).unwrap();
    assert!(line.contains("may be changed by uid"), "{line}");
}

#[test]
fn check_reports_a_wrong_gridmap_line_and_a_missing_python() {
    let world = World::builder().build();
    fs::write(world.path().join("gridmap"), "# fine\n\"unclosed\n").unwrap();
    let config = fs::read_to_string(&world.config).unwrap();
    fs::write(&world.config, config.replace("/usr/bin/python3", "/usr/bin/no-such-python"))
        .unwrap();
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(!good);
    assert!(text.contains("gridmap:2") && text.contains("no-such-python"), "{text}");
}

#[test]
fn check_knows_the_directives_and_services_of_batch_systems() {
    let world = World::builder()
        .with_shipped_services()
        .key("batch.x", "submit = \"/usr/bin/true\"\nstatus = \"/usr/bin/true\"")
        .key("batch.x", "cancel = \"/usr/bin/true\"\ndirectives = [\"que=a\", \"queue=b\"]")
        .key("batch.x.services", "sleepy = [\"cpus=2\"]\n\"apple.pie\" = []")
        .build();
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(!good);
    let config = fs::read_to_string(&world.config).unwrap();
    let line = |word: &str| 1 + config.lines().position(|line| line.contains(word)).unwrap();
    let expected = [
        format!(":{}: [batch.x]: \"que=a\": a directive is queue", line("que=a")),
        format!(":{}: there is no service `apple.pie`", line("apple.pie")),
    ];
    for word in &expected {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("queue=b") && !text.contains("`sleepy`"), "{text}");
}

#[test]
fn a_batch_system_s_commands_are_root_s_and_nobody_else_s() {
    let mut world = World::builder()
        .key(
            "batch.pbs",
            "submit = \"/usr/bin/true\"\nstatus = \"/no/such/qstat\"\ncancel = \"QDEL\"",
        )
        .build();
    let qdel = world.path().join("qdel");
    let config = fs::read_to_string(&world.config).unwrap();
    fs::write(&world.config, config.replace("QDEL", &qdel.display().to_string())).unwrap();
    fs::write(&qdel, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&qdel, fs::Permissions::from_mode(0o775)).unwrap();
    let told = [
        "[batch.pbs] status: /no/such/qstat: /no: No such file".to_owned(),
        format!("[batch.pbs] cancel: {}: its group or everybody may write it", qdel.display()),
    ];
    let (good, text) = nesssid(&world, &["--check"]);
    assert!(!good && !text.contains("submit"), "{text}");
    for word in &told {
        assert!(text.contains(word), "{word}: {text}");
    }
    // The server starts, and runs jobs on this machine, and none on that batch system.
    let job = "from nesssi import run_job\n\
               def on(req, method_name, args):\n\
               \x20   return run_job(req, method_name, [1], ['/bin/true'], batch=args[0])\n\
               methods_list = {'on': on}\n";
    world.service("s", job, None);
    world.start_server();
    let on = |batch: &str| world.call(Some(&world.alice), "s.on", vec![batch.into()]);
    assert!(on("local").is_ok());
    let fault = on("pbs").unwrap_err().to_string();
    assert!(fault.contains("503") && fault.contains("pbs") && !fault.contains('/'), "{fault}");
    let fault = on("lsf").unwrap_err().to_string();
    assert!(fault.contains("-32602") && fault.contains("\"local\", \"pbs\""), "{fault}");
    for word in &told {
        let line = format!("batch system pbs is unusable: {word}");
        assert!(world.server().log().contains(&line), "{line}: {}", world.server().log());
    }
}

#[test]
fn a_missing_python_breaks_services_and_not_the_server() {
    let mut world = World::builder().with_shipped_services().build();
    let config = fs::read_to_string(&world.config).unwrap();
    fs::write(&world.config, config.replace("/usr/bin/python3", "/usr/bin/no-such-python"))
        .unwrap();
    world.start_server();
    assert!(world.call(None, "echo.echo", vec![]).is_ok());
    let services = world.call(Some(&world.alice), "service.list", vec![]).unwrap();
    assert!(format!("{services:?}").contains("broken"), "{services:?}");
    wait_until("the log names the missing program", 10, || {
        world.server().log().contains("no-such-python").then_some(())
    });
}

#[test]
fn a_gridmap_that_maps_to_root_is_not_taken_up_at_all() {
    let world = World::builder().gridmap("\"/O=NESSSI Test/CN=Alice\" root\n").build();
    let (good, text) = nesssid(&world, &[]);
    assert!(!good && text.contains("gridmap:1:") && text.contains("root"), "{text}");
}

#[test]
fn a_port_in_use_is_named() {
    let world = World::builder().build();
    let _holder = TcpListener::bind(world.https).unwrap();
    let (good, text) = nesssid(&world, &[]);
    assert!(!good && text.contains(&world.https.to_string()), "{text}");
}

#[test]
fn a_second_server_on_the_same_state_is_refused() {
    let world = World::builder().start();
    let config = fs::read_to_string(&world.config).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other = config
        .replace(&world.https.port().to_string(), &free.to_string())
        .replace("run/control", "run/control2");
    let path = world.path().join("other.toml");
    fs::write(&path, other).unwrap();
    let output =
        Command::new(world.program("nesssid")).arg("--config").arg(&path).env_clear().output();
    let output = output.unwrap();
    assert!(!output.status.success(), "{}", both(&output));
    assert!(world.call(None, "echo.echo", vec![]).is_ok());
}

#[test]
fn a_full_disk_under_the_sandbox_root_is_told_and_nothing_is_left_behind() {
    if !is_root() {
        return skipped("needs root: it mounts a small tmpfs");
    }
    let mut world = World::builder().build();
    let code = "from nesssi import run_job\n\
        def fill(req, method_name, args):\n    return run_job(req, method_name, [20], ['/bin/sh', '-c', 'head -c 100000000 /dev/zero > big'])\n\
        def tiny(req, method_name, args):\n    return run_job(req, method_name, [20], ['/bin/echo', 'fine'])\n\
        methods_list = {'fill': fill, 'tiny': tiny}\n";
    world.service("t", code, None);
    let root = world.path().join("sandboxes");
    fs::create_dir_all(&root).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o"])
        .arg(format!("size=2m,mode=0711,uid={}", world.accounts.gatekeeper))
        .arg("tmpfs")
        .arg(&root)
        .status()
        .unwrap();
    assert!(mounted.success());
    let unmount = Unmount(root.clone());
    world.start_server();
    let full = world.session(None, "t.fill", vec![]);
    let status = world.ended(None, &full);
    assert_eq!(status["state"], Value::from("failed"), "{status:?}");
    // The disk is full now: a further job is refused or fails, in words, and the server lives.
    match world.call(None, "t.tiny", vec![]) {
        Ok(session) => {
            let _ = world.ended(None, session.as_str().unwrap());
        }
        Err(fault) => assert!([502, 503, -32603].contains(&fault.code.number()), "{fault}"),
    }
    assert!(world.call(None, "echo.echo", vec![]).is_ok());
    fs::remove_file(root.join(&world.accounts.anonymous).join(&full).join("big")).unwrap();
    let session = world.session(None, "t.tiny", vec![]);
    assert_eq!(world.ended(None, &session)["state"], Value::from("done"));
    world.stop_server();
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_name_service_that_sleeps_delays_nobody_else() {
    if !is_root() {
        return skipped("needs root: without it one account is all there is");
    }
    // A stand-in for a slow name service: look-ups of one name sleep for 30 seconds.
    let builder = World::builder().with_shipped_services();
    let source = std::env::temp_dir().join(format!("nesssi-slow-{}.c", std::process::id()));
    let library = source.with_extension("so");
    let code = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <pwd.h>\n#include <string.h>\n#include <unistd.h>\n\
        int getpwnam_r(const char *n, struct passwd *p, char *b, size_t s, struct passwd **r) {\n\
        static int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **);\n\
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, \"getpwnam_r\");\n\
        if (strcmp(n, \"nesssi-test-bob\") == 0) sleep(30);\n\
        return real(n, p, b, s, r); }\n";
    fs::write(&source, code).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(built.success());
    let world = builder.environment("LD_PRELOAD", &library.display().to_string()).start();
    let params = || vec![Value::Int(0), Value::Int(1), Value::Int(1)];
    std::thread::scope(|scope| {
        let world = &world;
        let slow = scope.spawn(move || world.call(Some(&world.bob), "sleepy.sleepyAdd", params()));
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        let session = world.session(Some(&world.alice), "sleepy.sleepyAdd", params());
        let _ = world.ended(Some(&world.alice), &session);
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert!(!slow.is_finished(), "the slow one is still waiting: else this shows nothing");
        let fault = slow.join().unwrap().unwrap_err();
        assert!([503, 403, -32603].contains(&fault.code.number()), "{fault}");
    });
    drop(fs::remove_file(source));
    drop(fs::remove_file(library));
}
