use super::{CONCURRENCY_DEFAULT, CONCURRENCY_MAX, Manifest};
use crate::{Method, PARAMETERS_MAX};

/// Each mistake as "line: text".
fn mistakes(text: &str) -> Vec<String> {
    Manifest::parse(text)
        .unwrap_err()
        .into_iter()
        .map(|mistake| format!("{}: {}", mistake.line, mistake.text))
        .collect()
}

#[test]
fn a_full_manifest_is_read() {
    let digest = "0123456789abcdef".repeat(4);
    let text = format!(
        r#"
command = ["/usr/bin/perl", "worker.pl"]
shell_commands = true
concurrency = 4
contact = "joe@example.org"
purpose = "adds"
levels = ["strong", "weak"]
size_parameter = "tme"
policy = "one minute more than asked"
batch = "slurm"
approved = "{digest}"

[[method]]
name = "add"
help = "Adds two numbers."
signature = ["int", "int", "int"]
parameters = ["n1", "n2"]

[[method]]
name = "both-ways"
signature = [["int"], ["int", "string"]]
"#
    );
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.command.unwrap(), ["/usr/bin/perl", "worker.pl"]);
    assert!(manifest.shell_commands);
    assert_eq!(manifest.batch.as_deref(), Some("slurm"));
    assert_eq!((manifest.concurrency, manifest.levels.len()), (4, 2));
    assert_eq!(manifest.approved.unwrap(), digest);
    assert_eq!(
        manifest.methods[0],
        Method {
            name: "add".into(),
            help: "Adds two numbers.".into(),
            signatures: vec![vec!["int".into(); 3]],
            parameters: vec!["n1".into(), "n2".into()],
        }
    );
    assert_eq!(manifest.methods[1].signatures.len(), 2);
}

