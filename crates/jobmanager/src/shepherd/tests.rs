use super::*;

fn identity() -> ShepherdId {
    ShepherdId { pid: 4_000_000_000, start_ticks: u64::MAX, boot_id: "a-b-c".into() }
}

#[test]
fn a_mark_names_its_shepherd() {
    let text = mark(&identity());
    assert_eq!(marked(text.as_bytes()), Some(identity()));
    assert!(text.len() < MARK_BYTES_MAX);
}

#[test]
fn what_is_no_mark_names_nobody() {
    for text in ["", "\n", "1 2 x", "1 2\n", "1 2 x y\n", "-1 2 x\n", "1 -2 x\n", "1  2 x\n", "x"] {
        assert_eq!(marked(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(marked(b"1 2 \xff\n"), None);
}
