use super::*;

fn levels() -> Vec<LevelFacts> {
    let of = |name: &str, certified, own_accounts| LevelFacts {
        name: name.to_owned(),
        certified,
        own_accounts,
    };
    vec![of("strong", true, true), of("weak", true, false), of("anonymous", false, false)]
}

fn report(findings: &Findings) -> Report {
    Report::of(findings, &Judged { by_server: false, levels: levels(), batch: batch() })
}

fn batch() -> Vec<String> {
    ["local", "slurm"].map(str::to_owned).into()
}

fn findings(access: Option<&str>, manifest: Option<&str>, description: &str) -> Findings {
    Findings {
        name: "adder".to_owned(),
        folder: "/srv/adder".to_owned(),
        account: "alice".to_owned(),
        access: access.map(str::to_owned),
        manifest: manifest.map(str::to_owned),
        description: Some(description.to_owned()),
        ..Findings::default()
    }
}

const ONE: &str = r#"{"methods":[{"name":"add","help":"Adds.","signature":[["int","int","int"]],
    "parameters":["a","b"],"file":"__init__.py","line":7}],"problems":[]}"#;

#[track_caller]
fn check(findings: &Findings, good: bool, lines: &str) {
    let report = report(findings);
    assert_eq!(report.problem_lines(Severity::Hint).join("\n"), lines.trim());
    assert_eq!(report.is_good(), good);
}

#[test]
fn who_may_call_is_what_the_server_would_decide() {
    let access = "allow = [\"/O=Grid\"]\nanonymous = false\n[method.add]\nanonymous = true\n";
    let report = report(&findings(Some(access), Some("levels = [\"weak\", \"anonymous\"]"), ONE));
    assert!(report.is_good(), "{:?}", report.problems);
    let lines = report.lines().join("\n");
    for line in [
        "adder.add(a: int, b: int) -> int    __init__.py:7",
        "    weak: anyone (",
        "    anonymous: anyone (",
        "    strong: only whom a list names (",
        "  serves the levels: weak, anonymous",
    ] {
        assert!(lines.contains(line), "{line} is not in\n{lines}");
    }
}

#[test]
fn every_kind_of_problem_is_told_in_one_run_with_its_line() {
    let broken = r#"{"error":"SyntaxError: x (__init__.py, line 3)","traceback":["Traceback"],
        "problems":[{"severity":"warning","file":"b.py","line":2,"text":"w"},
                    {"severity":"error","file":"__init__.py","line":3,"text":"the import fails"}]}"#;
    let all = Findings {
        problem: Some(
            "service.toml:1: unknown key 'x'; no .clarens_access; \
             SyntaxError: x (__init__.py, line 3)"
                .to_owned(),
        ),
        ..findings(None, Some("x = 1"), broken)
    };
    check(
        &all,
        false,
        "
/srv/adder/service.toml:1: error: unknown key 'x'
/srv/adder/__init__.py:3: error: the import fails
/srv/adder/.clarens_access: error: there is none, and without it nobody may call the service: `allow = [\"/\"]` admits anyone with a valid certificate
/srv/adder/b.py:2: warning: w",
    );
    assert_eq!(report(&all).traceback, ["Traceback"]);
}

#[test]
fn mistakes_in_the_access_list_levels_and_methods_that_are_not_there() {
    check(
        &findings(Some("order = 3\nallow = 4\n"), None, ONE),
        false,
        "
/srv/adder/.clarens_access:1: error: `order` is a text in quotes, not a whole number
/srv/adder/.clarens_access:2: error: `allow` is a list of texts, not a whole number",
    );
    let access = "anonymous = true\nlevels = [\"golden\"]\n[method.sub]\nanonymous = false\n";
    check(
        &findings(Some(access), Some("levels = [\"iron\"]"), ONE),
        false,
        "
/srv/adder/service.toml: error: levels: there is no level iron
/srv/adder/.clarens_access:2: error: there is no level golden
/srv/adder/.clarens_access: warning: [method.sub]: the service has no such method",
    );
}

#[test]
fn batch_systems_are_those_that_there_are() {
    let access = Some("anonymous = true");
    let says = ONE.replacen('{', "{\"batch\":\"pbs\",", 1);
    let job = "[[method]]\nname = \"j\"\nsignature = [\"string\"]\njob = [\"/bin/true\"]\n\
               cpu_seconds = 1\nbatch = \"lsf\"\n";
    check(
        &findings(access, Some(&format!("batch = \"slurm\"\n{job}")), &says),
        false,
        "/srv/adder/service.toml: error: batch: there is no batch system lsf (there is local, slurm)",
    );
    check(
        &findings(access, None, &says),
        false,
        "/srv/adder: error: batch: there is no batch system pbs (there is local, slurm)",
    );
}

#[test]
fn what_could_not_be_run_is_told_though_all_else_is_good() {
    let late = Findings {
        problem: Some("did not describe itself in time".to_owned()),
        description: None,
        ..findings(Some("anonymous = true"), None, "")
    };
    check(&late, false, "/srv/adder: error: did not describe itself in time");
}

#[test]
fn a_server_that_runs_other_code_says_so() {
    let knows = |state: &str, running: &str| {
        let mut one = findings(Some("anonymous = true"), None, ONE);
        one.digest = "aa".to_owned();
        one.server = Some(ServerKnows {
            state: state.to_owned(),
            reason: "SyntaxError in its code".to_owned(),
            running_digest: running.to_owned(),
            ..ServerKnows::default()
        });
        one
    };
    check(&knows("ok", "aa"), true, "");
    let older =
        "/srv/adder: hint: the server runs older code: nesssi service restart adder takes this up";
    check(&knows("ok", "bb"), true, older);
    let broken = "/srv/adder: warning: on the server it is broken: SyntaxError in its code";
    check(&knows("broken", ""), true, broken);
}
