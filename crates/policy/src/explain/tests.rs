//! An explanation is what a call would get: held against the decision's own parts over random rules,
//! and written down as a table over levels, services and sizes (`testdata/access_matrix.txt`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::{
    Access, AccessEdit, AccessEdits, AccountName, Gridmap, SubjectDn, Used, VoChange, VoTree, Whom,
    admit_seconds,
};

const GRIDMAP: &str = "\
\"/O=Grid/OU=People/CN=Alice\" alice,second
\"/O=Grid/OU=People/CN=Mallory\" mallory
\"/O=Grid/OU=Robots/CN=Robot\" robot
";

const ALICE: &str = "/O=Grid/OU=People/CN=Alice";
const MALLORY: &str = "/O=Grid/OU=People/CN=Mallory";
const ROBOT: &str = "/O=Grid/OU=Robots/CN=Robot";
const BOB: &str = "/O=Grid/OU=People/CN=Bob";

/// 2026-11-22T12:00:00Z.
const NOON: i64 = 1_795_348_800;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn level(name: &str, from: crate::From, account: Option<&str>, cpu_seconds: u64) -> Level {
    let limits = Limits {
        cpu_seconds,
        wall_seconds: 60,
        jobs_at_once: 1,
        calls_per_minute: 1,
        call_wall_seconds: 1,
        call_cpu_seconds: 1,
        sandbox_bytes: 1,
        retention_seconds: 1,
        cpu_seconds_per_day: if from == crate::From::Gridmap { u64::MAX } else { cpu_seconds * 10 },
    };
    let account = account.map(|account| AccountName::parse(account).unwrap());
    Level::new(LevelName::parse(name).unwrap(), from, account, limits)
}

/// NESSSI's own levels.
fn rules() -> Rules {
    let levels = vec![
        level("strong", crate::From::Gridmap, None, 216_000),
        level("weak", crate::From::Certificate, Some("nesssi-weak"), 3_600),
        level("anonymous", crate::From::Anonymous, Some("nesssi-anon"), 900),
    ];
    Rules { gridmap: Gridmap::parse(GRIDMAP).unwrap().0, levels }
}

/// A service of the table: its name, the lists of the folders around it, its own, its levels.
struct Row {
    name: &'static str,
    around: &'static [&'static str],
    access: &'static str,
    levels: &'static [&'static str],
    approved_for: Option<&'static [&'static str]>,
    /// Edits of administrators: whether they allow, where, for which method, whom.
    edits: &'static [(bool, &'static str, Option<&'static str>, &'static str)],
}

const fn row(name: &'static str, access: &'static str) -> Row {
    Row { name, around: &[], access, levels: &[], approved_for: None, edits: &[] }
}

const ROWS: [Row; 14] = [
    row("open", "anonymous = true"),
    row("certified", "allow = [\"/\"]"),
    row("people", "allow = [\"/O=Grid/OU=People\"]\ndeny = [\"/O=Grid/OU=People/CN=Mallory\"]"),
    row("group", "allow_groups = [\"atlas\"]"),
    row(
        "community",
        "allow = [\"/\"]\n[[lower]]\nsubjects = [\"/O=Grid/OU=Robots/*\"]\nlevel = \"weak\"",
    ),
    row("raising", "allow = [\"/\"]\n[[lower]]\nsubjects = [\"/O=Grid/*\"]\nlevel = \"strong\""),
    Row { levels: &["strong"], ..row("strongonly", "anonymous = true") },
    Row { approved_for: Some(&["weak", "anonymous"]), ..row("changed", "anonymous = true") },
    Row {
        around: &["allow = [\"/\"]\ndeny = [\"/O=Grid/OU=People/CN=Mallory\"]"],
        ..row("folder.inner", "allow = [\"/O=Grid\"]")
    },
    Row { edits: &[(false, "denied", None, MALLORY)], ..row("denied", "anonymous = true") },
    Row {
        edits: &[(true, "added", Some("m"), "group:atlas"), (true, "added", None, MALLORY)],
        ..row("added", "allow = [\"/O=Grid/OU=Robots\"]\ndeny = [\"/O=Grid/OU=People/CN=Mallory\"]")
    },
    Row {
        edits: &[(true, "tree", None, "/"), (false, "tree.inner", None, "/O=Grid/OU=Robots")],
        around: &["deny = [\"/O=Grid/OU=People/CN=Mallory\"]"],
        ..row("tree.inner", "levels = [\"strong\"]")
    },
    Row {
        edits: &[(true, "other", None, "/"), (true, "elsewhere", Some("n"), "/")],
        ..row("elsewhere", "# nobody")
    },
    Row {
        edits: &[(true, "edited", None, "/")],
        levels: &["strong"],
        approved_for: Some(&["weak", "anonymous"]),
        ..row("edited", "# nobody")
    },
];

