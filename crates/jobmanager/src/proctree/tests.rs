use std::ffi::CString;

use super::*;

fn process(pid: i32, parent: i32) -> Process {
    let line = format!("{pid} (a) b) ( c) S {parent} 1 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 99 0");
    Process::parse(&line).unwrap()
}

#[test]
fn a_name_may_hold_parentheses() {
    let read = process(12, 3);
    assert_eq!((read.pid, read.parent, read.session), (12, 3, 7));
    assert_eq!(read.cpu_usec, 10 * TICK_USEC);
    assert_eq!(read.children_usec, 7 * TICK_USEC);
    assert_eq!(read.start_ticks, 99);
    assert!(!read.dead);
}

#[test]
fn a_cut_line_is_no_process() {
    assert_eq!(Process::parse(""), None);
    assert_eq!(Process::parse("12 (x) S 3 1"), None);
}

#[test]
fn own_process_is_found_among_all() {
    let own = Process::own().unwrap();
    assert_eq!(Process::read(own.pid).unwrap().start_ticks, own.start_ticks);
    assert!(all().iter().any(|process| process.pid == own.pid));
}

#[test]
fn descendants_are_found_in_any_order() {
    let all = [process(5, 4), process(4, 3), process(3, 2), process(9, 1), process(2, 1)];
    let mut found: Vec<i32> = descendants(&all, &[3]).iter().map(|process| process.pid).collect();
    found.sort_unstable();
    assert_eq!(found, [4, 5]);
}

#[test]
fn a_trees_use_is_summed_once_for_each() {
    // Each has used 10 ticks itself and with its children, of which 7 were its children's.
    let all =
        [process(5, 4), process(4, 3), process(3, 1), process(7, 6), process(6, 1), process(9, 1)];
    let roots = [process(3, 1), process(6, 1), process(8, 1)];
    let ticks: Vec<u64> = tree_usec(&roots, &all).iter().map(|usec| usec / TICK_USEC).collect();
    assert_eq!(ticks, [7 + 10 + 10, 7 + 10, 7]);
    // What looks like a circle, since it was not looked at in one moment, ends.
    let circle = [process(4, 5), process(5, 4), process(4, 3)];
    assert_eq!(tree_usec(&[process(3, 1)], &circle)[0] / TICK_USEC, 7 + 30);
}

#[test]
fn a_process_is_known_by_name_and_account() {
    let own = Process::own().unwrap();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert!(own.is_own_named(&CString::new(name.trim()).unwrap()));
    assert!(!own.is_own_named(c"nesssi-shepherd"));
    assert!(!own.is_own_named(c""));
}
