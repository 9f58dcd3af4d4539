use super::*;

use nesssi_session::AccountDir;

struct Place {
    _root: tempfile::TempDir,
    account: AccountDir,
}

fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    let account = AccountDir::open(root.path()).unwrap();
    Place { _root: root, account }
}

impl Place {
    fn session(&self) -> (SessionId, PrivateDir) {
        let session = SessionId::random();
        let sandbox = self.account.create(&session, 0o077).unwrap();
        (session, PrivateDir::open(&sandbox).unwrap())
    }
}

#[test]
fn a_published_record_is_a_change() {
    let place = place();
    let mut records = Records::default();
    let (session, private) = place.session();
    let (_, other) = place.session();
    records.add(1, &session, &private).unwrap();
    let reserve = private.reserve_record().unwrap();
    assert!(records.changed().is_empty(), "a record that is being written");
    other.write_record("x=1\n").unwrap();
    assert!(records.changed().is_empty(), "nobody waits for it");
    private.publish_record(&reserve, "x=1\n").unwrap();
    assert_eq!(records.changed(), HashSet::from([session]));
    assert!(records.changed().is_empty());
}

#[test]
fn each_has_its_turn_while_it_is_waited_for() {
    let place = place();
    let mut records = Records::default();
    let (one, private) = place.session();
    let (two, also) = place.session();
    records.add(1, &one, &private).unwrap();
    records.add(2, &one, &private).unwrap();
    records.add(1, &two, &also).unwrap();
    assert_eq!(records.turns.len(), 2);
    let now = Instant::now();
    assert!(records.next().unwrap() > now);
    assert_eq!(records.take_due(now), None);
    let later = now + 2 * LOOK_INTERVAL;
    assert_eq!(records.take_due(later).unwrap().1, one);
    // Waited for no more, and then again: its old turn is none.
    records.remove(&two);
    records.add(3, &two, &also).unwrap();
    assert_eq!(records.take_due(later).unwrap(), (3, two.clone()));
    assert_eq!(records.take_due(later), None);
    assert_eq!(records.remove(&two), BTreeSet::from([3]));
    assert_eq!(records.remove(&two), BTreeSet::new());
}

#[test]
fn who_is_gone_waits_for_nothing() {
    let place = place();
    let mut records = Records::default();
    let (one, private) = place.session();
    let (two, also) = place.session();
    records.add(1, &one, &private).unwrap();
    records.add(2, &one, &private).unwrap();
    records.add(1, &two, &also).unwrap();
    records.remove_peer(1);
    assert_eq!(records.waited.len(), 1);
    assert_eq!(records.watched.len(), 1);
    records.remove_peer(2);
    assert!(records.waited.is_empty() && records.watched.is_empty() && records.turns.is_empty());
}

#[test]
fn so_many_are_waited_for_and_no_more() {
    let place = place();
    let mut records = Records::default();
    let (_, private) = place.session();
    for _ in 0..RECORDS_MAX {
        let waited = Waited { number: 0, peers: BTreeSet::new(), watch: None };
        records.waited.insert(SessionId::random(), waited);
    }
    let failure = records.add(1, &SessionId::random(), &private).unwrap_err();
    assert_eq!(failure.errno, Errno::AGAIN.raw_os_error());
    let known = records.waited.keys().next().unwrap().clone();
    records.add(1, &known, &private).unwrap();
    records.remove(&known);
    records.add(1, &SessionId::random(), &private).unwrap();
}
