use nesssi_rpc::{Dialect, MethodName, NamedCall, Value};

use super::world::{ALICE, Folder, MALLORY, NOBODY, World, anonymous, certified, folder};
use crate::{Answer, Caller};

#[tokio::test]
async fn parameters_are_held_against_the_declared_types_after_access_and_before_any_code() {
    let description = r#"{"methods":[
        {"name":"add","signature":[["int","int","double"]],"parameters":["n1","n2"]},
        {"name":"gen"}]}"#;
    let world = World::new(vec![Folder { description, ..folder("sums") }]).await;
    let (alice, int, text) = (certified(ALICE), Value::Int(3), Value::from("5"));
    let check = async |method: &str, params: &[Value], expected: &str| {
        assert_eq!(world.refused(&alice, method, params).await, expected);
    };
    let wrong = "-32602: parameter 2 (n2) of sums.add must be double; string was given";
    check("sums.add", &[int.clone(), text.clone()], wrong).await;
    let count = "-32602: sums.add takes 2 parameters (n1, n2), 1 was given";
    check("sums.add", std::slice::from_ref(&int), count).await;
    let monitor = "-32602: parameter 1 (session) of sums.monitor must be string; int was given";
    check("sums.monitor", std::slice::from_ref(&int), monitor).await;
    let built_in = "-32602: parameter 1 (session) of job.status must be string; int was given";
    check("job.status", std::slice::from_ref(&int), built_in).await;
    check("sums.none", std::slice::from_ref(&int), "-32601: no such method: sums.none").await;
    // Whoever may not call learns nothing of the types.
    let refused = world.refused(&certified(MALLORY), "sums.add", std::slice::from_ref(&text)).await;
    assert!(refused.starts_with("403: "), "{refused}");
    // Without a declaration all of it arrives.
    assert_eq!(world.call(&alice, "sums.gen", &[text, int.clone()]).await, Ok(Value::Int(1)));
    assert_eq!(
        world.call(&alice, "sums.add", &[int.clone(), Value::Int(5)]).await,
        Ok(Value::Int(8))
    );
}

async fn by_name(world: &World, caller: &Caller, method: &str, params: &[(&str, Value)]) -> Answer {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let call = NamedCall { method: MethodName::parse(method).unwrap(), params };
    let caller = Caller { dialect: Dialect::JsonRpc2, ..caller.clone() };
    world.container.call_named(&caller, call).await
}

#[tokio::test]
async fn parameters_by_name_find_their_places_once_the_caller_is_permitted() {
    let description = r#"{"methods":[
        {"name":"add","signature":[["int","int","double"]],"parameters":["n1","n2"]},
        {"name":"gen"}]}"#;
    let world = World::new(vec![Folder { description, ..folder("sums") }]).await;
    let (alice, nobody) = (certified(ALICE), certified(NOBODY));
    let (one, two) = (("n1", Value::Int(1)), ("n2", Value::Int(2)));
    let sum = by_name(&world, &alice, "sums.add", &[two.clone(), one.clone()]).await;
    assert_eq!(sum.reply, Ok(Value::Int(3)));
    let refused = async |caller: &Caller, method: &str, params: &[(&str, Value)]| {
        by_name(&world, caller, method, params).await.reply.unwrap_err().to_string()
    };
    let both = [one.clone(), two.clone()];
    for (method, params, expected) in [
        ("sums.add", &both[1..], "fault -32602: parameter 1 (n1) of sums.add is missing"),
        ("sums.add", &[], "fault -32602: parameter 1 (n1) of sums.add is missing"),
        (
            "sums.monitor",
            &both[..1],
            "fault -32602: sums.monitor has no parameter called `n1`, but session",
        ),
        (
            "sums.gen",
            &both[..],
            "fault -32602: the names of the parameters of sums.gen are not known here: send an array",
        ),
        ("sums.none", &both[..], "fault -32601: no such method: sums.none"),
        (
            "system.methodHelp",
            &both[..1],
            "fault -32602: system.methodHelp has no parameter called `n1`, but name",
        ),
    ] {
        assert_eq!(refused(&alice, method, params).await, expected);
    }
    let text = refused(&alice, "sums.add", &[("n1", "x".into()), two]).await;
    assert!(text.contains("parameter 1 (n1) of sums.add must be int; string was given"), "{text}");
    // Whoever may not call is told that, whatever he names.
    for caller in [&certified(MALLORY), &nobody] {
        let text = refused(caller, "sums.add", &both[1..]).await;
        assert!(text.starts_with("fault 403: "), "{text}");
    }
    assert!(refused(&anonymous(), "sums.add", &both).await.starts_with("fault 401: "));
    // What was refused is in the audit as any other call.
    world.container.inner.audit.flush().await;
    let audit = std::fs::read_to_string(world.audit_path()).unwrap();
    for code in ["-32602", "-32601", "403"] {
        let told = format!(r#""code":{code}"#);
        assert!(audit.lines().any(|line| line.contains(&told)), "{told} in {audit}");
    }
}

#[tokio::test]
async fn a_call_by_name_may_have_a_tag_and_may_be_a_multicall() {
    let description = r#"{"methods":[{"name":"once","parameters":["n"]}]}"#;
    let world = World::new(vec![Folder { description, ..folder("sums") }]).await;
    let alice = certified(ALICE);
    let params = [("n", Value::Int(7)), ("nesssi_client_tag", "t1".into())];
    for again in [false, true] {
        let answer = by_name(&world, &alice, "sums.once", &params).await;
        assert_eq!((answer.reply, answer.again), (Ok(Value::Int(1)), again));
    }
    let inner = Value::record([("methodName", "sums.once".into()), ("params", vec![].into())]);
    let calls = [("calls", vec![inner].into())];
    let answer = by_name(&world, &alice, "system.multicall", &calls).await;
    assert_eq!(answer.reply, Ok(vec![vec![Value::Int(2)].into()].into()));
}
