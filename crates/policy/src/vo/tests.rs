use proptest::prelude::*;

use super::*;

const ROOT: &str = "/O=Grid/CN=Root";
const ALICE: &str = "/O=Grid/OU=People/CN=Alice";
const BOB: &str = "/O=Grid/OU=People/CN=Bob";

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

/// `+A` and `-A` create and delete, `A+m DN` and `A-m DN` are about members, `a` is administrators.
fn change(text: &str) -> VoChange {
    if let Some(group) = text.strip_prefix('+') {
        return VoChange::Create { group: group.to_owned() };
    }
    if let Some(group) = text.strip_prefix('-') {
        return VoChange::Delete { group: group.to_owned() };
    }
    let (what, subject) = text.split_once(' ').unwrap();
    let (group, list) = what.split_at(what.len() - 2);
    let (group, subject) = (group.to_owned(), dn(subject));
    match list {
        "+m" => VoChange::AddMember { group, subject },
        "-m" => VoChange::RemoveMember { group, subject },
        "+a" => VoChange::AddAdministrator { group, subject },
        "-a" => VoChange::RemoveAdministrator { group, subject },
        other => panic!("{other}"),
    }
}

fn tree(changes: &[&str]) -> VoTree {
    let mut tree = VoTree::new(vec![dn(ROOT)]);
    for text in changes {
        tree.apply(&change(text)).unwrap();
    }
    tree
}

#[test]
fn members_flow_down() {
    let tree =
        tree(&["+A", "+A.1", "+A.1.a", "+B", "+Ab", "A+m /O=Grid/OU=People", "A.1+a /O=Else/CN=x"]);
    let check = |who: &str, expected: &str| {
        let who = dn(who);
        let of: Vec<_> = tree.groups().filter(|group| tree.is_member(group, &who)).collect();
        assert_eq!(of.join(" "), expected, "{who}");
        assert_eq!(tree.groups_of(&who), of, "{who}");
        assert!(!tree.is_member("A.2", &who) && !tree.is_member("", &who));
    };
    check(ALICE, "A A.1 A.1.a");
    check("/o=grid/OU=PEOPLE/CN=alice", "A A.1 A.1.a");
    check("/O=Grid/OU=People", "A A.1 A.1.a");
    check("/O=Grid/OU=Peoples/CN=Alice", "");
    check("/O=Grid", "");
    check("/O=Else/CN=x", "A.1 A.1.a");
    check(ROOT, "");
}

#[test]
fn who_may_change_what() {
    let tree = tree(&["+A", "+A.1", "+A.1.a", "+B", &format!("A.1+a {ALICE}")]);
    let check = |who: &str, text: &str, of: Option<&str>| {
        let expected = match of {
            None => Ok(()),
            Some(of) => {
                Err(VoError::NotAdministrator { subject: who.to_owned(), of: of.to_owned() })
            }
        };
        assert_eq!(tree.check(&dn(who), &change(text)), expected, "{who} {text}");
    };
    let top = Some("the top of the tree");
    for text in ["+C", "-A", "-A.1", "A+m /O=x", "B+a /O=x", "+B.1", "A.1.a+m /O=x"] {
        check(ROOT, text, None);
    }
    for text in ["A.1+m /O=x", "A.1+a /O=x", "A.1.a+m /O=x", "A.1.a+a /O=x", "+A.1.b", "-A.1.a"] {
        check(ALICE, text, None);
    }
    check(ALICE, &format!("A.1-a {ALICE}"), None);
    check(ALICE, "+C", top);
    check(ALICE, "-A", top);
    check(ALICE, "-A.1", Some("A"));
    check(ALICE, "+A.2", Some("A"));
    check(ALICE, "A+m /O=x", Some("A"));
    check(ALICE, "B+m /O=x", Some("B"));
    // Who may not does not learn what there is.
    check(BOB, "None+m /O=x", Some("None"));
    check(BOB, "A.1+m /O=x", Some("A.1"));
    // A root administrator is one name, and not whoever's begins with it.
    check("/O=Grid/CN=Root/CN=1234", "+C", top);
    assert!(tree.is_root(&dn("/o=grid/cn=ROOT")));
}

