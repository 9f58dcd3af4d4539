//! Access edits, by calls.

use nesssi_identity::ProxyKind;
use nesssi_rpc::{DateTime, MethodName, Value};

use super::world::{
    ALICE, BOSS, Folder, MALLORY, NOBODY, World, anonymous, by_proxy, certified, folder,
};
use super::{listed, texts};
use crate::Caller;

const RULES: &str = "[policy]\naccess_administrators = [\"/o=grid/cn=BOSS\"]\n\
                     vo_administrators = [\"/O=Grid/CN=Boss\"]\n";

/// A world where Boss administers access.
async fn world(folders: Vec<Folder>) -> World {
    let world = World::new(folders).await;
    world.new_rules(Some(RULES));
    let boss = nesssi_dn::SubjectDn::parse_oneline(BOSS).unwrap();
    let rules = || world.container.inner.grants.rules().now().is_access_administrator(&boss);
    world.until("the administrator", rules).await;
    let root = || world.container.inner.groups.now().is_root(&boss);
    world.until("the root administrator", root).await;
    world
}

async fn edit(world: &World, verb: &str, service: &str, method: &str, who: &str) -> Value {
    let params = [service, method, who].map(Value::from);
    world.call(&certified(BOSS), &format!("access.{verb}"), &params).await.unwrap()
}

/// The lines of the audit about edits.
async fn audited(world: &World) -> Vec<serde_json::Value> {
    world.container.inner.audit.flush().await;
    let text = std::fs::read_to_string(world.audit_path()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["event"] == "access_changed").collect()
}

async fn remove(world: &World, number: Value) {
    let done = world.call(&certified(BOSS), "access.remove", &[number]).await;
    assert_eq!(done, Ok(Value::Bool(true)));
}

/// What each way of asking says of a method: the call, the list of methods, its help, its signature, the
/// explanation. All say the same: whether he may.
async fn may(world: &World, caller: &Caller, method: &str, params: &[Value]) -> bool {
    let called = match world.call(caller, method, params).await {
        Ok(_) => true,
        Err(fault) if [401, 403].contains(&fault.code.number()) => false,
        Err(fault) => panic!("{method}: {fault}"),
    };
    let all = texts(&world.call(caller, "system.listMethods", &[]).await.unwrap());
    assert_eq!(all.contains(&method.to_owned()), called, "{method} in the list");
    let help = world.call(caller, "system.methodHelp", &[method.into()]).await;
    assert_eq!(help.is_ok(), called, "help of {method}");
    let (service, name) = method.rsplit_once('.').unwrap();
    let offers = world.container.offers(caller, Some(service)).await.unwrap_or_default();
    let offered = offers.iter().flat_map(|offer| &offer.methods).any(|one| one.name == name);
    assert_eq!(offered, called, "{method} in the WSDL");
    let known = world.container.signatures(caller, &MethodName::parse(method).unwrap()).await;
    assert!(called || known.is_empty(), "signatures of {method}");
    let told = world.call(caller, "system.explain", &[method.into()]).await.unwrap();
    let granted = told.member("outcome").unwrap().as_str() == Some("granted");
    assert_eq!(granted, called, "{method}: {told:?}");
    called
}

#[tokio::test]
async fn a_denial_refuses_whom_the_files_admit_and_ends_when_it_is_removed() {
    let world = world(vec![folder("sums"), folder("apple.sums")]).await;
    let alice = certified(ALICE);
    assert!(may(&world, &alice, "sums.gen", &[]).await);
    let number = edit(&world, "deny", "sums", "", ALICE).await;
    assert!(!may(&world, &alice, "sums.gen", &[]).await);
    assert!(may(&world, &certified(BOSS), "sums.gen", &[]).await);
    assert!(may(&world, &alice, "apple.sums.gen", &[]).await);
    let text = world.refused(&alice, "sums.gen", &[]).await;
    assert_eq!(text, format!("403: an administrator of this server has denied this to {ALICE}"));
    let remark = "1 edit of an administrator stands beside its access list";
    assert_eq!(listed(&world, "sums", "remark").await, remark.into());
    remove(&world, number).await;
    assert!(may(&world, &alice, "sums.gen", &[]).await);
    assert_eq!(listed(&world, "sums", "remark").await, "".into());
    // At a folder of services, for one method, by a group.
    world.call(&certified(BOSS), "vo.create", &["atlas".into()]).await.unwrap();
    edit(&world, "deny", "apple", "gen", "group:atlas").await;
    assert!(may(&world, &alice, "apple.sums.gen", &[]).await);
    world.call(&certified(BOSS), "vo.addMember", &["atlas".into(), ALICE.into()]).await.unwrap();
    assert!(!may(&world, &alice, "apple.sums.gen", &[]).await);
    assert!(may(&world, &alice, "apple.sums.whoami", &[]).await);
}

