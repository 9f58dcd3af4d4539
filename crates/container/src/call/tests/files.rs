//! `file.*` and uploads: who may what, over which channel, and what is told of it.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nesssi_identity::ProxyKind;
use nesssi_privsep::Channel;
use nesssi_privsep::messages::{Entry, FindEnd, FromJobmanager, Seal, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_rpc::{Call, Dialect, MethodName, Value};
use rustix::io::Errno;

use super::world::{
    ALICE, MALLORY, NOBODY, Stage, World, anonymous, by_proxy, certified, folder, refused,
};
use crate::builtin::Context;
use crate::link::lock;
use crate::{Caller, Put, PutFault, Uploaded};

/// What the stand-in seals.
pub(super) fn seal(account: String, session: String) -> Seal {
    let mac = Blob(session.into_bytes());
    Seal { account, uid: 1001, level: "weak".into(), limits: Blob(Vec::new()), mac }
}

fn ten_bytes() -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.into()
}

fn entry(name: &[u8], directory: bool) -> Entry {
    Entry { name: Blob(name.to_vec()), directory, size: 3, modified: 1_164_196_800 }
}

/// Answers what is asked about files as a jobmanager would that has ten bytes in every file.
pub(super) fn answer(stage: &Stage, channel: &Channel, id: u32, tends: bool, asked: &ToJobmanager) {
    use ToJobmanager as Ask;
    let (word, path) = match asked {
        Ask::Stat { path, .. } => ("stat", path),
        Ask::Open { path, .. } => ("open", path),
        Ask::List { path, .. } => ("list", path),
        Ask::Find { path, .. } => ("find", path),
        Ask::MakeDirectory { path, .. } => ("mkdir", path),
        Ask::BeginWrite { path, .. } => ("begin", path),
        Ask::Rename { to, .. } => ("rename", to),
        Ask::RemovePath { path, .. } => ("remove", path),
        Ask::TreeStat { path, .. } => ("tree_stat", path),
        Ask::TreeOpen { path, .. } => ("tree_open", path),
        Ask::TreeList { path, .. } => ("tree_list", path),
        Ask::TreeFind { path, .. } => ("tree_find", path),
        Ask::CommitWrite { .. } => ("commit", &Blob(Vec::new())),
        Ask::DiscardWrite { .. } => ("discard", &Blob(Vec::new())),
        _ => return,
    };
    let path = String::from_utf8_lossy(&path.0).into_owned();
    let kind = if tends { "tend" } else { "start" };
    lock(&stage.asked_of_files).push(format!("{kind} {word} {path}"));
    let fault = lock(&stage.file_faults).iter().find(|(of, _)| *of == word).map(|(_, no)| *no);
    let failed = |errno: i32| FromJobmanager::Failed { errno, text: "/secret/path".into() };
    let stated = |directory| FromJobmanager::Stated {
        directory,
        size: 10,
        modified: 1_164_196_800,
        modified_nanos: 0,
        inode: 1,
    };
    let say = |answer: &FromJobmanager| channel.send(id, answer, &[]).unwrap();
    if let Some(errno) = fault {
        return say(&failed(errno));
    }
    match asked {
        Ask::Stat { .. } | Ask::TreeStat { .. } if path == "absent" => say(&failed(2)),
        Ask::Stat { .. } | Ask::TreeStat { .. } => say(&stated(path.is_empty() || path == "dir")),
        Ask::Open { .. } | Ask::TreeOpen { .. } => {
            let opened = FromJobmanager::Opened {
                directory: path.is_empty(),
                size: 10,
                modified: 0,
                modified_nanos: 0,
                inode: 1,
            };
            let file = ten_bytes();
            if path == "endless" {
                rustix::fs::ftruncate(&file, 1 << 40).unwrap();
            }
            channel.send(id, &opened, &[file.as_fd()]).unwrap();
        }
        Ask::List { .. } | Ask::TreeList { .. } => {
            let entries = vec![entry(b"a", false), entry(b"dir", true), entry(b"\xff", false)];
            say(&FromJobmanager::Listing { entries, cut: path == "full" });
        }
        Ask::Find { .. } | Ask::TreeFind { .. } => {
            say(&FromJobmanager::Found { entries: vec![entry(b"dir/a", false)] });
            let cut = path == "full";
            let end = if cut { FindEnd::Entries {} } else { FindEnd::Whole {} };
            say(&FromJobmanager::FindDone { end });
        }
        Ask::MakeDirectory { .. } => say(&FromJobmanager::Made {}),
        Ask::Rename { .. } => say(&FromJobmanager::Renamed {}),
        Ask::RemovePath { .. } => say(&FromJobmanager::Removed {}),
        Ask::BeginWrite { .. } => {
            let begun = FromJobmanager::WriteBegun { ticket: 1 };
            channel.send(id, &begun, &[ten_bytes().as_fd()]).unwrap();
        }
        Ask::CommitWrite { .. } => {
            say(&FromJobmanager::Written { size: 7, modified: 0, replaced: false });
        }
        Ask::DiscardWrite { .. } => say(&FromJobmanager::Discarded {}),
        _ => {}
    }
}

