//! Scans: good, broken, hanging and talkative services.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{ChannelKind, FromJobmanager, ToJobmanager};

use crate::world::{Peer, World, lives};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    access: Option<String>,
    description: Option<String>,
    problem: Option<String>,
    digest: Vec<u8>,
}

/// A stand-in for the Python worker: `describe NAME FOLDER` runs the folder's own script.
const DESCRIBE: &str = "exec /bin/sh \"$2/__init__.py\" \"$1\"";

struct Tree {
    world: World,
    root: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let world = World::new();
        let root = world.root.path().join("services");
        fs::create_dir(&root).unwrap();
        Self { world, root }
    }

    /// A service whose description is what the script writes.
    fn service(&self, folder: &str, script: &str) -> PathBuf {
        let path = self.root.join(folder);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("__init__.py"), script).unwrap();
        fs::write(path.join(".clarens_access"), "allow = [\"/\"]\n").unwrap();
        path
    }

    fn request(&self, only: &str, describe_ms_max: u32) -> ToJobmanager {
        ToJobmanager::Scan {
            root: self.root.to_str().unwrap().to_owned(),
            describe_argv: ["/bin/sh", "-c", DESCRIBE, "describe"].map(str::to_owned).to_vec(),
            environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
            only: only.to_owned(),
            describe_ms_max,
            thorough: false,
            trial_ms: 0,
        }
    }
}

fn collect(peer: &Peer, id: u32) -> (BTreeMap<String, Found>, Vec<String>) {
    let mut all = BTreeMap::new();
    loop {
        match peer.wait(|received| received.id == id).message {
            FromJobmanager::ServiceFound { name, access, description, problem, digest, .. } => {
                let found = Found { access, description, problem, digest: digest.0 };
                assert!(all.insert(name, found).is_none());
            }
            FromJobmanager::DiscoverDone { problems } => return (all, problems),
            other => panic!("{other:?}"),
        }
    }
}

impl Tree {
    fn scan(&self, only: &str) -> (BTreeMap<String, Found>, Vec<String>) {
        let jobmanager = self.world.start();
        let peer = jobmanager.peer(ChannelKind::Discover {});
        let id = peer.send(&self.request(only, 10_000), &[]);
        collect(&peer, id)
    }
}

const GOOD: &str = "echo '{\"methods\": [], \"name\": \"'$1'\"}' >&3";

#[test]
fn names_follow_folders_and_links() {
    let tree = Tree::new();
    tree.service("plain", GOOD);
    tree.service("group/inner/deep", GOOD);
    tree.service("plain/below", GOOD);
    fs::create_dir_all(tree.root.join("plain/helpers")).unwrap();
    fs::write(tree.root.join("plain/helpers/__init__.py"), "").unwrap();
    let elsewhere = tree.world.root.path().join("developer");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("__init__.py"), GOOD).unwrap();
    fs::write(elsewhere.join(".clarens_access"), "").unwrap();
    symlink(&elsewhere, tree.root.join("linked")).unwrap();
    symlink(&tree.root, tree.root.join("group/cycle")).unwrap();
    tree.service("not-a-name", GOOD);
    tree.service("system", GOOD);
    tree.service("__pycache__", GOOD);
    tree.service(".hidden", GOOD);
    let (found, problems) = tree.scan("");
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["group.inner.deep", "linked", "plain", "plain.below"]);
    for (name, service) in &found {
        let expected = format!("{{\"methods\":[],\"name\":\"{name}\"}}");
        assert_eq!(service.description, Some(expected));
        assert_eq!(service.problem, None);
        assert_eq!(service.digest.len(), 32);
    }
    let told = |text: &str| problems.iter().any(|problem| problem.contains(text));
    assert!(told("group/cycle") && told("not-a-name") && told("system"), "{problems:?}");
    assert_eq!(problems.len(), 3, "{problems:?}");
    let (one, _) = tree.scan("plain.below");
    assert_eq!(one.len(), 1);
    assert_eq!(one["plain.below"], found["plain.below"]);
}

