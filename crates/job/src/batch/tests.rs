use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::{AdmittedJob, Ceiling, Command, JobSpec};

const ALL: [DialectName; 4] =
    [DialectName::OpenPbs, DialectName::Torque, DialectName::TorqueOnSlurm, DialectName::Slurm];

fn programs() -> Programs {
    let program = |name: &str| Program::parse(&format!("/usr/bin/{name}")).unwrap();
    Programs {
        submit: program("sub"),
        status: program("stat"),
        cancel: program("del"),
        account: Some(program("sacct")),
        usage: Some(program("sstat")),
    }
}

fn of(name: DialectName) -> Box<dyn Dialect> {
    dialect(name, programs())
}

/// What a batch system really said.
struct Sample {
    name: String,
    command: String,
    stdout: String,
    stderr: String,
    code: i32,
}

impl Sample {
    fn output(&self) -> Output<'_> {
        said(self.code, &self.stdout, &self.stderr)
    }
}

fn said<'a>(code: i32, stdout: &'a str, stderr: &'a str) -> Output<'a> {
    Output { exit: Exit::Code(code), stdout: stdout.as_bytes(), stderr: stderr.as_bytes() }
}

fn samples(folder: &str) -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/batch/testdata").join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| sample(path)).collect()
}

fn sample(path: &Path) -> Sample {
    let text = std::fs::read_to_string(path).unwrap();
    let (command, rest) = text.split_once("--- stdout\n").unwrap();
    // A file that was cut has no end of line before the next part.
    let (stdout, rest) = rest.split_once("--- stderr\n").unwrap_or((rest, ""));
    let (stderr, rest) = rest.split_once("--- exit ").unwrap_or(("", "0\n"));
    Sample {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        command: command.trim_start_matches("$ ").to_owned(),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        code: rest.lines().next().unwrap().parse().unwrap(),
    }
}

/// The samples' jobs under names such as ours.
fn our_name(name: &str) -> String {
    let mut digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    digits.push_str("0000000000000000");
    format!("nesssi-{}", digits.get(..16).unwrap())
}