#[test]
fn administrators_may_be_an_organisational_unit() {
    let tree = tree(&["+A", "A+a /O=Grid/OU=People"]);
    assert_eq!(tree.check(&dn(BOB), &change("A+m /O=x")), Ok(()));
    assert!(tree.administers(Some("A"), &dn(BOB)) && !tree.administers(None, &dn(BOB)));
}

#[test]
fn changes_that_do_not_fit() {
    let member = format!("A+m {ALICE}");
    let mut tree = tree(&["+A", "+A.1", &member]);
    let before = tree.clone();
    let mut check = |text: &str, told: &str| {
        let found = tree.check(&dn(ROOT), &change(text)).unwrap_err();
        assert_eq!(found.to_string(), told);
        assert_eq!(tree.apply(&change(text)), Err(found), "{text}");
        assert_eq!(tree, before);
    };
    check("+A", "the group A is there already");
    check("+B.1", "there is no group B");
    check("-B", "there is no group B");
    check("B+m /O=x", "there is no group B");
    check(&member, "/O=Grid/OU=People/CN=Alice is there already");
    check("A+m /o=GRID/OU=people/CN=ALICE", "/O=GRID/OU=people/CN=ALICE is there already");
    check("A-m /O=x", "/O=x is not in the list of A");
    check(&format!("A-a {ALICE}"), "/O=Grid/OU=People/CN=Alice is not in the list of A");
    check(&format!("A.1-m {ALICE}"), "/O=Grid/OU=People/CN=Alice is not in the list of A.1");
}

#[test]
fn names_of_groups() {
    let long = "x".repeat(PART_BYTES_MAX);
    for good in ["A", "0", "_-", "A.1.a", &long, "1.2.3.4.5.6.7.8"] {
        assert_eq!(check_group_name(good), Ok(()), "{good}");
    }
    let longer = format!("{long}x");
    for bad in ["", ".", "A.", ".A", "A..B", "a b", "a/b", "é", "a\n", &longer, "1.2.3.4.5.6.7.8.9"]
    {
        assert_eq!(check_group_name(bad), Err(VoError::BadName), "{bad:?}");
        let create = VoChange::Create { group: bad.to_owned() };
        assert_eq!(tree(&[]).check(&dn(ROOT), &create), Err(VoError::BadName));
        assert_eq!(tree(&[]).apply(&create), Err(VoError::BadName));
    }
}

#[test]
fn deleting_takes_what_is_in_it() {
    let mut tree =
        tree(&["+A", "+A-b", "+A.1", "+A.1.a", "+Ab", "A.1+m /O=x", "A+a /O=y", "Ab+m /O=z"]);
    assert_eq!(tree.entries, 3);
    tree.apply(&change("-A")).unwrap();
    assert_eq!(tree.groups().collect::<Vec<_>>(), ["A-b", "Ab"]);
    assert_eq!(tree.entries, 1);
    // A group of that name anew has nobody of the old one.
    tree.apply(&change("+A")).unwrap();
    assert!(!tree.is_member("A", &dn("/O=y")));
}

#[test]
fn lists_are_sorted() {
    let tree = tree(&["+A", "A+m /O=b", "A+m /O=a", "A+a /O=c"]);
    let told = |list: Vec<&SubjectDn>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(tree.members("A").unwrap()), ["/O=a", "/O=b"]);
    assert_eq!(told(tree.administrators("A").unwrap()), ["/O=c"]);
    assert!(tree.members("B").is_err() && tree.administrators("B").is_err());
}

