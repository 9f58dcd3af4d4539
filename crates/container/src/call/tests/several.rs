//! Several calls in one, and what callers are told beforehand.

use nesssi_rpc::soap::Signature;
use nesssi_rpc::{Call, MethodName, Value};

use super::texts;
use super::world::{ALICE, Folder, MALLORY, NOBODY, World, anonymous, certified, folder, refused};
use crate::Caller;
use crate::link::lock;

fn inner(method: &str, params: &[Value]) -> Value {
    Value::record([("methodName", method.into()), ("params", Value::Array(params.to_vec()))])
}

/// What each call of a multicall came to: the value, or the fault as "code: text".
async fn multicall(world: &World, caller: &Caller, calls: Vec<Value>) -> Vec<Value> {
    let answers = world.call(caller, "system.multicall", &[Value::Array(calls)]).await.unwrap();
    let Value::Array(answers) = answers else { panic!("{answers:?}") };
    let told = |answer| match nesssi_rpc::multicall::read_answer(answer).unwrap() {
        Ok(value) => value,
        Err(fault) => format!("{}: {}", fault.code.number(), fault.text).into(),
    };
    answers.into_iter().map(told).collect()
}

#[tokio::test]
async fn what_is_wrong_with_one_call_of_several_is_its_own() {
    let world = World::new(vec![folder("sums")]).await;
    let calls = vec![
        inner("sums.add", &[Value::Int(3), Value::Int(5)]),
        inner("sums.add", &[]),
        Value::Int(1),
        inner("system.multicall", &[Value::Array(vec![])]),
        inner("no.such", &[]),
        inner("echo.echo", &["last".into()]),
    ];
    let answers = multicall(&world, &certified(ALICE), calls.clone()).await;
    let expected = [
        Value::Int(8),
        "-32602: sums.add takes 2 parameters, none was given".into(),
        "-32602: a call in a multicall is a struct".into(),
        "-32600: a multicall may not stand inside of another".into(),
        "-32601: no such method: no.such".into(),
        Value::Array(vec!["last".into()]),
    ];
    assert_eq!(answers, expected);
    let answers = multicall(&world, &certified(MALLORY), calls).await;
    assert!(answers[0].as_str().unwrap().starts_with("403: the access list"), "{answers:?}");
    assert_eq!(answers[5], expected[5]);
    let none = world.call(&certified(ALICE), "system.multicall", &[Value::Array(vec![])]).await;
    assert_eq!(none, Ok(Value::Array(vec![])));
    let wrong = world.refused(&certified(ALICE), "system.multicall", &[]).await;
    assert!(wrong.starts_with("-32602: "), "{wrong}");
    let text = world.refused(&refused(), "system.multicall", &[Value::Array(vec![])]).await;
    assert!(text.starts_with("403: ") && text.contains("it has expired"), "{text}");
}

