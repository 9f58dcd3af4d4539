//! Who is calling, and what becomes of it while the server runs: proxies, revocation, changed rules.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nesssi_testkit::{Credential, ProxyPolicy, Value, World, is_root, skipped, wait_until};

/// Answers whose account and DN it runs for; `go` starts a job that does nothing.
const WHO: &str = "from nesssi import run_job\n\
    def who(req, method_name, args):\n    return [req.account, req.clarens_dn, req.level]\n\
    def go(req, method_name, args):\n    return run_job(req, method_name, [1], ['/bin/true'])\n\
    methods_list = {'who': who, 'go': go}\n";

fn world() -> World {
    let mut world = World::builder().build();
    world.service("asks", WHO, None);
    world.start_server();
    world
}

/// Account, DN and level that a service sees.
fn who(world: &World, credential: Option<&Credential>) -> [String; 3] {
    match world.call(credential, "asks.who", vec![]) {
        Ok(Value::Array(items)) => [0, 1, 2].map(|index| items[index].as_str().unwrap().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn refused(world: &World, credential: &Credential, method: &str) -> String {
    let fault = world.call(Some(credential), method, vec![]).unwrap_err();
    assert_eq!(fault.code.number(), 403, "{fault}");
    fault.text
}

#[test]
fn a_proxy_stands_for_its_holder_and_a_limited_one_starts_nothing() {
    let world = world();
    let full = world.grid.proxy(&world.alice, ProxyPolicy::InheritAll);
    let nested = world.grid.proxy(&full, ProxyPolicy::InheritAll);
    let limited = world.grid.proxy(&world.alice, ProxyPolicy::Limited);
    let alone = world.grid.proxy(&world.alice, ProxyPolicy::Independent);
    let strong = [world.accounts.strong.clone(), world.alice.dn.clone(), "strong".to_owned()];
    assert_eq!(who(&world, Some(&world.alice)), strong);
    assert_eq!(who(&world, Some(&full)), strong);
    assert_eq!(who(&world, Some(&nested)), strong);

    let session = world.session(Some(&nested), "asks.go", vec![]);
    assert_eq!(world.ended(Some(&limited), &session)["state"], Value::from("done"));
    let text = refused(&world, &limited, "asks.go");
    assert!(text.contains("limited proxy"), "{text}");
    let cancel = world.call(Some(&limited), "job.cancel", vec![session.as_str().into()]);
    assert_eq!(cancel.unwrap_err().code.number(), 403);

    // Its rights are its own, and none unless a level names its kind.
    let text = refused(&world, &alone, "asks.who");
    assert!(text.contains("no level takes"), "{text}");

    // A full proxy of a limited one would give back what was taken.
    let more = world.grid.proxy(&limited, ProxyPolicy::InheritAll);
    let text = refused(&world, &more, "asks.who");
    assert!(text.contains("limited"), "{text}");
}

#[test]
fn an_independent_proxy_is_a_caller_of_its_own_where_a_level_takes_such() {
    let kinds = "proxies = [\"none\", \"full\", \"limited\", \"independent\"]";
    let mut world = World::builder().level("weak", kinds).build();
    world.service("asks", WHO, None);
    world.start_server();
    let alone = world.grid.proxy(&world.alice, ProxyPolicy::Independent);
    // Not Alice's account.
    let told = who(&world, Some(&alone));
    assert_eq!(told, [world.accounts.weak.clone(), alone.dn.clone(), "weak".to_owned()]);
    let limited = world.grid.proxy(&alone, ProxyPolicy::Limited);
    assert!(refused(&world, &limited, "asks.who").contains("limited and an independent"));
}

#[test]
fn whoever_is_revoked_is_refused_with_the_reason_soon_after_the_crl_is_there() {
    let world = world();
    assert_eq!(who(&world, Some(&world.wendy))[2], "weak");
    world.grid.revoke(&[&world.wendy]);
    let text = wait_until("the CRL is taken up", 20, || {
        world.call(Some(&world.wendy), "asks.who", vec![]).err().map(|fault| fault.text)
    });
    assert!(text.contains("revoked") && text.contains(&world.wendy.dn), "{text}");
    // A proxy is worth what its holder is.
    let proxy = world.grid.proxy(&world.wendy, ProxyPolicy::InheritAll);
    assert!(refused(&world, &proxy, "asks.who").contains("revoked"));
    assert_eq!(who(&world, Some(&world.alice))[2], "strong");
}

/// A connection that is open and idle, as somebody; ended with the test.
struct Idle(std::process::Child);

impl Idle {
    fn of(world: &World, who: &Credential) -> Self {
        let mut command = std::process::Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &world.https.to_string(), "-cert"]);
        command.arg(&who.certificate).arg("-key").arg(&who.key);
        let quiet = std::process::Stdio::null;
        command.stdin(std::process::Stdio::piped()).stdout(quiet()).stderr(quiet());
        Self(command.spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.kill().ok();
        drop(self.0.wait());
    }
}

#[test]
fn a_connection_ends_soon_after_its_credential_was_revoked_and_no_other_does() {
    let world = World::builder()
        .key("bounds", "header_seconds_max = 600")
        .key("bounds", "idle_seconds_max = 600")
        .start();
    let mut revoked = Idle::of(&world, &world.wendy);
    let mut other = Idle::of(&world, &world.alice);
    std::thread::sleep(Duration::from_secs(2));
    assert!(!revoked.has_ended() && !other.has_ended(), "both stay while nothing changes");
    world.grid.revoke(&[&world.wendy]);
    // Looked at every 5 seconds, and cut off 10 seconds later at the latest.
    wait_until("the connection ends", 20, || revoked.has_ended().then_some(()));
    assert!(!other.has_ended(), "who is not revoked stays connected");
}

#[test]
fn a_stale_grant_starts_nothing_a_second_after_the_gridmap_changed_under_load() {
    if !is_root() {
        return skipped("without root there is one account, and nothing to be mapped away from");
    }
    let world = world();
    let ended = AtomicBool::new(false);
    // When each call began, and the session that it made.
    let made: Mutex<Vec<(Instant, Option<String>)>> = Mutex::default();
    let changed = std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let answer = world.call(Some(&world.alice), "asks.go", vec![]);
                    let session = answer.ok().and_then(|id| id.as_str().map(str::to_owned));
                    made.lock().unwrap().push((began, session));
                }
            });
        }
        wait_until("jobs are started", 60, || (made.lock().unwrap().len() > 20).then_some(()));
        world.replace("gridmap", &format!("\"{}\" {}\n", world.bob.dn, world.accounts.other));
        let changed = Instant::now();
        std::thread::sleep(Duration::from_secs(4));
        ended.store(true, Ordering::SeqCst);
        changed
    });
    let strong = world.path().join("sandboxes").join(&world.accounts.strong);
    let is_strong = |session: &Option<String>| {
        session.as_ref().is_some_and(|session| strong.join(session).exists())
    };
    let made = made.into_inner().unwrap();
    let (before, after): (Vec<_>, Vec<_>) =
        made.iter().partition(|(began, _)| *began < changed + Duration::from_secs(1));
    assert!(before.iter().any(|(_, session)| is_strong(session)), "nothing ran as hers before");
    assert!(after.len() > 5, "only {} calls came after", after.len());
    let late = after.iter().filter(|(_, session)| is_strong(session)).count();
    assert_eq!(late, 0, "of {} calls begun a second after the change", after.len());
    // They were not lost: she is weak now.
    assert_eq!(who(&world, Some(&world.alice))[2], "weak");
}

