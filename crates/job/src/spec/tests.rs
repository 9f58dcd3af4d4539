use proptest::prelude::*;

use super::*;

const CEILING: Ceiling = Ceiling { cpu_seconds: 3600, wall_seconds: 7200, sandbox_bytes: 1 << 30 };

fn spec(command: Command, seconds: u64) -> JobSpec {
    JobSpec { command, cpu_seconds_asked: seconds, shell_allowed: false }
}

fn echo(word: &str) -> Command {
    Command::Argv(vec![b"/bin/echo".to_vec(), word.as_bytes().to_vec()])
}

#[test]
fn the_ceiling_is_reached_and_not_passed() {
    assert!(AdmittedJob::admit(spec(echo("x"), 3599), CEILING).is_ok());
    assert!(AdmittedJob::admit(spec(echo("x"), 3600), CEILING).is_ok());
    assert_eq!(
        AdmittedJob::admit(spec(echo("x"), 3601), CEILING),
        Err(NotAdmitted::OverLimit { asked: 3601, limit: 3600 })
    );
    assert_eq!(AdmittedJob::admit(spec(echo("x"), 0), CEILING), Err(NotAdmitted::NoTime));
}

#[test]
fn shell_text_needs_the_manifest() {
    let shell = Command::Shell("echo $((3+5))".into());
    assert_eq!(AdmittedJob::admit(spec(shell.clone(), 1), CEILING), Err(NotAdmitted::ShellRefused));
    let allowed = JobSpec { shell_allowed: true, ..spec(shell, 1) };
    let job = AdmittedJob::admit(allowed, CEILING).unwrap();
    assert_eq!(render_local(&job), [&b"/bin/sh"[..], b"-c", b"echo $((3+5))"]);
}

#[test]
fn limits_are_what_was_asked_and_what_the_level_gives() {
    let job = AdmittedJob::admit(spec(echo("x"), 20), CEILING).unwrap();
    assert_eq!(job.cpu_seconds_max(), 20);
    assert_eq!(job.wall_seconds_max(), 7200);
    assert_eq!(job.sandbox_bytes_max(), 1 << 30);
}

proptest! {
    /// Whatever stands in an argument, it stays that one argument.
    #[test]
    fn arguments_are_never_read(words in prop::collection::vec("[^\\x00]{0,40}", 1..8)) {
        let mut argv = vec![b"/bin/echo".to_vec()];
        argv.extend(words.iter().map(|word| word.clone().into_bytes()));
        let job = AdmittedJob::admit(spec(Command::Argv(argv.clone()), 1), CEILING).unwrap();
        prop_assert_eq!(render_local(&job), argv);
    }

    /// Shell text is always exactly the third argument.
    #[test]
    fn shell_text_is_one_argument(text in "[^\\x00]{1,200}") {
        let asked = JobSpec { shell_allowed: true, ..spec(Command::Shell(text.clone()), 1) };
        let argv = render_local(&AdmittedJob::admit(asked, CEILING).unwrap());
        prop_assert_eq!(argv.len(), 3);
        prop_assert_eq!(argv.last().unwrap(), text.as_bytes());
    }

    /// Nothing over the ceiling is ever admitted, and nothing under it refused.
    #[test]
    fn admission_is_the_ceiling(asked in 0_u64..10_000, limit in 0_u64..10_000) {
        let ceiling = Ceiling { cpu_seconds: limit, ..CEILING };
        let admitted = AdmittedJob::admit(spec(echo("x"), asked), ceiling).is_ok();
        prop_assert_eq!(admitted, asked > 0 && asked <= limit);
    }
}
