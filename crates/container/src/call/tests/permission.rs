//! Who may call what, and as what: lowering, accounts, proxies, folders, budgets, explanations.

use nesssi_identity::ProxyKind;
use nesssi_rpc::Value;

use super::world::{
    ALICE, BOSS, Folder, MALLORY, NOBODY, World, anonymous, by_proxy, certified, folder,
};
use super::{listed, texts};
use crate::Caller;
use crate::link::lock;

const LOWERING: &str =
    "allow = [\"/\"]\n[[lower]]\nsubjects = [\"/O=Grid/CN=Boss\"]\nlevel = \"weak\"\n";

fn asking_for(subject: &str, account: &str) -> Caller {
    Caller { account: Some(account.to_owned()), ..certified(subject) }
}

fn member(value: &Value, name: &str) -> Value {
    let Value::Struct(members) = value else { panic!("{value:?}") };
    members.get(name).cloned().unwrap_or(Value::Nil)
}

#[tokio::test]
async fn a_service_lowers_a_caller_to_a_community_account() {
    let lowering = Folder { access: Some(LOWERING), ..folder("common") };
    let world = World::new(vec![lowering, folder("own")]).await;
    for _ in 0..2 {
        assert_eq!(world.call(&certified(BOSS), "common.whoami", &[]).await, Ok("alice".into()));
        assert_eq!(world.call(&certified(BOSS), "own.whoami", &[]).await, Ok("boss".into()));
    }
    assert_eq!(*lock(&world.stage.judged), 2, "each of both judgements is remembered");
    // The list asks for the level that he has, so he is not lowered.
    assert_eq!(world.call(&certified(ALICE), "common.whoami", &[]).await, Ok("alice".into()));
    world.container.inner.audit.flush().await;
    let text = std::fs::read_to_string(world.audit_path()).unwrap();
    let line = text.lines().find(|line| line.contains("common.whoami")).unwrap();
    assert!(line.contains("\"lowered\":\"weak\""), "{line}");
}

