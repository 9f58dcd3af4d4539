use std::fs;
use std::path::PathBuf;

use nesssi_journal::chain::{Head, KeptHeads, hex};

use super::{Words, verify};

/// A state directory with a gatekeeper's chain of ten lines in three files, nine of them vouched
/// for, and a monitor's of three that tells where the first stood at line 4.
struct State {
    directory: tempfile::TempDir,
}

const PARTS: [(&str, u64); 3] =
    [("audit.jsonl.2", 3), ("audit.jsonl-20260101", 4), ("audit.jsonl", 3)];

impl State {
    fn new() -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(this.path("gatekeeper")).unwrap();
        fs::create_dir(this.path("monitor")).unwrap();
        let mut head = Head::default();
        let mut heads = Vec::new();
        for (name, count) in PARTS {
            let mut file = Vec::new();
            for _ in 0..count {
                let rest = format!(",\"at\":\"0\",\"event\":\"call\",\"x\":{}}}\n", head.lines);
                head.push(&mut file, rest.as_bytes());
                heads.push((head, u64::try_from(file.len()).unwrap()));
            }
            fs::write(this.path(&format!("gatekeeper/{name}")), &file).unwrap();
        }
        let told = format!(
            ",\"at\":\"0\",\"event\":\"audit_head\",\"lines\":4,\"hash\":\"{}\"}}\n",
            hex(&heads[3].0.hash)
        );
        let mut own = Head::default();
        let mut file = Vec::new();
        for rest in [",\"event\":\"started\"}\n", &told, ",\"event\":\"ended\"}\n"] {
            own.push(&mut file, rest.as_bytes());
        }
        fs::write(this.path("monitor/audit.jsonl"), &file).unwrap();
        let kept = KeptHeads { gatekeeper: Some(heads[8]), own: Some(own) };
        fs::write(this.path("monitor/audit.head"), kept.to_string()).unwrap();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<String>)) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let mut lines = text.lines().map(|line| format!("{line}\n")).collect();
        change(&mut lines);
        fs::write(self.path(name), lines.concat()).unwrap();
    }

    /// Every finding, without the directory, a "!" before those that are wrong.
    fn findings(&self, from: u64, files: Vec<PathBuf>) -> Vec<String> {
        let state = self.directory.path().to_owned();
        let words = Words { config: PathBuf::new(), state: None, from, monitor_from: 1, files };
        let prefix = format!("{}/", state.display());
        let shown = |finding: &super::Finding| finding.to_string().replace(&prefix, "");
        verify(&state, &words).iter().map(shown).collect()
    }

    fn wrong(&self) -> Vec<String> {
        let findings = self.findings(1, vec![]);
        findings.iter().filter_map(|text| text.strip_prefix("WRONG ").map(str::to_owned)).collect()
    }
}

#[test]
fn all_is_well_over_rotated_files() {
    let due = [
        "the monitor's: 3 lines, all vouched for",
        "the gatekeeper's: 10 lines, 9 vouched for, 1 not yet covered",
    ];
    let state = State::new();
    assert_eq!(state.findings(1, vec![]), due);
    let named = PARTS.map(|(name, _)| state.path(&format!("gatekeeper/{name}")));
    assert_eq!(state.findings(1, named.into_iter().rev().collect()), due);
}

#[test]
fn each_change_is_told_with_file_and_line() {
    let check = |name: &str, change: &dyn Fn(&mut Vec<String>), due: &[&str]| {
        let state = State::new();
        state.edit(name, change);
        assert_eq!(state.wrong(), due);
    };
    check(
        "gatekeeper/audit.jsonl-20260101",
        &|lines| lines[2] = lines[2].replace("\"x\":5", "\"x\":6"),
        &["gatekeeper/audit.jsonl-20260101:4: line 6 has been changed: the line after it tells \
           another hash of it"],
    );
    check(
        "gatekeeper/audit.jsonl.2",
        &|lines| drop(lines.remove(1)),
        &["gatekeeper/audit.jsonl.2:2: line 3 follows line 1: 1 are missing"],
    );
    check(
        "gatekeeper/audit.jsonl.2",
        &|lines| lines.insert(2, lines[1].clone()),
        &["gatekeeper/audit.jsonl.2:3: line 2 follows line 2: repeated, inserted or out of order"],
    );
    check(
        "gatekeeper/audit.jsonl",
        &|lines| lines.truncate(1),
        &["gatekeeper/audit.jsonl: ends with line 8, and line 9 was there: the end is cut off"],
    );
    check(
        "monitor/audit.jsonl",
        &|lines| lines.truncate(2),
        &["monitor/audit.jsonl: ends with line 2, and line 3 was there: the end is cut off"],
    );
}