#[test]
fn broken_services_say_why_and_harm_no_other() {
    let tree = Tree::new();
    tree.service("good", GOOD);
    tree.service("printing", &format!("echo on stdout; echo on stderr >&2; {GOOD}"));
    tree.service("silent", "exit 3");
    tree.service("garbage", "echo 'not json' >&3");
    tree.service("list", "echo '[1]' >&3");
    tree.service("error", "echo '{\"error\": \"SyntaxError: line 3\"}' >&3");
    tree.service(
        "endless",
        "while :; do echo -n xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >&3; done",
    );
    tree.service("long", "printf '{\"a\": \"%0200000d\"}\\n' 0 >&3");
    fs::remove_file(tree.service("open", GOOD).join(".clarens_access")).unwrap();
    fs::write(tree.service("manifest", GOOD).join("service.toml"), "nonsense = [").unwrap();
    let fifo = tree.service("fifo", GOOD).join(".clarens_access");
    fs::remove_file(&fifo).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    symlink(tree.root.join("nothing"), tree.root.join("dangling")).unwrap();
    symlink(tree.root.join("good/__init__.py"), tree.root.join("file")).unwrap();
    let (found, problems) = tree.scan("");
    assert!(problems.is_empty(), "{problems:?}");
    for good in ["good", "printing"] {
        assert_eq!(found[good].problem, None);
        assert!(found[good].description.is_some());
    }
    for (name, words) in [
        ("silent", "exit code 3"),
        ("garbage", "no JSON"),
        ("list", "no JSON object"),
        ("error", "SyntaxError: line 3"),
        ("endless", "over 1048576 bytes"),
        ("long", "over 98304 bytes"),
        ("open", "no .clarens_access"),
        ("manifest", "service.toml:1"),
        ("fifo", "no regular file"),
        ("dangling", "its folder cannot be read"),
    ] {
        let problem = found[name].problem.clone().unwrap_or_default();
        assert!(problem.contains(words), "{name}: {problem}");
    }
    assert_eq!(found.len(), 12);
}

#[test]
fn hanging_services_are_ended_with_descendants_and_hold_up_nobody() {
    let tree = Tree::new();
    let pids = tree.world.root.path().join("pids");
    fs::create_dir(&pids).unwrap();
    fs::set_permissions(&pids, fs::Permissions::from_mode(0o777)).unwrap();
    let hang = |name: &str| {
        let pids = pids.display();
        format!("(setsid sh -c 'echo $$ > {pids}/{name}; exec sleep 1000' &); sleep 1000")
    };
    tree.service("hang1", &hang("1"));
    tree.service("hang2", &hang("2"));
    tree.service(
        "zgood",
        &format!("(setsid sleep 1000 & echo $! > {}/3); {GOOD}; sleep 1000", pids.display()),
    );
    let jobmanager = tree.world.start();
    let peer = jobmanager.peer(ChannelKind::Discover {});
    let tender = jobmanager.starter();
    let began = Instant::now();
    let id = peer.send(&tree.request("", 1500), &[]);
    // The loop answers others meanwhile.
    tender.prepare();
    assert!(began.elapsed() < Duration::from_millis(1400), "{:?}", began.elapsed());
    let (found, _) = collect(&peer, id);
    assert!(began.elapsed() < Duration::from_secs(15));
    for name in ["hang1", "hang2"] {
        assert!(found[name].problem.as_ref().unwrap().contains("in time"), "{found:?}");
    }
    assert_eq!(found["zgood"].problem, None);
    for name in ["1", "2", "3"] {
        assert!(!lives(pid(&pids, name)), "{name} was left behind");
    }
}

fn pid(pids: &Path, name: &str) -> i32 {
    fs::read_to_string(pids.join(name)).unwrap().trim().parse().unwrap()
}

#[test]
fn the_digest_follows_the_code_and_not_its_approval() {
    let tree = Tree::new();
    let path = tree.service("one", GOOD);
    let digest = || tree.scan("one").0["one"].digest.clone();
    let first = digest();
    assert_eq!(digest(), first, "the same code has the same digest");
    fs::write(path.join(".clarens_access"), "deny = []\n").unwrap();
    fs::create_dir(path.join("__pycache__")).unwrap();
    fs::write(path.join("__pycache__/x.pyc"), "x").unwrap();
    assert_eq!(digest(), first, "neither access nor compiled files are code");
    fs::write(path.join("service.toml"), "purpose = \"p\"\n").unwrap();
    let second = digest();
    assert_ne!(second, first);
    let approved = format!("purpose = \"p\"\napproved = \"{}\"\n", "0".repeat(64));
    fs::write(path.join("service.toml"), approved).unwrap();
    assert_eq!(digest(), second, "the approval itself is left out");
    fs::create_dir(path.join("helpers")).unwrap();
    fs::write(path.join("helpers/a.py"), "b").unwrap();
    let third = digest();
    assert_ne!(third, second);
    fs::rename(path.join("helpers/a.py"), path.join("helpers/ab.py")).unwrap();
    assert_ne!(digest(), third, "names count too");
}

