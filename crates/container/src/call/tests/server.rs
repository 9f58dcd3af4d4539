//! How the server is, and what it takes.

use nesssi_rpc::{Fault, FaultCode, Value};

use super::world::{ALICE, MALLORY, NOBODY, World, anonymous, certified, folder, refused};
use crate::ending::Ending;
use crate::link::lock;

fn number(value: &Value, path: [&str; 2]) -> i64 {
    path.iter().fold(value, |at, name| at.member(name).unwrap()).as_int().unwrap()
}

#[tokio::test]
async fn the_status_counts_jobs_and_services_and_tells_of_a_drain() {
    let broken = super::world::Folder { access: None, ..folder("broken") };
    let world = World::new(vec![folder("sums"), broken]).await;
    let status = world.call(&anonymous(), "system.status", &[]).await.unwrap();
    let services = ["ok", "unhealthy", "broken"].map(|state| number(&status, ["services", state]));
    assert_eq!(services, [1, 0, 1]);
    let jobs = ["running", "waiting", "slots_used"].map(|what| number(&status, ["jobs", what]));
    assert_eq!(jobs, [0, 0, 0]);
    assert!(number(&status, ["jobs", "slots"]) > 0);
    assert!(status.member("uptime_seconds").unwrap().as_int().unwrap() < 60);
    assert_eq!(status.member("version"), Some(&env!("CARGO_PKG_VERSION").into()));
    for date in ["started", "as_of"] {
        assert!(matches!(status.member(date), Some(Value::DateTime(at)) if at.year > 2000));
    }
    assert_eq!(status.member("draining"), Some(&false.into()));
    world.container.inner.ending.set(Ending::Drain { seconds_max: 3 });
    let status = world.call(&anonymous(), "system.status", &[]).await.unwrap();
    assert_eq!(status.member("draining"), Some(&true.into()));
}

#[tokio::test]
async fn the_clock_is_told_in_both_forms() {
    let world = World::new(vec![]).await;
    let time = world.call(&anonymous(), "system.time", &[]).await.unwrap();
    let Some(Value::Double(unix)) = time.member("unix") else { panic!("{time:?}") };
    assert!(*unix > 1.6e9, "{unix}");
    assert!(matches!(time.member("now"), Some(Value::DateTime(_))));
    let text = world.refused(&anonymous(), "system.time", &[Value::Nil]).await;
    assert_eq!(text, "-32602: system.time takes no parameters, 1 was given");
}

#[tokio::test]
async fn the_limits_are_those_of_whoami_and_of_the_configuration() {
    let world = World::new(vec![]).await;
    let limits = world.call(&certified(ALICE), "system.limits", &[]).await.unwrap();
    let whoami = world.call(&certified(ALICE), "system.whoami", &[]).await.unwrap();
    assert_eq!(limits.member("limits"), whoami.member("limits"));
    assert_eq!(limits.member("level"), Some(&"weak".into()));
    let bounds = &world.container.inner.config.bounds;
    let told = ["body_bytes_max", "depth_max", "elements_max", "name_bytes_max", "calls_max"];
    let told = told.map(|name| number(&limits, ["bounds", name]));
    let body = i64::try_from(bounds.body_bytes_max).unwrap();
    assert_eq!(told, [body, bounds.xml_depth_max.into(), bounds.xml_elements_max.into(), 255, 512]);
    assert_eq!(limits.member("answers_kept_seconds"), Some(&Value::Int(86_400)));
    assert_eq!(limits.member("wait_seconds_max"), Some(&Value::Int(300)));
    let nobody = world.call(&certified(NOBODY), "system.limits", &[]).await.unwrap();
    assert_eq!(nobody.member("level"), Some(&"".into()));
    assert_eq!(nobody.member("limits"), Some(&Value::record([])));
}

