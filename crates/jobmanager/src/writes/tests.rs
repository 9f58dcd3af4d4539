use std::io::Write as _;
use std::path::PathBuf;

use super::*;

struct World {
    root: tempfile::TempDir,
    account: AccountDir,
    writes: Writes,
    now: Instant,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let account = AccountDir::open(root.path()).unwrap();
    World { root, account, writes: Writes::default(), now: Instant::now() }
}

impl World {
    fn session(&self) -> SessionId {
        let session = SessionId::random();
        self.account.create(&session, 0o077).unwrap();
        session
    }

    fn path(&self, session: &SessionId, name: &str) -> PathBuf {
        self.root.path().join(session.reveal()).join(name)
    }

    fn begin(&mut self, peer: u32, session: &SessionId) -> Result<u64, Failure> {
        self.writes.check_room(peer, session, 0)?;
        let sandbox = self.account.sandbox(session)?;
        let writing = sandbox.begin_write(&SandboxPath::parse("f")?, 0o077)?;
        let bounds = Bounds { bytes_max: 9, sandbox_bytes_max: 0 };
        Ok(self.writes.add(peer, session.clone(), writing, bounds, self.now))
    }

    fn grow(&self, ticket: u64) {
        let file = self.writes.open[&ticket].writing.file().try_clone_to_owned().unwrap();
        std::fs::File::from(file).write_all(b"more").unwrap();
    }

    /// Time passes, and the loop looks; answers how many are left.
    fn pass(&mut self, time: Duration) -> usize {
        self.now += time;
        self.writes.sweep(self.now);
        self.writes.open.len()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_does_not_grow_is_discarded() {
    let mut world = world();
    let session = world.session();
    let (still, grows) = (world.begin(1, &session).unwrap(), world.begin(1, &session).unwrap());
    assert_eq!(world.writes.next(), Some(world.now + IDLE_MAX));
    world.grow(grows);
    assert_eq!(world.pass(IDLE_MAX - SECOND), 2);
    assert_eq!(world.pass(SECOND), 1);
    assert!(!world.writes.open.contains_key(&still));
    assert!(!world.path(&session, ".nesssi-new.0").exists());
    assert!(world.path(&session, ".nesssi-new.1").exists());
    world.grow(grows);
    assert_eq!(world.pass(IDLE_MAX), 1);
    assert_eq!(world.pass(IDLE_MAX), 0);
    assert!(!world.path(&session, ".nesssi-new.1").exists());
    assert_eq!(world.writes.next(), None);
}

#[test]
fn what_grows_without_end_is_discarded_too() {
    let mut world = world();
    let session = world.session();
    let ticket = world.begin(1, &session).unwrap();
    let begun = world.now;
    world.grow(ticket);
    while world.pass(IDLE_MAX) > 0 {
        assert!(world.now < begun + TIME_MAX, "it is discarded in time");
        world.grow(ticket);
    }
    assert_eq!(world.now, begun + TIME_MAX);
}

#[test]
fn a_ticket_is_of_one_peer_and_ends_with_it() {
    let mut world = world();
    let session = world.session();
    let (one, other) = (world.begin(1, &session).unwrap(), world.begin(2, &session).unwrap());
    assert!(world.writes.take(2, one).is_none());
    world.writes.discard(2, one);
    world.writes.discard(1, 999);
    assert_eq!(world.writes.open.len(), 2);
    world.writes.remove_peer(1);
    assert!(!world.path(&session, ".nesssi-new.0").exists());
    assert!(world.writes.take(2, other).is_some());
    assert!(world.writes.take(2, other).is_none());
}

#[test]
fn those_of_a_sandbox_that_is_removed_are_discarded() {
    let mut world = world();
    let (one, other) = (world.session(), world.session());
    world.begin(1, &one).unwrap();
    let kept = world.begin(1, &other).unwrap();
    world.writes.remove_session(&one);
    assert_eq!(world.writes.open.keys().collect::<Vec<_>>(), [&kept]);
    world.writes.discard_all();
    assert!(!world.path(&other, ".nesssi-new.0").exists());
}

#[test]
fn so_many_are_written_at_once() {
    let mut world = world();
    let session = world.session();
    for _ in 0..WRITES_PER_SESSION_MAX - 1 {
        world.begin(1, &session).unwrap();
    }
    world.begin(2, &session).unwrap();
    let again = Errno::AGAIN.raw_os_error();
    assert_eq!(world.begin(3, &session).unwrap_err().errno, again, "of one sandbox");
    let mut last = None;
    while world.writes.open.values().filter(|open| open.peer == 1).count() < WRITES_PER_PEER_MAX {
        let session = world.session();
        last = Some(world.begin(1, &session).unwrap());
    }
    let session = world.session();
    assert_eq!(world.begin(1, &session).unwrap_err().errno, again, "of one peer");
    world.writes.discard(1, last.unwrap());
    world.begin(1, &session).unwrap();
    let mut peer = 10;
    while world.writes.open.len() < WRITES_MAX {
        peer += 1;
        let session = world.session();
        world.begin(peer, &session).unwrap();
    }
    let session = world.session();
    assert_eq!(world.begin(9, &session).unwrap_err().errno, again, "of all");
    world.writes.remove_peer(peer);
    assert_eq!(world.writes.check_room(9, &session, 0), Ok(()));
    assert!(world.writes.check_room(9, &session, 1).is_err(), "one is being committed");
}
