use nesssi_client::Value;

use super::{Pour, plain, terminal_safe};

#[test]
fn what_a_terminal_obeys_is_written_out() {
    assert_eq!(terminal_safe("plain \u{e9}\n\ttext"), "plain \u{e9}\n\ttext");
    assert_eq!(terminal_safe("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
    assert_eq!(terminal_safe("a\rb\u{8}\u{7f}\u{9b}2J"), "a\\u{d}b\\u{8}\\u{7f}\\u{9b}2J");
    assert_eq!(terminal_safe("abc\u{202e}fdp.exe"), "abc\\u{202e}fdp.exe");
}

/// What a file that comes in `pieces` looks like on a terminal.
fn poured(pieces: &[&[u8]]) -> String {
    let mut pour = Pour { escape: true, held: Vec::new() };
    let mut out: String = pieces.iter().map(|piece| pour.escaped(piece)).collect();
    out.push_str(&String::from_utf8_lossy(&pour.held));
    out
}

#[test]
fn a_character_in_two_pieces_stays_one() {
    let text = "caf\u{e9} \u{1F600}!".as_bytes();
    for cut in 0..=text.len() {
        let (first, second) = text.split_at(cut);
        assert_eq!(poured(&[first, second]), "caf\u{e9} \u{1F600}!", "cut at {cut}");
    }
}

#[test]
fn bytes_that_are_no_text_are_shown_as_bytes() {
    assert_eq!(poured(&[b"a\xffb\x1b[2J", b"\xc3", b"("]), "a\\xffb\\u{1b}[2J\\xc3(");
    assert_eq!(poured(&[b"end\xe2\x82"]), "end\u{fffd}");
    let eight_bit_escape = [0xC2u8, 0x9B];
    assert_eq!(poured(&[&eight_bit_escape[..1], &eight_bit_escape[1..]]), "\\u{9b}");
}

#[test]
fn values_are_printed_plainly() {
    assert_eq!(plain(&Value::from("two\nlines")), "two\nlines");
    assert_eq!(plain(&Value::Int(8)), "8");
    assert_eq!(plain(&Value::Double(2.0)), "2.0");
    assert_eq!(plain(&Value::Nil), "null");
    assert_eq!(plain(&Value::Array(vec![Value::Int(1)])), "[\n  1\n]");
}
