//! The comments of a Python file, without reading the rest of it.

/// Comments: whole lines before the first code, and the numbers of lines with others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comments<'a> {
    pub(super) head: Vec<&'a str>,
    /// From 1.
    pub(super) further: Vec<usize>,
}

/// Where a string of Python has begun: its quote, three times or once.
#[derive(Debug, Clone, Copy)]
struct Quote {
    mark: char,
    triple: bool,
}

/// The comments of a file that is known to be literals. A `#` inside a string is none.
pub(super) fn comments(text: &str) -> Comments<'_> {
    let mut found = Comments::default();
    let mut inside: Option<Quote> = None;
    let mut in_head = true;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if in_head && inside.is_none() && trimmed.starts_with('#') {
            // How Python and editors are told the encoding, which is UTF-8 for TOML.
            if !is_for_machines(trimmed) {
                found.head.push(trimmed);
            }
            continue;
        }
        if !trimmed.is_empty() {
            in_head = false;
        }
        if has_comment(line, &mut inside) {
            found.further.push(index + 1);
        }
    }
    found
}

fn is_for_machines(comment: &str) -> bool {
    comment.starts_with("#!") || comment.contains("coding:") || comment.contains("coding=")
}

/// Whether a comment ends the line; `inside` is the string that goes on from line to line.
fn has_comment(line: &str, inside: &mut Option<Quote>) -> bool {
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let tripled = |mark: char| rest.starts_with(&mark.to_string().repeat(3));
        let skip = match (*inside, first) {
            (Some(_), '\\') => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            (Some(quote), mark) if mark == quote.mark && (!quote.triple || tripled(mark)) => {
                *inside = None;
                if quote.triple { 3 } else { 1 }
            }
            (None, '#') => return true,
            (None, mark @ ('"' | '\'')) => {
                let triple = tripled(mark);
                *inside = Some(Quote { mark, triple });
                if triple { 3 } else { 1 }
            }
            (_, other) => other.len_utf8(),
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    if inside.is_some_and(|quote| !quote.triple) {
        *inside = None;
    }
    false
}
