//! The table: which client can do what. The page is written from it, and the clients are held against it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use nesssi_testkit::repository;

/// Clients that are asked the same things.
pub(super) struct Family {
    /// The heading of its table.
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) clients: &'static [Client],
}

/// An ability, and the words that a client prints which has it.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) results: &'static [(&'static str, &'static str)],
}

pub(super) struct Client {
    pub(super) name: &'static str,
    /// The columns where it is not simply able.
    pub(super) short_of: &'static [(&'static str, Short)],
}

/// What a client lacks, and why: its own reason, never a fault of the server's that is left as it is.
pub(super) enum Short {
    /// It cannot, so its program does not try.
    Cannot(&'static str),
    /// It can, and other words come than elsewhere; no words: that result alone is not tried.
    Partly(&'static str, &'static [(&'static str, Option<&'static str>)]),
}

impl Client {
    fn short_of(&self, column: &Column) -> Option<&Short> {
        self.short_of.iter().find(|(name, _)| *name == column.name).map(|(_, short)| short)
    }
}

impl Family {
    pub(super) fn client(&self, name: &str) -> &Client {
        self.clients.iter().find(|client| client.name == name).expect("a row of the table")
    }

    /// Exactly what this client's program must print.
    pub(super) fn meant(&self, client: &Client) -> BTreeMap<String, String> {
        for (name, _) in client.short_of {
            assert!(self.columns.iter().any(|column| column.name == *name), "no column {name}");
        }
        let mut all = BTreeMap::new();
        for column in self.columns {
            let others = match client.short_of(column) {
                Some(Short::Cannot(_)) => continue,
                Some(Short::Partly(_, others)) => *others,
                None => &[],
            };
            let mut mine: BTreeMap<&str, Option<&str>> =
                column.results.iter().map(|(name, words)| (*name, Some(*words))).collect();
            for (name, words) in others {
                let usual = mine.insert(name, *words).expect("a result of this column");
                assert_ne!(usual, *words, "{}: {name} is as everywhere", client.name);
            }
            all.extend(mine.into_iter().filter_map(|(name, words)| Some((name, words?))));
        }
        all.into_iter().map(|(name, words)| (name.to_owned(), words.to_owned())).collect()
    }

    /// The table in Markdown, and below it why a cell is not `yes`.
    fn page(&self) -> String {
        let mut notes: Vec<&str> = Vec::new();
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let mut out = format!("| client | {} |\n|---|", names.join(" | "));
        out.push_str(&"---|".repeat(names.len()));
        for client in self.clients {
            write!(out, "\n| {} |", client.name).unwrap();
            for column in self.columns {
                let (word, note) = match client.short_of(column) {
                    None => ("yes", ""),
                    Some(Short::Partly(note, _)) => ("partly", *note),
                    Some(Short::Cannot(note)) => ("no", *note),
                };
                write!(out, " {word}").unwrap();
                if !note.is_empty() {
                    let known = notes.iter().position(|known| *known == note);
                    let number = known.unwrap_or_else(|| {
                        notes.push(note);
                        notes.len() - 1
                    });
                    write!(out, " ({})", number + 1).unwrap();
                }
                out.push_str(" |");
            }
        }
        out.push_str("\n\n");
        for (number, note) in notes.iter().enumerate() {
            writeln!(out, "{}. {note}", number + 1).unwrap();
        }
        out
    }
}

/// All 256 bytes, and none.
pub(super) const BYTES: &str = "[x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
    a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
    e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff,x]";
/// 0.5, -1.5, 0.1, 1e300, the smallest, the largest, 3, and minus nothing.
pub(super) const DOUBLES: &str = "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,d7e37e43c8800759c,\
    d0000000000000001,d7fefffffffffffff,d4008000000000000,d8000000000000000]";
pub(super) const INTS: &str = "[i0,i1,i-1,i42,i2147483647,i-2147483648]";
pub(super) const LARGE: &str =
    "[i2147483648,i-2147483649,i9007199254740991,i9223372036854775807,i-9223372036854775808]";
pub(super) const TIMES: &str = "[t20261122T08:00:01,t19691231T23:59:59]";
pub(super) const ARRAYS: &str = "[[],[[]],[i1,sx,[d4004000000000000,[b1,[]]]]]";
pub(super) const STRUCTS: &str =
    "[{},{:i1,%3C%26%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:[{}]}},a%20b:sx}]";

pub(super) const BOOLEANS: &str = "[b1,b0]";
pub(super) const FAULT_NONE: &str = "f-32601:no%20such%20method%3A%20no.such";
/// With characters of XML and of two and three bytes.
pub(super) const FAULT_OWN: &str = "f1234:gr%C3%B6%C3%9Fer%20%3C%26%3E%20%E2%82%AC";
pub(super) const HELP: &str =
    "sAdds%20two%20whole%20numbers%3A%203%20%3C%205%20%26%20%22so%20on%22.";

#[test]
fn the_page_shows_the_table() {
    let page = fs::read_to_string(repository().join("docs/protocol.md")).unwrap();
    for family in [super::xmlrpc::FAMILY, super::jsonrpc::FAMILY, super::soap::FAMILY] {
        let table = family.page();
        let name = family.name;
        assert!(page.contains(&format!("### {name}\n")), "docs/protocol.md has no heading {name}");
        assert!(
            page.contains(&table),
            "docs/protocol.md does not hold this table of {name}:\n\n{table}"
        );
    }
}
