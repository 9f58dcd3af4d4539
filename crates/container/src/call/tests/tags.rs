//! Calls that are sent again.

use nesssi_rpc::{Call, ClientTag, Dialect, MethodName, Value};

use super::world::{ALICE, BOSS, Folder, MALLORY, NOBODY, World, anonymous, certified, folder};
use crate::link::lock;
use crate::{Answer, Caller};

/// A tag that an anonymous caller may use.
const LONG: &str = "0123456789abcdef0123456789abcdef";

fn counting() -> Folder {
    Folder {
        access: Some("allow = [\"/\"]\ndeny = [\"/O=Grid/CN=Mallory\"]\nanonymous = true"),
        description: r#"{"methods":[{"name":"once"},{"name":"run"},
            {"name":"add","signature":[["int","int","int"]]}]}"#,
        ..folder("counted")
    }
}

fn tagged(caller: Caller, tag: &str) -> Caller {
    Caller { tag: Some(ClientTag::parse(tag).unwrap()), ..caller }
}

async fn answer(world: &World, caller: &Caller, method: &str, params: &[Value]) -> Answer {
    let method = MethodName::parse(method).unwrap();
    world.container.call(caller, Call { method, params: params.to_vec() }).await
}

fn member(tag: &str) -> Value {
    Value::record([("nesssi_client_tag", tag.into())])
}

fn carried(world: &World) -> i64 {
    *lock(&world.stage.carried)
}