fn renamed(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if let Some((head, name)) = line.split_once("Job_Name = ") {
            writeln!(out, "{head}Job_Name = {}", our_name(name)).unwrap();
        } else if let Some((head, name)) = line.split_once("\"Job_Name\":\t\"") {
            writeln!(out, "{head}\"Job_Name\":\t\"{}\",", our_name(name.trim_end_matches("\",")))
                .unwrap();
        } else if let Some((head, name)) = line.split_once("\"name\": \"hello") {
            writeln!(out, "{head}\"name\": \"{}{name}", our_name("hello")).unwrap();
        } else {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

fn table(listing: &Result<Listing, NoListing>) -> String {
    let mut out = String::new();
    match listing {
        Err(error) => writeln!(out, "    {error:?}").unwrap(),
        Ok(listing) => {
            for one in listing.iter() {
                let (cpu, wall) = (one.cpu_seconds, one.wall_seconds);
                let seconds = |seconds: Option<u64>| seconds.map_or("-".into(), |s| s.to_string());
                writeln!(
                    out,
                    "    {} {} {:?} cpu {} wall {} {}",
                    one.id,
                    one.owner,
                    one.state,
                    seconds(cpu),
                    seconds(wall),
                    one.comment
                )
                .unwrap();
            }
            writeln!(out, "    {} jobs, {} unread", listing.len(), listing.unread).unwrap();
        }
    }
    out
}

fn submitted(name: DialectName, folder: &str) -> String {
    let mut out = String::new();
    for sample in samples(folder) {
        let sub = sample.command.starts_with("qsub") || sample.command.starts_with("sbatch");
        if !sub && !sample.command.starts_with("echo") {
            continue;
        }
        match of(name).submitted(&sample.output()) {
            Ok(id) => writeln!(out, "{}: {id}", sample.name).unwrap(),
            Err(not) => {
                let certain = if not.certain { "certainly" } else { "perhaps" };
                writeln!(
                    out,
                    "{}: {:?}, {certain} nothing: {}",
                    sample.name, not.refusal, not.words
                )
                .unwrap();
            }
        }
    }
    out
}

fn cancelled(name: DialectName, folder: &str) -> String {
    let mut out = String::new();
    for sample in samples(folder) {
        if ["qdel", "scancel"].iter().any(|command| sample.command.starts_with(command)) {
            writeln!(out, "{}: {:?}", sample.name, of(name).cancelled(&sample.output())).unwrap();
        }
    }
    out
}

fn listings(name: DialectName, folder: &str) -> String {
    let mut out = String::new();
    for sample in samples(folder) {
        let full =
            sample.command.split(' ').any(|word| matches!(word, "-f" | "-xf" | "-x" | "-fw"));
        let down = sample.name.starts_with("down-q") && sample.command.starts_with("qstat");
        if sample.name.starts_with("forged") {
            continue;
        }
        if (sample.command.starts_with("qstat") && full) || down {
            let stdout = renamed(&sample.stdout);
            let listing = of(name).listed(&said(sample.code, &stdout, &sample.stderr));
            write!(out, "{}:\n{}", sample.name, table(&listing)).unwrap();
        }
    }
    out
}

#[test]
fn what_real_submissions_answered() {
    insta::assert_snapshot!("submitted_openpbs", submitted(DialectName::OpenPbs, "openpbs"));
    insta::assert_snapshot!("submitted_wrappers", submitted(DialectName::TorqueOnSlurm, "torque"));
    insta::assert_snapshot!("submitted_slurm", submitted(DialectName::Slurm, "slurm"));
}

#[test]
fn what_real_cancels_answered() {
    insta::assert_snapshot!("cancelled_openpbs", cancelled(DialectName::OpenPbs, "openpbs"));
    insta::assert_snapshot!("cancelled_wrappers", cancelled(DialectName::TorqueOnSlurm, "torque"));
    insta::assert_snapshot!("cancelled_slurm", cancelled(DialectName::Slurm, "slurm"));
}

#[test]
fn what_real_listings_say() {
    insta::assert_snapshot!("listed_openpbs", listings(DialectName::OpenPbs, "openpbs"));
    insta::assert_snapshot!("listed_wrappers", listings(DialectName::TorqueOnSlurm, "torque"));
    insta::assert_snapshot!("listed_slurm", slurm_listings());
}

/// Seen in OpenPBS 23.06.06: exit code 0, and not a word of the second.
#[test]
fn of_several_ids_openpbs_is_asked_in_text() {
    let samples = samples("openpbs");
    let jobs = |name: &str| {
        let sample = samples.iter().find(|sample| sample.name == name).unwrap();
        assert!(sample.command.contains("4.vm 5.vm") && sample.code == 0);
        of(DialectName::OpenPbs).listed(&sample.output()).unwrap().len()
    };
    assert_eq!((jobs("qstat-two-json"), jobs("qstat-two")), (1, 2));
    let ids = ["4.vm", "5.vm"].map(|id| BatchId::parse(id).unwrap());
    let lines = of(DialectName::OpenPbs).list(Listed::These(&ids));
    let argv: Vec<&[String]> = lines.iter().map(|line| line.argv.as_slice()).collect();
    assert_eq!(argv, [["/usr/bin/stat", "-x", "-f", "4.vm", "5.vm"]]);
}

/// Slurm's samples have other columns than NESSSI asks for.
fn slurm_listings() -> String {
    let mut out = String::new();
    let slurm = of(DialectName::Slurm);
    for sample in samples("slurm") {
        let columns = |order: &[usize], name: usize| -> String {
            let lines = sample.stdout.lines().skip(1).map(|line| {
                let words: Vec<&str> = line.split('|').collect();
                let mut picked: Vec<String> =
                    order.iter().map(|at| words[*at].to_owned()).collect();
                picked.push(our_name(words[name]));
                picked.join("|") + "\n"
            });
            lines.collect()
        };
        let listing = match sample.name.as_str() {
            "squeue" => slurm.listed(&said(0, &columns(&[0, 4, 2, 6, 5], 1), "")),
            "acct-sacct" => slurm.accounted(&said(0, &columns(&[0, 4, 2, 7, 8, 5], 1), "")),
            "sacct" => slurm.accounted(&sample.output()),
            "squeue-json" => {
                write!(out, "squeue-json, cut:\n{}", table(&slurm.listed(&sample.output())))
                    .unwrap();
                let end = sample.stdout.rfind("\"resv_").unwrap();
                let whole = sample.stdout.get(..end).unwrap().to_owned()
                    + "\"user_name\": \"gridalice\"}]}";
                slurm.listed(&said(0, &renamed(&whole), ""))
            }
            "down-squeue" | "squeue-unknown" => slurm.listed(&sample.output()),
            _ => continue,
        };
        write!(out, "{}:\n{}", sample.name, table(&listing)).unwrap();
    }
    out
}

#[test]
fn later_slurms_say_the_same_in_another_form() {
    let text = r#"{"meta":{},"errors":[],"warnings":[],"jobs":[
        {"job_id":1,"name":"nesssi-0000000000000001","user_name":"a","job_state":["RUNNING"],"state_reason":"None","exit_code":{"status":["SUCCESS"],"return_code":{"set":true,"infinite":false,"number":0},"signal":{"id":{"set":false,"infinite":false,"number":0},"name":""}}},
        {"job_id":2,"name":"nesssi-0000000000000002","user_name":"a","job_state":["FAILED"],"exit_code":{"return_code":{"set":true,"number":7},"signal":{"id":{"set":false,"number":0}}}},
        {"job_id":3,"name":"nesssi-0000000000000003","user_name":"a","job_state":["CANCELLED","COMPLETING"],"exit_code":{"return_code":{"set":true,"number":0},"signal":{"id":{"set":true,"number":15}}}},
        {"job_id":4,"name":"nesssi-0000000000000004","user_name":"a","job_state":["PENDING"],"state_reason":"JobHeldAdmin","exit_code":{}},
        {"job_id":5,"name":"nesssi-0000000000000005","user_name":"a","job_state":["SOMETHING_NEW"]},
        {"job_id":6,"name":"nesssi-0000000000000006","user_name":"a","job_state":[]},
        {"job_id":-6,"name":"nesssi-0000000000000007"},
        {"job_id":7,"name":"somebody's"}]}"#;
    let listing = of(DialectName::Slurm).listed(&said(0, text, ""));
    insta::assert_snapshot!("listed_later_slurm", table(&listing));
}

