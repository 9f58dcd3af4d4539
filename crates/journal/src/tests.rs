use std::path::Path;
use std::sync::mpsc::channel;

use nesssi_job::{Command, JobState, Tag};
use nesssi_policy::Limits;
use nesssi_session::SessionId;

use crate::store::count;
use crate::{
    Change, JobEnd, JobRow, Journal, JournalError, Loaded, SessionRow, SessionState, Shepherd,
};

fn limits() -> Limits {
    Limits {
        cpu_seconds: 60,
        wall_seconds: 600,
        jobs_at_once: 4,
        calls_per_minute: 60,
        call_wall_seconds: 60,
        call_cpu_seconds: 10,
        sandbox_bytes: 1 << 30,
        retention_seconds: 86_400,
        cpu_seconds_per_day: u64::MAX,
    }
}

fn session(number: u64) -> SessionRow {
    SessionRow {
        number,
        id: SessionId::random(),
        subject: Some(vec![1, 0, 255]),
        issuer: None,
        address: "127.0.0.1".to_owned(),
        account: "alice".to_owned(),
        level: "strong".to_owned(),
        limits: limits(),
        service: "sleepy".to_owned(),
        method: "sleepyAdd".to_owned(),
        created_ms: 1000 + number,
        expires_ms: 2000 + number,
        seal: vec![7; 40],
        state: SessionState::Prepared,
        trouble: None,
    }
}

fn job(number: u64) -> JobRow {
    JobRow {
        session: number,
        tag: Tag::from_bytes(number.to_be_bytes()),
        batch: "local".to_owned(),
        state: JobState::Queued,
        command: Some(Command::Argv(vec![b"/bin/echo".to_vec(), Vec::new(), vec![0xff, b' ']])),
        cpu_seconds_max: 60,
        wall_seconds_max: 600,
        sandbox_bytes_max: 0,
        leaf: false,
        shepherd: None,
        batch_id: None,
        cpus: 1,
        submitted_ms: None,
        queued_ms: 1500,
        started_ms: None,
        end: None,
    }
}

fn end() -> JobEnd {
    JobEnd {
        state: JobState::Failed,
        exit_code: Some(3),
        signal: None,
        cpu_usec: 1_500_000,
        wall_usec: 2_500_000,
        ended_ms: 9000,
        reason: "exit code 3".to_owned(),
    }
}

fn open(path: &Path) -> (Journal, Loaded) {
    Journal::open(path).unwrap()
}

fn add(number: u64) -> Vec<Change> {
    vec![Change::AddSession(Box::new(session(number))), Change::AddJob(Box::new(job(number)))]
}

/// Writes `changes`, opens the file again without closing it, as after `kill -9`, and compares.
#[track_caller]
fn check_reopened(changes: Vec<Change>, after: &[(SessionRow, Option<JobRow>)]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (first, _) = open(&path);
    first.write_and_wait(changes).unwrap();
    let (_second, loaded) = open(&path);
    assert_eq!(loaded.sessions, after);
}

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let mut admitted = session(1);
    let (session_change, job_change) =
        (Change::AddSession(Box::new(admitted.clone())), Change::AddJob(Box::new(job(1))));
    check_reopened(vec![session_change.clone()], &[(admitted.clone(), None)]);

    admitted.state = SessionState::Admitted;
    let both = vec![session_change, job_change];
    check_reopened(both.clone(), &[(admitted.clone(), Some(job(1)))]);

    let shepherd = Shepherd { pid: 77, start_ticks: 1 << 40, boot_id: "b".to_owned() };
    let started =
        Change::Started { session: 1, leaf: true, shepherd: shepherd.clone(), started_ms: 1600 };
    let running = JobRow {
        state: JobState::Running,
        leaf: true,
        shepherd: Some(shepherd),
        started_ms: Some(1600),
        ..job(1)
    };
    let three = [both, vec![started]].concat();
    check_reopened(three.clone(), &[(admitted.clone(), Some(running.clone()))]);

    let over = Change::Ended { session: 1, end: end(), expires_ms: 5000 };
    let ended = JobRow { state: JobState::Failed, command: None, end: Some(end()), ..running };
    admitted.expires_ms = 5000;
    let four = [three, vec![over]].concat();
    check_reopened(four.clone(), &[(admitted.clone(), Some(ended.clone()))]);

    let trouble = Change::Trouble { session: 1, text: "2 names are left".to_owned() };
    admitted.trouble = Some("2 names are left".to_owned());
    let five = [four, vec![trouble]].concat();
    check_reopened(five.clone(), &[(admitted.clone(), Some(ended.clone()))]);

    let kept = Change::Kept { session: 1, expires_ms: 9000 };
    admitted.expires_ms = 9000;
    let six = [five, vec![kept]].concat();
    check_reopened(six.clone(), &[(admitted, Some(ended))]);
    check_reopened([six, vec![Change::Removed { session: 1 }]].concat(), &[]);
}