#[tokio::test]
async fn what_a_service_serves_is_held_against_the_level_after_lowering() {
    let access = Some(LOWERING);
    let manifest = Some("levels = [\"strong\"]");
    let strong = Folder { access, manifest, ..folder("strongonly") };
    let digest = "approved = \"1111111111111111111111111111111111111111111111111111111111111111\"";
    let changed = Folder { access, manifest: Some(digest), ..folder("changed") };
    let world = World::new(vec![strong, changed]).await;
    let text = world.refused(&certified(BOSS), "strongonly.gen", &[]).await;
    assert_eq!(text, "403: the service strongonly does not serve level weak");
    assert_eq!(world.call(&certified(BOSS), "changed.gen", &[]).await, Ok(Value::Int(1)));
    let names = texts(&world.call(&certified(BOSS), "system.listMethods", &[]).await.unwrap());
    assert!(names.contains(&"changed.gen".to_owned()), "{names:?}");
    assert!(!names.contains(&"strongonly.gen".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_caller_asks_for_another_of_his_accounts() {
    let world = World::new(vec![folder("sums")]).await;
    assert_eq!(world.call(&certified(BOSS), "sums.whoami", &[]).await, Ok("boss".into()));
    let second = asking_for(BOSS, "second");
    assert_eq!(world.call(&second, "sums.whoami", &[]).await, Ok("second".into()));
    let text = world.refused(&asking_for(BOSS, "alice"), "sums.whoami", &[]).await;
    assert_eq!(text, "403: the account alice is not one of this caller's");
    let text = world.refused(&asking_for(BOSS, "no such"), "sums.whoami", &[]).await;
    assert!(text.starts_with("-32602: the account asked for is none"), "{text}");
    let text = world.refused(&asking_for(NOBODY, "boss"), "sums.whoami", &[]).await;
    assert_eq!(text, "403: no level takes this certificate");
}

#[tokio::test]
async fn a_limited_proxy_reads_and_starts_nothing() {
    let world = World::new(vec![folder("sums")]).await;
    let limited = by_proxy(ALICE, ProxyKind::Limited);
    let full = by_proxy(ALICE, ProxyKind::Full);
    let starts_nothing = "403: a limited proxy may read, and start nothing";
    assert_eq!(
        world.call(&limited, "sums.add", &[Value::Int(1), Value::Int(1)]).await,
        Ok(Value::Int(2))
    );
    assert_eq!(world.call(&limited, "sums.run", &[]).await, Ok(starts_nothing.into()));
    // The full proxy comes as far as the stand-in, which starts no jobs.
    let told = world.call(&full, "sums.gen", &[]).await;
    assert_eq!(told, Ok(Value::Int(1)));
    let session = Value::from("0".repeat(32));
    for (method, params) in [("job.cancel", vec![session]), ("vo.create", vec!["atlas".into()])] {
        assert_eq!(world.refused(&limited, method, &params).await, starts_nothing);
        assert_ne!(world.refused(&full, method, &params).await, starts_nothing);
    }
    world.call(&limited, "job.list", &[]).await.unwrap();
    let told = world.call(&limited, "system.explain", &["sums.add".into(), Value::Int(5)]).await;
    assert_eq!(
        member(&told.unwrap(), "text"),
        "a limited proxy may read, and start nothing".into()
    );
    let me = world.call(&limited, "system.whoami", &[]).await.unwrap();
    assert_eq!(member(&me, "proxy"), "limited".into());
    assert_eq!(member(&me, "credential_ends"), "2026-11-22T12:00:00Z".into());
}

#[tokio::test]
async fn the_folders_around_a_service_have_their_say() {
    let inner = Folder { access: Some("allow = [\"/O=Grid\"]"), ..folder("group.inner") };
    let below = Folder { access: Some("allow = [\"/O=Grid\"]"), ..folder("sums.inner") };
    let world = World::finding(vec![inner, below, folder("sums")], Some("group.inner"), 0).await;
    lock(&world.stage.lists).push(("group", "allow = [\"/\"]\ndeny = [\"/O=Grid/CN=Alice\"]"));
    *lock(&world.stage.stuck_at) = None;
    world.container.inner.services.all_found().await;
    let world = &world;
    world.looked_again().await;
    let text = world.refused(&certified(ALICE), "group.inner.gen", &[]).await;
    assert!(text.starts_with("403: the access list"), "{text}");
    assert_eq!(world.call(&certified(BOSS), "group.inner.gen", &[]).await, Ok(Value::Int(1)));
    // `sums` denies Mallory: so nothing in it admits him.
    let text = world.refused(&certified(MALLORY), "sums.inner.gen", &[]).await;
    assert!(text.starts_with("403: the access list"), "{text}");
    assert_eq!(world.call(&certified(ALICE), "sums.inner.gen", &[]).await, Ok(Value::Int(1)));
}

#[tokio::test]
async fn a_changed_access_list_holds_without_a_restart() {
    let world = World::new(vec![folder("sums")]).await;
    let alice = certified(ALICE);
    let set = async |access: Option<&'static str>| {
        lock(&world.stage.folders)[0].access = access;
        world.looked_again().await;
    };
    assert_eq!(world.call(&alice, "sums.gen", &[]).await, Ok(Value::Int(1)));
    *lock(&world.stage.worker_generation) = 2;
    set(Some("allow = [\"/O=Grid/CN=Boss\"]")).await;
    assert!(world.refused(&alice, "sums.gen", &[]).await.starts_with("403: the access list"));
    set(Some("allow = 7")).await;
    assert!(world.refused(&alice, "sums.gen", &[]).await.starts_with("403: the access list"));
    assert_eq!(listed(&world, "sums", "remark").await, "mistakes in its .clarens_access".into());
    assert_eq!(listed(&world, "sums", "state").await, "ok".into());
    set(None).await;
    let text = world.refused(&certified(BOSS), "sums.gen", &[]).await;
    assert_eq!(text, "503: the service sums is broken; service.list says why");
    assert_eq!(listed(&world, "sums", "state").await, "broken".into());
    assert_eq!(listed(&world, "sums", "reason").await, "it has no .clarens_access".into());
    set(Some("allow = [\"/\"]")).await;
    assert_eq!(listed(&world, "sums", "remark").await, "".into());
    let same = world.call(&alice, "sums.gen", &[]).await;
    assert_eq!(same, Ok(Value::Int(1)), "the worker that was warm before");
    *lock(&world.stage.unreadable) = Some("sums");
    world.looked_again().await;
    assert_eq!(world.call(&alice, "sums.gen", &[]).await, Ok(Value::Int(1)));
    assert_eq!(listed(&world, "sums", "remark").await, "its .clarens_access cannot be read".into());
}

#[tokio::test]
async fn a_service_that_was_broken_for_want_of_a_list_comes_alive_with_one() {
    let world = World::new(vec![Folder { access: None, ..folder("sums") }]).await;
    assert!(world.refused(&certified(ALICE), "sums.gen", &[]).await.starts_with("503"));
    lock(&world.stage.folders)[0].access = Some("allow = [\"/\"]");
    let since = std::time::Instant::now();
    while world.call(&certified(ALICE), "sums.gen", &[]).await.is_err() {
        assert!(since.elapsed().as_secs() < 10, "it did not come alive");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(*lock(&world.stage.scans), ["", "sums"], "only it is read again, once");
}

#[tokio::test]
async fn new_rules_are_those_of_the_new_configuration() {
    let digest = "approved = \"1111111111111111111111111111111111111111111111111111111111111111\"";
    let pinned = Folder { manifest: Some(digest), ..folder("pinned") };
    let world = World::new(vec![pinned]).await;
    assert_eq!(world.call(&certified(ALICE), "pinned.gen", &[]).await, Ok(Value::Int(1)));
    let config = "[policy]\nvo_administrators = [\"/O=Grid/CN=Alice\"]\n\
                  [[level]]\nname = \"weak\"\nfrom = \"gridmap\"\n";
    world.new_rules(Some(config));
    world.until("the new generation", || world.container.inner.grants.generation() == 2).await;
    let since = std::time::Instant::now();
    while world.call(&certified(ALICE), "vo.create", &["atlas".into()]).await.is_err() {
        assert!(since.elapsed().as_secs() < 10, "Alice did not become an administrator");
    }
    let text = world.refused(&certified(ALICE), "pinned.gen", &[]).await;
    assert!(text.starts_with("403: the code of service pinned has changed"), "{text}");
    let judged = *lock(&world.stage.judged);
    assert!(judged >= 2, "he was judged again");
    // What cannot be read changes nothing.
    world.new_rules(Some("nonsense"));
    world.until("the new generation", || world.container.inner.grants.generation() == 3).await;
    world.call(&certified(ALICE), "vo.create", &["cms".into()]).await.unwrap();
}

#[tokio::test]
async fn a_day_s_budget_that_is_used_up_refuses_calls() {
    let world = World::new(vec![folder("sums")]).await;
    *lock(&world.stage.cpu_seconds_per_day) = 3;
    let alice = certified(ALICE);
    assert_eq!(world.call(&alice, "sums.gen", &[]).await, Ok(Value::Int(1)));
    let inner = &world.container.inner;
    let grant = inner.grants.judge(&alice).await.unwrap();
    let claim = inner.grants.claim_of(&alice).unwrap();
    let who = crate::CallerGrant::new(claim, alice.address, grant, "r".into());
    inner.jobs.charge_call(&who, 2_500_000);
    assert_eq!(world.call(&alice, "sums.gen", &[]).await, Ok(Value::Int(1)));
    let told = world.call(&alice, "system.explain", &["sums.gen".into(), Value::Int(1)]).await;
    let text = member(&told.unwrap(), "text");
    let text = text.as_str().unwrap();
    assert!(
        text.starts_with("asked for 1 CPU seconds, level weak allows 3 a day: 0 are left until 20"),
        "{text}"
    );
    inner.jobs.charge_call(&who, 500_000);
    let text = world.refused(&alice, "sums.gen", &[]).await;
    let begin = "429: level weak allows 3 CPU seconds a day, and none is left until 20";
    assert!(text.starts_with(begin), "{text}");
    // Another caller has his own, and what costs nothing is answered.
    assert_eq!(world.call(&certified("/O=Grid/CN=Bob"), "sums.gen", &[]).await, Ok(Value::Int(1)));
    world.call(&alice, "job.list", &[]).await.unwrap();
    let me = world.call(&alice, "system.whoami", &[]).await.unwrap();
    let used = member(&me, "used");
    let Value::Double(seconds) = member(&used, "cpu_seconds_today") else { panic!("{used:?}") };
    assert!(seconds >= 3.0, "{seconds}");
    assert!(member(&used, "day_renews_at").as_str().unwrap().ends_with("T00:00:00Z"));
    assert_eq!(member(&member(&me, "limits"), "cpu_seconds_per_day"), Value::Int(3));
}

#[tokio::test]
async fn a_caller_asks_who_he_is() {
    let world = World::new(vec![]).await;
    let me = world.call(&certified(BOSS), "system.whoami", &[]).await.unwrap();
    assert_eq!(member(&me, "dn"), BOSS.into());
    assert_eq!(member(&me, "issuer"), "/O=Grid/CN=CA".into());
    assert_eq!((member(&me, "level"), member(&me, "account")), ("strong".into(), "boss".into()));
    assert_eq!(member(&me, "proxy"), "none".into());
    assert_eq!(member(&member(&me, "limits"), "cpu_seconds"), Value::Int(900));
    assert_eq!(member(&member(&me, "limits"), "cpu_seconds_per_day"), Value::Nil, "no limit");
    assert_eq!(member(&member(&me, "used"), "calls_this_minute"), Value::Int(1));
    let nobody = world.call(&certified(NOBODY), "system.whoami", &[]).await.unwrap();
    assert_eq!(member(&nobody, "level"), "".into());
    assert_eq!(member(&nobody, "refused"), "no level takes this certificate".into());
    let guest = world.call(&anonymous(), "system.whoami", &[]).await.unwrap();
    assert_eq!((member(&guest, "dn"), member(&guest, "credential_ends")), ("".into(), "".into()));
    assert_eq!(member(&guest, "account"), "guest".into());
}

/// An explanation must say what the call itself gets.
async fn check_explained(world: &World, caller: &Caller, method: &str) {
    let told = world.call(caller, "system.explain", &[method.into()]).await.unwrap();
    let expected = match world.call(caller, method, &[]).await {
        Ok(_) => (Value::from("granted"), Value::Int(0), Value::from("")),
        Err(fault) => ("refused".into(), Value::Int(fault.code.number()), fault.text.into()),
    };
    let got = (member(&told, "outcome"), member(&told, "code"), member(&told, "text"));
    assert_eq!(got, expected, "{method}");
}

async fn explained_world() -> World {
    let lowering = Folder { access: Some(LOWERING), ..folder("common") };
    let manifest = Some("levels = [\"strong\"]");
    let strong = Folder { manifest, ..folder("strongonly") };
    let open = Folder { access: None, ..folder("open") };
    World::new(vec![lowering, strong, open, folder("sums")]).await
}

#[tokio::test]
async fn an_explanation_is_what_the_call_gets() {
    let callers = [
        certified(ALICE),
        certified(BOSS),
        certified(MALLORY),
        certified(NOBODY),
        anonymous(),
        asking_for(BOSS, "second"),
        asking_for(BOSS, "alice"),
    ];
    for caller in &callers {
        let world = explained_world().await;
        for service in ["common", "strongonly", "open", "sums", "none"] {
            check_explained(&world, caller, &format!("{service}.gen")).await;
            check_explained(&world, caller, &format!("{service}.none")).await;
        }
        check_explained(&world, caller, "system.version").await;
    }
    let world = explained_world().await;
    let told =
        world.call(&certified(BOSS), "system.explain", &["common.gen".into()]).await.unwrap();
    let Value::Array(steps) = member(&told, "steps") else { panic!("{told:?}") };
    let rules: Vec<_> = steps.iter().map(|step| member(step, "rule")).collect();
    let lowered = "the access list lowers him to level weak";
    assert_eq!(rules, ["judged".into(), "access list of common".into(), lowered.into()]);
    assert_eq!(member(&told, "account"), "alice".into());
    let params = ["sums.gen".into(), Value::Double(900.5)];
    let size = world.call(&certified(ALICE), "system.explain", &params).await.unwrap();
    assert_eq!(
        member(&size, "text"),
        "asked for 901 CPU seconds, the limit of level weak is 900".into()
    );
    let wrong = world.refused(&certified(ALICE), "system.explain", &[]).await;
    assert!(wrong.starts_with("-32602"), "{wrong}");
}