const CALLERS: [(&str, Option<&str>); 5] = [
    ("Alice", Some(ALICE)),
    ("Mallory", Some(MALLORY)),
    ("Robot", Some(ROBOT)),
    ("Bob", Some(BOB)),
    ("nobody", None),
];

/// None, a small one, each level's limit and the one above it.
const SIZES: [Option<f64>; 6] =
    [None, Some(10.0), Some(900.0), Some(900.5), Some(3_601.0), Some(216_001.0)];

fn groups() -> VoTree {
    let mut tree = VoTree::new(Vec::new());
    tree.apply(&VoChange::Create { group: "atlas".into() }).unwrap();
    let subject = SubjectDn::parse_oneline(BOB).unwrap();
    tree.apply(&VoChange::AddMember { group: "atlas".into(), subject }).unwrap();
    tree
}

/// Edits: whether they allow, where, for which method, whom.
fn edits<'a>(
    all: impl IntoIterator<Item = (bool, &'a str, Option<&'a str>, &'a str)>,
) -> AccessEdits {
    let mut edits = AccessEdits::default();
    for (number, (allow, service, method, whom)) in (1..).zip(all) {
        edits.add(AccessEdit {
            number,
            service: service.to_owned(),
            method: method.map(str::to_owned),
            allow,
            whom: Whom::parse(whom).unwrap(),
            start_unix: None,
            end_unix: None,
            by: SubjectDn::parse_oneline("/O=Grid/CN=Boss").unwrap(),
            at_ms: 0,
        });
    }
    edits
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Granted { account, level, .. } => format!("{account} ({level})"),
        Outcome::Refused { code, .. } => code.to_string(),
    }
}

fn matrix() -> String {
    let (rules, groups) = (rules(), groups());
    let mut out = String::from(
        "Who may call which service, and may ask for how many CPU seconds.\n\
         A cell is the account and (the level), or the fault's number: 401 no certificate, 403 refused,\n\
         413 too many seconds. \"call\" is a call that starts no job.\n\n\
         Alice, Mallory and Robot are in the gridmap, Bob is not but in the VO group atlas,\n\
         nobody has no certificate.\n",
    );
    for row in &ROWS {
        let lists: Vec<Access> = row
            .around
            .iter()
            .chain([&row.access])
            .map(|text| Access::parse(text).unwrap())
            .collect();
        let lists: Vec<&Access> = lists.iter().collect();
        let levels: Vec<String> = row.levels.iter().map(|level| (*level).to_owned()).collect();
        let approved: Option<Vec<LevelName>> = row
            .approved_for
            .map(|names| names.iter().map(|name| LevelName::parse(name).unwrap()).collect());
        let edits = edits(row.edits.iter().copied());
        let offer = Offer {
            service: row.name,
            access: &lists,
            edits: &edits,
            levels: &levels,
            approved_for: approved.as_deref(),
        };
        writeln!(out, "\n== {}", row.name).unwrap();
        for text in row.around {
            writeln!(out, "the folder around it:\n    {}", text.replace('\n', "\n    ")).unwrap();
        }
        writeln!(out, "    {}", row.access.replace('\n', "\n    ")).unwrap();
        for edit in row.edits {
            let (allow, at, method, whom) = edit;
            let method = method.map(|method| format!(", method {method}")).unwrap_or_default();
            let word = if *allow { "allows" } else { "denies" };
            writeln!(out, "an administrator {word} {whom} at {at}{method}").unwrap();
        }
        if !levels.is_empty() {
            writeln!(out, "service.toml says levels = {levels:?}").unwrap();
        }
        if row.approved_for.is_some() {
            writeln!(out, "its code has changed since it was approved").unwrap();
        }
        let heads = SIZES.map(|size| size.map_or("call".to_owned(), |size| size.to_string()));
        let line = |first: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("{cell:<24}")).collect();
            format!("{first:<10}{cells}").trim_end().to_owned()
        };
        writeln!(out, "{}", line("", heads.to_vec())).unwrap();
        for (name, dn) in CALLERS {
            let subject = dn.map(|dn| SubjectDn::parse_oneline(dn).unwrap());
            let cell = |seconds| {
                let question = Question {
                    who: Who::of(subject.as_ref(), HERE),
                    offer,
                    method: "m",
                    seconds,
                    groups: &groups,
                    today: Today { now_unix: NOON, ..Today::default() },
                };
                told(&explain(&rules, &question).outcome)
            };
            writeln!(out, "{}", line(name, SIZES.map(cell).to_vec())).unwrap();
        }
    }
    out
}