#[test]
fn a_listing_of_torque_with_its_folds() {
    let text = "Job Id: 12.head.example.org\n    Job_Name = n0123456789abcd\n    Job_Owner = alice@login.\n\texample.org\n    job_state = C\n    resources_used.cput = 00:01:10\n    resources_used.walltime = 00:02:00\n    exit_status = 271\n    Variable_List = PBS_O_HOME=/home/alice,\n\tJob Id: 9.head\n\nJob Id: 13[1].head\n    Job_Name = n0123456789abcd\n    job_state = R\n";
    let listing = of(DialectName::Torque).listed(&said(0, text, "")).unwrap();
    let one = listing.iter().next().unwrap();
    assert_eq!((listing.len(), listing.unread), (1, 0));
    assert_eq!(one.owner, "alice");
    assert_eq!(one.state, BatchState::Ended(BatchEnd::Signalled(15)));
    assert_eq!((one.cpu_seconds, one.wall_seconds), (Some(70), Some(120)));
}

#[test]
fn what_the_wrappers_have_no_letter_for_is_not_known() {
    let text = "Job Id:\t7\n\tJob_Name = n0123456789abcd\n\tjob_state = U\n\n";
    let state =
        |name| of(name).listed(&said(0, text, "")).unwrap().iter().next().map(|one| one.state);
    assert_eq!(state(DialectName::TorqueOnSlurm), Some(BatchState::Unknown));
}

