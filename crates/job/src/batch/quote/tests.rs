#![allow(clippy::disallowed_methods, reason = "the real shell says what a word means")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// What that shell makes of the words: each with a NUL behind it.
fn meant(shell: &str, words: &[Vec<u8>]) -> Vec<u8> {
    let mut script = "nesssi_n=$(printf '\\n.')\nnesssi_n=${nesssi_n%.}\nset --".to_owned();
    for word in words {
        script.push_str(" \\\n");
        quote(&mut script, word);
    }
    script.push_str("\nexec /usr/bin/printf '%s\\0' \"$@\"\n");
    assert!(script.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    assert!(script.lines().all(|line| !line.starts_with('#') && line.len() < 1024));
    let mut child = Command::new(shell)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn check(words: &[Vec<u8>]) {
    if words.is_empty() {
        return; // printf without arguments prints one that is empty
    }
    let expected: Vec<u8> =
        words.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect();
    for shell in ["/bin/sh", "/bin/bash"] {
        if std::path::Path::new(shell).exists() {
            assert_eq!(meant(shell, words), expected, "{shell}");
        }
    }
}

fn bytes_of(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn what_a_shell_would_take_for_itself_is_a_plain_word() {
    check(&bytes_of(&[
        "",
        " ",
        "'",
        "''",
        "\"",
        "\\",
        "\\\\",
        "\\n",
        "%",
        "%s%n",
        "$(id)",
        "`id`",
        "$IFS",
        "${x}",
        "~",
        "*",
        "?",
        "[a-z]",
        "!",
        "!!",
        "#PBS -l x",
        "\n#PBS -l x\n",
        "\n#SBATCH -n 9",
        "-",
        "-n",
        "--",
        "-e\\x41",
        "a;b",
        "a|b",
        "a&b",
        "a>b",
        "a<b",
        "(",
        ")",
        "{",
        "}",
        "\n",
        "\n\n",
        "a\n",
        "\na",
        "a\r\nb\r\n",
        "\t",
        "\u{7f}",
        "é",
        "日本",
        "\u{85}",
        "\u{2028}",
        "=",
        "a=b",
        "\\055",
        "'\\''",
        "EOF",
    ]));
}

#[test]
fn every_byte_is_itself() {
    let one: Vec<Vec<u8>> = (1..=255_u8).map(|byte| vec![byte]).collect();
    check(&one);
    let between: Vec<Vec<u8>> = (1..=255_u8).map(|byte| vec![b'x', byte, b'7', byte]).collect();
    check(&between);
    check(&[(1..=255_u8).collect(), (1..=255_u8).rev().collect()]);
}

#[test]
fn the_longest_arguments_are_themselves() {
    let longest = crate::ARGUMENT_BYTES_MAX;
    for byte in [b'a', b'\'', b'\n', b'\\', 0xe9, b'#'] {
        check(&[vec![byte; longest]]);
    }
    check(&vec![b"\n#".to_vec(); 2000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_bytes_are_themselves(words in prop::collection::vec(prop::collection::vec(1..=255_u8, 0..2500), 0..6)) {
        check(&words);
    }

    #[test]
    fn any_text_of_a_shells_letters_is_itself(words in prop::collection::vec("[-'\"\\\\\n\r$`#%a0!&;|<>(){}*?~ \t]{0,60}", 0..12)) {
        check(&bytes_of(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}
