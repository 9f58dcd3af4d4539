//! Tests of the command line.

use super::*;

fn parse(arguments: &[&str]) -> Result<Options, String> {
    Options::parse(arguments.iter().map(OsString::from)).map_err(|error| error.to_string())
}

#[test]
fn arguments_are_read() {
    let run = |path: &str| Ok(Options::Run { config: path.into() });
    assert_eq!(parse(&[]), run("/etc/nesssi/nesssi.toml"));
    assert_eq!(parse(&["--config", "a.toml"]), run("a.toml"));
    assert_eq!(parse(&["--config=a.toml"]), run("a.toml"));
    assert_eq!(parse(&["--check", "--config", "a"]), Ok(Options::Check { config: "a".into() }));
    assert_eq!(parse(&["--version"]), Ok(Options::Version));
    assert_eq!(parse(&["--help"]), Ok(Options::Help));
}

#[test]
fn anything_else_is_an_error() {
    for bad in [&["--config"][..], &["a.toml"], &["--chek"], &["-v"]] {
        assert!(parse(bad).unwrap_err().contains("usage: nesssid"), "{bad:?}");
    }
}
