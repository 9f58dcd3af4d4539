//! Every refusal: who is refused, with which code, and what the text says.

use nesssi_testkit::{Credential, Grid, Value, World};

fn code(
    world: &World,
    who: Option<&Credential>,
    method: &str,
    params: Vec<Value>,
) -> (i64, String) {
    let fault = world.call(who, method, params).unwrap_err();
    (fault.code.number(), fault.text)
}

#[test]
fn too_much_is_asked_for_and_the_fault_says_asked_limit_and_level() {
    let world = World::builder().with_shipped_services().start();
    for (who, level, limit) in [
        (None, "anonymous", 900),
        (Some(&world.wendy), "weak", 3600),
        (Some(&world.alice), "strong", 216_000),
    ] {
        let (number, text) = code(&world, who, "sleepy.burn", vec![Value::Int(limit + 1)]);
        assert_eq!(number, 413, "{text}");
        for word in [(limit + 1).to_string(), limit.to_string(), level.to_owned()] {
            assert!(text.contains(&word), "{word} is not in: {text}");
        }
    }
}

#[test]
fn a_certificate_that_fails_is_refused_with_its_name_and_reason_and_never_anonymous() {
    let world = World::builder().with_shipped_services().start();
    let stranger = Grid::new(&world.path().join("grid/other"), "Other CA");
    let forged = stranger.person("Alice");
    let expired = world.grid.expired("Alice");
    for (credential, word) in [(&forged, "Alice"), (&expired, "expired")] {
        let (number, text) = code(&world, Some(credential), "echo.echo", vec![Value::from("x")]);
        assert_eq!(number, 403, "{text}");
        assert!(text.contains(word) && text.contains("/O=NESSSI Test/CN=Alice"), "{text}");
    }
}

#[test]
fn the_access_list_decides_by_dn_and_ends_at_an_rdn() {
    let mut world = World::builder().build();
    let code_of = "def f(req, method_name, args):\n    return req.clarens_dn\nmethods_list = {'f': f, 'g': f}\n";
    let access = "order = \"allow,deny\"\nallow = [\"/O=NESSSI Test/CN=Ali\", \"/O=NESSSI Test/CN=Bob\"]\n\
                  [method.g]\nallow = [\"/\"]\n";
    world.service("closed", code_of, Some(access));
    world.start_server();
    assert_eq!(code(&world, None, "closed.f", vec![]).0, 401, "a credential is needed");
    assert_eq!(
        code(&world, Some(&world.alice), "closed.f", vec![]).0,
        403,
        "CN=Ali is not CN=Alice"
    );
    let bob = world.call(Some(&world.bob), "closed.f", vec![]).unwrap();
    assert_eq!(bob, Value::from(world.bob.dn.as_str()));
    let alice = world.call(Some(&world.alice), "closed.g", vec![]).unwrap();
    assert_eq!(alice, Value::from(world.alice.dn.as_str()));
    assert_eq!(code(&world, None, "closed.g", vec![]).0, 401);
}

#[test]
fn unknown_names_sessions_and_wrong_types() {
    let world = World::builder().with_shipped_services().start();
    assert_eq!(code(&world, None, "nobody.here", vec![]).0, -32601);
    assert_eq!(code(&world, None, "echo.nothing", vec![]).0, -32601);
    for bad in ["", "0", "../../etc/passwd", "00000000000000000000000000000000", "ZZ"] {
        let (number, text) = code(&world, None, "job.status", vec![bad.into()]);
        assert_eq!((number, text.as_str()), (404, "no such session"), "{bad}");
    }
    assert_eq!(code(&world, None, "job.status", vec![Value::Int(3)]).0, -32602);
    assert_eq!(code(&world, None, "job.status", vec![]).0, -32602);
    assert_eq!(code(&world, None, "sleepy.sleepyAdd", vec![Value::from("x")]).0, -32602);
}

#[test]
fn a_mapping_to_a_system_account_or_to_nobody_known_is_refused_and_starts_nothing() {
    let grid_line = |account: &str| format!("\"/O=NESSSI Test/CN=Alice\" {account}\n");
    for account in ["daemon", "nosuchaccountatall"] {
        let world = World::builder().with_shipped_services().gridmap(&grid_line(account)).start();
        let params = vec![Value::Int(0), Value::Int(1), Value::Int(1)];
        let (number, text) = code(&world, Some(&world.alice), "sleepy.sleepyAdd", params);
        assert_eq!(number, 403, "{account}: {text}");
        assert!(!text.contains("uid") && !text.contains("/var/"), "{text}");
        assert!(!world.path().join("sandboxes").join(account).exists());
    }
}

#[test]
fn another_callers_session_cannot_be_cancelled_and_is_not_listed() {
    let world = World::builder().with_shipped_services().start();
    let session = world.session(Some(&world.alice), "sleepy.burn", vec![Value::Int(30)]);
    let theirs = code(&world, Some(&world.wendy), "job.cancel", vec![session.as_str().into()]);
    let absent = code(&world, Some(&world.wendy), "job.cancel", vec!["0".repeat(32).into()]);
    assert_eq!(theirs, absent, "no oracle between another's session and none");
    assert_eq!(theirs.0, 404);
    assert_eq!(code(&world, None, "job.cancel", vec![session.as_str().into()]).0, 404);
    // Whoever holds the id may read its status.
    assert!(["queued", "running"].contains(&world.state(None, &session).as_str()));
    let listed = |who| match world.call(who, "job.list", vec![]).unwrap() {
        Value::Array(items) => items.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(Some(&world.alice)), 1);
    assert_eq!(listed(Some(&world.wendy)), 0);
    let cancelled = world.call(Some(&world.alice), "job.cancel", vec![session.as_str().into()]);
    assert_eq!(cancelled.unwrap(), Value::from("cancelled"));
    assert_eq!(world.state(Some(&world.alice), &session), "cancelled");
}

#[test]
fn calls_a_minute_are_bounded_by_level() {
    let world = World::builder().level("anonymous", "calls_per_minute = 5").start();
    let answers: Vec<_> =
        (0..7).map(|_| world.call(None, "echo.echo", vec![Value::from("x")])).collect();
    assert!(answers[..5].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(answers[6].as_ref().unwrap_err().code.number(), 429);
    assert!(world.call(Some(&world.wendy), "echo.echo", vec![]).is_ok(), "others are not delayed");
}
