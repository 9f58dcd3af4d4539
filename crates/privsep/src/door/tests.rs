//! Tests of leaf doors.

use super::*;
use crate::spawn;

fn visitor(keeper: &Doorkeeper) -> io::Result<Visitor> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(visitor) = keeper.visitor()? {
            return Ok(visitor);
        }
        assert!(Instant::now() < end, "nobody comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child that goes through the door, and says how by its exit code.
fn guest(door: &OwnedFd, wait: Duration) -> spawn::Child {
    spawn::fork(&[door.as_fd()], || match enter(door.as_fd(), wait) {
        Ok(()) => 0,
        Err(DoorError::Refused) => 1,
        Err(DoorError::TooLate) => 2,
        Err(DoorError::Io(_)) => 3,
    })
    .unwrap()
}

#[test]
fn the_kernel_says_who_stands_at_the_door() {
    for (placed, code) in [(true, 0), (false, 1)] {
        let (keeper, door) = Doorkeeper::new().unwrap();
        assert!(keeper.visitor().unwrap().is_none());
        let child = guest(&door, Duration::from_secs(10));
        let who = visitor(&keeper).unwrap();
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(who, Visitor { pid: child.pid().as_raw_pid(), uid });
        keeper.answer(placed).unwrap();
        assert_eq!(child.wait().unwrap(), spawn::Ending::Exited(code));
    }
}

#[test]
fn a_door_that_is_closed_or_not_answered_lets_nobody_in() {
    let (keeper, door) = Doorkeeper::new().unwrap();
    let late = guest(&door, Duration::from_millis(50));
    assert_eq!(late.wait().unwrap(), spawn::Ending::Exited(2));
    drop(keeper);
    assert!(enter(door.as_fd(), Duration::from_secs(1)).is_err());
    let (keeper, door) = Doorkeeper::new().unwrap();
    drop(door);
    assert_eq!(keeper.visitor().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
