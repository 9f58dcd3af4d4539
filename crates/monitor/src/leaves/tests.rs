//! Tests of leaves. Those that make one need root and cgroup v2.

use std::time::{Duration, Instant};

use nesssi_privsep::{Command, Spawn, door};

use super::*;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw
";
const PURE: &str = "\
24 1 0:22 / /proc rw,nosuid shared:14 - proc proc rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

#[test]
fn cgroup_2_is_found_wherever_it_is_mounted() {
    let found = |text| find_cgroup2(text).map(|path| path.display().to_string());
    assert_eq!(found(HYBRID).as_deref(), Some("/sys/fs/cgroup/unified"));
    assert_eq!(found(PURE).as_deref(), Some("/sys/fs/cgroup"));
    assert_eq!(found("41 31 0:38 / /a\\040b\\134c rw - cgroup2 x rw").as_deref(), Some("/a b\\c"));
    assert_eq!(found("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup2 rw"), None);
    assert_eq!(found(""), None);
}

#[test]
fn only_names_of_jobs_and_workers_are_names() {
    let long = format!("j{}", "a".repeat(31));
    for good in ["j", "w1", "j-0123456789abcdef", &long] {
        assert!(LeafName::parse(good).is_some(), "{good}");
    }
    let longer = format!("{long}a");
    for bad in ["", "x1", "J1", "j/..", "j.1", "j_1", "../j", "j\0", "j é", "cgroup.procs", &longer]
    {
        assert!(LeafName::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn figures_are_read_by_whole_key() {
    let stat = "usage_usec 42\nuser_usec 1\nusage_usec_more 7\n";
    assert_eq!(key_value(stat, "usage_usec"), Some(42));
    assert_eq!(key_value(stat, "usage"), None);
    assert_eq!(key_value("populated 1\nfrozen 0\n", "frozen"), Some(0));
}

fn leaves(place: &tempfile::TempDir) -> Option<Leaves> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return None;
    }
    match Leaves::open(place.path()) {
        Ok(leaves) => Some(leaves),
        Err(error) => {
            println!("SKIPPED: needs cgroup v2: {error}");
            None
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_process_enters_by_the_door_and_the_leaf_is_killed_whole() {
    let place = tempfile::tempdir().unwrap();
    let Some(leaves) = leaves(&place) else { return };
    let name = LeafName::parse("j0123456789abcdef").unwrap();
    let handles = leaves.make(&name).unwrap();
    assert_eq!(leaves.make(&name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(leaves.list().unwrap(), std::slice::from_ref(&name));

    let (keeper, outside) = door::Doorkeeper::new().unwrap();
    let helper = std::thread::scope(|scope| {
        let placed = scope.spawn(|| {
            until("a visitor", || {
                keeper.visitor().unwrap().is_some_and(|visitor| {
                    assert_eq!(visitor.uid, 0);
                    leaves.place(&name, visitor.pid).unwrap();
                    true
                })
            });
            keeper.answer(true).unwrap();
        });
        use std::os::fd::AsFd;
        let command = Command::new("/bin/sh").args([
            "-c",
            "(setsid sleep 100 &) ; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 100",
        ]);
        let child = Spawn::new(command)
            .before(|| {
                door::enter(outside.as_fd(), Duration::from_secs(5)).map_err(|e| e.to_string())
            })
            .spawn()
            .unwrap();
        placed.join().unwrap();
        child
    });
    until("use is counted", || leaves.read(&name).unwrap().unwrap().cpu_usec > 1000);
    assert!(leaves.read(&name).unwrap().unwrap().populated);
    assert!(read_text(&handles.cpu_stat).unwrap().contains("usage_usec"));
    assert!(read_text(&handles.events).unwrap().contains("populated 1"));

    until("killed and removed", || {
        leaves.kill(&name).unwrap();
        helper.try_wait().unwrap_or_default();
        leaves.read(&name).unwrap().is_none()
    });
    assert_eq!(leaves.kill(&name).unwrap(), None);
    fs::remove_dir(leaves.path()).unwrap();
}
