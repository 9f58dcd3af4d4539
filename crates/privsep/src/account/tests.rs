//! Tests of the rules for accounts.

use super::*;

fn rules() -> AccountRules {
    AccountRules { uid_min: 1000, service_uid: Some(1234) }
}

fn account(name: &str, uid: u32, gid: u32, groups: &[u32]) -> Account {
    Account {
        name: name.into(),
        uid,
        gid,
        groups: groups.to_vec(),
        home: "/".into(),
        gecos: "".into(),
        shell: "/usr/sbin/nologin".into(),
    }
}

/// What the rules say of an account, in one line.
fn check(uid: u32, gid: u32, groups: &[u32], expected: &str) {
    let judged = rules().judge(&account("x", uid, gid, groups));
    let said = judged.map_or_else(|refusal| refusal.to_string(), |()| "fit".into());
    assert_eq!(said, expected);
}

#[test]
fn each_forbidden_account_has_its_own_message() {
    check(1000, 1000, &[1000], "fit");
    check(0, 1000, &[1000], "account x has uid 0");
    check(u32::MAX, 1000, &[1000], "account x has the uid that means none");
    check(999, 1000, &[1000], "account x has uid 999, under the floor of 1000");
    check(1234, 1000, &[1000], "account x is the user that the gatekeeper runs as");
    check(1000, 0, &[0], "account x is in group 0");
    check(1000, 1000, &[0, 1000], "account x is in group 0");
}

#[test]
fn a_floor_of_0_does_not_let_root_in() {
    let rules = AccountRules { uid_min: 0, service_uid: None };
    let error = look_up("root", &rules).unwrap_err();
    assert!(matches!(error, AccountRefusal::Root(_)), "{error}");
}

#[test]
fn names_that_are_none_are_unknown() {
    for name in ["", "no-such-account-anywhere", "0", "a\0b", "../x", "a/b", "-1", "4294967295"] {
        let error = look_up(name, &rules()).unwrap_err();
        assert!(matches!(error, AccountRefusal::Unknown(_)), "{name:?}: {error}");
    }
}

#[test]
fn a_password_that_never_was_is_not_locked_and_one_with_a_bang_before_it_is() {
    for open in ["", "*", "!", "!!", "!!x", "x", "$6$salt$hash", "*LK*"] {
        assert!(!is_locked(open.as_bytes()), "{open}");
    }
    for locked in ["!$6$salt$hash", "!*", "!x"] {
        assert!(is_locked(locked.as_bytes()), "{locked}");
    }
}

#[test]
fn the_current_user_is_found_with_its_groups() {
    let account = current().unwrap();
    assert_eq!(account.uid(), rustix::process::geteuid().as_raw());
    assert!(account.groups().contains(&account.gid()));
    assert!(account.groups().is_sorted());
}

#[test]
fn a_group_is_found_or_is_not() {
    assert_eq!(group_id("root").unwrap(), Some(0));
    assert_eq!(group_id("no-such-group-anywhere").unwrap(), None);
    assert!(group_id("a\0b").is_err());
}