/// `NESSSI_WRITE_GOLDEN=1` writes the table anew; read what changed before committing it.
#[test]
fn the_access_matrix_is_as_it_was() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/access_matrix.txt");
    let now = matrix();
    if std::env::var_os("NESSSI_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert!(known == now, "the decisions have changed; now they are:\n{now}");
}

fn explained(access: &str, who: &Who<'_>, seconds: Option<f64>) -> String {
    let access = Access::parse(access).unwrap();
    let edits = AccessEdits::default();
    let offer = Offer {
        service: "sleepy",
        access: &[&access],
        edits: &edits,
        levels: &[],
        approved_for: None,
    };
    let today = Today { now_unix: NOON, ..Today::default() };
    let question = Question { who: *who, offer, method: "m", seconds, groups: &(), today };
    explain(&rules(), &question).to_string()
}

#[test]
fn an_explanation_names_each_rule_in_the_order_of_asking() {
    let robot = SubjectDn::parse_oneline(ROBOT).unwrap();
    let text = explained(ROWS[4].access, &Who::of(Some(&robot), HERE), Some(3_601.0));
    insta::assert_snapshot!(text);
    let bob = SubjectDn::parse_oneline(BOB).unwrap();
    insta::assert_snapshot!(explained(ROWS[1].access, &Who::of(Some(&bob), HERE), Some(60.0)));
    insta::assert_snapshot!(explained(ROWS[1].access, &Who::of(None, HERE), None));
}

#[test]
fn an_account_that_is_not_his_is_named_to_him() {
    let alice = SubjectDn::parse_oneline(ALICE).unwrap();
    let check = |account: &str, expected: &str| {
        let account = AccountName::parse(account).unwrap();
        let who = Who { account: Some(&account), ..Who::of(Some(&alice), HERE) };
        let text = explained("allow = [\"/\"]", &who, None);
        assert!(text.lines().last().unwrap().starts_with(expected), "{text}");
    };
    check("second", "granted: account second, level strong");
    check("robot", "refused: fault 403, the account robot is not one of this caller's");
}

/// A list of the property: its order, whom it allows and denies, `anonymous`, and the level that it
/// lowers to.
#[derive(Debug, Clone)]
struct Keys {
    denies_first: bool,
    allow: Vec<&'static str>,
    deny: Vec<&'static str>,
    anonymous: bool,
    lower: Option<usize>,
}

impl Keys {
    fn to_toml(&self) -> String {
        let Self { denies_first, allow, deny, anonymous, lower } = self;
        let order = if *denies_first { "deny,allow" } else { "allow,deny" };
        let lower = lower.map_or(String::new(), |to| {
            format!("[[lower]]\nsubjects = [\"/O=Grid/*\"]\nlevel = \"l{to}\"\n")
        });
        format!(
            "order = {order:?}\nallow = {allow:?}\ndeny = {deny:?}\nanonymous = {anonymous}\n{lower}"
        )
    }
}

/// Whether a list on the way denies him by name, and none further in lifts that: one of the order
/// `deny,allow` may, if it allows him by name or everybody.
fn denied_by_name(lists: &[Keys], dn: &str) -> bool {
    lists.iter().fold(false, |denied, list| {
        let names = |all: &[&str]| all.iter().any(|one| begins(dn, one));
        let (allows, denies) = (names(&list.allow), names(&list.deny));
        match list.denies_first {
            false => denied || denies,
            true if allows => false,
            true if denies => true,
            true => denied && !list.anonymous,
        }
    })
}