/// A world in which `owner` has a session.
async fn with_session(owner: &Caller) -> (World, String) {
    let world = World::new(vec![folder("s")]).await;
    let session = session_of(&world, owner).await;
    (world, session)
}

async fn session_of(world: &World, owner: &Caller) -> String {
    let inner = &world.container.inner;
    let grant = inner.grants.judge(owner).await;
    let context = Context { inner, caller: owner, grant: &grant, answer: None };
    let who = context.who().unwrap();
    let (id, _) = inner.jobs.prepare(&who, "s", "m", 5.0).await.unwrap();
    lock(&world.stage.asked_of_files).clear();
    id.reveal().to_owned()
}

impl World {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.stage.asked_of_files))
    }

    async fn file(&self, caller: &Caller, method: &str, params: &[&str]) -> Result<Value, String> {
        let params: Vec<Value> = params.iter().map(|text| Value::from(*text)).collect();
        let reply = self.call(caller, &format!("file.{method}"), &params).await;
        reply.map_err(|fault| format!("{}: {}", fault.code.number(), fault.text))
    }

    async fn put(&self, caller: &Caller, session: &str, path: &str) -> Result<Uploaded, PutFault> {
        let put = Put { session, path: path.as_bytes(), length: Some(7), replace: true };
        self.container.begin_upload(caller, &put).await?.commit().await
    }
}

fn member(value: &Value, name: &str) -> Value {
    let Value::Struct(members) = value else { panic!("{value:?}") };
    members[name].clone()
}

#[tokio::test]
async fn whoever_holds_the_id_reads_over_the_channel_by_seal() {
    let (world, session) = with_session(&certified(ALICE)).await;
    let at = |path: &str| format!("/{session}{path}");
    for reader in [certified(ALICE), certified(MALLORY), anonymous(), certified(NOBODY)] {
        let stat = world.file(&reader, "stat", &[&at("/dir/out.txt")]).await.unwrap();
        assert_eq!(member(&stat, "path"), at("/dir/out.txt").into());
        assert_eq!(member(&stat, "name"), "out.txt".into());
        assert_eq!(member(&stat, "size"), Value::Int(10));
        assert_eq!(member(&stat, "directory"), Value::Bool(false));
        assert!(matches!(member(&stat, "modified"), Value::DateTime(_)));
        let Value::Array(names) = world.file(&reader, "ls", &[&at("")]).await.unwrap() else {
            panic!("no list");
        };
        assert_eq!(names.len(), 3);
        assert_eq!(member(&names[2], "name"), Value::Binary(vec![0xff]));
        let Value::Array(found) = world.file(&reader, "find", &[&at("/"), "*"]).await.unwrap()
        else {
            panic!("no list");
        };
        assert_eq!(member(&found[0], "path"), at("/dir/a").into());
        assert_eq!(world.file(&reader, "size", &[&at("/a")]).await, Ok(Value::Int(10)));
        let md5 = world.file(&reader, "md5", &[&at("/a")]).await;
        assert_eq!(md5, Ok("781e5e245d69b566979b86e28d23f2c7".into()));
        let sha256 = world.file(&reader, "sha256", &[&at("/a")]).await.unwrap();
        assert!(sha256.as_str().unwrap().starts_with("84d89877f0d4041efb6bf91a16f0248f"));
        assert!(world.asked().iter().all(|asked| asked.starts_with("tend ")));
    }
    for gone in ["/0123456789abcdef0123456789abcdef/a", "/none/a", "/..", &at("/.x"), &at("//")] {
        let told = world.file(&certified(ALICE), "stat", &[gone]).await.unwrap_err();
        assert!(told.starts_with("404: no such session"), "{gone}: {told}");
    }
    let limited = by_proxy(ALICE, ProxyKind::Limited);
    assert!(world.file(&limited, "size", &[&at("/a")]).await.is_ok());
    assert!(world.file(&refused(), "size", &[&at("/a")]).await.unwrap_err().starts_with("403: "));
}