#[tokio::test]
async fn every_call_of_several_is_counted_and_audited() {
    let world = World::new(vec![folder("sums")]).await;
    *lock(&world.stage.calls_per_minute) = 4;
    let caller = certified(ALICE);
    let calls = vec![inner("echo.echo", &[]), Value::Nil, inner("sums.gen", &[])];
    multicall(&world, &caller, calls).await;
    let two = vec![inner("echo.echo", &[]), inner("echo.echo", &[])];
    let answers = multicall(&world, &caller, two).await;
    assert_eq!(answers[0], Value::Array(vec![]));
    let late = answers[1].as_str().unwrap();
    assert!(late.starts_with("429: level weak allows 4 calls a minute"), "{late}");
    // An empty one, and one that is none, count as one call.
    for params in [vec![Value::Array(vec![])], vec![]] {
        let text = world.refused(&caller, "system.multicall", &params).await;
        assert!(text.starts_with("429: "), "{text}");
    }
    world.container.inner.audit.flush().await;
    let text = std::fs::read_to_string(world.audit_path()).unwrap();
    let told: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "call")
        .map(|line| format!("{} {}", line["method"].as_str().unwrap(), line["code"]))
        .collect();
    let expected = [
        "echo.echo 0",
        "sums.gen 0",
        "system.multicall 0",
        "echo.echo 0",
        "echo.echo 429",
        "system.multicall 0",
        "system.multicall 429",
        "system.multicall 429",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn so_many_calls_in_one_and_no_more() {
    let world = World::new(vec![]).await;
    *lock(&world.stage.calls_per_minute) = 10_000;
    let calls = |count| vec![inner("echo.echo", &[]); count];
    let most = usize::try_from(world.container.inner.config.bounds.calls_max).unwrap();
    for count in [most - 1, most] {
        assert_eq!(multicall(&world, &anonymous(), calls(count)).await.len(), count);
    }
    let many = [Value::Array(calls(most + 1))];
    let text = world.refused(&anonymous(), "system.multicall", &many).await;
    assert!(text.starts_with("413: "), "{text}");
}

#[tokio::test]
async fn what_the_server_can_do_is_told_under_both_names() {
    let world = World::new(vec![]).await;
    for name in ["system.getCapabilities", "system.get_capabilities"] {
        let told = world.call(&anonymous(), name, &[]).await.unwrap();
        assert!(told.member("system.multicall").is_some(), "{told:?}");
    }
}

#[tokio::test]
async fn signatures_are_told_to_those_who_may_call() {
    let world = World::new(vec![folder("sums")]).await;
    let signatures = async |caller: &Caller, method: &str| {
        let method = MethodName::parse(method).unwrap();
        world.container.signatures(caller, &method).await
    };
    let add = vec![Signature::from_words(&["int"; 3])];
    assert_eq!(signatures(&certified(ALICE), "sums.add").await, add);
    let monitor = vec![Signature::named(&["string"; 2], &["session"])];
    assert_eq!(signatures(&certified(ALICE), "sums.monitor").await, monitor);
    assert_eq!(signatures(&anonymous(), "system.methodHelp").await.len(), 1);
    for caller in [certified(MALLORY), certified(NOBODY), anonymous(), refused()] {
        assert_eq!(signatures(&caller, "sums.add").await, []);
        assert_eq!(signatures(&caller, "sums.none").await, []);
    }
    assert_eq!(signatures(&refused(), "echo.echo").await, []);
}

#[tokio::test]
async fn what_is_offered_is_what_is_listed() {
    let world = World::new(vec![folder("sums")]).await;
    let names = async |caller: &Caller, only: Option<&str>| {
        let offers = world.container.offers(caller, only).await.unwrap();
        let of = |offer: &crate::Offered| -> Vec<String> {
            offer.methods.iter().map(|one| format!("{}.{}", offer.service, one.name)).collect()
        };
        offers.iter().flat_map(of).collect::<Vec<String>>()
    };
    for caller in [certified(ALICE), certified(MALLORY), anonymous()] {
        let listed = world.call(&caller, "system.listMethods", &[]).await.unwrap();
        let mut offered = names(&caller, None).await;
        offered.sort_unstable();
        assert_eq!(offered, texts(&listed));
    }
    let own = names(&certified(ALICE), Some("sums")).await;
    assert_eq!(own.len(), 6, "{own:?}");
    assert_eq!(names(&certified(MALLORY), Some("echo")).await, ["echo.echo"]);
    for service in ["sums", "none"] {
        let fault = world.container.offers(&certified(MALLORY), Some(service)).await.unwrap_err();
        assert_eq!(fault.to_string(), "fault -32601: no such service");
    }
    let fault = world.container.offers(&refused(), None).await.unwrap_err();
    assert_eq!(fault.code.number(), 403);
}

#[tokio::test]
async fn what_is_offered_tells_names_and_purposes() {
    let description = r#"{"methods":[{"name":"add","signature":[["int","int","int"]],
        "parameters":["n1","n2"]}],"purpose":"adds"}"#;
    let world = World::new(vec![Folder { description, ..folder("sums") }]).await;
    let offers = world.container.offers(&certified(ALICE), None).await.unwrap();
    let told = |service: &str, method: &str| {
        let offer = offers.iter().find(|offer| offer.service == service).unwrap();
        let method = offer.methods.iter().find(|one| one.name == method).unwrap();
        let names = method.signatures[0].params.iter().map(|param| param.name.clone().unwrap());
        format!("{} {}", names.collect::<Vec<String>>().join(" "), offer.purpose)
    };
    assert_eq!(told("sums", "add"), "n1 n2 adds");
    assert_eq!(told("sums", "monitor"), "session adds");
    let vo =
        "Groups of people, for access lists: who is in them, and changes by their administrators.";
    assert_eq!(told("vo", "addMember"), format!("group dn {vo}"));
}

#[tokio::test]
async fn a_description_counts_as_a_call() {
    let world = World::new(vec![]).await;
    *lock(&world.stage.calls_per_minute) = 1;
    world.container.offers(&certified(ALICE), None).await.unwrap();
    let fault = world.container.offers(&certified(ALICE), None).await.unwrap_err();
    assert_eq!(fault.code.number(), 429);
    let method = MethodName::parse("echo.echo").unwrap();
    let call = Call { method, params: vec![] };
    let reply = world.container.call(&certified(ALICE), call).await.reply;
    assert_eq!(reply.unwrap_err().code.number(), 429);
}
