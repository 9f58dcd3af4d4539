mod access;
mod files;
mod finding;
mod logging_in;
mod permission;
mod server;
mod several;
mod tags;
mod typing;
mod vo;
mod world;

use nesssi_rpc::Value;

use crate::link::lock;
use world::{ALICE, BOSS, Folder, MALLORY, NOBODY, World, anonymous, certified, folder, refused};

fn texts(value: &Value) -> Vec<String> {
    let Value::Array(items) = value else { panic!("{value:?}") };
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// One member of the struct of service `name` in `service.list`.
async fn listed(world: &World, name: &str, member: &str) -> Value {
    let Value::Array(all) = world.call(&anonymous(), "service.list", &[]).await.unwrap() else {
        panic!("no list");
    };
    let of_name = |item: &Value| match item {
        Value::Struct(members) if members["name"].as_str() == Some(name) => {
            Some(members[member].clone())
        }
        _ => None,
    };
    all.iter().find_map(of_name).unwrap()
}

#[tokio::test]
async fn built_ins_answer_everybody_whose_credential_was_not_refused() {
    let world = World::new(vec![]).await;
    let params = [Value::Int(1), "two".into()];
    for caller in [anonymous(), certified(ALICE), certified(NOBODY)] {
        let echoed = world.call(&caller, "echo.echo", &params).await;
        assert_eq!(echoed, Ok(Value::Array(params.to_vec())));
    }
    let text = world.refused(&refused(), "echo.echo", &[]).await;
    assert!(text.starts_with("403: ") && text.contains("it has expired"), "{text}");
    assert_eq!(
        world.refused(&anonymous(), "system.methodHelp", &[]).await,
        "-32602: system.methodHelp takes 1 parameter (name), none was given"
    );
    let help = world.call(&anonymous(), "system.method_help", &["echo.echo".into()]).await;
    assert!(help.unwrap().as_str().unwrap().contains("parameters"));
}

#[tokio::test]
async fn a_service_is_called_as_its_access_list_says() {
    let world = World::new(vec![folder("sums")]).await;
    let params = [Value::Int(3), Value::Int(5)];
    assert_eq!(world.call(&certified(ALICE), "sums.add", &params).await, Ok(Value::Int(8)));
    assert_eq!(world.call(&certified(ALICE), "sums.whoami", &[]).await, Ok("alice".into()));
    let check = async |caller, method: &str, expected: &str| {
        let text = world.refused(&caller, method, &params).await;
        assert!(text.starts_with(expected), "{method}: {text}");
    };
    check(anonymous(), "sums.add", "401: this method needs a certificate").await;
    check(certified(MALLORY), "sums.add", "403: the access list").await;
    check(certified(MALLORY), "sums.none", "403: the access list").await;
    check(certified(ALICE), "sums.none", "-32601: no such method").await;
    check(certified(ALICE), "none.add", "-32601: no such method").await;
    check(certified(NOBODY), "sums.add", "403: no level takes this certificate").await;
    let one = world.refused(&certified(ALICE), "sums.add", &params[..1]).await;
    assert_eq!(one, "-32602: sums.add takes 2 parameters, 1 was given");
}

#[tokio::test]
async fn every_service_answers_monitor() {
    let world = World::new(vec![folder("sums")]).await;
    let absent = world.refused(&certified(ALICE), "sums.monitor", &["0".into()]).await;
    assert!(absent.starts_with("404: "), "{absent}");
    let wrong = world.refused(&certified(ALICE), "sums.monitor", &[]).await;
    assert!(wrong.starts_with("-32602: "), "{wrong}");
}

#[tokio::test]
async fn methods_are_listed_to_those_who_may_call_them() {
    let world = World::new(vec![folder("sums")]).await;
    let all = texts(&world.call(&certified(ALICE), "system.listMethods", &[]).await.unwrap());
    for expected in ["echo.echo", "job.status", "sums.add", "sums.monitor"] {
        assert!(all.contains(&expected.to_owned()), "{expected} in {all:?}");
    }
    assert!(all.is_sorted());
    for caller in [anonymous(), certified(MALLORY), certified(NOBODY)] {
        let some = texts(&world.call(&caller, "system.listMethods", &[]).await.unwrap());
        assert!(!some.iter().any(|name| name.starts_with("sums.")), "{some:?}");
        let help = world.refused(&caller, "system.methodHelp", &["sums.add".into()]).await;
        assert_eq!(help, "-32601: no such method");
    }
    let alice = certified(ALICE);
    let signature = async |name: &str| {
        world.call(&alice, "system.methodSignature", &[name.into()]).await.unwrap()
    };
    let types = Value::Array(["int"; 3].map(Value::from).into());
    assert_eq!(signature("sums.add").await, Value::Array(vec![types]));
    assert_eq!(signature("sums.gen").await, "undef".into());
}

#[tokio::test]
async fn levels_and_approval_bound_who_is_served() {
    let strong = Folder { manifest: Some("levels = [\"strong\"]"), ..folder("strongonly") };
    let digest = "approved = \"1111111111111111111111111111111111111111111111111111111111111111\"";
    let pinned = Folder { manifest: Some(digest), ..folder("pinned") };
    let world = World::new(vec![strong, pinned]).await;
    let text = world.refused(&certified(ALICE), "strongonly.gen", &[]).await;
    assert_eq!(text, "403: the service strongonly does not serve level weak");
    let text = world.refused(&certified(BOSS), "pinned.gen", &[]).await;
    assert!(text.starts_with("403: the code of service pinned has changed"), "{text}");
    assert_eq!(world.call(&certified(BOSS), "strongonly.gen", &[]).await, Ok(Value::Int(1)));
    // Level weak has a community account: changed code may serve it.
    assert_eq!(world.call(&certified(ALICE), "pinned.gen", &[]).await, Ok(Value::Int(1)));
}

#[tokio::test]
async fn broken_services_are_listed_and_answer_nothing() {
    let error = r#"{"error":"SyntaxError: invalid syntax (/home/joe/__init__.py, line 3)"}"#;
    let code = Folder { description: error, ..folder("bad") };
    let open = Folder { access: None, ..folder("open") };
    let world = World::new(vec![code, open]).await;
    for name in ["bad", "open"] {
        let text = world.refused(&certified(ALICE), &format!("{name}.add"), &[]).await;
        assert_eq!(text, format!("503: the service {name} is broken; service.list says why"));
        assert_eq!(listed(&world, name, "state").await, "broken".into());
    }
    assert_eq!(listed(&world, "bad", "reason").await, "SyntaxError in its code".into());
    assert_eq!(listed(&world, "open", "reason").await, "it has no .clarens_access".into());
}

#[tokio::test]
async fn a_restart_swaps_one_service_in_and_lets_running_calls_finish() {
    let world = World::new(vec![folder("sums"), folder("other")]).await;
    lock(&world.stage.hold).push(());
    let waiting = tokio::spawn({
        let container = world.container.clone();
        let method = nesssi_rpc::MethodName::parse("sums.wait").unwrap();
        async move {
            let call = nesssi_rpc::Call { method, params: vec![] };
            container.call(&certified(ALICE), call).await.reply
        }
    });
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));
    *lock(&world.stage.worker_generation) = 2;
    let (ok, text) = world.restart("sums").await;
    assert!(ok, "{text}");
    assert_eq!(text, "sums runs its new code, 5 methods");
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(2)));
    assert!(!waiting.is_finished());
    lock(&world.stage.hold).clear();
    assert_eq!(waiting.await.unwrap(), Ok(Value::Int(1)));
    assert_eq!(*lock(&world.stage.scans), ["", "sums"], "one service is read again");
}