/// Slurm 22.05 exits with 0 and lists no job when its controller is away; only the text says so by its exit.
#[test]
fn a_slurm_that_is_down_is_no_empty_listing_in_json_either() {
    let samples = samples("slurm");
    let listed = |name: &str| {
        let sample = samples.iter().find(|one| one.name == name).unwrap();
        of(DialectName::Slurm).listed(&sample.output())
    };
    assert!(matches!(listed("down-squeue-json"), Err(NoListing::NotUnderstood(_))));
    assert!(matches!(listed("down-squeue"), Err(NoListing::Down(_))));
    for empty in
        [r#"{"errors": [], "jobs": []}"#, r#"{"errors": null, "jobs": []}"#, r#"{"jobs": []}"#]
    {
        let listing = of(DialectName::Slurm).listed(&said(0, empty, "")).unwrap();
        assert_eq!((listing.iter().count(), listing.unread), (0, 0), "{empty}");
    }
}

/// Seen in OpenPBS 23.06.06: the second job's submitter has written of the first, and of a third's.
#[test]
fn what_another_job_says_of_ours_is_not_believed() {
    let samples = samples("openpbs");
    let name = "nesssi-0123456789abcdef";
    let states = |sample: &str| -> Vec<(String, BatchState)> {
        let sample = samples.iter().find(|one| one.name == sample).unwrap();
        let listing = of(DialectName::OpenPbs).listed(&sample.output()).unwrap();
        listing.named(name, "gridalice").map(|one| (one.id.to_string(), one.state)).collect()
    };
    assert_eq!(states("forged-json"), [("57.vm".to_owned(), BatchState::Running)]);
    let unknown = |id: &str| (id.to_owned(), BatchState::Unknown);
    assert_eq!(states("forged"), [unknown("57.vm"), unknown("56.vm"), unknown("57.vm")]);
    let line = |id: u32, name: &str| format!("{id}|RUNNING|alice|1:00|None|{name}\n");
    // An id that is nobody's of ours by its own line.
    let text = line(7, "other") + &line(8, "x") + &line(7, name);
    let listing = of(DialectName::Slurm).listed(&said(0, &text, "")).unwrap();
    assert_eq!(listing.iter().next().map(|one| one.state), Some(BatchState::Unknown));
}

#[test]
fn a_job_is_known_by_id_name_and_account_together() {
    let slurm = of(DialectName::Slurm);
    let name = "nesssi-0123456789abcdef";
    let text = format!(
        "7|RUNNING|alice|1:00|None|{name}\n8|RUNNING|alice|0:10|None|{name}\n9|COMPLETED|mallory|0:01|None|{name}\n\
         12|RUNNING|bob|0:10|None|nesssi-fedcba9876543210\nrubbish\n10|RUNNING|alice|0:10|None|other|{name}\n"
    );
    let listing = slurm.listed(&said(0, &text, "")).unwrap();
    let id = |text: &str| BatchId::parse(text).unwrap();
    assert_eq!(
        listing.named(name, "alice").map(|one| one.id.as_str()).collect::<Vec<_>>(),
        ["7", "8"]
    );
    assert_eq!(listing.find(&id("7"), name, "alice").unwrap().state, BatchState::Running);
    assert!(listing.find(&id("9"), name, "alice").is_none());
    assert!(listing.find(&id("7"), "nesssi-fedcba9876543210", "alice").is_none());
    assert_eq!((listing.len(), listing.unread), (4, 1));
    // A job whose name holds a line that says something else of ours.
    let text = format!(
        "7|RUNNING|alice|1:00|None|{name}\n11|RUNNING|mallory|0:01|None|x\n7|COMPLETED|alice|0:01|None|{name}\n"
    );
    let listing = slurm.listed(&said(0, &text, "")).unwrap();
    assert_eq!(listing.find(&id("7"), name, "alice").unwrap().state, BatchState::Unknown);
}

#[test]
fn a_job_that_was_renamed_is_told_to_who_asks_for_its_id() {
    let slurm = of(DialectName::Slurm);
    let text = "7|RUNNING|alice|1:00|None|other\n8|RUNNING|bob|0:10|None|his\n9|COMPLETED|alice|0:01|None|x\n";
    let listing = slurm.listed(&said(0, text, "")).unwrap();
    assert_eq!((listing.len(), listing.unread), (0, 0));
    let ids = ["7", "9", "10"].map(|id| BatchId::parse(id).unwrap());
    let renamed: Vec<_> = listing.renamed(&ids).collect();
    let [only] = renamed[..] else { panic!("{renamed:?}") };
    assert_eq!((only.id.as_str(), only.name.as_str(), only.owner.as_str()), ("7", "", "alice"));
}

#[test]
fn what_is_no_answer_is_garbage_and_perhaps_a_job() {
    let answers = [
        "",
        "\n",
        "ok",
        "12.vm\n13.vm\n",
        " 12.vm",
        "12.vm ",
        "12.vm\r\n",
        "14[].vm",
        "14[3].vm",
        "6_1",
        "-1.vm",
        "1..vm",
        "1.",
        "1.-x",
        "12.vm;rm",
        "Auftrag 12 abgeschickt\n",
        "Submitted batch job 12\n",
        "12\0",
        "１２.vm",
        "99999999999999999999999.vm",
    ];
    for name in ALL {
        for answer in answers {
            let not = of(name).submitted(&said(0, answer, "")).expect_err(answer);
            assert_eq!(
                (not.refusal, not.certain),
                (Refusal::Garbage, false),
                "{name:?} {answer:?}"
            );
        }
        for exit in [Exit::Signal(9), Exit::TimedOut] {
            let output = Output { exit, stdout: b"12.vm\n", stderr: b"" };
            assert!(!of(name).submitted(&output).unwrap_err().certain);
        }
        // Other languages, and no words at all.
        for words in ["", "qsub: unbekannte Warteschlange", "\u{1b}[31mрусский\u{9b}"] {
            let not = of(name).submitted(&said(1, "", words)).unwrap_err();
            assert_eq!((not.refusal, not.certain), (Refusal::Unknown, false), "{name:?} {words}");
            assert!(!not.words.as_str().contains(char::is_control));
        }
    }
    let long = "1".repeat(ANSWER_BYTES_MAX + 1);
    assert!(of(DialectName::Slurm).submitted(&said(0, &long, "")).is_err());
    let taken = |name, answer| of(name).submitted(&said(0, answer, "")).map(|id| id.to_string());
    assert_eq!(taken(DialectName::Slurm, "12;lab\n").unwrap(), "12");
    assert!(taken(DialectName::Slurm, "12;lab\n13\n").is_err());
    assert!(taken(DialectName::Slurm, "12.vm\n").is_err());
    assert!(taken(DialectName::OpenPbs, "12\n").is_err());
    assert_eq!(taken(DialectName::OpenPbs, "0.vm\n").unwrap(), "0.vm");
    // Half of an answer may be another job's id.
    assert!(taken(DialectName::OpenPbs, "0.vm").is_err());
    assert!(taken(DialectName::Slurm, "12").is_err());
    assert!(taken(DialectName::Slurm, "12;lab").is_err());
}

#[test]
fn a_lost_connection_may_have_left_a_job() {
    let not = |name, words| of(name).submitted(&said(1, "", words)).unwrap_err();
    let lost =
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation";
    let refused = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)";
    assert_eq!(
        (not(DialectName::Slurm, lost).refusal, not(DialectName::Slurm, lost).certain),
        (Refusal::Down, false)
    );
    assert!(not(DialectName::Slurm, refused).certain);
    assert!(!not(DialectName::OpenPbs, "qsub: End of File").certain);
}