#[test]
fn there_are_only_so_many_groups() {
    let mut tree = tree(&[]);
    for number in 0..VO_GROUPS_MAX {
        tree.apply(&VoChange::Create { group: format!("g{number}") }).unwrap();
    }
    let one_more = tree.apply(&change("+more"));
    assert_eq!(one_more, Err(VoError::TooMany { of: "groups", max: VO_GROUPS_MAX }));
    tree.apply(&change("-g7")).unwrap();
    assert_eq!(tree.apply(&change("+more")), Ok(()));
}

#[test]
fn there_are_only_so_many_entries() {
    let mut tree = tree(&["+A"]);
    tree.entries = VO_ENTRIES_MAX - 1;
    assert_eq!(tree.apply(&change("A+m /O=x")), Ok(()));
    let more = VoError::TooMany { of: "entries", max: VO_ENTRIES_MAX };
    assert_eq!(tree.apply(&change("A+a /O=x")), Err(more));
    assert_eq!(tree.apply(&change("A-m /O=x")), Ok(()));
    assert_eq!(tree.apply(&change("A+a /O=x")), Ok(()));
}

#[test]
fn keys_of_entries() {
    let key = |text: &str| vo_entry_key(&dn(text));
    assert_eq!(key("/O=Grid/CN=a+UID=B"), key("/o=GRID/uid=b+cn=A"));
    assert_eq!(key("/CN=B+CN=a"), key("/CN=A+CN=b"));
    assert_ne!(key("/O=Grid/CN=a"), key("/O=Grid/CN=b"));
}

fn any_change() -> impl Strategy<Value = VoChange> {
    let group = prop::sample::select(vec!["A", "A.1", "A.1.a", "B", "B.1", "A b"]);
    let subject = prop::sample::select(vec!["/O=x", "/O=X", "/O=x/CN=y", "/O=z"]);
    (0..6_u8, group, subject).prop_map(|(kind, group, subject)| {
        let (group, subject) = (group.to_owned(), dn(subject));
        match kind {
            0 => VoChange::Create { group },
            1 => VoChange::Delete { group },
            2 => VoChange::AddMember { group, subject },
            3 => VoChange::RemoveMember { group, subject },
            4 => VoChange::AddAdministrator { group, subject },
            _ => VoChange::RemoveAdministrator { group, subject },
        }
    })
}

proptest! {
    /// Whatever is asked for, by whomever, the tree stays one: every group has the one around it,
    /// entries are counted, and membership is as reading every entry would find it.
    #[test]
    fn the_tree_stays_a_tree(changes in prop::collection::vec(any_change(), 0..80)) {
        let mut tree = tree(&[]);
        for change in &changes {
            let fits = tree.check(&dn(ROOT), change).is_ok();
            prop_assert_eq!(tree.apply(change).is_ok(), fits);
        }
        let counted: usize = tree.groups.values().map(Group::entries).sum();
        prop_assert_eq!(tree.entries, counted);
        for group in tree.groups() {
            prop_assert!(parent(group).is_none_or(|around| tree.groups.contains_key(around)));
            for who in ["/O=x", "/O=X/CN=Y", "/O=x/CN=z", "/O=z", "/O=zz"] {
                let read = self_and_around(group).any(|name| {
                    let lists = [tree.members(name).unwrap(), tree.administrators(name).unwrap()];
                    lists.concat().iter().any(|entry| entry.is_prefix_of(&dn(who)))
                });
                prop_assert_eq!(tree.is_member(group, &dn(who)), read);
            }
        }
    }

    #[test]
    fn keys_are_those_of_the_tree(one in "/O=[abAB]{1,2}\\+O=[abAB]{1,2}", other in "/O=[abAB]{1,2}\\+O=[abAB]{1,2}") {
        let (one, other) = (dn(&one), dn(&other));
        prop_assert_eq!(vo_entry_key(&one) == vo_entry_key(&other), one.matching_key() == other.matching_key());
    }
}
