//! Tests of signals as descriptors.

use super::*;

#[test]
fn a_signal_is_read_and_does_not_interrupt() {
    // In a process of its own: a mask is a thread's, and the harness has more than one.
    let child = crate::spawn::fork(&[], || {
        let Ok(signals) = SignalFd::new(&[Signal::TERM, Signal::HUP]) else { return 1 };
        if !matches!(signals.next(), Ok(None)) {
            return 2;
        }
        for signal in [Signal::HUP, Signal::TERM] {
            if rustix::process::kill_process(rustix::process::getpid(), signal).is_err() {
                return 3;
            }
        }
        let mut seen = Vec::new();
        while let Ok(Some(number)) = signals.next() {
            seen.push(number);
        }
        seen.sort_unstable();
        i32::from(seen != [Signal::HUP.as_raw(), Signal::TERM.as_raw()]) * 4
    });
    assert_eq!(child.unwrap().wait().unwrap(), crate::spawn::Ending::Exited(0));
}
