use std::collections::BTreeSet;
use std::path::Path;

use nesssi_policy::From;

use super::*;

const EXAMPLE: &str = include_str!("../../../nesssi.example.toml");

fn good(text: &str) -> Config {
    parse(text, "/etc/nesssi/nesssi.toml").unwrap()
}

fn check_mistakes(text: &str, expected: &[&str]) {
    let mistakes = parse(text, "n.toml").unwrap_err();
    let mistakes: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    assert_eq!(mistakes, expected, "{text}");
}

/// One mistake on line 2, below a heading.
fn check_mistake(section: &str, line: &str, expected: &str) {
    check_mistakes(&format!("[{section}]\n{line}\n"), &[&format!("n.toml:2: {expected}")]);
}

#[test]
fn the_example_has_every_key_and_says_the_defaults() {
    let example = good(EXAMPLE);
    let whole = EXAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    let written: BTreeSet<_> = written_keys(&whole);
    let known = KEYS.iter().map(|(section, key)| ((*section).to_owned(), (*key).to_owned()));
    assert_eq!(written, known.collect());

    // What is an example in the file, and not the default.
    let mut defaults = good("");
    defaults.server.base_url = "https://localhost:8443".to_owned();
    defaults.server.sandbox_url = "http://localhost:8080".to_owned();
    defaults.server.control_group = Some("nesssi-developers".to_owned());
    defaults.server.libexec_directory = Some("/usr/libexec/nesssi".into());
    defaults.services.account = Some("nesssi-services".to_owned());
    for (level, account) in
        defaults.levels.iter_mut().zip([None, Some("nesssi-weak"), Some("nesssi-anon")])
    {
        level.account = account.map(|name| nesssi_policy::AccountName::parse(name).unwrap());
        if level.name.as_str() == "weak" {
            let narrow = &example.levels[1];
            assert!(narrow.subjects.len() == 3 && narrow.issuers.len() == 3);
            assert!(narrow.proxies.len() == 3 && narrow.addresses.len() == 2);
            level.subjects.clone_from(&narrow.subjects);
            level.issuers.clone_from(&narrow.issuers);
            level.proxies.clone_from(&narrow.proxies);
            level.addresses.clone_from(&narrow.addresses);
            level.gridmapped = Some(false);
        }
    }
    assert!(example.front.is_some());
    assert!(example.trees.len() == 1 && defaults.trees.is_empty());
    defaults.front.clone_from(&example.front);
    let told = |config: &Config| {
        let Config {
            server, bounds, policy, levels, sandboxes, services, job, shell, batch, ..
        } = config;
        let batch = (batch, job, shell);
        format!("{server:#?}{bounds:#?}{policy:#?}{levels:#?}{sandboxes:#?}{services:#?}{batch:#?}")
    };
    assert_eq!(told(&example), told(&defaults));

    // What is commented out says the defaults, too.
    let slurm = good(&whole).batch.systems[1].clone();
    let least = "[batch.slurm]\nsubmit = \"/usr/bin/sbatch\"\nstatus = \"/usr/bin/squeue\"\n\
                 cancel = \"/usr/bin/scancel\"\n";
    let mut defaults = good(least).batch.systems[0].clone();
    assert!(defaults.account.is_none() && defaults.usage.is_none());
    assert!(defaults.directives.is_empty() && defaults.levels.is_empty());
    defaults.account.clone_from(&slurm.account);
    defaults.usage.clone_from(&slurm.usage);
    defaults.directives.clone_from(&slurm.directives);
    defaults.levels.clone_from(&slurm.levels);
    defaults.services.clone_from(&slurm.services);
    assert_eq!(slurm, defaults);
}

/// A line that is commented out is a `#` without a blank behind it.
fn uncommented(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line)
}

/// Section and key of every line `key = value`.
fn written_keys(text: &str) -> BTreeSet<(String, String)> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(heading) = line.strip_prefix('[') {
            section = heading.trim_matches(['[', ']']).to_owned();
            if matches!(section.as_str(), "batch.slurm" | "batch.pbs") {
                section = "batch.NAME".to_owned();
            }
        } else if let Some((key, _)) = line.split_once(" = ")
            && !section.starts_with("batch.slurm.")
        {
            keys.insert((section.clone(), key.to_owned()));
        }
    }
    keys
}

