//! VO groups, by calls.

use nesssi_identity::ProxyKind;
use nesssi_rpc::Value;

use super::texts;
use super::world::{ALICE, BOSS, Folder, MALLORY, World, anonymous, by_proxy, certified, folder};

const ROOT: &str = "[policy]\nvo_administrators = [\"/O=Grid/CN=Boss\"]\n";

/// A world where Boss administers all groups.
async fn world(folders: Vec<Folder>) -> World {
    let world = World::new(folders).await;
    world.new_rules(Some(ROOT));
    world.until("the rules", || world.container.inner.grants.generation() == 2).await;
    let boss = nesssi_dn::SubjectDn::parse_oneline(BOSS).unwrap();
    world.until("the administrator", || world.container.inner.groups.now().is_root(&boss)).await;
    world
}

async fn done(world: &World, by: &str, method: &str, params: &[&str]) {
    let params: Vec<Value> = params.iter().map(|param| Value::from(*param)).collect();
    assert_eq!(
        world.call(&certified(by), method, &params).await,
        Ok(Value::Bool(true)),
        "{method}"
    );
}

async fn refused(world: &World, by: &str, method: &str, params: &[&str], expected: &str) {
    let params: Vec<Value> = params.iter().map(|param| Value::from(*param)).collect();
    let text = world.refused(&certified(by), method, &params).await;
    assert!(text.starts_with(expected), "{method}: {text}");
}

async fn list(world: &World, by: &str, method: &str, params: &[&str]) -> Vec<String> {
    let params: Vec<Value> = params.iter().map(|param| Value::from(*param)).collect();
    texts(&world.call(&certified(by), method, &params).await.unwrap())
}

#[tokio::test]
async fn groups_are_made_and_filled_by_their_administrators() {
    let world = world(vec![]).await;
    refused(&world, ALICE, "vo.create", &["atlas"], "403: ").await;
    done(&world, BOSS, "vo.create", &["atlas"]).await;
    refused(&world, BOSS, "vo.create", &["atlas"], "409: ").await;
    refused(&world, BOSS, "vo.create", &["cms.calo"], "404: there is no group cms").await;
    refused(&world, BOSS, "vo.create", &["a b"], "-32602: ").await;
    done(&world, BOSS, "vo.addAdministrator", &["atlas", ALICE]).await;
    done(&world, ALICE, "vo.create", &["atlas.calo"]).await;
    done(&world, ALICE, "vo.addMember", &["atlas.calo", "CN=Bob,O=Grid"]).await;
    refused(&world, ALICE, "vo.addMember", &["atlas.calo", "Bob"], "-32602: ").await;
    refused(&world, "/O=Grid/CN=Bob", "vo.addMember", &["atlas", MALLORY], "403: ").await;
    assert_eq!(list(&world, ALICE, "vo.members", &["atlas.calo"]).await, ["/O=Grid/CN=Bob"]);
    assert_eq!(list(&world, ALICE, "vo.administrators", &["atlas"]).await, [ALICE]);
    assert_eq!(list(&world, MALLORY, "vo.groups", &[]).await, ["atlas", "atlas.calo"]);
    assert_eq!(list(&world, ALICE, "vo.mine", &[]).await, ["atlas", "atlas.calo"]);
    assert_eq!(list(&world, "/O=Grid/CN=Bob", "vo.mine", &[]).await, ["atlas.calo"]);
    refused(&world, MALLORY, "vo.members", &["atlas"], "403: who is in a group").await;
    refused(&world, BOSS, "vo.members", &["none"], "404: ").await;
    let text = world.refused(&anonymous(), "vo.groups", &[]).await;
    assert!(text.starts_with("401: "), "{text}");
    done(&world, ALICE, "vo.removeMember", &["atlas.calo", "/o=grid/cn=BOB"]).await;
    refused(&world, ALICE, "vo.removeMember", &["atlas.calo", ALICE], "404: ").await;
    done(&world, BOSS, "vo.removeAdministrator", &["atlas", ALICE]).await;
    done(&world, BOSS, "vo.delete", &["atlas"]).await;
    assert!(list(&world, MALLORY, "vo.groups", &[]).await.is_empty());
}

#[tokio::test]
async fn every_change_is_audited_the_refused_ones_too() {
    let world = world(vec![]).await;
    done(&world, BOSS, "vo.create", &["atlas"]).await;
    done(&world, BOSS, "vo.addMember", &["atlas", ALICE]).await;
    refused(&world, MALLORY, "vo.addMember", &["atlas", MALLORY], "403: ").await;
    world.container.inner.audit.flush().await;
    let text = std::fs::read_to_string(world.audit_path()).unwrap();
    let told: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "vo_change")
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            let refused = if line["refused"].is_null() { "" } else { " refused" };
            format!(
                "{} {} {} {}{refused}",
                text("subject"),
                text("what"),
                text("group"),
                text("entry")
            )
        })
        .collect();
    let expected = [
        format!("{BOSS} create atlas -"),
        format!("{BOSS} add_member atlas {ALICE}"),
        format!("{MALLORY} add_member atlas {MALLORY} refused"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_group_admits_to_a_service_as_soon_as_somebody_is_in_it() {
    let access = Some("allow_groups = [\"atlas\"]");
    let world = world(vec![Folder { access, ..folder("sums") }]).await;
    refused(&world, ALICE, "sums.gen", &[], "403: the access list").await;
    done(&world, BOSS, "vo.create", &["atlas"]).await;
    done(&world, BOSS, "vo.addMember", &["atlas", ALICE]).await;
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));
    done(&world, BOSS, "vo.removeMember", &["atlas", ALICE]).await;
    refused(&world, ALICE, "sums.gen", &[], "403: the access list").await;
}

#[tokio::test]
async fn groups_outlive_their_gatekeeper() {
    let world = world(vec![]).await;
    done(&world, BOSS, "vo.create", &["atlas"]).await;
    done(&world, BOSS, "vo.addMember", &["atlas", ALICE]).await;
    world.container.drain().await;
    let path = world.directory.path().join("state/gatekeeper/journal.sqlite");
    let (_journal, loaded) = nesssi_journal::Journal::open(&path).unwrap();
    assert_eq!(loaded.vo.len(), 2);
}

#[tokio::test]
async fn an_independent_proxy_administers_nothing_of_its_holders() {
    let world = world(vec![]).await;
    done(&world, BOSS, "vo.create", &["atlas"]).await;
    done(&world, BOSS, "vo.addAdministrator", &["atlas", ALICE]).await;
    // Its name begins with hers, as that of whomever an entry is about.
    let alone = by_proxy(&format!("{ALICE}/CN=7"), ProxyKind::Independent);
    let params = [Value::from("atlas"), Value::from(MALLORY)];
    let text = world.refused(&alone, "vo.addMember", &params).await;
    assert!(text.starts_with("403: an independent proxy"), "{text}");
    let full = by_proxy(ALICE, ProxyKind::Full);
    assert_eq!(world.call(&full, "vo.addMember", &params).await, Ok(Value::Bool(true)));
}
