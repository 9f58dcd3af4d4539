//! Tests of leases.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Barrier;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new(names: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        names.iter().for_each(|name| fs::write(place.at(name), "").unwrap());
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Pools {
        Pools::open(self.0.path())
    }

    fn links(&self, name: &str) -> u64 {
        fs::metadata(self.at(name)).unwrap().nlink()
    }
}

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

fn pool(text: &str) -> PoolName {
    PoolName::parse(text).unwrap()
}

fn lease(pools: &mut Pools, who: &str, of: &str) -> Result<String, PoolError> {
    pools.lease(&dn(who), &pool(of)).map(|lease| lease.account.as_str().to_owned())
}

#[test]
fn a_lease_is_a_link_named_after_the_caller() {
    let place = Place::new(&["atlas001", "atlas002"]);
    let mut pools = place.open();
    let first = pools.lease(&dn("/O=Grid/CN=Joe Doe"), &pool("atlas")).unwrap();
    assert_eq!((first.account.as_str(), first.new), ("atlas001", true));
    assert_eq!(place.links("%2fo%3dgrid%2fcn%3djoe%20doe"), 2);
    assert_eq!(place.links("atlas001"), 2);
    // He has the same one ever after: in this process, in another, in whatever case he is written.
    let again = pools.lease(&dn("/O=Grid/CN=Joe Doe"), &pool("atlas")).unwrap();
    assert_eq!((again.account.as_str(), again.new), ("atlas001", false));
    assert_eq!(lease(&mut place.open(), "/O=GRID/CN=joe doe", "atlas").unwrap(), "atlas001");
    assert_eq!(lease(&mut pools, "/O=Grid/CN=Jane", "atlas").unwrap(), "atlas002");
}

#[test]
fn a_lease_that_globus_made_is_his() {
    let place = Place::new(&["atlas001", "atlas002"]);
    fs::hard_link(place.at("atlas002"), place.at("%2fcn%3djoe%40example%2eorg")).unwrap();
    let mut pools = place.open();
    assert_eq!(lease(&mut pools, "/CN=joe@example.org", "atlas").unwrap(), "atlas002");
    assert_eq!(lease(&mut pools, "/CN=Jane", "atlas").unwrap(), "atlas001");
}

#[test]
fn only_names_of_accounts_with_digits_behind_the_prefix_are_of_a_pool() {
    let names = ["root", "atlas", "atlassgm01", "atlas01~", ".atlas02", "atlas0 3", "cms01", "-x"];
    let place = Place::new(&names);
    fs::create_dir(place.at("atlas04")).unwrap();
    std::os::unix::fs::symlink("cms01", place.at("atlas05")).unwrap();
    let mut pools = place.open();
    let answer = lease(&mut pools, "/CN=Joe", "atlas");
    assert_eq!(answer, Err(PoolError::UsedUp { pool: pool("atlas"), count: 0 }));
    fs::write(place.at("atlas06"), "").unwrap();
    assert_eq!(pools.look(), Look::Same);
    assert_eq!(lease(&mut pools, "/CN=Joe", "atlas").unwrap(), "atlas06");
}

#[test]
fn a_pool_that_is_used_up_says_so() {
    let place = Place::new(&["p1", "p2"]);
    let mut pools = place.open();
    for who in ["/CN=a", "/CN=b"] {
        lease(&mut pools, who, "p").unwrap();
    }
    let error = lease(&mut pools, "/CN=c", "p").unwrap_err();
    assert_eq!(error.to_string(), "pool .p is used up: each of its 2 accounts is leased");
    // Who has one keeps it.
    assert_eq!(lease(&mut pools, "/CN=a", "p").unwrap(), "p1");
}

#[test]
fn who_has_an_account_of_another_pool_gets_none_of_this() {
    let place = Place::new(&["p1", "q1"]);
    let mut pools = place.open();
    lease(&mut pools, "/CN=a", "p").unwrap();
    let error = lease(&mut pools, "/CN=a", "q").unwrap_err();
    assert!(error.to_string().contains("has a lease on p1, which is not of it"), "{error}");
}

#[test]
fn names_that_cannot_be_a_lease_are_refused() {
    let place = Place::new(&["p1"]);
    let mut pools = place.open();
    // `%2fcn%3d` and 247 letters are a file's name, one more is none.
    let longest = format!("/CN={}", "x".repeat(247));
    let error = lease(&mut pools, &format!("{longest}x"), "p").unwrap_err();
    assert_eq!(error, PoolError::TooLong { pool: pool("p"), bytes: 256 });
    assert_eq!(lease(&mut pools, &longest, "p").unwrap(), "p1");
    let one = dn(r"/CN=a\x2FO=b");
    assert!(one.is_ambiguous());
    let error = pools.lease(&one, &pool("p")).unwrap_err();
    assert_eq!(error, PoolError::Ambiguous { pool: pool("p") });
}

