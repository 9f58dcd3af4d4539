//! Every file of every corpus, and each of them cut short and with a byte changed, through its
//! target.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on must stop, and say where"
)]

use std::fs;
use std::path::PathBuf;

fn replay(target: &str, try_it: fn(&[u8])) {
    let seen = replay_folder(&format!("corpus/{target}"), try_it);
    assert!(seen >= 3, "the corpus of {target} has {seen} files");
}

fn replay_folder(folder: &str, try_it: fn(&[u8])) -> usize {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let bytes = fs::read(path).unwrap();
        try_it(&bytes);
        // A step that is no multiple of anything in a file's structure, and few enough of them.
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 61) {
            try_it(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0x21;
            try_it(&changed);
        }
        seen += 1;
    }
    seen
}

/// What real clients sent, too.
#[test]
fn captured() {
    let captured = "../crates/rpc/testdata";
    for (folder, try_it) in [
        ("", nesssi_fuzz::xmlrpc as fn(&[u8])),
        ("/soap", nesssi_fuzz::soap),
        ("/jsonrpc", nesssi_fuzz::jsonrpc),
    ] {
        assert!(replay_folder(&format!("{captured}{folder}"), try_it) >= 3, "{folder}");
    }
}

#[test]
fn dn() {
    replay("dn", nesssi_fuzz::dn);
}

#[test]
fn cert_chain() {
    replay("cert_chain", nesssi_fuzz::cert_chain);
}

#[test]
fn gridmap() {
    replay("gridmap", nesssi_fuzz::gridmap);
}

#[test]
fn access_literal() {
    replay("access_literal", nesssi_fuzz::access_literal);
}

#[test]
fn crl() {
    replay("crl", nesssi_fuzz::crl);
}

#[test]
fn signing_policy() {
    replay("signing_policy", nesssi_fuzz::signing_policy);
}

#[test]
fn soap() {
    replay("soap", nesssi_fuzz::soap);
}

#[test]
fn xmlrpc() {
    replay("xmlrpc", nesssi_fuzz::xmlrpc);
}

#[test]
fn jsonrpc() {
    replay("jsonrpc", nesssi_fuzz::jsonrpc);
}