#[test]
fn shell_text_is_kept_as_it_is() {
    let mut shell = job(1);
    shell.command = Some(Command::Shell("echo 'ü' > x; exit 1".to_owned()));
    let mut admitted = session(1);
    let changes = vec![
        Change::AddSession(Box::new(admitted.clone())),
        Change::AddJob(Box::new(shell.clone())),
    ];
    admitted.state = SessionState::Admitted;
    check_reopened(changes, &[(admitted, Some(shell))]);
}

#[test]
fn writers_are_answered_in_the_order_they_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, _) = open(&path);
    let (sender, receiver) = channel();
    for number in 1..=500 {
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send((number, outcome)).unwrap());
        journal.write(add(number), done);
    }
    let answers: Vec<_> = receiver.iter().take(500).collect();
    assert_eq!(answers, (1..=500).map(|number| (number, Ok(()))).collect::<Vec<_>>());
    assert_eq!(count(&path, "jobs"), 500);
}

#[test]
fn a_change_that_does_not_fit_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, _) = open(&path);
    let twice = session(1);
    let (sender, receiver) = channel();
    let writes = [
        add(1),
        // The second half fails, so the first half is not there either.
        vec![Change::AddSession(Box::new(session(2))), Change::AddJob(Box::new(job(1)))],
        vec![Change::AddSession(Box::new(twice))],
        vec![Change::Ended { session: 9, end: end(), expires_ms: 1 }],
        add(3),
    ];
    for changes in writes {
        let sender = sender.clone();
        journal.write(changes, Box::new(move |outcome| sender.send(outcome.is_ok()).unwrap()));
    }
    let fits: Vec<bool> = receiver.iter().take(5).collect();
    assert_eq!(fits, [true, false, false, false, true]);
    assert_eq!(count(&path, "sessions"), 2);
}

#[test]
fn a_job_ends_once() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(&folder.path().join("journal.sqlite"));
    journal.write_and_wait(add(1)).unwrap();
    let over = Change::Ended { session: 1, end: end(), expires_ms: 5000 };
    journal.write_and_wait(vec![over.clone()]).unwrap();
    let again = journal.write_and_wait(vec![over]);
    assert!(matches!(again, Err(JournalError::Unfit(_))), "{again:?}");
}

/// A job of a batch system, in the session of this number.
fn batch_job(number: u64) -> JobRow {
    JobRow { batch: "pbs".to_owned(), cpus: 4, ..job(number) }
}

fn submitted(session: u64, batch_id: &str, submitted_ms: u64) -> Change {
    Change::Submitted { session, batch_id: batch_id.to_owned(), submitted_ms }
}