#[tokio::test]
async fn a_read_is_raw_in_one_xml_rpc_call_alone() {
    let (world, session) = with_session(&certified(ALICE)).await;
    let params = |offset: i64, length: i64| {
        vec![Value::from(format!("/{session}/a.txt")), Value::Int(offset), Value::Int(length)]
    };
    let read = async |dialect, offset, length| {
        let call = Call {
            method: MethodName::parse("file.read").unwrap(),
            params: params(offset, length),
        };
        world.container.call(&Caller { dialect, ..anonymous() }, call).await
    };
    let raw = read(Dialect::XmlRpc, 2, -1).await.raw.unwrap();
    assert_eq!((raw.offset, raw.length, &*raw.name), (2, 8, &b"a.txt"[..]));
    for dialect in [Dialect::JsonRpc2, Dialect::JsonRpc1, Dialect::Soap11, Dialect::Soap12] {
        let answer = read(dialect, 2, 3).await;
        assert_eq!((answer.reply, answer.raw), (Ok(Value::Binary(b"234".to_vec())), None));
    }
    let call = Value::record([
        ("methodName", "file.read".into()),
        ("params", Value::Array(params(8, 100))),
    ]);
    let both = Value::Array(vec![call.clone(), call]);
    let answered = world.call(&anonymous(), "system.multicall", &[both]).await.unwrap();
    let one = Value::Array(vec![Value::Binary(b"89".to_vec())]);
    assert_eq!(answered, Value::Array(vec![one.clone(), one]));
    for (offset, length) in [(-1, 0), (0, -2)] {
        let fault = read(Dialect::XmlRpc, offset, length).await.reply.unwrap_err();
        assert_eq!(fault.code.number(), -32602);
    }
    let of_directory = world.file(&anonymous(), "md5", &[&session]).await;
    assert_eq!(of_directory, Err("409: it is a directory".into()));
}

