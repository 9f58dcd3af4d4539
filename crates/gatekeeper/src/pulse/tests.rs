use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{Metered, Patience, Pulse};

fn patience() -> Patience {
    let seconds = Duration::from_secs;
    Patience { handshake: seconds(1), header: seconds(20), body: seconds(300), idle: seconds(4000) }
}

/// Which of the patiences the pulse's deadline comes from.
#[track_caller]
fn check(pulse: &Arc<Pulse>, patience: Option<Duration>) {
    let allowed = pulse.due().map(|due| due - pulse.began);
    match (allowed, patience) {
        (Some(allowed), Some(patience)) => {
            assert!(allowed >= patience && allowed < patience * 2, "{allowed:?}");
        }
        (allowed, patience) => assert_eq!(allowed, patience),
    }
}

#[tokio::test]
async fn each_phase_has_its_deadline() {
    let (mut caller, ours) = duplex(8);
    let pulse = Pulse::new(patience(), true);
    let mut stream = Metered::new(ours, Arc::clone(&pulse));
    check(&pulse, Some(patience().idle));

    caller.write_all(b"POST").await.unwrap();
    stream.read_u32().await.unwrap();
    check(&pulse, Some(patience().header));

    let request = pulse.begin();
    check(&pulse, None);

    let stuck = tokio::time::timeout(Duration::from_millis(5), stream.write_all(&[0; 99])).await;
    assert!(stuck.is_err());
    check(&pulse, Some(patience().body));

    let mut sink = [0; 8];
    caller.read_exact(&mut sink).await.unwrap();
    stream.write_all(&[0; 8]).await.unwrap();
    check(&pulse, None);
    drop(request);
    check(&pulse, Some(patience().idle));
}

#[tokio::test]
async fn frames_between_http2_requests_are_no_heads() {
    let (mut caller, ours) = duplex(8);
    let pulse = Pulse::new(patience(), false);
    let mut stream = Metered::new(ours, Arc::clone(&pulse));
    caller.write_all(b"PING").await.unwrap();
    stream.read_u32().await.unwrap();
    check(&pulse, Some(patience().idle));
}