#[test]
fn words_are_fit_for_a_terminal() {
    let words = Words::of("\u{1b}]0;x\u{7}a\r\nb\u{9b}31m\u{202e}c\0\u{85}".as_bytes());
    assert_eq!(words.as_str(), "]0;x a b 31m c");
    assert_eq!(Words::of(&vec![b'x'; 5000]).as_str().len(), WORDS_BYTES_MAX);
    assert_eq!(Words::of(b"\xff\xfe").as_str(), "\u{fffd}\u{fffd}");
    assert!(Words::of(&[b' '; 100_000]).is_empty());
}

#[test]
fn directives_take_words_alone() {
    let hostile = [
        "",
        " ",
        "a b",
        "a\nb",
        "a\n#PBS -l x",
        "#PBS",
        "'",
        "\"",
        "$(id)",
        "`id`",
        "-q",
        "--wrap=x",
        "a;b",
        "a|b",
        "a,b",
        "a=b",
        "a:b",
        "a/b",
        "a%b",
        "a\\b",
        "a\0",
        "\u{1b}[2J",
        "é",
        "~",
        "*",
        "@host",
        "+x",
        ".x",
    ];
    let long = "a".repeat(DIRECTIVE_WORD_BYTES_MAX + 1);
    for key in ["queue", "account", "qos", "reservation", "feature"] {
        for value in hostile.into_iter().chain([long.as_str()]) {
            assert!(
                matches!(Directive::parse(key, value), Err(DirectiveError::Word(_))),
                "{key} {value:?}"
            );
        }
        assert!(Directive::parse(key, "gpu_long-2.x+y").is_ok());
        assert!(Directive::parse(key, long.get(1..).unwrap()).is_ok());
    }
    for name in hostile.into_iter().filter(|name| !name.is_empty()) {
        assert!(Directive::parse(&format!("resource.{name}"), "1").is_err(), "{name:?}");
    }
    for count in ["0", "-1", "+1", "1.5", "", "4294967296", "1 ", "1k"] {
        assert_eq!(
            Directive::parse("resource.ngpus", count),
            Err(DirectiveError::Count),
            "{count}"
        );
    }
    assert_eq!(Directive::parse("resource.walltime", "1"), Err(DirectiveError::OwnSize));
    assert_eq!(Directive::parse("mail", "x"), Err(DirectiveError::Unknown));
    for path in ["", "qsub", "./qsub", "/usr/../bin/qsub", "/usr/bin/", "/a b", "/a'b", "/a\nb"] {
        assert!(Program::parse(path).is_err(), "{path}");
    }
}