#[test]
fn defaults() {
    let config = good("");
    assert!(config.server.listen_https.ip().is_loopback());
    assert!(config.server.listen_http.ip().is_loopback());
    assert_eq!(config.server.base_url, "https://127.0.0.1:8443");
    assert_eq!(config.server.sandbox_url, "http://127.0.0.1:8080");
    let levels: Vec<_> = config
        .levels
        .iter()
        .map(|level| (level.name.as_str(), level.from, level.limits.cpu_seconds))
        .collect();
    assert_eq!(
        levels,
        [
            ("strong", From::Gridmap, 216_000),
            ("weak", From::Certificate, 3_600),
            ("anonymous", From::Anonymous, 900),
        ]
    );
    assert!(config.levels.iter().all(|level| level.account.is_none()));
    assert!(config.levels.iter().all(|level| level.limits.call_wall_seconds == 60));
    assert!(config.levels.iter().all(|level| level.limits.call_cpu_seconds == 10));
}

#[test]
fn who_may_submit_are_levels_that_there_are() {
    let config = good("[job]\nsubmit_levels = [\"strong\", \"weak\"]\n");
    let names: Vec<_> = config.job.submit_levels.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["strong", "weak"]);
    assert!(good("").job.submit_levels.is_empty());
    check_mistakes(
        "[job]\nsubmit_levels = [\"strong\",\n  \"stronger\"]\n",
        &["n.toml:3: `submit_levels`: there is no level \"stronger\""],
    );
}

fn shell(commands: &str) -> String {
    format!("[shell]\nenabled = true\nlevels = [\"strong\"]\ncommands = {commands}\n")
}

