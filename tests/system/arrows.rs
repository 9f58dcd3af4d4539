//! The arrows between the rooms go one way, and root's graph holds no parser, TLS or async code.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Which room may use which: ordinary dependencies alone (dev-dependencies are exempt).
const ARROWS: &[(&str, &[&str])] = &[
    ("monitor", &["privsep", "policy", "config", "dn"]),
    ("gatekeeper", &["container", "rpc", "identity", "config", "privsep"]),
    (
        "container",
        &[
            "service", "journal", "job", "session", "policy", "identity", "config", "rpc", "dn",
            "privsep",
        ],
    ),
    ("jobmanager", &["service", "job", "session", "privsep"]),
    ("admin", &["policy", "config", "journal", "service", "identity", "client", "dn"]),
    ("service", &["rpc"]),
    ("sdk", &["rpc", "service", "privsep"]),
    ("client", &["rpc", "identity"]), // to make and show proxies: only identity knows X.509
    ("journal", &["job", "session", "policy", "rpc"]),
    ("config", &["policy"]),
    ("identity", &["dn"]),
    ("policy", &["dn"]),
    ("dn", &[]),
    ("rpc", &[]),
    ("job", &[]),
    ("session", &[]),
    ("privsep", &[]),
    ("testkit", &["client"]), // a caller like any other; nothing that ships depends on it
    ("tests", &[]),
    ("fuzz", &["dn", "identity", "policy", "rpc"]), // nothing that ships depends on it
];

/// What must not be in the graph of the root binary, with the reason a reviewer would give.
const NOT_IN_ROOT: &[(&str, &str)] = &[
    ("rustls", "TLS"),
    ("aws-lc-rs", "TLS"),
    ("ring", "TLS"),
    ("openssl", "TLS"),
    ("x509-parser", "certificates"),
    ("der-parser", "certificates"),
    ("asn1-rs", "certificates"),
    ("quick-xml", "XML"),
    ("hyper", "HTTP"),
    ("http", "HTTP"),
    ("axum", "HTTP"),
    ("rusqlite", "SQL"),
    ("tokio", "async"),
    ("mio", "async"),
    ("futures-core", "async"),
    ("serde_json", "a parser that root does not need"),
];

/// Rooms that promise to do no I/O: no runtime, no sockets, no system calls of their own.
const PURE: &[&str] = &["dn", "identity", "policy", "rpc", "job", "config"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .exec()
        .expect("cargo metadata answers")
}

/// Room name of one of ours: `nesssi-rpc` is `rpc`.
fn room(name: &str) -> Option<&str> {
    name.strip_prefix("nesssi-")
}

/// Ordinary (and build) dependencies of every package, by id.
fn edges(metadata: &Metadata) -> BTreeMap<PackageId, Vec<PackageId>> {
    let resolve = metadata.resolve.as_ref().expect("the graph is resolved");
    let ordinary = |node: &cargo_metadata::Node| {
        node.deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development))
            .map(|dep| dep.pkg.clone())
            .collect()
    };
    resolve.nodes.iter().map(|node| (node.id.clone(), ordinary(node))).collect()
}

#[test]
fn arrows_go_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(from) = room(package.name.as_str()) else {
            wrong.push(format!("{} is not named nesssi-*", package.name));
            continue;
        };
        let Some(may) = allowed.get(from) else {
            wrong.push(format!("room {from} is in no line of ARROWS"));
            continue;
        };
        for dependency in &package.dependencies {
            let ours = room(&dependency.name).filter(|_| dependency.path.is_some());
            if let Some(to) = ours
                && dependency.kind == DependencyKind::Normal
                && !may.contains(&to)
            {
                wrong.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the design does not have: {wrong:#?}");
}

#[test]
fn root_binary_holds_no_parser_tls_or_async_code() {
    let metadata = metadata();
    let edges = edges(&metadata);
    let names: BTreeMap<PackageId, String> =
        metadata.packages.iter().map(|p| (p.id.clone(), p.name.to_string())).collect();
    let monitor = names.iter().find(|(_, name)| *name == "nesssi-monitor").expect("monitor").0;
    let mut reached = BTreeSet::new();
    let mut todo = vec![monitor.clone()];
    while let Some(id) = todo.pop() {
        if reached.insert(id.clone()) {
            todo.extend(edges.get(&id).into_iter().flatten().cloned());
        }
    }
    let reached: BTreeSet<&str> = reached.iter().map(|id| names[id].as_str()).collect();
    assert!(reached.contains("nesssi-privsep"), "the walk of the graph is broken: {reached:?}");
    for (name, reason) in NOT_IN_ROOT {
        assert!(!reached.contains(name), "root's graph holds {name} ({reason})");
    }
}

#[test]
fn pure_rooms_forbid_unsafe_and_only_privsep_has_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    for room in PURE {
        let text = std::fs::read_to_string(root.join(room).join("src/lib.rs")).expect(room);
        assert!(text.contains("#![forbid(unsafe_code)]"), "{room} does not forbid unsafe code");
    }
    let mut with_unsafe = Vec::new();
    let mut todo = vec![root];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                if code.clone().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"))
                {
                    with_unsafe.push(path);
                }
            }
        }
    }
    assert!(!with_unsafe.is_empty(), "the search finds nothing: it is broken");
    for path in with_unsafe {
        assert!(path.to_string_lossy().contains("crates/privsep/src/sys"), "unsafe in {path:?}");
    }
}

#[test]
fn only_the_job_renderer_names_a_shell() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut holders = BTreeSet::new();
    let mut todo = vec![root.clone()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                // Tests and what is for tests alone may use a shell to play a user.
                if name != "tests" && name != "testkit" {
                    todo.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                let shell = |line: &str| {
                    let comment = line.trim_start().starts_with("//");
                    // The variable SHELL of a job's environment names one, and starts none.
                    let names =
                        ["/bin/sh", "/bin/bash", "/bin/dash"].iter().any(|w| line.contains(w));
                    names && !comment && !line.contains("\"SHELL\"")
                };
                if text.lines().any(shell) {
                    holders.insert(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
    }
    // The local renderer, the script that goes to batch systems, and what two of them are told to run it with.
    let expected = [
        "job/src/batch/openpbs.rs",
        "job/src/batch/script.rs",
        "job/src/batch/torque.rs",
        "job/src/spec.rs",
    ];
    let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(holders, expected, "a shell is named outside of the job renderers");
}