#[tokio::test]
async fn an_allowance_admits_whom_no_file_denies_by_name_and_lifts_nothing_else() {
    let closed = |name| Folder { access: Some("allow = []"), ..folder(name) };
    let manifest = "levels = [\"strong\"]";
    let strong = Folder { manifest: Some(manifest), ..closed("strongonly") };
    let over = Folder { access: Some("end = 2020-01-01T00:00:00Z"), ..folder("over") };
    let world = world(vec![closed("closed"), strong, over, folder("sums")]).await;
    let alice = certified(ALICE);
    for service in ["closed", "strongonly", "over", "sums"] {
        edit(&world, "allow", service, "", "/").await;
    }
    assert!(may(&world, &alice, "closed.gen", &[]).await);
    assert!(!may(&world, &certified(NOBODY), "closed.gen", &[]).await, "no level takes him");
    assert!(!may(&world, &anonymous(), "closed.gen", &[]).await);
    assert!(!may(&world, &alice, "strongonly.gen", &[]).await);
    assert!(may(&world, &certified(BOSS), "strongonly.gen", &[]).await);
    assert!(!may(&world, &alice, "over.gen", &[]).await);
    assert!(!may(&world, &certified(MALLORY), "sums.gen", &[]).await, "denied by name");
    // A denial wins over an allowance.
    edit(&world, "deny", "closed", "gen", "/O=Grid").await;
    assert!(!may(&world, &alice, "closed.gen", &[]).await);
    assert!(may(&world, &alice, "closed.whoami", &[]).await);
}

#[tokio::test]
async fn what_the_server_answers_itself_can_be_denied_and_not_allowed() {
    let world = world(vec![]).await;
    let alice = certified(ALICE);
    assert!(may(&world, &alice, "job.list", &[]).await);
    edit(&world, "deny", "job", "list", ALICE).await;
    assert!(!may(&world, &alice, "job.list", &[]).await);
    assert!(may(&world, &certified(BOSS), "job.list", &[]).await);
    edit(&world, "deny", "vo", "", "/O=Grid/CN=Mallory").await;
    assert!(!may(&world, &certified(MALLORY), "vo.groups", &[]).await);
    assert!(may(&world, &alice, "vo.groups", &[]).await);
    let refused = async |verb: &str, service: &str, method: &str| {
        let params = [service, method, "/"].map(Value::from);
        world.refused(&certified(BOSS), &format!("access.{verb}"), &params).await
    };
    let text = refused("allow", "job", "").await;
    assert!(text.starts_with("-32602: job is of the server's own and answers"), "{text}");
    for service in ["access", "echo", "system", "service"] {
        let text = refused("deny", service, "").await;
        assert!(text.starts_with(&format!("-32602: {service} is denied to nobody")), "{text}");
    }
    assert_eq!(refused("deny", "job", "none").await, "404: job has no method \"none\"");
}