#[test]
fn a_chain_written_anew_is_found_by_what_the_monitor_told() {
    let state = State::new();
    let mut head = Head::default();
    for (name, count) in PARTS {
        let mut file = Vec::new();
        (0..count).for_each(|_| head.push(&mut file, b",\"event\":\"nothing\"}\n"));
        fs::write(state.path(&format!("gatekeeper/{name}")), file).unwrap();
    }
    let wrong = state.wrong();
    let not_kept = |at: &str, line: u64| {
        format!("gatekeeper/{at}: line {line} is not the line of that number whose hash was kept")
    };
    assert_eq!(wrong[0], not_kept("audit.jsonl-20260101:1", 4));
    assert_eq!(wrong[1], not_kept("audit.jsonl:2", 9));
}

#[test]
fn a_file_that_is_gone_is_missed_unless_that_is_said() {
    let state = State::new();
    fs::remove_file(state.path("gatekeeper/audit.jsonl.2")).unwrap();
    let due = "gatekeeper/audit.jsonl-20260101:1: begins with line 4, not with line 1: older lines \
               are missing";
    assert_eq!(state.wrong(), [due]);
    assert_eq!(state.findings(4, vec![]).len(), 2);
    fs::remove_file(state.path("gatekeeper/audit.jsonl")).unwrap();
    let findings = state.findings(4, vec![]);
    assert!(findings[1].contains("ends with line 7, and line 9 was there"), "{findings:?}");
}

#[test]
fn what_is_torn_after_the_head_is_told_and_not_wrong() {
    let state = State::new();
    state.edit("gatekeeper/audit.jsonl", |lines| lines.push("{\"n\":11,\"pr".into()));
    // `edit` writes it without a newline.
    assert_eq!(state.wrong(), [""; 0]);
    let findings = state.findings(1, vec![]);
    assert!(findings[1].starts_with("gatekeeper/audit.jsonl:4: the last line has no newline"));
}

#[test]
fn the_byte_at_which_the_head_ended_must_be_the_same() {
    let state = State::new();
    let kept = fs::read_to_string(state.path("monitor/audit.head")).unwrap();
    let kept = KeptHeads::parse(&kept).unwrap();
    let (head, bytes) = kept.gatekeeper.unwrap();
    let other = KeptHeads { gatekeeper: Some((head, bytes + 1)), ..kept };
    fs::write(state.path("monitor/audit.head"), other.to_string()).unwrap();
    let wrong = state.wrong();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("line 9 ends at byte"), "{wrong:?}");
}

#[test]
fn what_cannot_be_read_is_wrong() {
    let state = State::new();
    fs::write(state.path("gatekeeper/audit.jsonl.3.gz"), b"\x1f\x8b\x08\0").unwrap();
    assert!(state.wrong()[0].contains("unpack it"), "{:?}", state.wrong());
    let state = State::new();
    fs::remove_file(state.path("monitor/audit.head")).unwrap();
    assert!(state.wrong()[0].contains("nothing vouches"), "{:?}", state.wrong());
    let state = State::new();
    fs::write(state.path("monitor/audit.head"), "lines x\n").unwrap();
    assert_eq!(state.wrong(), ["monitor/audit.head: lines is no number"]);
    fs::remove_dir_all(state.path("gatekeeper")).unwrap();
    assert!(state.wrong()[1].starts_with("gatekeeper") || state.wrong()[1].contains("gatekeeper"));
    let state = State::new();
    fs::write(state.path("gatekeeper/audit.jsonl"), "x".repeat(2 << 20)).unwrap();
    assert!(state.wrong()[0].contains("longer than any line"), "{:?}", state.wrong());
}
