use std::net::IpAddr;

use super::Crowd;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn bounded_for_each_address_and_in_total() {
    let crowd = Crowd::new(3, 2);
    let first = crowd.enter(address("192.0.2.1")).unwrap();
    let _second = crowd.enter(address("192.0.2.1")).unwrap();
    assert!(crowd.enter(address("192.0.2.1")).is_none());
    assert!(crowd.enter(address("::ffff:192.0.2.1")).is_none());
    let _third = crowd.enter(address("192.0.2.2")).unwrap();
    assert!(crowd.enter(address("192.0.2.3")).is_none());
    drop(first);
    assert!(crowd.enter(address("192.0.2.3")).is_some());
}

#[test]
fn a_v6_network_counts_as_one() {
    let crowd = Crowd::new(10, 1);
    let _held = crowd.enter(address("2001:db8:1:2::1")).unwrap();
    assert!(crowd.enter(address("2001:db8:1:2:ffff::9")).is_none());
    assert!(crowd.enter(address("2001:db8:1:3::1")).is_some());
}

#[tokio::test]
async fn gone_when_the_last_has_left() {
    let crowd = Crowd::new(10, 10);
    crowd.gone().await;
    let place = crowd.enter(address("::1")).unwrap();
    let waiting = tokio::spawn({
        let crowd = std::sync::Arc::clone(&crowd);
        async move { crowd.gone().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(place);
    waiting.await.unwrap();
}