#[tokio::test]
async fn only_its_owner_changes_a_sandbox_and_not_with_a_limited_proxy() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    let (a, b) = (&*format!("/{session}/a"), &*format!("/{session}/b"));
    let changes: [(&str, &[&str]); 3] = [("mkdir", &[a]), ("rename", &[a, b]), ("remove", &[a])];
    let mut done = Vec::new();
    for (method, params) in changes {
        for other in [certified(MALLORY), anonymous(), certified(NOBODY)] {
            let told = world.file(&other, method, params).await.unwrap_err();
            assert_eq!(told, "404: no such session", "{method}");
            assert_eq!(world.asked(), Vec::<String>::new(), "{method}");
        }
        let limited = by_proxy(ALICE, ProxyKind::Limited);
        let told = world.file(&limited, method, params).await.unwrap_err();
        assert!(told.starts_with("403: a limited proxy may read"), "{told}");
        assert_eq!(world.file(&alice, method, params).await, Ok(Value::Bool(true)));
        done.extend(world.asked());
    }
    assert_eq!(done, ["start mkdir a", "start rename b", "tend remove a"]);
    let other = world.put(&certified(MALLORY), &session, "a").await;
    assert_eq!(other.unwrap_err().as_fault().code.number(), 404);
    let limited = world.put(&by_proxy(ALICE, ProxyKind::Limited), &session, "a").await;
    assert_eq!(limited.unwrap_err().as_fault().code.number(), 403);
    let gone = world.put(&refused(), &session, "a").await;
    assert_eq!(gone.unwrap_err().as_fault().code.number(), 403);
    assert_eq!(world.asked(), Vec::<String>::new());
    let whole = world.put(&alice, &session, "a").await;
    assert_eq!(whole, Ok(Uploaded { size: 7, replaced: false }));
    assert_eq!(world.asked(), ["start begin a", "start commit "]);
    // The sandbox itself is nobody's to change so, and trees are for reading.
    for path in [&*format!("/{session}"), &format!("/{session}/"), "/"] {
        assert!(world.file(&alice, "remove", &[path]).await.unwrap_err().starts_with("404: "));
    }
    assert!(world.file(&alice, "mkdir", &["/data/x"]).await.unwrap_err().starts_with("403: "));
    let second = session_of(&world, &certified(MALLORY)).await;
    let across = world.file(&alice, "rename", &[a, &format!("/{second}/b")]).await;
    assert!(across.unwrap_err().starts_with("-32602: "));
    world.container.inner.audit.flush().await;
    let audit = std::fs::read_to_string(world.audit_path()).unwrap();
    for act in ["mkdir", "rename", "remove", "write_begun", "write"] {
        let told = format!("\"session\":\"{}\",\"act\":\"{act}\",\"path\":\"a\"", &session[..8]);
        assert!(audit.contains(&told), "{act}: {audit}");
    }
    assert!(!audit.contains(&session), "a whole id stands in the audit");
}

#[tokio::test]
async fn who_has_another_account_now_changes_nothing_and_may_still_clear_up() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    *lock(&world.stage.alice_is) = "other";
    world.new_rules(None);
    let path = &*format!("/{session}/a");
    world.until_generation().await;
    let told = world.file(&alice, "mkdir", &[path]).await.unwrap_err();
    assert!(told.starts_with("403: the session is of another account"), "{told}");
    let put = world.put(&alice, &session, "a").await;
    assert_eq!(put.unwrap_err().as_fault().code.number(), 403);
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.file(&alice, "remove", &[path]).await, Ok(Value::Bool(true)));
    assert_eq!(world.asked(), ["tend remove a"]);
}

#[tokio::test]
async fn an_anonymous_session_is_its_ids() {
    let (world, session) = with_session(&anonymous()).await;
    *lock(&world.stage.alice_is) = "guest";
    let path = &*format!("/{session}/a");
    assert_eq!(world.file(&anonymous(), "mkdir", &[path]).await, Ok(Value::Bool(true)));
}

#[tokio::test]
async fn a_tree_is_read_by_whom_its_list_lets_in_as_his_account() {
    let world = World::new(vec![folder("s")]).await;
    let alice = certified(ALICE);
    for (method, params) in [
        ("ls", &["/data"][..]),
        ("stat", &["data/a"]),
        ("find", &["/data/dir", "*"]),
        ("md5", &["/data/a"]),
    ] {
        assert!(world.file(&alice, method, params).await.is_ok(), "{method}");
    }
    let asked = world.asked();
    assert!(asked.iter().all(|asked| asked.starts_with("start tree_")), "{asked:?}");
    let told = world.file(&certified(MALLORY), "ls", &["/data"]).await.unwrap_err();
    assert_eq!(told, format!("403: the access list of this tree does not admit {MALLORY}"));
    let told = world.file(&anonymous(), "ls", &["/data"]).await.unwrap_err();
    assert_eq!(told, "401: this tree needs a certificate");
    assert!(world.file(&anonymous(), "ls", &["/open"]).await.is_ok());
    // Whom no level takes has no account to read it as.
    assert!(
        world.file(&certified(NOBODY), "ls", &["/open"]).await.unwrap_err().starts_with("403: ")
    );
    // What the account may not read is told, and no path of the site.
    lock(&world.stage.file_faults).push(("tree_open", Errno::ACCESS.raw_os_error()));
    let told = world.file(&alice, "md5", &["/data/a"]).await.unwrap_err();
    assert_eq!(told, "403: the caller's account may not read this");
    assert!(world.file(&alice, "stat", &["/data/absent"]).await.unwrap_err().starts_with("404: "));
}