#[test]
fn what_a_batch_system_said_is_there_after_a_crash() {
    let mut admitted = session(1);
    let made = vec![
        Change::AddSession(Box::new(admitted.clone())),
        Change::AddJob(Box::new(batch_job(1))),
    ];
    admitted.state = SessionState::Admitted;
    check_reopened(made.clone(), &[(admitted.clone(), Some(batch_job(1)))]);

    let taken = [made, vec![submitted(1, "12.head", 1600)]].concat();
    let waiting =
        JobRow { batch_id: Some("12.head".to_owned()), submitted_ms: Some(1600), ..batch_job(1) };
    check_reopened(taken.clone(), &[(admitted.clone(), Some(waiting.clone()))]);
    // Said again, as by one who found it: it was taken when it was taken.
    let again = [taken, vec![submitted(1, "12.head", 1700)]].concat();
    check_reopened(again.clone(), &[(admitted.clone(), Some(waiting.clone()))]);
    // Another one of two: its guard names it.
    let other = [again.clone(), vec![submitted(1, "13.head", 1700)]].concat();
    let named = JobRow { batch_id: Some("13.head".to_owned()), ..waiting.clone() };
    check_reopened(other, &[(admitted.clone(), Some(named))]);

    let runs = [again, vec![Change::Running { session: 1, started_ms: 1800 }]].concat();
    let running = JobRow { state: JobState::Running, started_ms: Some(1800), ..waiting };
    check_reopened(runs.clone(), &[(admitted.clone(), Some(running.clone()))]);
    let better = vec![submitted(1, "12.head", 1), Change::Running { session: 1, started_ms: 1750 }];
    let running = JobRow { started_ms: Some(1750), ..running };
    let runs = [runs, better].concat();
    check_reopened(runs.clone(), &[(admitted.clone(), Some(running.clone()))]);

    admitted.expires_ms = 5000;
    let over = vec![Change::Ended { session: 1, end: end(), expires_ms: 5000 }];
    let ended = JobRow { state: JobState::Failed, command: None, end: Some(end()), ..running };
    check_reopened([runs, over].concat(), &[(admitted, Some(ended))]);
}

#[test]
fn what_a_batch_system_cannot_have_said_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, _) = open(&path);
    let with_job = |number, job: JobRow| {
        vec![Change::AddSession(Box::new(session(number))), Change::AddJob(Box::new(job))]
    };
    let over = |session| Change::Ended { session, end: end(), expires_ms: 5000 };
    let runs = |session| Change::Running { session, started_ms: 1800 };
    let shepherd = Shepherd { pid: 77, start_ticks: 1, boot_id: "b".to_owned() };
    let started = |session| Change::Started {
        session,
        leaf: true,
        shepherd: shepherd.clone(),
        started_ms: 1600,
    };
    let write = |changes| journal.write_and_wait(changes);
    write(with_job(1, job(1))).unwrap();
    write(with_job(2, batch_job(2))).unwrap();
    write(with_job(3, batch_job(3))).unwrap();
    write(vec![submitted(3, "13", 1600)]).unwrap();
    write(with_job(4, batch_job(4))).unwrap();
    write(vec![submitted(4, "14", 1600), runs(4), over(4)]).unwrap();
    write(vec![Change::AddSession(Box::new(session(5)))]).unwrap();
    let before = open(&path).1.sessions;
    let (journal, _) = open(&path);
    for (why, change) in [
        ("the local batch system gives no ids", submitted(1, "11", 1600)),
        ("without a batch id", runs(1)),
        ("without a batch id", runs(2)),
        ("it has no shepherd", started(3)),
        ("it has ended", submitted(4, "14", 1600)),
        ("it has ended", runs(4)),
        ("it has no job", submitted(5, "15", 1600)),
        ("it has no job", runs(5)),
        ("there is none", submitted(6, "16", 1600)),
        ("there is none", runs(6)),
    ] {
        let written = journal.write_and_wait(vec![change.clone()]);
        assert!(matches!(written, Err(JournalError::Unfit(_))), "{why}: {change:?}: {written:?}");
    }
    drop(journal);
    assert_eq!(open(&path).1.sessions, before);
}

#[test]
fn the_older_holder_of_the_lease_writes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (old, first) = open(&path);
    let (new, second) = open(&path);
    assert_eq!(second.lease, first.lease + 1);
    assert_eq!(old.write_and_wait(add(1)), Err(JournalError::LeaseLost));
    new.write_and_wait(add(1)).unwrap();
}

#[test]
fn a_closed_journal_has_written_all_and_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, _) = open(&path);
    for number in 1..=50 {
        journal.write(add(number), Box::new(|outcome| outcome.unwrap()));
    }
    journal.close();
    assert_eq!(count(&path, "sessions"), 50);
    assert_eq!(journal.write_and_wait(add(51)), Err(JournalError::Busy));
}