fn asked(directives: &[(&str, &str)]) -> Asked {
    let ceiling = Ceiling { cpu_seconds: 216_000, wall_seconds: 90_061, sandbox_bytes: 0 };
    let command = Command::Argv(vec![b"/bin/echo".to_vec(), b"secret\n#PBS -q x".to_vec()]);
    let spec = JobSpec { command, cpu_seconds_asked: 3661, shell_allowed: false };
    Asked {
        tag: Tag::parse("0123456789abcdef").unwrap(),
        job: AdmittedJob::admit(spec, ceiling).unwrap(),
        cpus: 4,
        memory_bytes: Some((1 << 30) + 1),
        directives: directives
            .iter()
            .map(|(key, value)| Directive::parse(key, value).unwrap())
            .collect(),
        environment: Environment::new(vec![("A".into(), b"b\n".to_vec())]).unwrap(),
        sandbox: PrivatePath::parse(b"/srv/sandboxes/alice/5e55105e55105e55105e55105e55105e")
            .unwrap(),
        umask: 0o027,
    }
}

#[test]
fn commands_as_they_are_run() {
    let mut out = String::new();
    let tag = Tag::parse("0123456789abcdef").unwrap();
    let ids = [BatchId::parse("12.vm").unwrap(), BatchId::parse("13").unwrap()];
    for name in ALL {
        let dialect = of(name);
        writeln!(out, "{name:?}").unwrap();
        for list in [&[("queue", "batch"), ("account", "proj")][..], &[]] {
            let line = dialect.submit(&Submission::new(asked(list)).unwrap()).unwrap();
            writeln!(out, "    {}", line.argv.join(" ")).unwrap();
            let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-:=,/".contains(&byte);
            assert!(line.argv.iter().all(|word| word.bytes().all(safe)));
            assert!(
                !line.argv.join(" ").contains("5e55105e")
                    && !format!("{line:?}").contains("5e55105e")
            );
            assert!(String::from_utf8(line.stdin).unwrap().contains("5e55105e"));
        }
        let lines = dialect.list(Listed::All).into_iter().chain(dialect.list(Listed::These(&ids)));
        let lines = lines.chain([dialect.cancel(&ids[0], &tag)]);
        let lines = lines.chain(dialect.account(&ids)).chain(dialect.usage(&ids));
        lines.for_each(|line| writeln!(out, "    {}", line.argv.join(" ")).unwrap());
    }
    insta::assert_snapshot!("commands", out);
}

#[test]
fn the_script_as_it_is_sent() {
    let line =
        of(DialectName::TorqueOnSlurm).submit(&Submission::new(asked(&[])).unwrap()).unwrap();
    let script = String::from_utf8(line.stdin).unwrap();
    let directive = |line: &str| {
        ["#PBS", "#SBATCH", "#BSUB"].iter().any(|word| line.trim_start().starts_with(word))
    };
    assert!(!script.lines().any(directive));
    // What is the same in every script is read where it stands.
    let ours: Vec<&str> = script.lines().take(14).collect();
    insta::assert_snapshot!("script", ours.join("\n"));
}