#[tokio::test]
async fn the_top_has_the_callers_trees_and_sessions() {
    let (world, session) = with_session(&certified(ALICE)).await;
    let names = async |caller: &Caller| -> Vec<String> {
        let Value::Array(entries) = world.file(caller, "ls", &["/"]).await.unwrap() else {
            panic!("no list");
        };
        entries.iter().map(|entry| member(entry, "name").as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&certified(ALICE)).await, ["data", "open", &session]);
    assert_eq!(names(&certified(MALLORY)).await, ["open"]);
    assert_eq!(names(&anonymous()).await, ["open"]);
}

#[tokio::test]
async fn more_than_an_answer_holds_is_413_and_a_conflict_409() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    let full = &*format!("/{session}/full");
    assert!(world.file(&alice, "ls", &[full]).await.unwrap_err().starts_with("413: "));
    let told = world.file(&alice, "find", &[full, "*"]).await.unwrap_err();
    assert!(told.starts_with("413: there are more than 10000 matches"), "{told}");
    let file = &*format!("/{session}/a");
    for (word, method, errno, expected) in [
        ("mkdir", "mkdir", Errno::EXIST, "409: "),
        ("mkdir", "mkdir", Errno::NOSPC, "503: "),
        ("mkdir", "mkdir", Errno::NOENT, "404: "),
        ("mkdir", "mkdir", Errno::ACCESS, "403: "),
        ("remove", "remove", Errno::NOTEMPTY, "409: "),
        ("open", "md5", Errno::ACCESS, "404: "),
        ("open", "md5", Errno::LOOP, "404: "),
        ("list", "ls", Errno::NOTDIR, "409: it is a file"),
    ] {
        *lock(&world.stage.file_faults) = vec![(word, errno.raw_os_error())];
        let told = world.file(&alice, method, &[file]).await.unwrap_err();
        assert!(told.starts_with(expected) && !told.contains("secret"), "{errno:?}: {told}");
    }
    for (word, errno, expected) in [
        ("begin", Errno::AGAIN, 429),
        ("commit", Errno::DQUOT, 413),
        ("commit", Errno::FBIG, 413),
        ("commit", Errno::ISDIR, 409),
    ] {
        *lock(&world.stage.file_faults) = vec![(word, errno.raw_os_error())];
        let fault = world.put(&alice, &session, "a").await.unwrap_err().as_fault();
        assert_eq!(fault.code.number(), expected, "{errno:?}: {fault}");
    }
}

#[tokio::test]
async fn an_upload_below_at_and_above_what_the_level_allows() {
    let alice = certified(ALICE);
    let world = World::new(vec![folder("s")]).await;
    *lock(&world.stage.sandbox_bytes) = 1000;
    let session = &*session_of(&world, &alice).await;
    let begin = async |length, replace| {
        let put = Put { session, path: b"a", length, replace };
        world.container.begin_upload(&alice, &put).await
    };
    assert_eq!(begin(Some(999), true).await.unwrap().bytes_max(), 999);
    assert_eq!(begin(Some(1000), true).await.unwrap().bytes_max(), 1000);
    assert_eq!(begin(None, true).await.unwrap().bytes_max(), 1000);
    let over = begin(Some(1001), true).await.unwrap_err().as_fault();
    assert_eq!(over.code.number(), 413);
    assert_eq!(over.text, "asked for 1001 bytes, level weak allows 1000 in a sandbox");
    // The stand-in has something at every path.
    assert_eq!(begin(Some(1), false).await.unwrap_err(), PutFault::Exists);
    *lock(&world.stage.file_faults) = vec![("stat", 2), ("commit", 17)];
    let raced = begin(Some(1), false).await.unwrap().commit().await;
    assert_eq!(raced.unwrap_err(), PutFault::Exists);
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_discarded_and_told() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    let put = Put { session: &session, path: b"a", length: None, replace: true };
    let upload = world.container.begin_upload(&alice, &put).await.unwrap();
    drop(upload);
    let mut asked = Vec::new();
    world
        .until("the discard", || {
            asked.extend(world.asked());
            asked.contains(&"start discard ".to_owned())
        })
        .await;
    world.container.inner.audit.flush().await;
    let audit = std::fs::read_to_string(world.audit_path()).unwrap();
    assert!(audit.contains("write_given_up") && !audit.contains("\"act\":\"write\""), "{audit}");
}