#[test]
fn rules_and_certificate_are_taken_up_without_a_restart() {
    let world = world();
    assert_eq!(who(&world, Some(&world.alice))[2], "strong");
    // A broken gridmap changes nothing; a good one does, though the connection stays.
    world.replace("gridmap", "\"/O=NESSSI Test/CN=Alice nobody\n");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(who(&world, Some(&world.alice))[2], "strong");

    // The service's access list.
    world.replace("services/asks/.clarens_access", "allow = [\"/O=NESSSI Test/CN=Bob\"]\n");
    let text = wait_until("the access list is taken up", 30, || {
        world.call(Some(&world.alice), "asks.who", vec![]).err().map(|fault| fault.text)
    });
    assert!(text.contains("access list"), "{text}");
    assert_eq!(who(&world, Some(&world.bob))[2], "strong");
    // A mistake keeps the last good one; without a file the service answers nobody.
    world.replace("services/asks/.clarens_access", "allow = [\"/O=NESSSI Test/CN=\n");
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(who(&world, Some(&world.bob))[2], "strong");
    assert!(world.call(Some(&world.alice), "asks.who", vec![]).is_err());

    // A limit of a level.
    let config = std::fs::read_to_string(&world.config).unwrap();
    let less = config.replace("cpu_seconds = 216000", "cpu_seconds = 7");
    assert_ne!(less, config);
    world.replace("nesssi.toml", &less);
    let limit = || match world.call(Some(&world.alice), "system.whoami", vec![]).unwrap() {
        Value::Struct(members) => match &members["limits"] {
            Value::Struct(limits) => limits["cpu_seconds"].clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    wait_until("the level is taken up", 10, || (limit() == Value::Int(7)).then_some(()));

    // The server's own certificate.
    let before = served_certificate(&world);
    let host = world.grid.host();
    wait_until("the certificate is taken up", 30, || {
        (served_certificate(&world) != before).then_some(())
    });
    assert!(host.certificate.exists());
    assert_eq!(who(&world, Some(&world.bob))[2], "strong");
}

/// The certificate that the server shows, as `openssl s_client` prints it.
fn served_certificate(world: &World) -> String {
    let out = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &world.https.to_string(), "-servername", "localhost"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let start = text.find("-----BEGIN CERTIFICATE-----").expect("a certificate is shown");
    let end = text.find("-----END CERTIFICATE-----").unwrap();
    text[start..end].to_owned()
}

#[test]
fn what_a_day_allows_is_held_and_the_caller_is_told_what_is_left() {
    let mut world = World::builder().level("weak", "cpu_seconds_per_day = 5").build();
    world.service(
        "asks",
        "from nesssi import run_job\n\
         def go(req, method_name, args):\n    return run_job(req, method_name, [args[0]], ['/bin/sleep', '600'])\n\
         methods_list = {'go': go}\n",
        None,
    );
    world.start_server();
    let go = |seconds: i64| world.call(Some(&world.wendy), "asks.go", vec![Value::Int(seconds)]);
    // Three of five seconds are spoken for while the job runs.
    let session = go(3).unwrap();
    let fault = go(3).unwrap_err();
    assert_eq!(fault.code.number(), 413, "{fault}");
    for word in ["3", "5", "left", "T00:00:00Z"] {
        assert!(fault.text.contains(word), "{word} is not in: {fault}");
    }
    assert!(go(1).is_ok(), "what is left is given");
    let Value::Struct(told) = world.call(Some(&world.wendy), "system.whoami", vec![]).unwrap()
    else {
        panic!("system.whoami answers a struct");
    };
    assert_eq!(told["dn"], Value::from(world.wendy.dn.as_str()));
    assert_eq!(told["level"], Value::from("weak"));
    assert_eq!(told["account"], Value::from(world.accounts.weak.as_str()));
    // Another caller of the level has a day of his own, and who is strong has no such limit.
    let other = world.grid.person("Walter");
    assert!(world.call(Some(&other), "asks.go", vec![Value::Int(4)]).is_ok());
    assert!(world.call(Some(&world.alice), "asks.go", vec![Value::Int(600)]).is_ok());
    // A job that ended early gives back what it did not use.
    world.call(Some(&world.wendy), "job.cancel", vec![session]).unwrap();
    wait_until("what was not used is given back", 20, || go(3).is_ok().then_some(()));
}

#[test]
fn groups_admit_and_a_service_lowers() {
    let root = "vo_administrators = [\"/O=NESSSI Test/CN=Alice\"]";
    let mut world = World::builder().key("policy", root).build();
    let access = "allow_groups = [\"survey.readers\"]\nallow = [\"/O=NESSSI Test/CN=Alice\"]\n\
                  [[lower]]\nsubjects = [\"/O=NESSSI Test/CN=A*\"]\nlevel = \"weak\"\n";
    world.service("asks", WHO, Some(access));
    world.start_server();
    let vo = |who: &Credential, method: &str, words: &[&str]| {
        world.call(Some(who), method, words.iter().map(|word| Value::from(*word)).collect())
    };
    assert_eq!(refused_code(vo(&world.wendy, "vo.create", &["survey"])), 403);
    vo(&world.alice, "vo.create", &["survey"]).unwrap();
    vo(&world.alice, "vo.create", &["survey.readers"]).unwrap();
    vo(&world.alice, "vo.addAdministrator", &["survey", &world.bob.dn]).unwrap();
    assert_eq!(refused_code(world.call(Some(&world.wendy), "asks.who", vec![])), 403);
    // Bob administers what is below `survey`, and nothing beside.
    vo(&world.bob, "vo.addMember", &["survey.readers", &world.wendy.dn]).unwrap();
    assert_eq!(refused_code(vo(&world.bob, "vo.create", &["other"])), 403);
    assert_eq!(who(&world, Some(&world.wendy))[2], "weak");
    // Alice is strong elsewhere; here she runs as the community account.
    let told = who(&world, Some(&world.alice));
    assert_eq!(told, [world.accounts.weak.clone(), world.alice.dn.clone(), "weak".to_owned()]);
    // Membership outlives the server, and ends with the entry.
    world.stop_server();
    world.start_server();
    assert_eq!(who(&world, Some(&world.wendy))[2], "weak");
    let vo = |who: &Credential, method: &str, words: &[&str]| {
        world.call(Some(who), method, words.iter().map(|word| Value::from(*word)).collect())
    };
    vo(&world.bob, "vo.removeMember", &["survey.readers", &world.wendy.dn]).unwrap();
    assert_eq!(refused_code(world.call(Some(&world.wendy), "asks.who", vec![])), 403);
}

fn refused_code(answer: Result<Value, nesssi_testkit::Fault>) -> i64 {
    answer.expect_err("it is to be refused").code.number()
}
