use std::io::Write as _;
use std::path::Path;

use nesssi_identity::{NoCertificate, Peer, ProxyKind, Refusal};
use nesssi_journal::chain::{Head, Walk};

use super::{Audit, Served};

/// Every line of the file, after a walk along its chain from `before` on.
fn chained_on(path: &Path, before: Head) -> (Vec<serde_json::Value>, Head) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut walk = Walk::new(before.lines + 1, &[before]);
    for line in text.lines() {
        walk.line(line.as_bytes(), true).unwrap();
    }
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
    (lines, walk.head())
}

fn chained(path: &Path) -> Vec<serde_json::Value> {
    chained_on(path, Head::default()).0
}

#[tokio::test]
async fn lines_are_chained_and_the_chain_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    for round in 0..2_i64 {
        let audit = Audit::open(&path).unwrap();
        audit.line("one").number("round", round).text("who", "/CN=J\u{f6}e").write();
        audit.line("two").number("minus", -7).write();
        audit.flush().await;
    }
    let lines = chained(&path);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2]["round"], 1);
    assert_eq!(lines[2]["who"], "/CN=J\u{f6}e");
    assert_eq!(lines[3]["minus"], -7);
    assert!(lines[0]["at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_line_torn_by_a_crash_is_chained_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    audit.line("before").write();
    audit.flush().await;
    drop(audit);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"n\":2,\"pr").unwrap();
    let audit = Audit::open(&path).unwrap();
    audit.line("after").write();
    audit.flush().await;
    let lines = chained(&path);
    assert_eq!(lines[1], serde_json::Value::Null);
    assert_eq!((lines.len(), &lines[2]["n"]), (3, &3.into()));
}

#[tokio::test]
async fn two_writers_make_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let (old, new) = (Audit::open(&path).unwrap(), Audit::open(&path).unwrap());
    for audit in [&old, &new, &old, &new] {
        audit.line("turn").write();
        audit.flush().await;
    }
    assert_eq!(chained(&path).len(), 4);
}

#[tokio::test]
async fn nothing_that_is_told_can_break_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let nasty = "a\n{\"event\":\"forged\"}\r\u{1b}[2J\u{2028}\u{202e}\"\\";
    audit.line("nasty").text("text", nasty).write();
    audit.line("long").text("text", "x".repeat(10_000)).number("after", 1).write();
    drop(audit.line("never"));
    audit.flush().await;
    let raw = std::fs::read_to_string(&path).unwrap();
    assert!(!raw.chars().any(|c| c.is_control() && c != '\n'));
    let lines = chained(&path);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["text"], nasty);
    assert_eq!(lines[1]["text"].as_str().unwrap().len(), super::MEMBER_BYTES_MAX + 3);
    assert_eq!(lines[1]["after"], 1);
}

#[tokio::test]
async fn the_last_clone_writes_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    audit.line("last").write();
    drop(audit);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while chained(&path).is_empty() {
        assert!(std::time::Instant::now() < deadline, "nothing was written");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_chain_goes_on_in_a_new_file_when_the_old_one_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    let [path, first, second] =
        ["audit.jsonl", "audit.jsonl.2", "audit.jsonl.1"].map(|name| directory.path().join(name));
    let (old, new) = (Audit::open(&path).unwrap(), Audit::open(&path).unwrap());
    let write = async |audit: &Audit| {
        audit.line("turn").write();
        audit.flush().await;
    };
    write(&old).await;
    write(&new).await;
    std::fs::rename(&path, &first).unwrap();
    write(&old).await;
    write(&new).await;
    write(&old).await;
    drop((old, new));
    // Moved while nobody writes: the number is found in the newest of the older files.
    std::fs::rename(&path, &second).unwrap();
    std::fs::write(directory.path().join("audit.jsonl.3.gz"), b"\x1f\x8b...").unwrap();
    let audit = Audit::open(&path).unwrap();
    write(&audit).await;
    assert_eq!(audit.on_disk().bytes, std::fs::metadata(&path).unwrap().len());

    let (lines, head) = chained_on(&first, Head::default());
    assert_eq!(lines.len(), 2);
    let (lines, head) = chained_on(&second, head);
    assert_eq!(lines.len(), 3);
    let (lines, head) = chained_on(&path, head);
    assert_eq!(lines.len(), 1);
    assert_eq!(audit.on_disk().head, head);
}

#[tokio::test]
async fn heads_are_told_when_they_are_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let mut heads = audit.heads();
    assert_eq!(heads.borrow_and_update().head, Head::default());
    audit.line("one").write();
    heads.changed().await.unwrap();
    let (_, head) = chained_on(&path, Head::default());
    assert_eq!((head.lines, heads.borrow().head), (1, head));
}

#[tokio::test]
async fn who_connects_and_what_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path).unwrap();
    let subject = |text| nesssi_dn::SubjectDn::parse_oneline(text).unwrap();
    let identity = nesssi_identity::Identity {
        subject: subject("/O=Grid/CN=Alice"),
        issuer: subject("/O=Grid/CN=CA"),
        not_after: 2_000_000_000,
        proxy: Some(ProxyKind::Limited),
    };
    let refusal =
        Refusal { certificate: "/O=Grid/CN=Bob".into(), rule: "it has expired".into(), at: 0 };
    let address = "192.0.2.7".parse().unwrap();
    for peer in [
        Peer::Anonymous(NoCertificate::NotOffered),
        Peer::Certified(identity),
        Peer::Refused(refusal),
    ] {
        super::connected(&audit, &peer, address);
    }
    let session = "0123456789abcdef0123456789abcdef";
    let file = Served {
        session,
        path: b"out/a\xff.txt",
        address,
        request_id: "r7",
        status: 206,
        bytes: Some(100),
    };
    super::served(&audit, &file);
    audit.flush().await;
    let lines = chained(&path);
    let [taken, refused, file] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!([&taken["event"], &refused["event"]], ["authentication"; 2]);
    assert_eq!([&taken["subject"], &taken["proxy"]], ["/O=Grid/CN=Alice", "limited"]);
    assert_eq!([&refused["refused"], &refused["address"]], ["it has expired", "192.0.2.7"]);
    assert_eq!([&file["session"], &file["path"]], ["01234567", "out/a\u{fffd}.txt"]);
    assert_eq!([&file["status"], &file["bytes"]], [206, 100]);
    assert!(!std::fs::read_to_string(&path).unwrap().contains(session));
}