#[tokio::test]
async fn a_restart_to_broken_code_keeps_what_ran_before() {
    let world = World::new(vec![folder("sums")]).await;
    let set = |folder: Option<Folder>| *lock(&world.stage.folders) = folder.into_iter().collect();
    set(Some(Folder { access: Some("nonsense"), ..folder("sums") }));
    let (ok, text) = world.restart("sums").await;
    assert!(!ok && text.contains("its last good version goes on"), "{text}");
    assert!(text.contains("line 1"), "developers read where: {text}");
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));

    // A list needs no restart: once it is mended, so is the service.
    let state = async || {
        let health = world.call(&certified(ALICE), "service.health", &["sums".into()]).await;
        health.unwrap().member("state").cloned()
    };
    assert_eq!(state().await, Some("unhealthy".into()));
    set(Some(folder("sums")));
    while state().await != Some("ok".into()) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    set(None);
    let (ok, text) = world.restart("sums").await;
    assert!(ok && text.contains("is gone"), "{text}");
    let gone = world.refused(&certified(ALICE), "sums.gen", &[]).await;
    assert_eq!(gone, "-32601: no such method: sums.gen");
    let (ok, text) = world.restart("sums").await;
    assert!(!ok && text == "there is no service sums", "{text}");
    let (ok, text) = world.restart("../sums").await;
    assert!(!ok && text.contains("a service name is"), "{text}");

    set(Some(folder("sums")));
    let (ok, text) = world.restart("sums").await;
    assert!(ok, "{text}");
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));
}

#[tokio::test]
async fn one_call_too_many_in_a_minute_is_429() {
    let world = World::new(vec![]).await;
    *lock(&world.stage.calls_per_minute) = 2;
    for _ in 0..2 {
        world.call(&certified(ALICE), "echo.echo", &[]).await.unwrap();
    }
    let text = world.refused(&certified(ALICE), "echo.echo", &[]).await;
    assert!(text.starts_with("429: level weak allows 2 calls a minute"), "{text}");
    world.call(&certified(MALLORY), "echo.echo", &[]).await.unwrap();
}

#[tokio::test]
async fn every_decision_is_audited() {
    let world = World::new(vec![folder("sums")]).await;
    let params = [Value::Int(3), Value::Int(5)];
    world.call(&certified(ALICE), "sums.add", &params).await.unwrap();
    world.refused(&certified(MALLORY), "sums.add", &params).await;
    world.refused(&refused(), "echo.echo", &[]).await;
    world.restart("sums").await;
    world.container.inner.audit.flush().await;
    let text = std::fs::read_to_string(world.audit_path()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let is_mapping = |line: &serde_json::Value| line["event"] == "mapping";
    let (mappings, lines): (Vec<serde_json::Value>, Vec<_>) = lines.partition(is_mapping);
    assert_eq!(mappings.len(), 2);
    let told = |line: &serde_json::Value| {
        let member = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", member("event"), member("subject"), member("method"), line["code"])
    };
    assert_eq!(told(&lines[0]), format!("call {ALICE} sums.add 0"));
    assert_eq!(lines[0]["rule"], "service: allow / (line 1)");
    assert_eq!(lines[0]["account"], "alice");
    assert_eq!(told(&lines[1]), format!("call {MALLORY} sums.add 403"));
    assert_eq!(lines[1]["rule"], "service: deny /O=Grid/CN=Mallory (line 2)");
    assert_eq!(told(&lines[2]), "credential_refused - echo.echo null");
    assert_eq!(lines[3]["event"], "service_restart");
}
