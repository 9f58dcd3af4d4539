use super::*;

fn argv(arguments: &[&[u8]]) -> Command {
    Command::Argv(arguments.iter().map(|argument| argument.to_vec()).collect())
}

#[test]
fn a_program_is_needed() {
    assert_eq!(argv(&[]).check(), Err(CommandError::Empty));
    assert_eq!(argv(&[b""]).check(), Err(CommandError::Empty));
    assert_eq!(Command::Shell(String::new()).check(), Err(CommandError::Empty));
    assert_eq!(argv(&[b"/bin/true", b""]).check(), Ok(()));
}

#[test]
fn nul_bytes_are_refused() {
    assert_eq!(argv(&[b"/bin/echo", b"a\0b"]).check(), Err(CommandError::Nul));
    assert_eq!(Command::Shell("a\0b".into()).check(), Err(CommandError::Nul));
}

#[test]
fn an_argument_is_bounded() {
    let at = vec![b'x'; ARGUMENT_BYTES_MAX];
    let above = vec![b'x'; ARGUMENT_BYTES_MAX + 1];
    assert_eq!(argv(&[b"p", &at]).check(), Ok(()));
    assert_eq!(argv(&[b"p", &above]).check(), Err(CommandError::ArgumentTooLong));
}

#[test]
fn all_arguments_are_bounded() {
    let long = vec![b'x'; ARGUMENT_BYTES_MAX];
    let rest = ARGUMENTS_BYTES_MAX - (ARGUMENT_BYTES_MAX + 1) - 2;
    assert_eq!(argv(&[b"p", &long, &vec![b'y'; rest - 1]]).check(), Ok(()));
    assert_eq!(argv(&[b"p", &long, &vec![b'y'; rest]]).check(), Err(CommandError::TooLong));
    assert_eq!(Command::Argv(vec![b"x".to_vec(); ARGUMENTS_MAX]).check(), Ok(()));
    assert_eq!(
        Command::Argv(vec![b"x".to_vec(); ARGUMENTS_MAX + 1]).check(),
        Err(CommandError::TooMany)
    );
}
