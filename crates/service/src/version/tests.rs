use super::*;

#[test]
fn a_version_is_a_list_of_names_and_their_bytes() {
    let mut modules = Modules::default();
    modules.add("__init__.py", b"x = 1\n").unwrap();
    modules.add("sub/a.py", b"").unwrap();
    let version = modules.finish().unwrap();
    let text = String::from_utf8(version).unwrap();
    assert_eq!(text, "{\"files\":[[\"__init__.py\",6],[\"sub/a.py\",0]]}\nx = 1\n");
}

#[test]
fn bytes_and_modules_below_at_and_above_the_limit() {
    for (bytes, fits) in
        [(MODULES_BYTES_MAX - 1, true), (MODULES_BYTES_MAX, true), (MODULES_BYTES_MAX + 1, false)]
    {
        assert_eq!(Modules::default().add("a.py", &vec![b' '; bytes]).is_ok(), fits, "{bytes}");
    }
    let mut modules = Modules::default();
    for number in 0..MODULES_MAX {
        modules.add(&format!("m{number}.py"), b"").unwrap();
    }
    assert!(modules.add("one_more.py", b"").unwrap_err().contains("2000 modules"));
    let mut long = Modules::default();
    long.add(&"n".repeat(HEAD_BYTES_MAX), b"").unwrap();
    assert!(long.finish().is_err());
}

#[test]
fn what_is_known_of_it_comes_back_and_damage_is_told() {
    let facts =
        VersionFacts { name: "adder".into(), digest: "aa".into(), ..VersionFacts::default() };
    let mut version = facts.to_line().unwrap();
    version.extend_from_slice(b"{\"files\":[]}\n");
    assert_eq!(VersionFacts::read(&version), Ok((facts, &b"{\"files\":[]}\n"[..])));
    for damaged in [&b""[..], b"no line", b"[]\n", b"{\n"] {
        assert!(VersionFacts::read(damaged).is_err());
    }
    let much = VersionFacts { description: "x".repeat(FACTS_BYTES_MAX), ..VersionFacts::default() };
    assert!(much.to_line().is_err());
}
