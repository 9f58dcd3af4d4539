use proptest::prelude::*;

use super::Lines;

fn taken(lines: &mut Lines) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        all.push(line.to_vec());
    }
    all
}

#[test]
fn a_line_one_below_at_and_one_above_the_bound() {
    for (length, good) in [(9, true), (10, true), (11, false)] {
        let mut lines = Lines::new(10);
        lines.push(&vec![b'x'; length]);
        lines.push(b"\n");
        assert_eq!(lines.next_line().is_ok(), good, "{length} bytes");
    }
}

#[test]
fn a_line_without_end_is_refused_before_its_end_comes() {
    let mut lines = Lines::new(10);
    lines.push(&[b'x'; 11]);
    assert!(lines.next_line().is_err());
    assert!(lines.next_line().is_err());
}

#[test]
fn a_long_line_gives_its_memory_back() {
    let mut lines = Lines::new(10 << 20);
    lines.push(&vec![b'x'; 5 << 20]);
    lines.push(b"\n");
    assert_eq!(taken(&mut lines).len(), 1);
    assert!(lines.space().capacity() <= super::KEPT_BYTES_MAX);
}

proptest! {
    #[test]
    fn lines_come_out_as_they_went_in_however_they_are_cut(
        texts in prop::collection::vec("[a-z]{0,20}", 0..10),
        cut in 1_usize..7,
    ) {
        let stream: Vec<u8> = texts.iter().flat_map(|t| t.bytes().chain([b'\n'])).collect();
        let mut lines = Lines::new(20);
        let mut got = Vec::new();
        for piece in stream.chunks(cut) {
            lines.push(piece);
            got.extend(taken(&mut lines));
        }
        let expected: Vec<Vec<u8>> = texts.iter().map(|t| t.clone().into_bytes()).collect();
        prop_assert_eq!(got, expected);
    }
}