#[tokio::test]
async fn a_call_sent_again_is_answered_again_and_carried_out_once() {
    let world = World::new(vec![counting()]).await;
    let alice = tagged(certified(ALICE), "t1");
    let one = [Value::Int(7)];
    let first = answer(&world, &alice, "counted.once", &one).await;
    assert_eq!((first.reply, first.again), (Ok(Value::Int(1)), false));
    for dialect in [Dialect::XmlRpc, Dialect::JsonRpc2, Dialect::Soap12] {
        let again = Caller { dialect, ..alice.clone() };
        let again = answer(&world, &again, "counted.once", &one).await;
        assert_eq!((again.reply, again.again), (Ok(Value::Int(1)), true));
    }
    // The member, with whatever else is in its struct, is the same as the header.
    let by_member = [Value::Int(7), member("t1")];
    let again = answer(&world, &certified(ALICE), "counted.once", &by_member).await;
    assert_eq!((again.reply, again.again), (Ok(Value::Int(1)), true));
    let both = answer(&world, &alice, "counted.once", &by_member).await;
    assert!(both.again);
    let text = world.refused(&alice, "counted.once", &[Value::Int(7), member("t2")]).await;
    assert!(text.starts_with("-32600: the request has a client tag in its head"), "{text}");
    let text = world.refused(&certified(ALICE), "counted.once", &[member("a b")]).await;
    assert!(text.starts_with("-32602: nesssi_client_tag: "), "{text}");
    assert_eq!(carried(&world), 1);

    let text = world.refused(&alice, "counted.once", &[Value::Int(8)]).await;
    assert!(text.starts_with("409: this client tag is that of a call of counted.once"), "{text}");
    let bob = tagged(certified("/O=Grid/CN=Bob"), "t1");
    assert_eq!(world.call(&bob, "counted.once", &one).await, Ok(Value::Int(2)));
    let other = tagged(certified(ALICE), "t2");
    assert_eq!(world.call(&other, "counted.once", &one).await, Ok(Value::Int(3)));
    world.container.inner.audit.flush().await;
    let audit = std::fs::read_to_string(world.audit_path()).unwrap();
    let again = audit.lines().filter(|line| line.contains(r#""again":"yes""#)).count();
    assert_eq!(again, 5, "{audit}");
    assert!(!audit.contains("t1"), "a tag stands in no log");
}

#[tokio::test]
async fn built_in_calls_are_answered_again_by_all_their_names() {
    let world = World::new(vec![]).await;
    let alice = tagged(certified(ALICE), "t1");
    let first = answer(&world, &alice, "system.listMethods", &[]).await;
    let again = answer(&world, &alice, "system.list_methods", &[]).await;
    assert!(!first.again && again.again);
    assert_eq!(first.reply, again.reply);
    // Two doubles, and the integer that one client writes for the same.
    let two = |value: Value| [Value::Array(vec![value])];
    answer(&world, &alice, "echo.echo", &two(Value::Int(2))).await.reply.unwrap();
    assert!(answer(&world, &alice, "echo.echo", &two(Value::Double(2.0))).await.again);
    assert!(!answer(&world, &alice, "echo.echo", &two(Value::Double(2.5))).await.again);
    let text = world.refused(&alice, "system.auth2", &[]).await;
    assert!(text.starts_with("-32600: system.auth2 takes no client tag"), "{text}");
}

#[tokio::test]
async fn what_was_refused_before_anything_was_carried_out_is_not_kept() {
    let world = World::new(vec![counting()]).await;
    let alice = tagged(certified(ALICE), "t1");
    let sum = |a: i64, b: i64| [Value::Int(a), Value::Int(b)];
    for _ in 0..2 {
        let text = world.refused(&alice, "counted.add", &[Value::Int(1)]).await;
        assert!(text.starts_with("-32602: "), "{text}");
        let text = world.refused(&alice, "no.such", &[]).await;
        assert!(text.starts_with("-32601: "), "{text}");
        let text = world.refused(&alice, "job.status", &["x".into()]).await;
        assert!(text.starts_with("404: "), "{text}");
    }
    assert_eq!(world.call(&alice, "counted.add", &sum(1, 2)).await, Ok(Value::Int(3)));
    assert!(answer(&world, &alice, "counted.add", &sum(1, 2)).await.again);
    let mallory = tagged(certified(MALLORY), "t1");
    let text = world.refused(&mallory, "counted.add", &sum(1, 2)).await;
    assert!(text.starts_with("403: "), "{text}");
}

#[tokio::test]
async fn anonymous_callers_have_long_tags_that_hold_at_their_address() {
    let world = World::new(vec![counting()]).await;
    let text = world.refused(&tagged(anonymous(), "t1"), "counted.once", &[]).await;
    assert!(text.starts_with("-32602: the client tag of an anonymous caller"), "{text}");
    let short = tagged(anonymous(), &LONG[1..]);
    assert!(world.call(&short, "counted.once", &[]).await.is_err());
    assert_eq!(carried(&world), 0);
    let here = tagged(anonymous(), LONG);
    assert_eq!(world.call(&here, "counted.once", &[]).await, Ok(Value::Int(1)));
    assert!(answer(&world, &here, "counted.once", &[]).await.again);
    let there = Caller { address: "192.0.2.1".parse().unwrap(), ..here.clone() };
    assert_eq!(world.call(&there, "counted.once", &[]).await, Ok(Value::Int(2)));
    let mapped = Caller { address: "::ffff:127.0.0.1".parse().unwrap(), ..here.clone() };
    assert!(answer(&world, &mapped, "counted.once", &[]).await.again);
    let alice = tagged(certified(ALICE), LONG);
    assert_eq!(world.call(&alice, "counted.once", &[]).await, Ok(Value::Int(3)));
    let text = world.refused(&here, "system.last_call", &[LONG.into()]).await;
    assert!(text.starts_with("401: "), "{text}");
}

#[tokio::test]
async fn who_has_been_shut_out_since_gets_no_kept_answer() {
    let world = World::new(vec![counting()]).await;
    let alice = tagged(certified(ALICE), "t1");
    world.call(&alice, "counted.once", &[]).await.unwrap();
    lock(&world.stage.folders)[0].access = Some("allow = [\"/O=Grid/CN=Bob\"]");
    world.looked_again().await;
    let text = world.refused(&alice, "counted.once", &[]).await;
    assert!(text.starts_with("403: "), "{text}");
    let text = world.refused(&certified(ALICE), "system.last_call", &["t1".into()]).await;
    assert!(text.starts_with("403: "), "{text}");
    assert_eq!(carried(&world), 1);
    // Whom no level takes may call what needs none, and has no answer of when one did.
    let nobody = tagged(certified(NOBODY), "t1");
    assert!(!answer(&world, &nobody, "echo.echo", &[]).await.again);
    assert!(answer(&world, &nobody, "echo.echo", &[]).await.again);
}

#[tokio::test]
async fn a_call_that_runs_is_waited_for_and_goes_on_when_its_caller_hangs_up() {
    let world = World::new(vec![counting()]).await;
    lock(&world.stage.hold).push(());
    let alice = tagged(certified(ALICE), "t1");
    let call = |caller: Caller| {
        let container = world.container.clone();
        let method = MethodName::parse("counted.once").unwrap();
        tokio::spawn(async move { container.call(&caller, Call { method, params: vec![] }).await })
    };
    let first = call(alice.clone());
    world.until("the call to begin", || carried(&world) == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let seen = world.call(&certified(ALICE), "system.last_call", &["t1".into()]).await.unwrap();
    assert_eq!(seen.member("state").and_then(Value::as_str), Some("running"));
    let waiting = [call(alice.clone()), call(alice.clone())];
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    lock(&world.stage.hold).clear();
    for waits in waiting {
        let answer = waits.await.unwrap();
        assert_eq!((answer.reply, answer.again), (Ok(Value::Int(1)), true));
    }
    assert_eq!(carried(&world), 1);
    // The call of the one who left is audited all the same.
    world.container.inner.audit.flush().await;
    let audit = std::fs::read_to_string(world.audit_path()).unwrap();
    let calls = audit.lines().filter(|line| line.contains("counted.once")).count();
    assert_eq!(calls, 3, "{audit}");
}

#[tokio::test]
async fn calls_of_several_have_their_own_tags() {
    let world = World::new(vec![counting()]).await;
    let inner = |method: &str, params: Vec<Value>| {
        Value::record([("methodName", method.into()), ("params", Value::Array(params))])
    };
    let calls = || {
        let once = inner("counted.once", vec![member("t1")]);
        let other = inner("counted.once", vec![member("t2")]);
        [Value::Array(vec![once.clone(), once, other, inner("counted.once", vec![])])]
    };
    let numbers = |values: [i64; 4]| {
        Value::Array(values.map(|value| Value::Array(vec![Value::Int(value)])).to_vec())
    };
    let alice = certified(ALICE);
    let first = answer(&world, &alice, "system.multicall", &calls()).await;
    assert_eq!((first.reply, first.again), (Ok(numbers([1, 1, 2, 3])), false));
    let again = answer(&world, &alice, "system.multicall", &calls()).await;
    assert_eq!((again.reply, again.again), (Ok(numbers([1, 1, 2, 4])), false));
    let text = world.refused(&tagged(alice, "t9"), "system.multicall", &calls()).await;
    assert!(text.starts_with("-32600: a multicall has no client tag"), "{text}");
    assert_eq!(carried(&world), 4);
}

#[tokio::test]
async fn calls_answered_again_count_as_any_other() {
    let world = World::new(vec![counting()]).await;
    *lock(&world.stage.calls_per_minute) = 2;
    let boss = tagged(certified(BOSS), "t1");
    world.call(&boss, "counted.once", &[]).await.unwrap();
    world.call(&boss, "counted.once", &[]).await.unwrap();
    let text = world.refused(&boss, "counted.once", &[]).await;
    assert!(text.starts_with("429: level strong allows 2 calls a minute"), "{text}");
}

#[tokio::test]
async fn the_last_call_of_a_tag_is_told_to_its_caller_alone() {
    let world = World::new(vec![counting()]).await;
    let alice = tagged(certified(ALICE), "t1");
    world.call(&alice, "counted.once", &[Value::Int(7)]).await.unwrap();
    let plain = certified(ALICE);
    let seen = world.call(&plain, "system.last_call", &["t1".into()]).await.unwrap();
    let text = |name| seen.member(name).and_then(Value::as_str);
    assert_eq!((text("method"), text("state")), (Some("counted.once"), Some("done")));
    assert_eq!(seen.member("value"), Some(&Value::Int(1)));
    assert_eq!(text("params_sha256").map(str::len), Some(64));
    assert!(matches!(seen.member("called"), Some(Value::DateTime(_))));
    for absent in ["fault", "session", "url"] {
        assert_eq!(seen.member(absent), None);
    }
    let named = ["t1".into(), "counted.once".into()];
    assert_eq!(world.call(&plain, "system.lastCall", &named).await, Ok(seen));
    for (caller, params) in [
        (&plain, vec!["t2".into()]),
        (&plain, vec!["t1".into(), "echo.echo".into()]),
        (&certified("/O=Grid/CN=Bob"), vec!["t1".into()]),
    ] {
        let text = world.refused(caller, "system.last_call", &params).await;
        assert_eq!(text, "404: no call with this client tag is known");
    }
    let text = world.refused(&plain, "system.last_call", &["a b".into()]).await;
    assert!(text.starts_with("-32602: "), "{text}");
}