#[test]
fn commands_are_matched_word_for_word() {
    let shell = good(&shell(r#"[["/bin/ls", "-l", "*"], ["/bin/true"]]"#)).shell;
    let allows = |words: &[&str]| {
        shell.allows(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    };
    for good in [&["/bin/true"] as &[&str], &["/bin/ls", "-l", "a b"], &["/bin/ls", "-l", "; rm *"]]
    {
        assert!(allows(good), "{good:?}");
    }
    for bad in [
        &[] as &[&str],
        &["/bin/true", ""],
        &["true"],
        &["/bin/ls"],
        &["/bin/ls", "-l"],
        &["/bin/ls", "-l", "-a"],
        &["/bin/ls", "-l", "--"],
        &["/bin/ls", "-l", "a", "b"],
        &["/bin/ls", "-la", "a"],
        &["/bin/ls", "*", "a"],
        &["/bin//ls", "-l", "a"],
        &["/bin/ls", "-l", "a\0b"],
    ] {
        assert!(!allows(bad), "{bad:?}");
    }
    for (bytes, fits) in [
        (SHELL_WORD_BYTES_MAX - 1, true),
        (SHELL_WORD_BYTES_MAX, true),
        (SHELL_WORD_BYTES_MAX + 1, false),
        (128 * 1024, false),
    ] {
        assert_eq!(allows(&["/bin/ls", "-l", &"x".repeat(bytes)]), fits, "{bytes}");
    }
    let off = Shell { enabled: false, ..shell.clone() };
    assert!(!off.allows(&["/bin/true".to_owned()]));
}

#[test]
fn a_list_of_commands_holds_no_interpreter_by_mistake() {
    for program in [
        "/bin/sh",
        "/bin/bash",
        "/usr/bin/python3",
        "/usr/bin/python3.11",
        "/usr/bin/perl5.36.0",
        "/usr/bin/env",
        "/usr/bin/find",
        "/usr/bin/sudo",
        "/lib64/ld-linux-x86-64.so.2",
    ] {
        let text = shell(&format!("[[\"{program}\", \"x\"]]"));
        let mistakes = parse(&text, "n.toml").unwrap_err();
        assert!(mistakes[0].text.contains("makes a command of its arguments"), "{program}");
        assert_eq!(mistakes.iter().map(|one| one.line).max(), Some(4));
        assert!(good(&format!("{text}interpreters = true\n")).shell.interpreters);
    }
    for program in ["/bin/ls", "/usr/bin/shasum", "/opt/perlite/run", "/usr/bin/md5sum"] {
        good(&shell(&format!("[[\"{program}\"]]")));
    }
}

#[test]
fn mistakes_in_commands_are_told_with_their_line() {
    let check = |commands: &str, expected: &str| {
        let mistakes = parse(&shell(commands), "n.toml").unwrap_err();
        assert!(mistakes.iter().any(|one| one.text.contains(expected)), "{mistakes:?}");
    };
    check("[[]]", "a command has a program");
    check(r#"[["ls"]]"#, "absolute path");
    check(r#"[["*"]]"#, "absolute path");
    check(r#"[["/bin/../bin/ls"]]"#, "absolute path");
    check(r#"[["/bin/ls", "a\nb"]]"#, "control characters");
    check(r#"["/bin/ls"]"#, "a list of lists of texts");
    check("[]", "lets nobody run anything");
    let many = |count: usize, one: &str| format!("[{}]", vec![one; count].join(","));
    let most = many(SHELL_COMMANDS_MAX, r#"["/bin/ls"]"#);
    assert_eq!(good(&shell(&most)).shell.commands.len(), SHELL_COMMANDS_MAX);
    check(&many(SHELL_COMMANDS_MAX + 1, r#"["/bin/ls"]"#), "256 at most");
    let words = |count: usize| format!("[{}]", many(count, r#""/bin/ls""#));
    assert_eq!(good(&shell(&words(SHELL_WORDS_MAX))).shell.commands.len(), 1);
    check(&words(SHELL_WORDS_MAX + 1), "64 at most");
    check_mistake(
        "shell",
        "enabled = true",
        "`enabled` without `levels` or without `commands` lets nobody run anything",
    );
    check_mistake("shell", "levels = [\"none\"]", "`levels`: there is no level \"none\"");
    assert!(!good("").shell.enabled);
}

#[test]
fn relative_paths_resolve_against_the_file() {
    let config = good("[server]\ncertificate = \"tls/cert.pem\"\nprivate_key = \"/k.pem\"\n");
    assert_eq!(config.server.certificate, Path::new("/etc/nesssi/tls/cert.pem"));
    assert_eq!(config.server.private_key, Path::new("/k.pem"));
    let here = parse("[sandboxes]\nroot = \"s\"\n", "nesssi.toml").unwrap();
    assert_eq!(here.sandboxes.root, Path::new("s"));
    let up = parse("[sandboxes]\nroot = \"../s\"\n", "/a/b/nesssi.toml").unwrap();
    assert_eq!(up.sandboxes.root, Path::new("/a/b/../s"));
}

#[test]
fn every_mistake_in_one_run() {
    check_mistakes(
        "[server]\nlisten_https = \"localhost:1\"\nlisten_htp = \"127.0.0.1:1\"\ngridmap = \"g\"\n\n\
         [bounds]\nbody_bytes_max = \"big\"\nxml_depth_max = 0\n\n[sandboxs]\nroot = \"x\"\n\n\
         [[level]]\nname = \"Strong\"\nfrom = \"gridmap\"\naccount = \"joe\"\ncpu_seconds = 0\n\n\
         [[level]]\nname = \"weak\"\nfrom = \"cert\"\n\n[batch]\ndefault = \"pbs\"\n[batch.local]\nslot = 1\n",
        &[
            "n.toml:2: `listen_https` is an address and a port, such as \"127.0.0.1:8443\" or \"[::1]:8443\"",
            "n.toml:3: unknown key `listen_htp` in [server]: did you mean `listen_http`?",
            "n.toml:4: unknown key `gridmap` in [server]: it belongs in [policy]",
            "n.toml:7: `body_bytes_max` is a whole number, not a text",
            "n.toml:8: `xml_depth_max` is 0, and may be 8 to 1024",
            "n.toml:10: unknown key `sandboxs`: did you mean `sandboxes`?",
            "n.toml:14: `name` \"Strong\": 'S' may not stand here in a name",
            "n.toml:16: a level from the gridmap has its accounts there: leave `account` out",
            "n.toml:17: `cpu_seconds` is 0, and may be 1 to 4611686018427387904",
            "n.toml:21: `from` is \"gridmap\", \"certificate\" or \"anonymous\", not \"cert\"",
            "n.toml:24: `default` is \"local\", not \"pbs\"",
            "n.toml:26: unknown key `slot` in [batch.local]: did you mean `slots`?",
        ],
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let mistakes = parse("[server]\nuser = \n[bounds]\nxml_depth_max = 0\n", "n.toml").unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [2, 4], "{mistakes:?}");
    check_mistakes(
        "server = 1\nlevel = 2",
        &[
            "n.toml:1: `server` is a table, not a whole number",
            "n.toml:2: `level` is a list of tables, not a whole number",
        ],
    );
    check_mistakes(
        "[level]\nname = \"x\"",
        &["n.toml:1: `level` is a list of tables, not a table"],
    );
}

#[test]
fn keys_that_stand_elsewhere() {
    check_mistakes("gridmap = \"g\"", &["n.toml:1: unknown key `gridmap`: it belongs in [policy]"]);
    check_mistake(
        "batch",
        "slots = 1",
        "unknown key `slots` in [batch]: it belongs in [batch.local]",
    );
    check_mistake(
        "server",
        "cpu_seconds = 1",
        "unknown key `cpu_seconds` in [server]: it belongs in [[level]]",
    );
    check_mistake(
        "server",
        "account = \"a\"",
        "unknown key `account` in [server]: it belongs in [[level]] or [services] or [batch.NAME]",
    );
    check_mistake("server", "colour = 1", "unknown key `colour` in [server]");
}

#[test]
fn addresses() {
    for address in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        good(&format!("[server]\nlisten_https = \"{address}\"\n"));
    }
    for ip in ["0.0.0.0", "192.168.1.1", "::", "2001:db8::1"] {
        let address = std::net::SocketAddr::new(ip.parse().unwrap(), 8443);
        check_mistake(
            "server",
            &format!("listen_https = \"{address}\""),
            &format!("`listen_https`: {ip} is not loopback; if that is meant say `public = true`"),
        );
        assert!(
            good(&format!("[server]\nlisten_https = \"{address}\"\npublic = true\n")).server.public
        );
    }
    check_mistakes(
        "\n[server]\nlisten_https = \"127.0.0.1:1\"\nlisten_http = \"127.0.0.1:1\"\n",
        &["n.toml:2: `listen_https` and `listen_http` are one address"],
    );
    good("[server]\nlisten_https = \"127.0.0.1:0\"\nlisten_http = \"127.0.0.1:0\"\n");
}

#[test]
fn what_is_missing_in_the_trust_directory() {
    let meant = |text: &str| {
        let server = good(text).server;
        (server.missing_crl, server.missing_signing_policy)
    };
    assert_eq!(meant(""), (Missing::Accept, Missing::Refuse));
    assert_eq!(
        meant("[server]\nmissing_crl = \"refuse\"\nmissing_signing_policy = \"accept\"\n"),
        (Missing::Refuse, Missing::Accept)
    );
    for key in ["missing_crl", "missing_signing_policy"] {
        let expected = format!("`{key}` is \"accept\" or \"refuse\", not \"ignore\"");
        check_mistake("server", &format!("{key} = \"ignore\""), &expected);
    }
}

#[test]
fn where_the_access_log_goes() {
    let meant = |text: &str| good(&format!("[server]\n{text}\n")).server.access_log;
    let syslog = |path: &str| AccessLogTo::Syslog(path.into());
    assert_eq!(meant(""), AccessLogTo::File);
    assert_eq!(meant("access_log = \"file\""), AccessLogTo::File);
    assert_eq!(meant("access_log = \"syslog\""), syslog("/dev/log"));
    assert_eq!(meant("access_log = \"syslog\"\nsyslog_socket = \"/run/log\""), syslog("/run/log"));
    let expected = "`access_log` is \"file\" or \"syslog\", not \"journal\"";
    check_mistake("server", "access_log = \"journal\"", expected);
}

#[test]
fn urls() {
    let check = |key: &str, url: &str, expected: Result<&str, &str>| {
        let line = format!("{key} = \"{url}\"");
        match expected {
            Ok(meant) => {
                let server = good(&format!("[server]\n{line}\n")).server;
                let found = if key == "base_url" { server.base_url } else { server.sandbox_url };
                assert_eq!(found, meant);
            }
            Err(wrong) => {
                check_mistake("server", &line, &format!("`{key}` {wrong}, not \"{url}\""))
            }
        }
    };
    check("base_url", "https://grid.example.org", Ok("https://grid.example.org"));
    check("base_url", "https://grid.example.org:8443/", Ok("https://grid.example.org:8443"));
    check(
        "base_url",
        "https://[2001:db8::1]:8443/nesssi/",
        Ok("https://[2001:db8::1]:8443/nesssi"),
    );
    check("sandbox_url", "http://files.example.org", Ok("http://files.example.org"));
    check("sandbox_url", "https://files.example.org", Ok("https://files.example.org"));
    check("base_url", "http://grid.example.org", Err("begins with https://"));
    check("sandbox_url", "ftp://x", Err("begins with http:// or https://"));
    check("base_url", "grid.example.org", Err("begins with https://"));
    check("base_url", "https://", Err("begins with https://"));
    check("base_url", "https:///x", Err("names a host"));
    check("base_url", "https://me:pw@x", Err("holds no user or password"));
    check("base_url", "https://x/?q", Err("is a plain address without query, fragment and blanks"));
}

#[test]
fn names_of_accounts() {
    check_mistake("server", "user = \"root\"", "`user` \"root\": nobody is mapped to root");
    check_mistake(
        "services",
        "account = \"1000\"",
        "`account` \"1000\": a name of digits alone could be taken for a uid",
    );
    check_mistake("server", "user = \"\"", "`user` is empty or has control characters");
    check_mistake(
        "server",
        "certificate = \"a\\u0000b\"",
        "`certificate` is empty or has control characters",
    );
}

fn two_levels(one: &str, other: &str) -> String {
    format!(
        "[[level]]\nname = \"weak\"\nfrom = \"certificate\"\naccount = \"{one}\"\n\
         [[level]]\nname = \"anonymous\"\nfrom = \"anonymous\"\naccount = \"{other}\"\n"
    )
}

#[test]
fn a_shared_account_must_be_meant() {
    assert_eq!(good(&two_levels("a", "b")).levels.len(), 2);
    check_mistakes(
        &two_levels("a", "a"),
        &[
            "n.toml:8: level `anonymous` has the account `a` of level `weak` (line 4), and sessions \
           that share an account are not walled off from each other: give it one of its own, or \
           say `shared_account = true` in [policy]",
        ],
    );
    let meant = format!("{}[policy]\nshared_account = true\n", two_levels("a", "a"));
    assert!(good(&meant).policy.shared_account);
}

#[test]
fn levels_are_whole() {
    check_mistakes(
        "[[level]]\ncpu_seconds = 5\n",
        &[
            "n.toml:1: a [[level]] needs `from`: \"gridmap\", \"certificate\" or \"anonymous\"",
            "n.toml:1: a [[level]] needs a `name`",
        ],
    );
    check_mistakes(
        "[[level]]\nname = \"a\"\nfrom = \"gridmap\"\n[[level]]\nname = \"a\"\nfrom = \"gridmap\"\n",
        &["n.toml:5: level `a` stands on line 2 already"],
    );
    let config = good("[[level]]\nname = \"a\"\nfrom = \"anonymous\"\njobs_at_once = 4294967295\n");
    let limits = &config.levels[0].limits;
    assert_eq!((limits.jobs_at_once, limits.cpu_seconds), (u32::MAX, 900));
    check_mistakes(
        "[[level]]\nname = \"a\"\nfrom = \"anonymous\"\njobs_at_once = 4294967296\n",
        &["n.toml:4: `jobs_at_once` is 4294967296, and may be 1 to 4294967295"],
    );
}

#[test]
fn strangers_do_not_become_the_invoking_user() {
    let check = |text: &str, root: bool, expected: &[&str]| {
        let told: Vec<_> = good(text).check_exposure(root).iter().map(Mistake::to_string).collect();
        assert_eq!(told, expected);
    };
    let public = "[server]\nlisten_https = \"0.0.0.0:8443\"\npublic = true\n";
    check(
        public,
        false,
        &[
            "/etc/nesssi/nesssi.toml:3: public = true with the anonymous level `anonymous` is refused \
           when not started as root: every stranger's job would run as the invoking user",
        ],
    );
    check(public, true, &[]);
    check("", false, &[]);
    check(&format!("{public}[[level]]\nname = \"s\"\nfrom = \"gridmap\"\n"), false, &[]);
}

#[test]
fn accounts_as_root() {
    let check = |text: &str, expected: &[&str]| {
        let config = parse(text, "n.toml").unwrap();
        let told: Vec<_> = config.check_accounts(true).iter().map(Mistake::to_string).collect();
        assert_eq!(told, expected, "{text}");
        assert_eq!(config.check_accounts(false), []);
    };
    let services = |account: &str| format!("[services]\naccount = \"{account}\"\n");
    check(&services("nesssi-services"), &[]);
    check("", &["n.toml:1: started as root, [services] needs an `account`"]);
    check("\n[services]\n", &["n.toml:2: started as root, [services] needs an `account`"]);
    check(
        &services("nesssi"),
        &["n.toml:2: the services' `account` may not be the server's user `nesssi`"],
    );
    let shared = format!("{}{}", services("a"), two_levels("a", "b"));
    check(
        &shared,
        &["n.toml:2: the services' `account` is the one of level `weak`: give it one of its own, \
           or say `shared_account = true` in [policy]"],
    );
    check(&format!("{shared}[policy]\nshared_account = true\n"), &[]);
    check(
        &format!("{}{}", services("s"), two_levels("a", "nesssi")),
        &["n.toml:1: level `anonymous` has the server's user `nesssi` as account"],
    );
    assert_eq!(good(EXAMPLE).check_accounts(true), []);
}

#[test]
fn conditions_of_levels() {
    let levels = good(
        "[[level]]\nname = \"few\"\nfrom = \"certificate\"\naccount = \"few\"\n\
         subjects = [\"/O=Grid/CN=*\"]\nissuers = [\"/O=Grid/*\"]\ngridmapped = true\n\
         proxies = [\"none\", \"limited\"]\naddresses = [\"192.0.2.0/24\", \"::1\"]\n\
         cpu_seconds_per_day = 5\n",
    )
    .levels;
    let [few] = levels.as_slice() else { panic!("{levels:?}") };
    let told = format!("{:?}", few.addresses);
    assert_eq!(told, "[192.0.2.0/24, ::1/128]");
    assert_eq!((few.subjects.len(), few.issuers.len(), few.proxies.len()), (1, 1, 2));
    assert_eq!((few.gridmapped, few.limits.cpu_seconds_per_day), (Some(true), 5));

    let wrong = |from: &str, line: &str, expected: &str| {
        let text = format!("[[level]]\nname = \"l\"\nfrom = \"{from}\"\n{line}\n");
        check_mistakes(&text, &[&format!("n.toml:4: {expected}")]);
    };
    wrong("anonymous", "subjects = [\"/O=*\"]", "callers without a certificate have no `subjects`");
    wrong("anonymous", "gridmapped = true", "callers without a certificate have no `gridmapped`");
    wrong("gridmap", "gridmapped = true", "`from = \"gridmap\"` says `gridmapped` already");
    wrong("gridmap", "issuers = []", "`issuers` is empty: leave it out, or say who is taken");
    wrong(
        "certificate",
        "proxies = [\"half\"]",
        "`proxies` are \"none\", \"full\", \"limited\", \"independent\", not \"half\"",
    );
    wrong(
        "anonymous",
        "addresses = [\"192.0.2.1/24\"]",
        "`addresses` \"192.0.2.1/24\": the network is 192.0.2.0/24",
    );
    wrong(
        "anonymous",
        "addresses = [\"here\"]",
        "`addresses` \"here\": a network is such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
    );
}

#[test]
fn vo_administrators_are_whole_names_in_either_form() {
    let config = good("[policy]\nvo_administrators = [\"/O=Grid/CN=Alice\", \"CN=Bob,O=Grid\"]\n");
    let names: Vec<_> = config.policy.vo_administrators.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["/O=Grid/CN=Alice", "/O=Grid/CN=Bob"]);
    let access = good("[policy]\naccess_administrators = [\"CN=Bob,O=Grid\"]\n");
    assert_eq!(access.policy.access_administrators[0].to_string(), "/O=Grid/CN=Bob");
    assert!(parse("[policy]\naccess_administrators = [\"Bob\"]\n", "n.toml").is_err());
    let mistakes = parse("[policy]\nvo_administrators = [\"Alice\"]\n", "n.toml").unwrap_err();
    assert_eq!(mistakes[0].line, 2);
}
