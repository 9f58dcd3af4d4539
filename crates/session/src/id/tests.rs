use std::collections::HashSet;

use super::*;

#[test]
fn random_ids_are_version_four_and_differ() {
    let ids: HashSet<SessionId> = (0..1000).map(|_| SessionId::random()).collect();
    assert_eq!(ids.len(), 1000);
    for id in &ids {
        assert_eq!(&id.reveal()[12..13], "4", "version");
        assert!("89ab".contains(&id.reveal()[16..17]), "variant");
        assert_eq!(SessionId::parse(id.reveal()), Ok(id.clone()));
    }
}

#[test]
fn printing_shows_eight_digits() {
    let id = SessionId::parse("0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(id.to_string(), "01234567");
    assert_eq!(format!("{id:?}"), "SessionId(01234567..)");
    assert_eq!(id.short(), "01234567");
}

#[test]
fn other_text_is_refused() {
    for text in [
        "",
        "0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef0",
        "0123456789ABCDEF0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcdef",
        "../../../../../../../../../../etc",
        "0123456789abcdef0123456789abcde\u{e9}",
        " 123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(SessionId::parse(text), Err(SessionIdError), "{text}");
    }
}