#[test]
fn numbers_are_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, loaded) = open(&path);
    assert_eq!(loaded.next_number, 1);
    for number in 1..=3 {
        journal.write_and_wait(add(number)).unwrap();
        journal.write_and_wait(vec![Change::Removed { session: number }]).unwrap();
    }
    journal.write_and_wait(vec![Change::ForgetRemoved { before_ms: u64::MAX }]).unwrap();
    assert_eq!(count(&path, "sessions"), 1);
    assert_eq!(count(&path, "jobs"), 1);
    assert_eq!(open(&path).1.next_number, 4);
}

#[test]
fn another_versions_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x); PRAGMA user_version = 99").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(Journal::open(&path).unwrap_err(), JournalError::Version { found: 99 });
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_journal_that_is_gone_or_emptied_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    Journal::open(&path).unwrap().0.close();
    std::fs::write(&path, "").unwrap();
    let gone = |path: &Path| match Journal::open(path) {
        Err(error @ JournalError::Gone(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(gone(&path).contains("restore a backup, or remove journal.made"), "{}", gone(&path));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    std::fs::remove_file(&path).unwrap();
    gone(&path);
    assert!(!path.exists());
    std::fs::remove_file(folder.path().join("journal.made")).unwrap();
    assert_eq!(Journal::open(&path).unwrap().1.sessions.len(), 0);
}

#[test]
fn somebody_elses_database_without_a_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(other);
    assert_eq!(Journal::open(&path).unwrap_err(), JournalError::Version { found: 0 });
}

#[test]
fn damage_is_reported() {
    let check = |harm: fn(&mut Vec<u8>)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let (journal, _) = open(&path);
        for number in 1..=200 {
            journal.write(add(number), Box::new(|outcome| outcome.unwrap()));
        }
        journal.close();
        let mut bytes = std::fs::read(&path).unwrap();
        harm(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let opened = Journal::open(&path);
        assert!(matches!(opened, Err(JournalError::Damaged(_))), "{opened:?}");
    };
    check(|bytes| bytes[..16].fill(b'x'));
    check(|bytes| {
        let half = bytes.len() / 2;
        bytes[half..half + 8192].fill(0xa5);
    });
}

mod backups;

mod edits {
    use nesssi_policy::{AccessEdit, SubjectDn, Whom};

    use super::*;
    use crate::read_access;

    fn edit(number: u64, whom: &str) -> AccessEdit {
        AccessEdit {
            number,
            service: "apple.xray".to_owned(),
            method: (number == 1).then(|| "burn".to_owned()),
            allow: number == 2,
            whom: Whom::parse(whom).unwrap(),
            start_unix: (number == 1).then_some(-5),
            end_unix: (number == 2).then_some(i64::MAX),
            by: SubjectDn::parse_oneline("/O=Grid/CN=Boss").unwrap(),
            at_ms: 1_700_000_000_000,
        }
    }

    fn add(edit: &AccessEdit) -> Change {
        Change::AddAccessEdit(Box::new(edit.clone()))
    }

    #[test]
    fn edits_come_back_as_they_were_and_no_number_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let (journal, loaded) = open(&path);
        assert_eq!((loaded.access, loaded.next_access), (vec![], 1));
        let all = [edit(1, "/O=Grid/CN=Alice"), edit(2, "group:atlas.calo"), edit(3, "/")];
        journal.write_and_wait(all.iter().map(add).collect()).unwrap();
        assert_eq!(read_access(&path).unwrap(), all);
        let remove = |number| vec![Change::RemoveAccessEdit { number }];
        journal.write_and_wait(remove(3)).unwrap();
        for unfit in [remove(3), vec![add(&all[0])]] {
            let written = journal.write_and_wait(unfit);
            assert!(matches!(written, Err(JournalError::Unfit(_))), "{written:?}");
        }
        let (_again, loaded) = open(&path);
        assert_eq!((loaded.access.as_slice(), loaded.next_access), (&all[..2], 4));
    }
}

mod groups_and_budgets {
    use nesssi_policy::{SubjectDn, VoChange, VoTree};
    use proptest::prelude::*;

    use super::*;

    fn dn(text: &str) -> SubjectDn {
        SubjectDn::parse_oneline(text).unwrap()
    }