#[test]
fn a_directive_without_a_word_is_refused() {
    for (name, key) in [
        (DialectName::OpenPbs, "qos"),
        (DialectName::Torque, "reservation"),
        (DialectName::TorqueOnSlurm, "feature"),
        (DialectName::TorqueOnSlurm, "resource.gpu"),
    ] {
        let submission = Submission::new(asked(&[(key, "1")])).unwrap();
        assert!(matches!(of(name).submit(&submission), Err(DirectiveError::Unsupported { .. })));
    }
    let submission = Submission::new(asked(&[
        ("resource.gpu", "2"),
        ("resource.shard", "1"),
        ("feature", "fast"),
    ]))
    .unwrap();
    let line = of(DialectName::Slurm).submit(&submission).unwrap();
    assert!(line.argv.contains(&"--gres=gpu:2,shard:1".to_owned()));
    assert!(line.argv.contains(&"--constraint=fast".to_owned()));
}

#[test]
fn what_cannot_be_submitted_is_said() {
    let with = |change: &dyn Fn(&mut Asked)| {
        let mut asked = asked(&[]);
        change(&mut asked);
        Submission::new(asked).unwrap_err()
    };
    assert_eq!(with(&|asked| asked.cpus = 0), SubmissionError::Cpus);
    assert_eq!(with(&|asked| asked.cpus = CPUS_MAX + 1), SubmissionError::Cpus);
    assert_eq!(with(&|asked| asked.memory_bytes = Some(0)), SubmissionError::Memory);
    assert_eq!(with(&|asked| asked.umask = 0o1000), SubmissionError::Umask);
    let queue = Directive::parse("queue", "a").unwrap();
    let twice = with(&|asked| asked.directives = vec![queue.clone(), queue.clone()]);
    assert_eq!(twice, DirectiveError::Twice("queue").into());
    let ceiling = Ceiling { cpu_seconds: 1, wall_seconds: 0, sandbox_bytes: 0 };
    let job = |program: &[u8], ceiling| {
        let command = Command::Argv(vec![program.to_vec()]);
        AdmittedJob::admit(JobSpec { command, cpu_seconds_asked: 1, shell_allowed: false }, ceiling)
            .unwrap()
    };
    assert_eq!(with(&|asked| asked.job = job(b"x", ceiling)), SubmissionError::Time);
    let ceiling = Ceiling { wall_seconds: 1, ..ceiling };
    assert_eq!(with(&|asked| asked.job = job(b"-x", ceiling)), SubmissionError::Program);
    for path in [&b""[..], b"relative", b"/a/../b", b"/a\0b", &[b'/'; SANDBOX_PATH_BYTES_MAX + 1]] {
        assert!(PrivatePath::parse(path).is_err());
    }
    assert!(PrivatePath::parse(&[b'/'; SANDBOX_PATH_BYTES_MAX]).is_ok());
    for name in [
        "",
        "1A",
        "A-B",
        "A B",
        "A=B",
        "A\n",
        "é",
        "PPID",
        "IFS",
        "OPTIND",
        "NESSSI_TAG",
        "nesssi_n",
        "BASH_FUNC_x%%",
    ] {
        let environment = Environment::new(vec![(name.into(), Vec::new())]);
        assert_eq!(environment, Err(SubmissionError::VariableName), "{name:?}");
    }
    let one = |value: Vec<u8>| Environment::new(vec![("A".into(), value)]);
    assert_eq!(one(b"\0".to_vec()), Err(SubmissionError::VariableValue));
    assert!(one(vec![b'x'; ENVIRONMENT_BYTES_MAX - 3]).is_ok());
    assert_eq!(one(vec![b'x'; ENVIRONMENT_BYTES_MAX - 2]), Err(SubmissionError::Environment));
    let many = |count: usize| {
        Environment::new((0..count).map(|number| (format!("V{number}"), Vec::new())).collect())
    };
    assert!(
        many(ENVIRONMENT_VARIABLES_MAX).is_ok() && many(ENVIRONMENT_VARIABLES_MAX + 1).is_err()
    );
    assert!(Environment::new(vec![("A".into(), Vec::new()), ("A".into(), Vec::new())]).is_err());
}