#[test]
fn an_empty_manifest_is_the_default() {
    let manifest = Manifest::parse("# nothing\n").unwrap();
    assert_eq!(manifest, Manifest::default());
    assert_eq!(manifest.concurrency, CONCURRENCY_DEFAULT);
    assert!(!manifest.shell_commands);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = "command = []\nshell_commands = \"yes\"\nconcurency = 3\nconcurrency = 0\n\
                contact = 7\nlevels = []\napproved = \"12\"\n[[method]]\nhelp = \"nameless\"\n\
                [[method]]\nname = \"a b\"\nsignature = [\"\"]\nmore = 1\n";
    let expected = [
        "1: 'command' must name a program",
        "2: 'shell_commands' must be true or false",
        "3: unknown key 'concurency'",
        "4: 'concurrency' must be a whole number from 1 to 256",
        "5: 'contact' must be a string",
        "6: 'levels' is empty: leave it out to serve all levels",
        "7: 'approved' must be 64 hexadecimal digits",
        "8: a [[method]] has no 'name'",
        "11: a method's name is made of letters, digits, '_' and '-'",
        "12: a signature names types of letters, digits, '.' and '_', the returned one first",
        "13: unknown key 'more' in [[method]]",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn what_is_no_toml_is_told_with_its_line_beside_the_rest() {
    let told = mistakes("contact = 7\npurpose = \"open\n");
    assert!(told.iter().any(|line| line == "1: 'contact' must be a string"), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("2: ")), "{told:?}");
}

#[test]
fn a_method_that_stands_twice_is_a_mistake() {
    let told = mistakes("[[method]]\nname = \"a\"\n[[method]]\nname = \"a\"\n");
    assert_eq!(told, ["3: method 'a' stands twice"]);
}

#[test]
fn parameters_are_names_each_once_and_as_many_as_the_longest_signature_has() {
    let told = |lines: &str| mistakes(&format!("[[method]]\nname = \"a\"\n{lines}"));
    let signed = "signature = [[\"int\"], [\"int\", \"int\"]]\n";
    assert_eq!(
        told(&format!("{signed}parameters = [\"a\", \"b\"]")),
        ["1: the 'parameters' are 2, and its longest signature has 1"]
    );
    assert_eq!(told("parameters = [\"a\", \"a\"]"), ["1: the 'parameters' have one name twice"]);
    assert_eq!(
        told("parameters = [\"a b\"]"),
        ["1: the 'parameters' are not all words of letters, digits and '_'"]
    );
    let named = |count: usize| {
        let names: Vec<String> = (0..count).map(|place| format!("\"p{place}\"")).collect();
        let text = format!("[[method]]\nname = \"a\"\nparameters = [{}]", names.join(", "));
        Manifest::parse(&text).map(|manifest| manifest.methods[0].parameters.len())
    };
    assert_eq!(named(PARAMETERS_MAX - 1), Ok(PARAMETERS_MAX - 1));
    assert_eq!(named(PARAMETERS_MAX), Ok(PARAMETERS_MAX));
    assert!(named(PARAMETERS_MAX + 1).is_err());
}

#[test]
fn concurrency_at_and_above_its_bound() {
    let with = |number: u32| Manifest::parse(&format!("concurrency = {number}"));
    assert_eq!(with(CONCURRENCY_MAX).unwrap().concurrency, CONCURRENCY_MAX);
    assert!(with(CONCURRENCY_MAX + 1).is_err());
}

#[test]
fn a_method_may_be_a_job_without_code() {
    let text = "[[method]]\nname = \"count\"\nparameters = [\"text\", \"t\"]\n\
        signature = [\"string\", \"string\", \"double\"]\njob = [\"./count\", \"--\", \"{text}\"]\n";
    let manifest = Manifest::parse(&format!("{text}cpu_seconds = \"{{t}}\"")).unwrap();
    assert!(manifest.is_all_jobs());
    let asked = manifest.jobs["count"].fill("/srv", &["-x".into(), 2.5.into()]).unwrap();
    assert_eq!(asked.argv, [b"/srv/count".to_vec(), b"--".to_vec(), b"-x".to_vec()]);
    assert_eq!(asked.seconds, 2.5);
    assert_eq!(manifest.jobs["count"].batch(), None);
    let named =
        format!("{text}cpu_seconds = 1\nbatch = \"pbs\"\n").replace("\"{text}\"", "\"{text}{t}\"");
    assert_eq!(Manifest::parse(&named).unwrap().jobs["count"].batch(), Some("pbs"));

    let manifest =
        Manifest::parse(&format!("{text}cpu_seconds = \"{{t}}\"\n[[method]]\nname = \"b\""));
    assert!(!manifest.unwrap().is_all_jobs());
}

#[test]
fn what_is_wrong_with_a_job_is_told_with_its_line() {
    let check = |lines: &str, expected: &str| {
        let head = "[[method]]\nname = \"f\"\nparameters = [\"a\"]\n";
        let mistakes = Manifest::parse(&format!("{head}{lines}")).unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|mistake| mistake.contains(expected)), "{told:?}");
    };
    let types = "signature = [\"string\", \"int\"]\n";
    let job = "job = [\"/bin/f\", \"{a}\"]\n";
    check(&format!("{types}{job}"), "'job' and 'cpu_seconds' go together");
    check(&format!("{types}cpu_seconds = 1"), "'job' and 'cpu_seconds' go together");
    check(&format!("{types}batch = \"pbs\""), "line 5: 'batch' goes with 'job'");
    let batch = format!("{types}{job}cpu_seconds = 1\nbatch = \"Pbs\"");
    check(&batch, "line 7: 'batch' is a name of 1 to 32 lowercase letters");
    check(&format!("{job}cpu_seconds = 1"), "has one 'signature'");
    let other = "signature = [\"int\", \"int\"]\n";
    check(&format!("{other}{job}cpu_seconds = 1"), "begins with \"string\"");
    for seconds in ["0", "-1", "nan", "\"{b}\"", "\"a\"", "true"] {
        check(&format!("{types}{job}cpu_seconds = {seconds}"), "line 6: 'cpu_seconds' must be");
    }
    let none = "job = [\"f\", \"{a}\"]\n";
    check(&format!("{types}{none}cpu_seconds = 1"), "line 5: the 'job' begins with 'f'");
    check(&format!("{types}job = \"f\"\ncpu_seconds = 1"), "'job' must be a list of strings");
}
