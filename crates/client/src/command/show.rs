//! What is printed, and how it is made safe for a terminal.
//!
//! A stranger's text may hold characters that a terminal obeys: it could rewrite the screen, the title
//! or the clipboard. Where output goes to a terminal they are shown as `\u{1b}`; into a file or a pipe
//! everything goes as it came.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use nesssi_client::{Entry, Listing, Value};
use serde_json::Value as Json;

use super::json;
use super::times::utc;

#[cfg(test)]
mod tests;

/// Where output goes and how it is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    json: bool,
    output_is_terminal: bool,
    errors_are_terminal: bool,
}

impl Screen {
    pub(super) fn of_process(json: bool) -> Self {
        Self {
            json,
            output_is_terminal: io::stdout().is_terminal(),
            errors_are_terminal: io::stderr().is_terminal(),
        }
    }

    /// A call's result: a string as its text, bytes as they are, other scalars as they are written, the
    /// rest as JSON.
    pub(super) fn value(&self, value: &Value) -> io::Result<()> {
        if let (Value::Binary(bytes), false) = (value, self.json) {
            let mut pour = self.pour();
            pour.write(bytes)?;
            return pour.finish();
        }
        self.line(&if self.json { pretty(&json::to_json(value)) } else { plain(value) })
    }

    /// A struct as one `name: value` line a member; all else as [`Self::value`].
    pub(super) fn members(&self, value: &Value) -> io::Result<()> {
        match value {
            Value::Struct(members) if !self.json => {
                let one = |(name, value): (&String, &Value)| format!("{name}: {}", plain(value));
                let lines: Vec<String> = members.iter().map(one).collect();
                self.line(&lines.join("\n"))
            }
            _ => self.value(value),
        }
    }

    /// A list as one line an item; all else as [`Self::value`].
    pub(super) fn items(&self, value: &Value) -> io::Result<()> {
        match value {
            Value::Array(items) if !self.json => {
                items.iter().try_for_each(|item| self.line(&plain(item)))
            }
            _ => self.value(value),
        }
    }

    /// Names and values as a table, or the whole as it came.
    pub(super) fn table(&self, rows: &[(String, String)], value: &Value) -> io::Result<()> {
        if self.json {
            return self.value(value);
        }
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        rows.iter()
            .try_for_each(|(name, value)| self.line(format!("{name:width$}  {value}").trim_end()))
    }

    /// Sessions, each with its state, time and method; the state may have its colour.
    pub(super) fn rows(
        &self,
        rows: &[(String, String, String, String)],
        value: &Value,
    ) -> io::Result<()> {
        if self.json {
            return self.value(value);
        }
        let mut output = io::stdout().lock();
        for (session, state, when, from) in rows {
            let safe =
                |text| if self.output_is_terminal { terminal_safe(text) } else { text.into() };
            writeln!(output, "{}  {state}  {}  {}", safe(session), safe(when), safe(from))?;
        }
        output.flush()
    }

    /// What was done, for programs; a person sees that it was.
    pub(super) fn quietly(&self, facts: &Value) -> io::Result<()> {
        if self.json { self.value(facts) } else { Ok(()) }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Lines of text, or the whole as it came.
    pub(super) fn lines(&self, lines: &[String], value: &Value) -> io::Result<()> {
        if self.json { self.value(value) } else { self.line(&lines.join("\n")) }
    }

    /// A directory: bytes, time and name; a directory's name ends in `/`.
    pub(super) fn listing(&self, listing: &Listing) -> io::Result<()> {
        if self.json {
            let json = serde_json::to_string_pretty(listing).map_err(io::Error::other)?;
            return self.line(&json);
        }
        for entry in &listing.entries {
            self.line(&self.entry(entry))?;
        }
        if listing.cut {
            self.complain("there are more entries than the server lists");
        }
        Ok(())
    }

    fn entry(&self, entry: &Entry) -> String {
        // A line feed in a name would make two entries of one.
        let name = if self.output_is_terminal {
            entry.name.replace('\n', "\\n").replace('\t', "\\t")
        } else {
            entry.name.clone()
        };
        let slash = if entry.directory { "/" } else { "" };
        format!("{:>12}  {}  {name}{slash}", entry.size, utc(entry.modified))
    }

    /// A line on standard error.
    pub(super) fn complain(&self, text: &str) {
        let text = if self.errors_are_terminal { terminal_safe(text) } else { text.into() };
        eprintln!("{text}");
    }

    /// A way to print a file piece by piece.
    pub(super) fn pour(&self) -> Pour {
        Pour { escape: self.output_is_terminal, held: Vec::new() }
    }

    fn line(&self, text: &str) -> io::Result<()> {
        let text = if self.output_is_terminal { terminal_safe(text) } else { text.into() };
        let mut output = io::stdout().lock();
        writeln!(output, "{text}")?;
        output.flush()
    }
}

/// Prints the bytes of a file as they come; on a terminal with what it would obey escaped.
#[derive(Debug)]
pub(super) struct Pour {
    escape: bool,
    /// The beginning of a character whose end is in the next piece.
    held: Vec<u8>,
}

impl Pour {
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        if self.escape {
            let text = self.escaped(piece);
            output.write_all(text.as_bytes())?;
        } else {
            output.write_all(piece)?;
        }
        output.flush()
    }

    /// Prints what was held back at the end of the file.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.held);
        io::stdout().write_all(String::from_utf8_lossy(&rest).as_bytes())
    }

    /// As much of what is held and `piece` as is whole characters; bytes that are none are shown as such.
    fn escaped(&mut self, piece: &[u8]) -> String {
        self.held.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            out.push_str(&terminal_safe(chunk.valid()));
            let wrong = chunk.invalid();
            if chunks.peek().is_none() && may_go_on(wrong) {
                self.held = wrong.to_vec();
            } else {
                out.extend(wrong.iter().map(|byte| format!("\\x{byte:02x}")));
            }
        }
        out
    }
}

/// Whether `bytes` are the beginning of a character, cut short and not yet wrong.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// `text` with every character that a terminal obeys, or that turns the line around, written out.
pub(super) fn terminal_safe(text: &str) -> Cow<'_, str> {
    let unsafe_character = |character: char| match character {
        '\n' | '\t' => false,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' => true,
        other => other.is_control(),
    };
    if !text.contains(unsafe_character) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if unsafe_character(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::DateTime(when) => when.to_string(),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Double(_)
        | Value::Binary(_)
        | Value::Array(_)
        | Value::Struct(_) => pretty(&json::to_json(value)),
    }
}

fn pretty(json: &Json) -> String {
    format!("{json:#}")
}
