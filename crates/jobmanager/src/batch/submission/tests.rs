use super::*;

#[test]
fn a_holder_is_known_again_by_its_mark_and_by_no_other_text() {
    let holder =
        Holder { pid: 77, start_ticks: 12, boot_id: "a-b".into(), until_ms: 1_700_000_000_000 };
    let tag = Tag::parse("0123456789abcdef").unwrap();
    let mark = holder.mark(&tag);
    assert_eq!(Holder::parse(mark.as_bytes()), Some(holder));
    for text in ["", "\n", "0123456789abcdef\n", "t 1 2 b 3\n", "t -7 2 b 3\n", "t 7 2 b\n"] {
        assert_eq!(Holder::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Holder::parse(mark.trim_end().as_bytes()), None, "cut short");
    assert_eq!(Holder::parse(&[b't', b' ', 0xff, b'\n']), None);
}
