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

#[test]
fn the_page_shows_the_table() {
    let page = fs::read_to_string(repository().join("docs/protocol.md")).unwrap();
    for family in [super::xmlrpc::FAMILY] {
        let table = family.page();
        let name = family.name;
        assert!(page.contains(&format!("### {name}\n")), "docs/protocol.md has no heading {name}");
        assert!(
            page.contains(&table),
            "docs/protocol.md does not hold this table of {name}:\n\n{table}"
        );
    }
}
