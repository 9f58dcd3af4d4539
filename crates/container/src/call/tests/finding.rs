//! Calls while the services are still being found.

use std::time::{Duration, Instant};

use nesssi_rpc::{Reply, Value};

use super::world::{ALICE, Folder, World, anonymous, certified, folder};
use super::{listed, texts};
use crate::link::lock;

const STILL: &str = "503: services are still being found: try again";

/// A call that runs beside the test.
fn beside(world: &World, method: &str) -> tokio::task::JoinHandle<Reply> {
    let container = world.container.clone();
    let method = nesssi_rpc::MethodName::parse(method).unwrap();
    tokio::spawn(async move {
        let call = nesssi_rpc::Call { method, params: vec![] };
        container.call(&certified(ALICE), call).await.reply
    })
}

#[tokio::test]
async fn a_service_that_hangs_delays_no_other_and_is_waited_for() {
    let world = World::finding(vec![folder("quick"), folder("slow")], Some("slow"), 0).await;
    world.call(&anonymous(), "echo.echo", &[]).await.unwrap();
    assert_eq!(world.call(&certified(ALICE), "quick.gen", &[]).await, Ok(Value::Int(1)));
    for method in ["slow.gen", "none.gen"] {
        assert_eq!(world.refused(&certified(ALICE), method, &[]).await, STILL);
    }
    let help = world.refused(&certified(ALICE), "system.methodHelp", &["slow.gen".into()]).await;
    assert_eq!(help, STILL);
    let names = texts(&world.call(&certified(ALICE), "system.listMethods", &[]).await.unwrap());
    assert!(names.contains(&"quick.gen".to_owned()), "what is known is told: {names:?}");
    assert!(!names.iter().any(|name| name.starts_with("slow.")), "{names:?}");
    assert_eq!(listed(&world, "quick", "state").await, "ok".into());
    let status = crate::registry::status_text(&world.container.inner);
    assert!(status.starts_with("services: 1 (still being found), broken: 0"), "{status}");

    let (patient, lost) = (beside(&world, "slow.gen"), beside(&world, "none.gen"));
    // Not before both have begun to wait.
    tokio::time::sleep(Duration::from_millis(20)).await;
    *lock(&world.stage.stuck_at) = None;
    assert_eq!(patient.await.unwrap(), Ok(Value::Int(1)));
    let fault = lost.await.unwrap().unwrap_err();
    assert_eq!(fault.text, "no such method: none.gen");
    let status = crate::registry::status_text(&world.container.inner);
    assert!(status.starts_with("services: 2, broken: 0"), "{status}");
}

#[tokio::test]
async fn a_restart_beside_the_first_scan_is_not_undone_by_it() {
    let old = Folder { access: Some("nonsense"), ..folder("sums") };
    let world = World::finding(vec![old], Some("sums"), 0).await;
    world.until("the first scan", || !lock(&world.stage.scans).is_empty()).await;
    *lock(&world.stage.folders) = vec![folder("sums")];
    let (ok, text) = world.restart("sums").await;
    assert!(ok, "{text}");
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));
    *lock(&world.stage.stuck_at) = None;
    world.container.inner.services.all_found().await;
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));
    assert_eq!(
        world.refused(&certified(ALICE), "none.gen", &[]).await,
        "-32601: no such method: none.gen"
    );
    assert_eq!(*lock(&world.stage.scans), ["", "sums"]);
}

#[tokio::test]
async fn a_scan_that_fails_is_tried_again_and_waited_for_only_at_first() {
    let world = World::finding(vec![folder("sums")], None, 2).await;
    assert_eq!(world.call(&certified(ALICE), "sums.gen", &[]).await, Ok(Value::Int(1)));

    let world = World::finding(vec![folder("sums")], None, u32::MAX).await;
    world.until("three tries", || lock(&world.stage.scans).len() > 3).await;
    let since = Instant::now();
    for _ in 0..10 {
        assert_eq!(world.refused(&certified(ALICE), "sums.gen", &[]).await, STILL);
        world.call(&anonymous(), "system.listMethods", &[]).await.unwrap();
    }
    assert!(since.elapsed() < Duration::from_secs(1), "nobody waits for what fails for ever");
    *lock(&world.stage.failures) = 0;
    let since = Instant::now();
    while world.call(&certified(ALICE), "sums.gen", &[]).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(10), "it was never found");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_waits_for_a_service_does_not_hold_up_a_drain() {
    let world = World::finding(vec![folder("slow")], Some("slow"), 0).await;
    let waiting = beside(&world, "slow.gen");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let since = Instant::now();
    world.container.drain().await;
    assert!(since.elapsed() < Duration::from_millis(400), "it took {:?}", since.elapsed());
    assert_eq!(waiting.await.unwrap().unwrap_err().code.number(), 503);
}
