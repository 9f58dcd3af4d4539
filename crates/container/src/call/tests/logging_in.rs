//! `system.auth2`, `system.logout` and `system.auth` through a whole container.

use std::sync::Arc;

use nesssi_identity::Presented;
use nesssi_rpc::Value;

use super::texts;
use super::world::{ALICE, MALLORY, World, anonymous, certified, folder};
use crate::link::lock;
use crate::{Basic, Caller};

const TOKEN: &str = "8d4c0aa0";

fn with(caller: Caller, password: &str) -> Caller {
    let presented = caller.subject().map(|_| Arc::new(Presented::new(vec![vec![1].into()])));
    let basic = Some(Basic { user: TOKEN.into(), password: password.into() });
    Caller { presented, basic, ..caller }
}

/// A world in which Alice has logged in, and her secret.
async fn logged_in() -> (World, String) {
    let world = World::new(vec![folder("sums")]).await;
    *lock(&world.rejudged) = Some((*certified(ALICE).peer).clone());
    let made = world.call(&with(certified(ALICE), "BROWSER"), "system.auth2", &[]).await.unwrap();
    let [server, user, secret] = <[String; 3]>::try_from(texts(&made)).unwrap();
    assert_eq!(server, "the server's");
    assert!(user.starts_with("-----BEGIN CERTIFICATE-----"), "{user}");
    (world, secret)
}

#[tokio::test]
async fn who_has_logged_in_calls_as_himself_without_a_certificate() {
    let (world, secret) = logged_in().await;
    let his = with(anonymous(), &secret);
    assert_eq!(world.call(&his, "sums.whoami", &[]).await, Ok("alice".into()));
    assert_eq!(world.call(&his, "system.logout", &[]).await, Ok(Value::Bool(true)));
    let text = world.refused(&his, "sums.whoami", &[]).await;
    assert!(text.starts_with("401: ") && text.contains("log in again"), "{text}");
    assert_eq!(world.call(&his, "system.logout", &[]).await, Ok(Value::Bool(true)));
    assert_eq!(world.call(&anonymous(), "system.logout", &[]).await, Ok(Value::Bool(true)));
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_never_anonymous() {
    let (world, secret) = logged_in().await;
    for password in ["BROWSER", "", "wrong"] {
        let text = world.refused(&with(anonymous(), password), "echo.echo", &[]).await;
        assert!(text.starts_with("401: "), "{text}");
    }
    let text = world.refused(&with(anonymous(), "BROWSER"), "system.auth2", &[]).await;
    assert!(text.starts_with("401: logging in needs a certificate"), "{text}");
    let text = world.refused(&with(certified(MALLORY), &secret), "echo.echo", &[]).await;
    assert!(text.starts_with("403: "), "{text}");
    // A server that has started anew knows no logins, and the certificate is sufficient.
    assert!(world.call(&with(certified(ALICE), "old"), "sums.whoami", &[]).await.is_ok());
    assert!(world.call(&with(certified(ALICE), "BROWSER"), "sums.whoami", &[]).await.is_ok());
}

#[tokio::test]
async fn a_revoked_credential_ends_its_logins() {
    let (world, secret) = logged_in().await;
    *lock(&world.rejudged) = None;
    let text = world.refused(&with(anonymous(), &secret), "echo.echo", &[]).await;
    assert!(text.starts_with("401: ") && text.contains("it is revoked"), "{text}");
}

#[tokio::test]
async fn the_old_exchange_says_why_it_is_not_offered() {
    let world = World::new(vec![]).await;
    for caller in [anonymous(), with(anonymous(), "-----BEGIN CERTIFICATE-----"), certified(ALICE)]
    {
        let text = world.refused(&caller, "system.auth", &[]).await;
        assert!(text.starts_with("403: ") && text.contains("system.auth2"), "{text}");
    }
}

#[tokio::test]
async fn whoever_tries_many_logins_is_told_so() {
    let (world, _) = logged_in().await;
    let wrong = with(anonymous(), "wrong");
    for _ in 0..super::super::UNJUDGED_CALLS_PER_MINUTE {
        assert!(world.refused(&wrong, "echo.echo", &[]).await.starts_with("401: "));
    }
    assert!(world.refused(&wrong, "echo.echo", &[]).await.starts_with("429: "));
}

#[tokio::test]
async fn logins_and_mappings_are_audited_without_their_secrets() {
    let (world, secret) = logged_in().await;
    let his = with(anonymous(), &secret);
    assert!(world.call(&his, "sums.whoami", &[]).await.is_ok());
    world.refused(&with(certified(MALLORY), &secret), "echo.echo", &[]).await;
    world.call(&his, "system.logout", &[]).await.unwrap();
    world.container.inner.audit.flush().await;
    let text = std::fs::read_to_string(world.audit_path()).unwrap();
    for event in ["login", "authentication", "mapping", "login_refused", "login_ended"] {
        assert!(text.contains(&format!("\"event\":\"{event}\"")), "{event}: {text}");
    }
    let mapping = text.lines().find(|line| line.contains("\"event\":\"mapping\"")).unwrap();
    let mapping: serde_json::Value = serde_json::from_str(mapping).unwrap();
    assert_eq!([&mapping["subject"], &mapping["account"]], [ALICE, "alice"]);
    assert!(mapping["rule"].is_string(), "{mapping}");
    assert!(!text.contains(&secret) && !text.contains(TOKEN), "{text}");
}