    fn vo(change: VoChange) -> Change {
        Change::Vo { change, by: dn("/O=Grid/CN=Root"), at_ms: 1_700_000_000_000 }
    }

    fn tree(changes: &[VoChange]) -> VoTree {
        let mut tree = VoTree::new(Vec::new());
        for change in changes {
            tree.apply(change).unwrap();
        }
        tree
    }

    fn any_change() -> impl Strategy<Value = VoChange> {
        let group = prop::sample::select(vec!["A", "A.1", "A.1.a", "A-b", "B"]);
        let subject =
            prop::sample::select(vec!["/O=x", "/O=X", "/O=x/CN=y", "/CN=a+CN=B", "/CN=A+CN=b"]);
        (0..6_u8, group, subject).prop_map(|(kind, group, subject)| {
            let (group, subject) = (group.to_owned(), dn(subject));
            match kind {
                0 => VoChange::Create { group },
                1 => VoChange::Delete { group },
                2 => VoChange::AddMember { group, subject },
                3 => VoChange::RemoveMember { group, subject },
                4 => VoChange::AddAdministrator { group, subject },
                _ => VoChange::RemoveAdministrator { group, subject },
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What the tree takes the journal takes, and what it refuses is refused there too; opened
        /// again, the journal gives the same tree.
        #[test]
        fn the_journal_gives_the_tree_again(changes in prop::collection::vec(any_change(), 0..60)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal.sqlite");
            let (journal, loaded) = open(&path);
            prop_assert_eq!(loaded.vo, []);
            let mut tree = VoTree::new(Vec::new());
            for change in changes {
                let fits = tree.apply(&change).is_ok();
                // That a group lies in another is for the tree alone to see.
                if matches!(&change, VoChange::Create { .. }) && !fits {
                    continue;
                }
                let written = journal.write_and_wait(vec![vo(change.clone())]);
                prop_assert_eq!(written.is_ok(), fits, "{:?}: {:?}", change, written);
            }
            let (_again, loaded) = open(&path);
            prop_assert_eq!(super::groups_and_budgets::tree(&loaded.vo), tree);
        }
    }

    #[test]
    fn who_made_a_group_and_when_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let (journal, _) = open(&path);
        let (group, subject) = ("A".to_owned(), dn("/O=x"));
        let create = VoChange::Create { group: group.clone() };
        let add = VoChange::AddMember { group, subject };
        journal.write_and_wait(vec![vo(create), vo(add)]).unwrap();
        let file = rusqlite::Connection::open(&path).unwrap();
        for table in ["vo_groups", "vo_entries"] {
            let text = format!("SELECT made_by, made_ms FROM {table}");
            let (by, at): (Vec<u8>, i64) =
                file.query_row(&text, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(SubjectDn::from_bytes(&by), Ok(dn("/O=Grid/CN=Root")));
            assert_eq!(at, 1_700_000_000_000);
        }
    }

    #[test]
    fn a_groups_change_that_does_not_fit_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(&folder.path().join("journal.sqlite"));
        let create = || vo(VoChange::Create { group: "A".to_owned() });
        let twice = journal.write_and_wait(vec![create(), create()]);
        assert!(matches!(twice, Err(JournalError::Unfit(_))), "{twice:?}");
        journal.write_and_wait(vec![create()]).unwrap();
    }

    fn used(owner: &str, day: u32, cpu_usec: u64) -> Change {
        Change::Used { owner: owner.to_owned(), day, cpu_usec }
    }

    #[test]
    fn what_was_used_adds_up_by_owner_and_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let (journal, loaded) = open(&path);
        assert_eq!(loaded.used, []);
        let changes = vec![
            used("alice", 20_000, 5),
            used("bob", 20_000, 1),
            used("alice", 20_001, 7),
            used("alice", 20_000, 6),
            used("max", 20_001, u64::MAX),
            used("max", 20_001, u64::MAX),
            used("none", 20_001, 0),
        ];
        journal.write_and_wait(changes).unwrap();
        let all = || open(&path).1.used;
        let most = i64::MAX.unsigned_abs();
        let row = |owner: &str, day, cpu_usec| (owner.to_owned(), day, cpu_usec);
        let later = [row("alice", 20_001, 7), row("max", 20_001, most), row("none", 20_001, 0)];
        let earlier = [row("alice", 20_000, 11), row("bob", 20_000, 1)];
        assert_eq!(all(), [earlier.as_slice(), &later].concat());
        let (journal, _) = open(&path);
        journal.write_and_wait(vec![Change::ForgetUsed { before_day: 20_001 }]).unwrap();
        assert_eq!(all(), later);
        let (journal, _) = open(&path);
        journal.write_and_wait(vec![Change::ForgetUsed { before_day: u32::MAX }]).unwrap();
        assert_eq!(all(), []);
    }
}

mod migration {
    use super::*;