#[tokio::test]
async fn an_edit_holds_from_its_start_to_its_end() {
    let world = world(vec![folder("sums")]).await;
    let alice = certified(ALICE);
    let at = |text: &str| Value::DateTime(DateTime::parse(text).unwrap());
    let (past, before, future) =
        (at("20010101T00:00:00"), at("20200101T00:00:00"), at("99990101T00:00:00"));
    let deny = async |start: &Value, end: &Value| {
        let place = [Value::from("sums"), "".into(), "/".into()];
        let params: Vec<Value> = place.into_iter().chain([start.clone(), end.clone()]).collect();
        world.call(&certified(BOSS), "access.deny", &params).await
    };
    for (start, end, holds) in [
        (&past, &before, false),
        (&future, &Value::Nil, false),
        (&past, &future, true),
        (&Value::Nil, &future, true),
        (&Value::Nil, &Value::Nil, true),
    ] {
        let number = deny(start, end).await.unwrap();
        assert_eq!(may(&world, &alice, "sums.gen", &[]).await, !holds, "{start:?} {end:?}");
        let told = world.call(&certified(BOSS), "access.list", &["sums".into()]).await.unwrap();
        let [one] = told.as_array().unwrap() else { panic!("{told:?}") };
        assert_eq!((one.member("start"), one.member("end")), (Some(start), Some(end)));
        remove(&world, number).await;
    }
    let fault = deny(&future, &past).await.unwrap_err();
    assert_eq!(fault.to_string(), "fault -32602: the end is not behind the start");
}

#[tokio::test]
async fn access_is_for_its_administrators_and_a_misspelt_edit_is_refused() {
    let world = world(vec![folder("sums")]).await;
    let params = ["sums", "", "/O=Grid/CN=Eve"].map(Value::from);
    let check = async |caller: &Caller, method: &str, params: &[Value], expected: &str| {
        let text = world.refused(caller, method, params).await;
        assert!(text.starts_with(expected), "{method}: {text}");
    };
    let boss = certified(BOSS);
    for (method, params) in [
        ("access.list", &[][..]),
        ("access.allow", &params),
        ("access.deny", &params),
        ("access.remove", &[Value::Int(1)]),
    ] {
        check(&anonymous(), method, params, "401: ").await;
        check(&certified(ALICE), method, params, "403: /O=Grid/CN=Alice is no access").await;
        check(&certified("/O=Grid/CN=Boss/CN=Helper"), method, params, "403: ").await;
    }
    check(&by_proxy(BOSS, ProxyKind::Limited), "access.deny", &params, "403: ").await;
    let deny = async |service: &str, method: &str, who: &str, expected: &str| {
        check(&boss, "access.deny", &[service, method, who].map(Value::from), expected).await;
    };
    deny("sum", "", "/", "404: there is no service \"sum\"").await;
    deny("sums", "ad", "/", "404: sums has no method \"ad\"").await;
    deny("sums", "add", "Eve", "-32602: who is \"Eve\": neither a DN").await;
    deny("sums", "add", "group:none", "404: there is no VO group none").await;
    check(&boss, "access.remove", &[Value::Int(1)], "404: there is no edit 1").await;
    check(&boss, "access.remove", &[Value::Int(-1)], "404: there is no edit").await;
    assert_eq!(edit(&world, "deny", "sums", "monitor", "/O=Grid/CN=Eve").await, Value::Int(1));
    deny("sums", "monitor", "CN=eve,O=Grid", "409: edit 1 says the same").await;

    let told = world.call(&boss, "access.list", &[]).await.unwrap();
    let [one] = told.as_array().unwrap() else { panic!("{told:?}") };
    for (name, value) in [
        ("number", Value::Int(1)),
        ("service", "sums".into()),
        ("method", "monitor".into()),
        ("allow", false.into()),
        ("who", "/O=Grid/CN=Eve".into()),
        ("by", BOSS.into()),
        ("end", Value::Nil),
    ] {
        assert_eq!(one.member(name), Some(&value), "{name}");
    }
    remove(&world, Value::Int(1)).await;
    let lines = audited(&world).await;
    let told = |line: &serde_json::Value| {
        let member = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        let number = line["number"].as_u64().unwrap_or(0);
        format!("{} {number} {}", member("what"), member("who"))
    };
    let done: Vec<String> = lines
        .iter()
        .filter(|line| line["refused"].is_null())
        .inspect(|line| assert_eq!(line["subject"], BOSS))
        .map(told)
        .collect();
    assert_eq!(done, ["deny 1 /O=Grid/CN=Eve", "remove 1 /O=Grid/CN=Eve"]);
    assert!(lines.iter().any(|line| line["subject"] == ALICE && !line["refused"].is_null()));
}
