use super::*;
use crate::parse;

/// `[batch.x]` on line 1, its three commands on the next three, and `more` from line 5.
fn written(more: &str) -> String {
    format!("[batch.x]\nsubmit = \"/s\"\nstatus = \"/t\"\ncancel = \"/c\"\n{more}\n")
}

fn good(more: &str) -> Config {
    parse(&written(more), "n.toml").unwrap_or_else(|mistakes| panic!("{more}: {mistakes:?}"))
}

fn system(more: &str) -> BatchSystem {
    good(more).batch.systems[0].clone()
}

fn check(text: &str, expected: &[&str]) {
    let mistakes = parse(text, "n.toml").unwrap_err();
    let told: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    assert_eq!(told, expected, "{text}");
}

/// One mistake on line 5.
fn wrong(more: &str, expected: &str) {
    check(&written(more), &[&format!("n.toml:5: {expected}")]);
}

#[test]
fn a_system_is_read_whole() {
    let system = system(
        "dialect = \"torque\"\naccount = \"/a\"\nusage = \"/u\"\ncommands_at_once = 256\nqueue_max = 1\n\
         command_seconds_max = 600\npoll_seconds_min = 1\npoll_seconds_max = 3600\nown_jobs_only = true",
    );
    assert_eq!((system.name.as_str(), system.dialect.as_deref()), ("x", Some("torque")));
    assert_eq!((system.commands_at_once, system.queue_max), (256, 1));
    assert_eq!((system.command_seconds_max, system.own_jobs_only), (600, true));
    assert_eq!((system.poll_seconds_min, system.poll_seconds_max), (1, 3600));
    let programs: Vec<_> = system
        .programs()
        .into_iter()
        .map(|(key, path)| format!("{key}={}", path.display()))
        .collect();
    assert_eq!(programs, ["submit=/s", "status=/t", "cancel=/c", "account=/a", "usage=/u"]);
    assert_eq!(system.dialect.as_deref(), Some("torque"));
    assert_eq!(super::tests::system("dialect = \"auto\"").dialect, None);
}

#[test]
fn the_default_is_one_that_there_is() {
    let config = parse(&format!("[batch]\ndefault = \"x\"\n{}", written("")), "n.toml").unwrap();
    assert_eq!((config.batch.default.as_str(), config.batch.names()), ("x", vec!["local", "x"]));
    assert!(config.batch.system("x").is_some() && config.batch.system("local").is_none());
    check(
        &format!("[batch]\ndefault = \"y\"\n{}", written("")),
        &["n.toml:2: `default` is \"local\" or \"x\", not \"y\""],
    );
}

#[test]
fn names_are_short_and_plain() {
    let named = |name: &str| written("").replace("batch.x", &format!("batch.{name}"));
    let long = "n".repeat(NAME_BYTES_MAX);
    for name in ["a", "pbs-2_b", long.as_str()] {
        assert!(parse(&named(name), "n.toml").is_ok(), "{name}");
    }
    for name in ["1a", "-a", "A", "\"\"", "\"a b\"", "\"a,b\"", &format!("{long}n")] {
        let mistakes = parse(&named(name), "n.toml").unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, 1), "{name}: {mistakes:?}");
    }
    check(&named("default"), &["n.toml:1: `default` is a text in quotes, not a table"]);
    let many = |count: usize| {
        let one = |at| named(&format!("s{at}"));
        format!("[batch]\n{}", (0..count).map(one).collect::<String>())
    };
    assert_eq!(parse(&many(BATCH_SYSTEMS_MAX), "n.toml").unwrap().batch.systems.len(), 16);
    check(&many(BATCH_SYSTEMS_MAX + 1), &["n.toml:1: there are more than 16 of [batch.NAME]"]);
}

#[test]
fn commands_are_absolute_paths_without_anything_odd() {
    check(
        "[batch.x]\nstatus = \"/t\"\n",
        &[
            "n.toml:1: a batch system needs `cancel`, the absolute path of its command",
            "n.toml:1: a batch system needs `submit`, the absolute path of its command",
        ],
    );
    let form = "an absolute path of letters, digits and / . _ + -, without ..";
    let long = format!("/{}", "a".repeat(PROGRAM_BYTES_MAX));
    for path in ["sacct", "", "/a/../b", "/a b", "/a,b", "/a/", "/a'b", long.as_str()] {
        wrong(&format!("account = \"{path}\""), &format!("`account` is {form}, not {path:?}"));
    }
    system(&format!("account = \"{}\"", &long[..PROGRAM_BYTES_MAX]));
}