    /// The schema of version 1, as it was.
    const SCHEMA_1: &str = include_str!("../testdata/schema_1.sql");

    /// A file that version 1 wrote: three sessions, the second with a job, the third removed.
    fn version_1(path: &Path) {
        let file = rusqlite::Connection::open(path).unwrap();
        file.execute_batch(SCHEMA_1).unwrap();
        for (number, state) in [(1, "prepared"), (2, "admitted"), (3, "removed")] {
            let limits: Vec<u8> = (0..48).collect();
            file.execute(
                "INSERT INTO sessions VALUES (?1, ?2, ?3, NULL, '127.0.0.1', 'alice', 'strong', ?4,
                    'sleepy', 'sleepyAdd', 1000, 2000, x'0707', ?5, NULL)",
                rusqlite::params![
                    number,
                    format!("{number:032x}"),
                    vec![1_u8, 0, 255],
                    limits,
                    state
                ],
            )
            .unwrap();
        }
        file.execute(
            "INSERT INTO jobs (session, tag, batch, state, command_kind, command, cpu_seconds_max,
                wall_seconds_max, sandbox_bytes_max, leaf, queued_ms)
            VALUES (2, '0000000000000002', 'local', 'queued', 'shell', x'6c73', 60, 600, 0, 0, 1500)",
            [],
        )
        .unwrap();
        file.pragma_update(None, "user_version", 1).unwrap();
    }

    #[test]
    fn a_file_of_version_1_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        version_1(&path);
        let (journal, loaded) = open(&path);
        assert_eq!(loaded.next_number, 4);
        let [(first, None), (second, Some(job))] = loaded.sessions.as_slice() else {
            panic!("{:?}", loaded.sessions);
        };
        assert_eq!((first.number, second.number, job.session), (1, 2, 2));
        for session in [first, second] {
            let bytes = session.limits.to_bytes();
            assert_eq!(bytes[..48], (0..48).collect::<Vec<u8>>());
            assert_eq!(session.limits.cpu_seconds_per_day, u64::MAX);
            assert_eq!(session.seal, [7, 7]);
        }
        assert_eq!(job.command, Some(Command::Shell("ls".to_owned())));
        assert!(loaded.vo.is_empty() && loaded.used.is_empty());
        // It is one of this version from now on.
        let change = Change::Used { owner: "alice".to_owned(), day: 1, cpu_usec: 1 };
        journal.write_and_wait([add(4), vec![change]].concat()).unwrap();
        let (_again, loaded) = open(&path);
        assert_eq!((loaded.sessions.len(), loaded.used.len()), (3, 1));
        assert_eq!(count(&path, "answers"), 0);
    }

    /// The schema of version 2, as it was.
    const SCHEMA_2: &str = include_str!("../testdata/schema_2.sql");

    #[test]
    fn a_file_of_version_2_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(SCHEMA_2).unwrap();
        file.execute(
            "INSERT INTO sessions VALUES (1, ?1, NULL, NULL, '127.0.0.1', 'nobody', 'anonymous', ?2,
                'sleepy', 'sleepyAdd', 1000, 2000, x'0707', 'prepared', NULL)",
            rusqlite::params![format!("{:032x}", 1), limits().to_bytes()],
        )
        .unwrap();
        file.execute_batch(
            "INSERT INTO vo_groups VALUES ('atlas', x'00', 1); INSERT INTO used VALUES (1, 'a', 7);",
        )
        .unwrap();
        file.pragma_update(None, "user_version", 2).unwrap();
        assert_eq!(crate::read_vo(&path).unwrap().len(), 1, "it is read where it stands");
        let (_journal, loaded) = open(&path);
        assert_eq!((loaded.sessions.len(), loaded.vo.len(), loaded.used.len()), (1, 1, 1));
        assert_eq!(loaded.sessions[0].0.limits, limits());
        assert!(loaded.answers.is_empty());
        assert_eq!(count(&path, "answers"), 0);
    }

    /// The schema of version 3, as it was.
    const SCHEMA_3: &str = include_str!("../testdata/schema_3.sql");

    #[test]
    fn a_file_of_version_3_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(SCHEMA_3).unwrap();
        for number in [1_u8, 2, 3] {
            file.execute(
                "INSERT INTO sessions VALUES (?1, ?2, NULL, NULL, '127.0.0.1', 'nobody',
                    'anonymous', ?3, 'sleepy', 'sleepyAdd', 1000, 2000, x'0707', 'admitted', NULL)",
                rusqlite::params![number, format!("{number:032x}"), limits().to_bytes()],
            )
            .unwrap();
        }
        file.execute_batch(
            "INSERT INTO jobs VALUES (1, '0000000000000001', 'local', 'queued', 'shell', x'6c73',
                60, 600, 7, 0, NULL, NULL, NULL, 1500, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
            INSERT INTO jobs VALUES (2, '0000000000000002', 'local', 'running', 'shell', x'6c73',
                60, 600, 7, 1, 77, 5, 'b', 1500, 1600, NULL, NULL, NULL, NULL, NULL, NULL);
            INSERT INTO jobs VALUES (3, '0000000000000003', 'local', 'failed', NULL, NULL,
                60, 600, 7, 0, 78, 6, 'b', 1500, 1600, 9000, 3, NULL, 1500000, 2500000,
                'exit code 3');",
        )
        .unwrap();
        file.pragma_update(None, "user_version", 3).unwrap();
        assert!(crate::read_access(&path).unwrap().is_empty(), "it is read where it stands");
        let (journal, loaded) = open(&path);
        let jobs: Vec<&JobRow> = loaded.sessions.iter().flat_map(|(_, job)| job).collect();
        let shepherd =
            |pid, start_ticks| Some(Shepherd { pid, start_ticks, boot_id: "b".to_owned() });
        let queued = JobRow {
            command: Some(Command::Shell("ls".to_owned())),
            sandbox_bytes_max: 7,
            ..job(1)
        };
        let running = JobRow {
            tag: Tag::from_bytes(2_u64.to_be_bytes()),
            session: 2,
            state: JobState::Running,
            leaf: true,
            shepherd: shepherd(77, 5),
            started_ms: Some(1600),
            ..queued.clone()
        };
        let ended = JobRow {
            tag: Tag::from_bytes(3_u64.to_be_bytes()),
            session: 3,
            state: JobState::Failed,
            command: None,
            leaf: false,
            shepherd: shepherd(78, 6),
            end: Some(end()),
            ..running.clone()
        };
        assert_eq!(jobs, [&queued, &running, &ended]);
        // It is one of this version from now on.
        let pbs = vec![
            Change::AddSession(Box::new(session(4))),
            Change::AddJob(Box::new(batch_job(4))),
            submitted(4, "1.head", 1600),
        ];
        journal.write_and_wait(pbs).unwrap();
        let taken = open(&path).1.sessions.pop().unwrap().1.unwrap();
        assert_eq!((taken.batch_id.as_deref(), taken.cpus), (Some("1.head"), 4));
    }

    #[test]
    fn a_file_that_cannot_be_brought_up_to_date_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        version_1(&path);
        let file = rusqlite::Connection::open(&path).unwrap();
        // In the way of a table that comes after others.
        file.execute_batch("CREATE TABLE used (x)").unwrap();
        let opened = Journal::open(&path);
        assert!(matches!(opened, Err(JournalError::Sqlite(_))), "{opened:?}");
        let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
        assert_eq!(count(&path, "sqlite_schema WHERE name LIKE 'vo_%'"), 0);
        file.execute_batch("DROP TABLE used").unwrap();
        assert_eq!(open(&path).1.sessions.len(), 2);
    }
}
