use nesssi_container::DirectoryEntry;

use super::{html, json};
use crate::sandboxes::path::Asked;

fn asked(path: &str) -> Asked {
    Asked {
        session: "0123456789abcdef0123456789abcdef".to_owned(),
        path: path.as_bytes().to_owned(),
        slash: true,
    }
}

fn entry(name: &[u8]) -> DirectoryEntry {
    DirectoryEntry { name: name.to_vec(), directory: false, size: 1_234_567, modified: 784_111_777 }
}

#[test]
fn a_hostile_name_is_text_and_its_link_stays_here() {
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='x",
        "&lt;",
        "javascript:alert(1)",
        "//evil.example",
        "a\nb\u{1b}[31m",
        "..\\..",
        "?follow",
        "#top",
        "%2e%2e",
    ];
    for name in names {
        let name = name.replace('/', "\u{2044}");
        let page = html(&asked(""), &[entry(name.as_bytes())], false);
        let row = page.lines().find(|line| line.starts_with("<tr><td>")).unwrap();
        let tags = row.matches('<').count();
        assert_eq!(tags, 12, "{row}");
        let link = row.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        let encoded = link.strip_prefix("./").unwrap();
        assert!(
            encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)),
            "{link}"
        );
        assert!(!row.chars().any(|c| c.is_control()), "{row}");
    }
}

#[test]
fn the_page_says_what_is_there() {
    let folder = DirectoryEntry { directory: true, ..entry(b"plots") };
    let page = html(&asked("run/1"), &[folder, entry(b"out.txt"), entry(b"\xff.bin")], true);
    assert!(page.contains("<h1>Sandbox 01234567: run/1</h1>"));
    assert!(page.contains("<a href=\"../\">Parent directory</a>"));
    assert!(
        page.contains("<a href=\"./plots/\"><bdi>plots</bdi>/</a></td><td class=\"n\">directory")
    );
    assert!(page.contains("1\u{202f}234\u{202f}567</td><td>1994-11-06 08:49:37</td>"));
    assert!(page.contains("<td><a href=\"./%FF.bin\"><bdi>\u{fffd}.bin</bdi></a></td>"));
    assert!(page.contains("more files than this page shows"));
    assert!(!page.contains("0123456789"));
}

#[test]
fn an_empty_sandbox_says_so_and_has_no_parent() {
    let page = html(&asked(""), &[], false);
    assert!(page.contains("No files yet") && !page.contains("Parent directory"));
}

#[test]
fn the_same_as_json() {
    assert_eq!(
        json(&[entry(b"a\"<b")], false),
        "{\"cut\":false,\"entries\":[{\"directory\":false,\"modified\":784111777,\"name\":\"a\\\"<b\",\
         \"size\":1234567}]}\n"
    );
}
