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
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
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
    assert!(seen >= 3, "the corpus of {target} has {seen} files");
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