#[test]
fn numbers_have_bounds() {
    for (key, low, high) in [
        ("commands_at_once", 1, 256),
        ("queue_max", 1, 10_000_000),
        ("command_seconds_max", 1, 600),
        ("poll_seconds_max", 1, 3_600),
    ] {
        let zero = format!("`{key}` is {}, and may be {low} to {high}", low - 1);
        wrong(&format!("{key} = {}", low - 1), &zero);
        let above = format!("`{key}` is {}, and may be {low} to {high}", high + 1);
        wrong(&format!("{key} = {}", high + 1), &above);
        system(&format!("{key} = {high}"));
    }
    assert_eq!(system("poll_seconds_min = 61").poll_seconds_max, 61);
    check(
        &written("poll_seconds_min = 3\npoll_seconds_max = 2"),
        &["n.toml:1: `poll_seconds_min` is over `poll_seconds_max`"],
    );
    wrong("jobs_max = 0", "unknown key `jobs_max` in [batch.x]");
    wrong(
        "dialect = \"pbs\"",
        "`dialect` is \"auto\", \"openpbs\", \"torque\", \"torque-on-slurm\", \"slurm\", not \"pbs\"",
    );
}

#[test]
fn directives_have_a_form() {
    let one = |text: &str, why: &str| {
        wrong(&format!("directives = [{text:?}]"), &format!("`directives` {text:?}: {why}"));
    };
    for text in ["queue", "=x", "queue="] {
        one(text, "it has the form key=value");
    }
    let printable = "it is up to 256 printable letters without blanks";
    for text in ["queue=a b", "queue=a\nb", "queue=ä", &format!("queue={}", "a".repeat(251))] {
        one(text, printable);
    }
    system(&format!("directives = [\"queue={}\"]", "a".repeat(250)));
    for text in ["cpus=0", "cpus=65537", "cpus=+1", "cpus=two"] {
        one(text, "cpus is a number from 1 to 65536");
    }
    one("memory_mib=1099511627777", "memory_mib is a number from 1 to 1099511627776");
    wrong(
        "directives = [\"queue=a\", \"queue=b\"]",
        "`directives` \"queue=b\": queue stands there already",
    );
    let many = |count: usize| {
        let all: Vec<_> = (0..count).map(|at| format!("\"resource.r{at}=1\"")).collect();
        format!("directives = [{}]", all.join(", "))
    };
    assert_eq!(system(&many(BATCH_DIRECTIVES_MAX)).directives.len(), 32);
    check(
        &written(&many(BATCH_DIRECTIVES_MAX + 1)),
        &[
            "n.toml:1: its lists together are over 32 directives for one job",
            "n.toml:5: `directives` are 33, 32 at most",
        ],
    );
    let by_level = |one: &str| format!("{}\n[batch.x.levels]\nweak = [\"{one}\"]", many(32));
    system(&by_level("resource.r31=2"));
    let mistakes = parse(&written(&by_level("queue=a")), "n.toml").unwrap_err();
    assert!(mistakes[0].text.contains("together"), "{mistakes:?}");
}

const LISTS: &str = "directives = [\"queue=batch\", \"account=grid\", \"cpus=2\"]\n\
    [batch.x.levels]\nweak = [\"queue=short\", \"memory_mib=100\"]\n\
    [batch.x.services]\n\"a.b\" = [\"queue=long\", \"cpus=4\", \"resource.gpu=1\"]\nc = []\n";

#[test]
fn lists_are_merged_and_the_last_word_counts() {
    let system = system(LISTS);
    let asked = |level: &str, service: &str| {
        let AskedFor { cpus, memory_mib, directives } = system.asked_for(level, service);
        (cpus, memory_mib, directives.join(" "))
    };
    assert_eq!(asked("strong", "d"), (2, None, "queue=batch account=grid".into()));
    assert_eq!(asked("weak", "c"), (2, Some(100), "queue=short account=grid".into()));
    let gpu = "queue=long account=grid resource.gpu=1".to_owned();
    assert_eq!(asked("strong", "a.b"), (4, None, gpu.clone()));
    assert_eq!(asked("weak", "a.b"), (4, Some(100), gpu));
    let none = super::tests::system("").asked_for("weak", "c");
    assert_eq!(none, AskedFor { cpus: 1, memory_mib: None, directives: Vec::new() });
}

#[test]
fn levels_are_those_that_there_are() {
    check(
        &written("[batch.x.levels]\nweek = [\"queue=a\"]\nweak = \"queue=a\"\n"),
        &["n.toml:6: there is no level `week`", "n.toml:7: `weak` is a list of texts, not a text"],
    );
    check(
        &written("[batch.x.services]\n\"a..b\" = []\n"),
        &["n.toml:6: \"a..b\" is no name of a service"],
    );
}

#[test]
fn others_judge_services_and_directives() {
    let config = good(LISTS);
    let told =
        |mistakes: Vec<Mistake>| -> Vec<_> { mistakes.iter().map(Mistake::to_string).collect() };
    let services = told(config.check_batch_services(|name| name == "c"));
    assert_eq!(services, ["n.toml:9: there is no service `a.b`"]);
    assert!(good("[batch.x.services]\njob = []\n").check_batch_services(|_| false).is_empty());
    let no = |system: &BatchSystem, key: &str, value: &str| {
        assert_eq!(system.name, "x");
        if value == "short" || key == "resource.gpu" { Err("no".to_owned()) } else { Ok(()) }
    };
    assert_eq!(
        told(config.check_directives(no)),
        [
            "n.toml:7: [batch.x.levels]: \"queue=short\": no",
            "n.toml:9: [batch.x.services]: \"resource.gpu=1\": no",
        ]
    );
}
