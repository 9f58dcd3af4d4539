//! Tests of commands.

use super::*;

#[test]
fn the_environment_starts_from_nothing() {
    let mut command =
        Command::new("/usr/bin/env").env("A", "1").env("B", "2").env("A", "3").to_std();
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "A=3\nB=2\n");
}

#[test]
fn arguments_stay_apart() {
    let hostile = ["a b", "$(id)", "; id", "\n", "", "-x", "é\u{1b}"];
    let output =
        Command::new("/usr/bin/printf").arg("%s|").args(hostile).to_std().output().unwrap();
    let expected: String = hostile.iter().map(|one| format!("{one}|")).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn a_bare_name_is_looked_for_in_the_command_s_own_path() {
    assert_eq!(Command::new("sh").env("PATH", "/nowhere:/bin").resolved(), Path::new("/bin/sh"));
    assert_eq!(Command::new("sh").env("PATH", "bin:.").resolved(), Path::new("sh"));
    assert_eq!(Command::new("no-such-program").resolved(), Path::new("no-such-program"));
    assert_eq!(Command::new("a/b").resolved(), Path::new("a/b"));
}

#[test]
fn a_nul_byte_is_refused() {
    assert!(Command::new("/bin/true").arg("a\0b").for_exec().is_err());
    assert!(Command::new("/bin/true").env("A", "a\0b").for_exec().is_err());
}
