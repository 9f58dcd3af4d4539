//! A quoted word is the text of one word of `/bin/sh` that means exactly the bytes it was made of.
//!
//! It consists of printable ASCII and line ends that the shell removes. No line of it begins with `#`, none is
//! longer than [`LINE_BYTES_MAX`], and none holds a carriage return: what scans a script for directives
//! finds none (TORQUE reads lines in pieces of 4096 bytes), and `sbatch`, which refuses DOS line ends,
//! takes any argument. A shell that renders it has a newline in `nesssi_n`.

/// Longest line of a quoted word, in bytes, about.
const LINE_BYTES_MAX: usize = 1000;

/// Adds the word to a script.
pub(super) fn quote(script: &mut String, bytes: &[u8]) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\'';
    if bytes.iter().all(plain) {
        segments(script, bytes.iter().map(|byte| char::from(*byte).to_string()));
        return;
    }
    let ends = bytes.iter().rev().take_while(|byte| **byte == b'\n').count();
    let (body, ends) = bytes.split_at(bytes.len() - ends);
    if !body.is_empty() {
        script.push_str("\"$(printf ");
        segments(script, body.iter().enumerate().map(|(at, byte)| formatted(at, *byte)));
        script.push_str(")\"");
    }
    // A substitution drops the newlines at its end.
    for line in ends.chunks(LINE_BYTES_MAX / 12) {
        script.push_str("\\\n\"");
        script.push_str(&"${nesssi_n}".repeat(line.len()));
        script.push('"');
    }
}

/// A byte in a format of `printf`.
fn formatted(at: usize, byte: u8) -> String {
    match byte {
        b'\'' | b'\\' | b'%' => format!("\\{byte:03o}"),
        b'-' if at == 0 => format!("\\{byte:03o}"),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

/// Single-quoted pieces on lines that are joined.
fn segments(script: &mut String, units: impl Iterator<Item = String>) {
    let mut line = 0;
    script.push('\'');
    for unit in units {
        if line + unit.len() > LINE_BYTES_MAX {
            script.push_str("'\\\n'");
            line = 0;
        }
        line += unit.len();
        script.push_str(&unit);
    }
    script.push('\'');
}

#[cfg(test)]
mod tests;