#[test]
fn dialects_are_told_apart() {
    let openpbs =
        samples("openpbs").into_iter().find(|sample| sample.name == "qsub-version").unwrap();
    let wrappers =
        samples("torque").into_iter().find(|sample| sample.name == "qsub-version").unwrap();
    assert_eq!(recognise(&openpbs.output()), Some(DialectName::OpenPbs));
    assert_eq!(recognise(&wrappers.output()), Some(DialectName::TorqueOnSlurm));
    assert_eq!(recognise(&said(0, "slurm 22.05.8\n", "")), Some(DialectName::Slurm));
    assert_eq!(recognise(&said(0, "", "Version: 6.1.2\nCommit: x\n")), Some(DialectName::Torque));
    assert_eq!(recognise(&said(127, "", "not found")), None);
    for (version, json) in [
        ("slurm 22.05.8", true),
        ("slurm 21.08.0\n", true),
        ("slurm 20.11.9", false),
        ("slurm-wlm 23.11.4", false),
        ("", false),
    ] {
        assert_eq!(Slurm::has_json(version), json, "{version}");
    }
}

#[test]
fn use_is_summed_over_steps() {
    let text = "7.extern|1|00:00:00\n7.batch|1|00:01:01.5\n7.0|4|1-00:00:10\n8.batch|1|\nx|1|2\n";
    let used = of(DialectName::Slurm).used(&said(0, text, "")).unwrap();
    assert_eq!(
        used.into_iter().collect::<Vec<_>>(),
        [(BatchId::parse("7").unwrap(), 62 + 4 * 86_410)]
    );
    assert!(of(DialectName::OpenPbs).usage(&[]).is_none());
}

#[test]
fn the_guard_names_the_winner_or_nobody() {
    assert_eq!(winner(b"12.vm\n").unwrap().as_str(), "12.vm");
    for guard in [&b""[..], b"12.vm", b"none\n", b"12.vm\n\n", b"\xff\n", b"1 2\n"] {
        assert!(winner(guard).is_none());
    }
}

proptest! {
    #[test]
    fn no_answer_makes_any_of_it_fail(stdout in prop::collection::vec(any::<u8>(), 0..400), stderr in ".{0,100}", code in -300..300_i32) {
        all_readers(&stdout, stderr.as_bytes(), code);
    }

    #[test]
    fn no_cut_or_changed_listing_makes_any_of_it_fail(which in 0..8_usize, cut in 0..20_000_usize, byte in any::<u8>()) {
        let all: Vec<Sample> = samples("openpbs").into_iter().chain(samples("torque")).chain(samples("slurm")).filter(|s| s.stdout.len() > 900).collect();
        let mut bytes = renamed(&all[which % all.len()].stdout).into_bytes();
        let at = cut % bytes.len();
        bytes[at] = byte;
        all_readers(&bytes, b"", 0);
        bytes.truncate(at);
        all_readers(&bytes, b"", 0);
    }

    #[test]
    fn words_have_no_control_and_an_end(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
        let words = Words::of(&bytes);
        prop_assert!(words.as_str().len() <= WORDS_BYTES_MAX);
        prop_assert!(!words.as_str().contains(|letter: char| letter.is_control()));
    }

    #[test]
    fn a_batch_id_is_an_argument_by_its_letters(text in "[-0-9a-z.\\[\\]_;$ \n]{0,12}") {
        if let Ok(id) = BatchId::parse(&text) {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(text.bytes().next().unwrap().is_ascii_digit());
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
        }
    }
}

fn all_readers(stdout: &[u8], stderr: &[u8], code: i32) {
    let output = Output { exit: Exit::Code(code), stdout, stderr };
    for name in ALL {
        let dialect = of(name);
        drop(dialect.submitted(&output));
        drop(dialect.listed(&output));
        drop(dialect.accounted(&output));
        drop(dialect.used(&output));
        dialect.cancelled(&output);
    }
    assert!(recognise(&output).is_none_or(|name| ALL.contains(&name)));
    assert!(winner(stdout).is_none_or(|id| stdout.starts_with(id.as_str().as_bytes())));
}