fn begins(dn: &str, beginning: &str) -> bool {
    beginning == "/"
        || dn.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What of the edits there names him.
type Edits<'a> = &'a [(bool, &'a str, Option<&'a str>, &'a str)];

fn edited(edits: Edits<'_>, allows: bool, question: &Question<'_>) -> bool {
    let Some(subject) = question.who.subject else { return false };
    let here = |at: &str| {
        question.offer.service == at || question.offer.service.starts_with(&format!("{at}."))
    };
    edits.iter().any(|(allow, at, method, whom)| {
        *allow == allows
            && here(at)
            && method.is_none_or(|method| method == question.method)
            && begins(&subject.to_string(), whom)
    })
}

/// The same decision from the parts alone, as a call makes it step by step.
fn really(rules: &Rules, question: &Question<'_>, lists: &[Keys], edits: Edits<'_>) -> Outcome {
    let who = &question.who;
    let refused = |code: i32, text: String| Outcome::Refused { code, text };
    let judged = rules.judge(who);
    let ask = Ask {
        method: question.method,
        subject: who.subject,
        level: judged.as_ref().ok().map(|judged| &judged.level),
        groups: question.groups,
        now_unix: question.today.now_unix,
    };
    let name = who.subject.map(ToString::to_string).unwrap_or_default();
    if edited(edits, false, question) {
        let text = format!("an administrator of this server has denied this to {name}");
        return refused(403, text);
    }
    let lifted = edited(edits, true, question) && !denied_by_name(lists, &name);
    let lowered = match Access::permits(question.offer.access, &ask) {
        Ok(permitted) => permitted.lowered().cloned(),
        // All of them lower the same callers: the innermost that says so decides.
        Err(_) if lifted => {
            let to = lists.iter().rev().find_map(|list| list.lower);
            to.map(|to| LevelName::parse(&format!("l{to}")).unwrap())
        }
        Err(denied) => {
            let code = if who.subject.is_none() { 401 } else { 403 };
            return refused(code, denied.to_string());
        }
    };
    let unjudged = |error| {
        let Refused { code, text, .. } = refusal_of(&error, who.subject.is_none());
        refused(code, text)
    };
    let mut judged = match judged {
        Ok(judged) => judged,
        Err(error) => return unjudged(error),
    };
    if let Some(to) = &lowered {
        judged = match rules.judge(&Who { lowered: Some(to), ..*who }) {
            Ok(judged) => judged,
            Err(error) => return unjudged(error),
        };
    }
    let (level, name) = (&judged.level, question.offer.service);
    let levels = question.offer.levels;
    if !levels.is_empty() && !levels.contains(&level.as_str().to_owned()) {
        return refused(403, format!("the service {name} does not serve level {level}"));
    }
    let of_day = judged.limits.cpu_seconds_per_day;
    let own = question.today.own;
    let is_used_up = of_day != u64::MAX && own.cpu_usec >= of_day * 1_000_000;
    if is_used_up {
        let text = format!(
            "level {level} allows {of_day} CPU seconds a day, and none is left until \
             2026-11-23T00:00:00Z"
        );
        return refused(429, text);
    }
    let mut cpu_seconds = None;
    if let Some(seconds) = question.seconds {
        if judged.reads_only {
            return refused(403, "a limited proxy may read, and start nothing".to_owned());
        }
        let asked = match admit_seconds(seconds, &judged.limits, level) {
            Ok(asked) => asked,
            Err(error) => {
                let code = if seconds > 0.0 && seconds.is_finite() { 413 } else { -32602 };
                return refused(code, error.to_string());
            }
        };
        let taken = own.cpu_usec.div_ceil(1_000_000) + own.reserved_seconds;
        if of_day != u64::MAX && taken + asked > of_day {
            let text = format!(
                "asked for {asked} CPU seconds, level {level} allows {of_day} a day: {} are left \
                 until 2026-11-23T00:00:00Z",
                of_day.saturating_sub(taken)
            );
            return refused(413, text);
        }
        cpu_seconds = Some(asked);
    }
    Outcome::Granted {
        account: judged.account.to_string(),
        level: judged.level.clone(),
        cpu_seconds,
        limits: judged.limits,
    }
}

fn a_level() -> impl Strategy<Value = (crate::From, bool, u64, u64)> {
    let from = prop_oneof![
        Just(crate::From::Gridmap),
        Just(crate::From::Certificate),
        Just(crate::From::Anonymous)
    ];
    (from, any::<bool>(), 1..5_000_u64, prop_oneof![Just(u64::MAX), 1..5_000_u64])
}

fn an_access_list() -> impl Strategy<Value = Keys> {
    let names = || {
        proptest::collection::vec(
            prop_oneof![
                Just("/"),
                Just("/O=Grid"),
                Just("/O=Grid/OU=People"),
                Just(ALICE),
                Just(BOB)
            ],
            0..3,
        )
    };
    let lower = proptest::option::of(0..4_usize);
    (any::<bool>(), names(), names(), any::<bool>(), lower).prop_map(
        |(denies_first, allow, deny, anonymous, lower)| Keys {
            denies_first,
            allow,
            deny,
            anonymous,
            lower,
        },
    )
}

fn an_edit() -> impl Strategy<Value = (bool, &'static str, Option<&'static str>, &'static str)> {
    let at = prop_oneof![Just("a"), Just("a.s"), Just("a.s.t"), Just("b")];
    let method = prop_oneof![Just(None), Just(Some("m")), Just(Some("n"))];
    let whom = prop_oneof![Just("/"), Just("/O=Grid/OU=People"), Just(ALICE), Just(BOB)];
    (any::<bool>(), at, method, whom)
}

proptest! {
    #[test]
    fn an_explanation_is_what_the_call_gets(
        levels in proptest::collection::vec(a_level(), 0..4),
        lists in proptest::collection::vec(an_access_list(), 1..3),
        all_edits in proptest::collection::vec(an_edit(), 0..4),
        caller in 0..CALLERS.len(),
        account in proptest::option::of(prop_oneof![Just("second"), Just("community"), Just("robot")]),
        proxy in prop_oneof![Just(None), Just(Some(crate::ProxyKind::Limited))],
        served in proptest::collection::vec(0..4_usize, 0..3),
        seconds in proptest::option::of(prop_oneof![Just(0.0), Just(f64::NAN), 0.1..6_000.0_f64]),
        cpu_usec in prop_oneof![Just(0), 0..6_000_000_000_u64],
        reserved_seconds in 0..2_000_u64,
    ) {
        let levels = levels.iter().enumerate().map(|(n, (from, has_account, cpu, day))| {
            let account = (*has_account && *from != crate::From::Gridmap).then_some("community");
            let mut level = level(&format!("l{n}"), *from, account, *cpu);
            level.limits.cpu_seconds_per_day = *day;
            level
        });
        let rules = Rules { gridmap: rules().gridmap, levels: levels.collect() };
        let parsed: Vec<Access> =
            lists.iter().map(|keys| Access::parse(&keys.to_toml()).unwrap()).collect();
        let access: Vec<&Access> = parsed.iter().collect();
        let edits = edits(all_edits.iter().copied());
        let served: Vec<String> = served.iter().map(|n| format!("l{n}")).collect();
        let offer = Offer {
            service: "a.s",
            access: &access,
            edits: &edits,
            levels: &served,
            approved_for: None,
        };
        let subject = CALLERS[caller].1.map(|dn| SubjectDn::parse_oneline(dn).unwrap());
        let account = account.map(|name| AccountName::parse(name).unwrap());
        let proxy = subject.as_ref().and(proxy);
        let who = Who { account: account.as_ref(), proxy, ..Who::of(subject.as_ref(), HERE) };
        let own = Used { cpu_usec, reserved_seconds };
        let today = Today { own, anonymous: None, now_unix: NOON };
        let question = Question { who, offer, method: "m", seconds, groups: &(), today };
        let explanation = explain(&rules, &question);
        prop_assert_eq!(&explanation.outcome, &really(&rules, &question, &lists, &all_edits));
        prop_assert!(explanation.steps.len() >= 2);
        let text = explanation.to_string();
        prop_assert_eq!(text.lines().count(), explanation.steps.len() + 1);
    }
}