#[test]
fn a_manifests_command_describes_itself() {
    let tree = Tree::new();
    let path = tree.root.join("other");
    fs::create_dir(&path).unwrap();
    fs::write(path.join(".clarens_access"), "").unwrap();
    let manifest = "command = [\"./run\"]\n";
    fs::write(path.join("service.toml"), manifest).unwrap();
    fs::write(path.join("run"), "#!/bin/sh\necho \"{\\\"said\\\": \\\"$1 $2\\\"}\" >&3\n").unwrap();
    fs::set_permissions(path.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    let written = tree.root.join("written");
    fs::create_dir(&written).unwrap();
    fs::write(written.join(".clarens_access"), "").unwrap();
    let manifest = "command = [\"/no/such\"]\n[[method]]\nname = \"m\"\n";
    fs::write(written.join("service.toml"), manifest).unwrap();
    let (found, _) = tree.scan("");
    assert_eq!(found["written"].description, None, "its manifest describes it");
    assert_eq!(found["written"].problem, None);
    assert_eq!(found["other"].description.as_deref(), Some("{\"said\":\"describe other\"}"));
    assert_eq!(found["other"].access.as_deref(), Some(""));
}

#[test]
fn access_lists_are_read_without_running_anything() {
    let tree = Tree::new();
    // Code that hangs would be noticed.
    let plain = tree.service("plain", "sleep 600");
    tree.service("group/inner", "sleep 600");
    fs::write(tree.root.join("group/.clarens_access"), "deny = [\"/\"]\n").unwrap();
    fs::create_dir_all(tree.root.join("without")).unwrap();
    fs::write(tree.root.join("without/__init__.py"), "").unwrap();
    let long = tree.service("long", GOOD);
    fs::write(long.join(".clarens_access"), "#".repeat(30_000)).unwrap();
    fs::create_dir_all(tree.root.join("no_service")).unwrap();
    let jobmanager = tree.world.start();
    let peer = jobmanager.peer(ChannelKind::Discover {});
    let read = || {
        let root = tree.root.to_str().unwrap().to_owned();
        let id = peer.send(&ToJobmanager::ScanAccess { root }, &[]);
        let mut told = Vec::new();
        loop {
            match peer.wait(|received| received.id == id).message {
                FromJobmanager::AccessFound { name, access, problem } => {
                    told.push((name, access.unwrap_or_default(), problem.unwrap_or_default()));
                }
                FromJobmanager::DiscoverDone { problems } => {
                    assert!(problems.is_empty(), "{problems:?}");
                    return told;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let line = |name: &str, access: &str, problem: &str| {
        (name.to_owned(), access.to_owned(), problem.to_owned())
    };
    let all = "allow = [\"/\"]\n";
    let expected = vec![
        line("group", "deny = [\"/\"]\n", ""),
        line("group.inner", all, ""),
        line("long", "", ".clarens_access: is longer than 24576 bytes"),
        line("plain", all, ""),
        line("without", "", ""),
    ];
    assert_eq!(read(), expected);
    fs::write(plain.join(".clarens_access"), "anonymous = true").unwrap();
    assert_eq!(read()[3], line("plain", "anonymous = true", ""));
}

/// A worker of another language that ends with 3 as soon as it has said that it is ready; `describe` is good.
const DIES: &str = r#"command = ["/bin/sh", "-c", "if [ $0 = serve ]; then echo '{\"method\":\"ready\"}' >&3; exit 3; fi; echo '{\"methods\":[]}' >&3"]"#;

#[test]
fn a_version_of_the_modules_comes_along_sealed_and_the_worker_had_it_too() {
    let tree = Tree::new();
    // What the stand-in reads as a script, and the worker's own word for where the version is.
    let path = tree.service("mods", "head -c 9 <&4 >/dev/null && echo '{\"methods\": []}' >&3");
    fs::write(path.join("helper.py"), "x = 1\n").unwrap();
    fs::write(path.join("data.txt"), "no module").unwrap();
    let jobmanager = tree.world.start();
    let peer = jobmanager.peer(ChannelKind::Discover {});
    let id = peer.send(&tree.request("mods", 10_000), &[]);
    let found = peer.wait(|received| received.id == id);
    let FromJobmanager::ServiceFound { has_modules: true, problem: None, .. } = found.message
    else {
        panic!("{found:?}")
    };
    let file = fs::File::from(found.descriptors.into_iter().next().unwrap());
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("[\"helper.py\",6]") && text.ends_with("x = 1\n"), "{text}");
    assert!(!text.contains("no module"), "{text}");
    assert!(std::io::Write::write_all(&mut &file, b"x").is_err(), "nobody can change it");
}

#[test]
fn a_worker_that_ends_at_once_is_a_problem_where_a_trial_is_asked_for() {
    let tree = Tree::new();
    let path = tree.service("dies", "");
    fs::write(path.join("service.toml"), DIES).unwrap();
    let jobmanager = tree.world.start();
    let peer = jobmanager.peer(ChannelKind::Discover {});
    let problem = |trial: u32| {
        let mut request = tree.request("dies", 10_000);
        if let ToJobmanager::Scan { trial_ms, .. } = &mut request {
            *trial_ms = trial;
        }
        let id = peer.send(&request, &[]);
        collect(&peer, id).0["dies"].problem.clone()
    };
    assert_eq!(problem(0), None);
    let told = problem(2_000).unwrap();
    assert_eq!(told, "its worker ends right after its start: exit code 3");
}