#[tokio::test]
async fn what_is_no_call_is_counted_as_one() {
    let world = World::new(vec![]).await;
    *lock(&world.stage.calls_per_minute) = 2;
    let wrong = Fault::new(FaultCode::InvalidRequest, "no call");
    let caller = certified(ALICE);
    for _ in 0..2 {
        assert_eq!(world.container.miscalled(&caller, wrong.clone()).await, wrong);
    }
    let late = world.container.miscalled(&caller, wrong.clone()).await;
    assert!(late.text.starts_with("level weak allows 2 calls a minute"), "{late}");
    let text = world.refused(&caller, "echo.echo", &[]).await;
    assert!(text.starts_with("429: "), "{text}");
    let stranger = world.container.miscalled(&refused(), wrong).await;
    assert_eq!(stranger.code, FaultCode::Refused);
}

#[tokio::test]
async fn the_health_of_services_is_told_of_all_and_of_one() {
    let broken = super::world::Folder { access: None, ..folder("broken") };
    let world = World::new(vec![folder("sums"), broken]).await;
    world.call(&certified(ALICE), "sums.add", &[Value::Int(1), Value::Int(2)]).await.unwrap();
    let Value::Array(all) = world.call(&anonymous(), "service.health", &[]).await.unwrap() else {
        panic!("no list");
    };
    assert_eq!(all.len(), 2);
    let one = world.call(&anonymous(), "service.health", &["sums".into()]).await.unwrap();
    let expected = Value::record([
        ("name", "sums".into()),
        ("state", "ok".into()),
        ("reason", "".into()),
        ("workers", Value::Int(1)),
        ("restarts", Value::Int(0)),
    ]);
    assert_eq!(one, expected);
    assert!(all.contains(&one));
    let one = world.call(&anonymous(), "service.health", &["broken".into()]).await.unwrap();
    assert_eq!(one.member("state"), Some(&"broken".into()));
    assert!(one.member("reason").unwrap().as_str().unwrap().contains(".clarens_access"));
    let text = world.refused(&anonymous(), "service.health", &["none".into()]).await;
    assert_eq!(text, "404: no such service");
}

#[tokio::test]
async fn the_help_of_a_service_has_what_its_reader_may_call() {
    let world = World::new(vec![folder("sums")]).await;
    let help = async |caller: &crate::Caller, name: &str| {
        let text = world.call(caller, "service.help", &[name.into()]).await;
        text.map(|text| text.as_str().unwrap().to_owned())
    };
    let text = help(&certified(ALICE), "sums").await.unwrap();
    assert!(text.contains("\nsums.add(arg0: int, arg1: int) -> int\n    Adds.\n"), "{text}");
    assert!(text.contains("\nsums.monitor("), "{text}");
    for caller in [certified(MALLORY), anonymous()] {
        assert_eq!(help(&caller, "sums").await.unwrap_err().code, FaultCode::NotFound);
    }
    let text = help(&anonymous(), "job").await.unwrap();
    assert!(text.starts_with("job: What became of jobs"), "{text}");
    assert!(text.contains("\njob.wait(session: string, seconds: double) -> struct\n"), "{text}");
    assert_eq!(help(&anonymous(), "none").await.unwrap_err().code, FaultCode::NotFound);
}

#[tokio::test]
async fn the_help_of_a_method_says_how_it_is_called() {
    let world = World::new(vec![folder("sums")]).await;
    let help = async |caller: &crate::Caller, name: &str| {
        let text = world.call(caller, "service.help", &[name.into()]).await;
        text.map(|text| text.as_str().unwrap().to_owned())
    };
    let text = help(&certified(ALICE), "sums.add").await.unwrap();
    assert_eq!(text, "sums.add(arg0: int, arg1: int) -> int\n    Adds.\n");
    let text = help(&anonymous(), "echo.echo").await.unwrap();
    assert!(text.starts_with("echo.echo(...)\n    Answers its parameters as a list"), "{text}");
    let text = help(&anonymous(), "system.method_help").await.unwrap();
    assert!(text.starts_with("system.methodHelp(name: string) -> string\n"), "{text}");
    for (caller, name) in [
        (certified(MALLORY), "sums.add"),
        (certified(ALICE), "sums.none"),
        (anonymous(), "echo.none"),
        (anonymous(), "."),
        (anonymous(), ""),
    ] {
        let fault = help(&caller, name).await.unwrap_err();
        assert_eq!(fault.to_string(), "fault 404: no such service or method", "{name}");
    }
}
