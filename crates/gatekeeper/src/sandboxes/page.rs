//! The page of a directory: names, sizes and times, for people, and as JSON for programs.

use std::fmt::Write;

use nesssi_container::DirectoryEntry;

use crate::clock::Civil;
use crate::html::{Escaped, STYLE};
use crate::sandboxes::path::{Asked, encode_name};

/// The page of the directory that was asked for.
pub(crate) fn html(asked: &Asked, entries: &[DirectoryEntry], cut: bool) -> String {
    let short = asked.session.get(..8).unwrap_or_default();
    let title = if asked.path.is_empty() {
        format!("Sandbox {short}")
    } else {
        format!("Sandbox {short}: {}", String::from_utf8_lossy(&asked.path))
    };
    let title = Escaped(&title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    if !asked.path.is_empty() {
        page.push_str("<p><a href=\"../\">Parent directory</a></p>\n");
    }
    page.push_str(
        "<table>\n<caption>Files, times in UTC</caption>\n<thead><tr><th scope=\"col\">Name</th>\
         <th scope=\"col\" class=\"n\">Bytes</th><th scope=\"col\">Modified</th></tr></thead>\n<tbody>\n",
    );
    for entry in entries {
        push_row(&mut page, entry);
    }
    page.push_str("</tbody>\n</table>\n");
    if entries.is_empty() {
        page.push_str("<p>No files yet.</p>\n");
    }
    if cut {
        page.push_str("<p>There are more files than this page shows.</p>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn push_row(page: &mut String, entry: &DirectoryEntry) {
    let slash = if entry.directory { "/" } else { "" };
    let modified = Civil::of(entry.modified);
    let size = if entry.directory { "directory".to_owned() } else { grouped(entry.size) };
    let name = String::from_utf8_lossy(&entry.name);
    let shown = format!("<bdi>{}</bdi>{slash}", Escaped(&name));
    let cell = format!("<a href=\"./{}{slash}\">{shown}</a>", encode_name(&entry.name));
    // Writing to a String cannot fail.
    let _written =
        writeln!(page, "<tr><td>{cell}</td><td class=\"n\">{size}</td><td>{modified}</td></tr>");
}

/// `1234567` as `1 234 567`, with blanks that do not break.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The same as JSON: `{"entries":[{"name","directory","size","modified"}],"cut"}`, `modified` in
/// Unix seconds.
pub(crate) fn json(entries: &[DirectoryEntry], cut: bool) -> String {
    let entries: Vec<serde_json::Value> = entries
        .iter()
        .map(|entry| {
            serde_json::json!({
                "name": String::from_utf8_lossy(&entry.name),
                "directory": entry.directory,
                "size": entry.size,
                "modified": entry.modified,
            })
        })
        .collect();
    let mut text = serde_json::json!({ "entries": entries, "cut": cut }).to_string();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
