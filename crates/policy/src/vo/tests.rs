use super::*;

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

#[test]
fn members_flow_down() {
    let mut tree = VoTree::new(Vec::new());
    for group in ["A", "A.1", "A.1.a", "B"] {
        tree.apply(&VoChange::Create { group: group.to_owned() }).unwrap();
    }
    let subject = dn("/O=Grid/OU=People");
    tree.apply(&VoChange::AddMember { group: "A".to_owned(), subject }).unwrap();
    let alice = dn("/o=grid/OU=people/CN=Alice");
    for (group, is) in [("A", true), ("A.1", true), ("A.1.a", true), ("B", false), ("A.2", false)] {
        assert_eq!(tree.is_member(group, &alice), is, "{group}");
    }
    assert!(!tree.is_member("A", &dn("/O=Grid/OU=PeopleX/CN=Alice")));
}