#[test]
fn a_lease_that_was_removed_is_seen_and_its_account_is_free() {
    let place = Place::new(&["p1"]);
    let mut pools = place.open();
    lease(&mut pools, "/CN=a", "p").unwrap();
    assert_eq!(pools.look(), Look::Same);
    fs::remove_file(place.at("%2fcn%3da")).unwrap();
    assert_eq!(pools.look(), Look::Changed);
    assert_eq!(lease(&mut pools, "/CN=b", "p").unwrap(), "p1");
}

#[test]
fn a_lease_of_another_process_for_the_same_caller_is_taken_up() {
    let place = Place::new(&["p1", "p2"]);
    let (mut ours, mut theirs) = (place.open(), place.open());
    // They took the second in between.
    lease(&mut theirs, "/CN=b", "p").unwrap();
    assert_eq!(lease(&mut theirs, "/CN=a", "p").unwrap(), "p2");
    assert_eq!(lease(&mut ours, "/CN=a", "p").unwrap(), "p2");
    // And an account that they took is not taken twice.
    assert!(matches!(lease(&mut ours, "/CN=c", "p"), Err(PoolError::UsedUp { .. })));
    assert_eq!(place.links("p1"), 2);
}

#[test]
fn a_name_that_is_no_lease_is_not_taken_for_one() {
    let place = Place::new(&["p1", "%2fcn%3da"]);
    let error = lease(&mut place.open(), "/CN=a", "p").unwrap_err();
    assert!(matches!(error, PoolError::Broken { .. }), "{error}");
    // Three links are nobody's.
    let place = Place::new(&["p1"]);
    for name in ["%2fcn%3da", "%2fcn%3db"] {
        fs::hard_link(place.at("p1"), place.at(name)).unwrap();
    }
    let mut pools = place.open();
    assert!(lease(&mut pools, "/CN=c", "p").is_err());
    assert!(lease(&mut pools, "/CN=a", "p").is_err());
}

#[test]
fn of_two_who_race_for_one_account_at_most_one_has_it() {
    for _ in 0..200 {
        let place = Place::new(&["p1"]);
        let barrier = Barrier::new(2);
        let race = |who: &str| {
            let mut pools = place.open();
            barrier.wait();
            lease(&mut pools, who, "p").is_ok()
        };
        let won = std::thread::scope(|scope| {
            let other = scope.spawn(|| race("/CN=a"));
            [race("/CN=b"), other.join().unwrap()]
        });
        let held = won.iter().filter(|won| **won).count();
        assert!(held <= 1);
        // Both may have backed off, as Globus does; nobody's link is left then.
        assert_eq!(place.links("p1"), 1 + u64::try_from(held).unwrap());
        assert_eq!(place.open().table.leases.len(), held);
    }
}

#[test]
fn two_who_race_for_two_accounts_never_share_one() {
    for _ in 0..100 {
        let place = Place::new(&["p1", "p2", "p3"]);
        let barrier = Barrier::new(2);
        let race = |who: &str| {
            let mut pools = place.open();
            barrier.wait();
            lease(&mut pools, who, "p").unwrap()
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| race("/CN=a"));
            (race("/CN=b"), other.join().unwrap())
        });
        assert_ne!(one, other);
    }
}

#[test]
fn a_directory_that_others_can_change_is_not_used() {
    let place = Place::new(&["p1"]);
    let mut pools = place.open();
    lease(&mut pools, "/CN=a", "p").unwrap();
    fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(pools.look(), Look::Unusable(text) if text.contains("may write in it")));
    // What was leased stays; nothing is added.
    assert_eq!(lease(&mut pools, "/CN=a", "p").unwrap(), "p1");
    let error = lease(&mut pools, "/CN=b", "p").unwrap_err();
    assert!(matches!(error, PoolError::Directory { .. }), "{error}");

    let link = place.at("link");
    std::os::unix::fs::symlink(place.0.path(), &link).unwrap();
    assert!(Pools::open(&link).problem().is_some());
    let missing = Pools::open(&place.at("none"));
    assert!(missing.problem().unwrap().contains("none: No such file"), "{missing:?}");
}

#[test]
fn a_leases_time_is_when_it_was_used() {
    let place = Place::new(&["p1", "p2"]);
    let mut pools = place.open();
    lease(&mut pools, "/CN=a", "p").unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH;
    for name in ["p1", "p2"] {
        fs::File::options().write(true).open(place.at(name)).unwrap().set_modified(old).unwrap();
    }
    for name in ["p1", "p2"] {
        pools.used(&AccountName::parse(name).unwrap());
    }
    let changed = |name: &str| fs::metadata(place.at(name)).unwrap().modified().unwrap() != old;
    assert!(changed("p1") && changed("%2fcn%3da") && !changed("p2"));
}
