use super::*;

#[test]
fn a_mark_says_when_its_command_is_over_and_no_other_text_does() {
    let tag = Tag::parse("0123456789abcdef").unwrap();
    let text = mark(&tag, 1_700_000_000_000);
    assert_eq!(marked(text.as_bytes()), Some(1_700_000_000_000));
    for text in ["", "\n", "0123456789abcdef\n", "t -1\n", "t 1 2\n", "t 1"] {
        assert_eq!(marked(text.as_bytes()), None, "{text}");
    }
    assert_eq!(marked(&[b't', b' ', 0xff, b'\n']), None);
}
