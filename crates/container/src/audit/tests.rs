use sha2::{Digest as _, Sha256};

use super::Audit;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every line of the file, each held against the one before.
fn chained(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut head = "0".repeat(64);
    let mut lines = Vec::new();
    for line in text.lines() {
        let told = line.get(9..73).unwrap_or_default();
        if line.starts_with("{\"prev\":") {
            assert_eq!(told, head, "{line}");
        }
        head = hex(&Sha256::digest(line));
        lines.push(serde_json::from_str(line).unwrap_or_default());
    }
    lines
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
    std::fs::write(&path, "{\"prev\":\"torn").unwrap();
    let audit = Audit::open(&path).unwrap();
    audit.line("after").write();
    audit.flush().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let [torn, after] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(torn, "{\"prev\":\"torn");
    assert!(after.contains(&hex(&Sha256::digest(torn))), "{after}");
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