#[tokio::test]
async fn digests_are_charged_and_refused_when_the_day_is_used_up() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    let path = &*format!("/{session}/a");
    *lock(&world.stage.cpu_seconds_per_day) = 5;
    world.new_rules(None);
    world.until_generation().await;
    assert!(world.file(&alice, "sha256", &[path]).await.is_ok());
    let inner = &world.container.inner;
    let grant = inner.grants.judge(&alice).await;
    let who = Context { inner, caller: &alice, grant: &grant, answer: None }.who().unwrap();
    let used = || inner.jobs.today(alice.subject(), alice.address, &who.grant.level).0.own.cpu_usec;
    assert!(used() > 0, "a digest is charged");
    inner.jobs.charge_call(&who, 5_000_000);
    assert!(world.file(&alice, "sha256", &[path]).await.unwrap_err().starts_with("429: "));
    assert!(world.file(&alice, "size", &[path]).await.is_ok());
}

#[tokio::test]
async fn what_was_read_is_not_kept_for_who_may_read_it_no_more() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    let path = &*format!("/{session}/a");
    let tag = Some(nesssi_rpc::ClientTag::parse("read-1").unwrap());
    let alice = Caller { tag, dialect: Dialect::JsonRpc2, ..alice };
    let reads: [(&str, &[&str]); 5] = [
        ("stat", &[path]),
        ("size", &[path]),
        ("sha256", &[path]),
        ("md5", &[path]),
        ("find", &[path, "*"]),
    ];
    for (method, params) in reads {
        assert!(world.file(&alice, method, params).await.is_ok(), "{method}");
    }
    let last = world.call(&certified(ALICE), "system.last_call", &["read-1".into()]).await;
    assert_eq!(last.unwrap_err().code.number(), 404);
    *lock(&world.stage.file_faults) = vec![("stat", 2), ("open", 2), ("find", 2)];
    for (method, params) in reads {
        let again = world.file(&alice, method, params).await;
        assert!(again.unwrap_err().starts_with("404: "), "{method}");
    }
}

/// A file without a block on the disk is as long to read as any.
#[tokio::test]
async fn digests_keep_nobody_from_reading() {
    let alice = certified(ALICE);
    let (world, session) = with_session(&alice).await;
    let digests: Vec<_> = (0..8)
        .map(|_| {
            let (container, alice) = (world.container.clone(), alice.clone());
            let path = Value::from(format!("/{session}/endless"));
            let method = MethodName::parse("file.sha256").unwrap();
            tokio::spawn(async move {
                container.call(&alice, Call { method, params: vec![path] }).await
            })
        })
        .collect();
    let began = || lock(&world.stage.asked_of_files).iter().any(|asked| asked.ends_with("endless"));
    world.until("the digests are under way", began).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let tail = Call {
        method: MethodName::parse("job.tail").unwrap(),
        params: vec![session.as_str().into(), "a".into()],
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), world.container.call(&alice, tail));
    let answer = answer.await.expect("who reads waits for no digest");
    assert_eq!(answer.reply.unwrap().member("data"), Some(&Value::Binary(b"0123456789".to_vec())));
    digests.iter().for_each(tokio::task::JoinHandle::abort);
}

impl World {
    async fn until_generation(&self) {
        let generation = *lock(&self.stage.generation);
        self.until("the new rules", || self.container.inner.grants.generation() == generation)
            .await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
