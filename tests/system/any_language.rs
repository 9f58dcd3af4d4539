//! Services in other languages than Python: one in Rust, and one that is a program alone.

use nesssi_testkit::{Fault, Value, World};

const ACCESS: &str = "order = \"allow,deny\"\nallow = [\"/\"]\nanonymous = true\n";

fn fault(result: Result<Value, Fault>) -> (i64, String) {
    let fault = result.unwrap_err();
    (fault.code.number(), fault.text)
}

#[test]
fn a_service_in_rust_is_found_typed_called_and_starts_jobs() {
    // `cargo build --workspace --examples` makes it.
    let program = nesssi_testkit::binaries().join("examples/statistics");
    let mut world = World::builder().build();
    let folder = world.path().join("services/statistics");
    std::fs::create_dir_all(&folder).unwrap();
    // Staged where every account can execute it.
    let staged = folder.join("statistics");
    std::fs::copy(&program, &staged).unwrap();
    std::fs::write(folder.join(".clarens_access"), ACCESS).unwrap();
    let command = format!("command = [{:?}]\n", staged.to_str().unwrap());
    std::fs::write(folder.join("service.toml"), command).unwrap();
    world.start_server();
    let alice = world.grid.person("Alice");
    let call = |method: &str, params: Vec<Value>| world.call(Some(&alice), method, params);

    let numbers = || Value::Array(vec![Value::Int(1), Value::Double(2.5)]);
    assert_eq!(call("statistics.mean", vec![numbers()]).unwrap(), Value::Double(1.75));
    let summary = call("statistics.summary", vec![numbers(), Value::Int(1)]).unwrap();
    assert_eq!(summary.member("mean"), Some(&Value::Double(1.8)));
    let signature = call("system.methodSignature", vec!["statistics.summary".into()]).unwrap();
    let words = |words: &[&str]| Value::Array(words.iter().map(|w| Value::from(*w)).collect());
    let both = vec![words(&["struct", "array"]), words(&["struct", "array", "int"])];
    assert_eq!(signature, Value::Array(both));

    let (code, text) = fault(call("statistics.mean", vec!["x".into()]));
    assert_eq!(code, -32602, "{text}");
    assert!(text.contains("array") && text.contains("string"), "{text}");
    let (code, _) = fault(call("statistics.mean", vec![Value::Array(vec![])]));
    assert_eq!(code, 400);

    let text = "b\na; echo $HOME\n";
    let session = call("statistics.sort", vec![text.into(), Value::Double(5.0)]).unwrap();
    let session = session.as_str().unwrap();
    world.wait_state(Some(&alice), session, "done");
    assert_eq!(world.file(session, "stdout"), (200, "a; echo $HOME\nb\n".to_owned()));
}

#[test]
fn a_program_alone_is_a_service_and_what_callers_write_stays_one_argument() {
    let world = World::builder().with_shipped_services().start();
    let count = |text: &str| world.call(None, "wordcount.count", vec![text.into()]);
    for (text, expected) in [
        ("to be or not to be", "1 6"),
        ("-w; touch here\n$(id) `id` | cat", "2 7"),
        ("--help", "1 1"),
    ] {
        let session = count(text).unwrap();
        let session = session.as_str().unwrap();
        world.wait_state(None, session, "done");
        let (status, stdout) = world.file(session, "stdout");
        let numbers: Vec<&str> = stdout.split_whitespace().collect();
        assert_eq!((status, numbers.join(" ")), (200, expected.to_owned()));
        assert_eq!(world.file(session, "here").0, 404);
    }
    let (code, _) = fault(world.call(None, "wordcount.count", vec![]));
    assert_eq!(code, -32602);
    let help = world.call(None, "system.methodHelp", vec!["wordcount.count".into()]).unwrap();
    assert!(help.as_str().unwrap().starts_with("count(text)"));
}
