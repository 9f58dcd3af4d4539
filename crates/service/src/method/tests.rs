use super::{Description, DescriptionError, Method};

#[test]
fn what_a_worker_describes_is_read() {
    let text = r#"{"methods":[{"name":"sleepyAdd","help":"Adds.","signature":[["string","int","int","int"]],
         "parameters":["seconds","n1","n2"]},
        {"name":"plain"}],"contact":"joe@example.org","purpose":null,"version":"1.2","batch":"pbs-2","more":7}"#;
    let read = Description::parse(text).unwrap();
    let signature: Vec<String> = ["string", "int", "int", "int"].map(String::from).into();
    assert_eq!(
        read.methods,
        [
            Method {
                name: "sleepyAdd".into(),
                help: "Adds.".into(),
                signatures: vec![signature],
                parameters: ["seconds", "n1", "n2"].map(String::from).into(),
            },
            Method {
                name: "plain".into(),
                help: String::new(),
                signatures: vec![],
                parameters: vec![]
            },
        ]
    );
    assert_eq!((read.contact.as_deref(), read.purpose), (Some("joe@example.org"), None));
    assert_eq!(read.batch.as_deref(), Some("pbs-2"));
}

#[test]
fn a_broken_service_says_why() {
    assert_eq!(
        Description::parse(r#"{"error":"SyntaxError: bad (__init__.py, line 3)"}"#),
        Err(DescriptionError::Broken("SyntaxError: bad (__init__.py, line 3)".into()))
    );
}

#[test]
fn malformed_descriptions_are_refused() {
    for text in [
        r#"{"batch":"PBS"}"#,
        r#"{"batch":""}"#,
        r#"{"batch":7}"#,
        "",
        "[]",
        r#"{"methods":7}"#,
        r#"{"methods":[{"help":"nameless"}]}"#,
        r#"{"methods":[{"name":"a.b"}]}"#,
        r#"{"methods":[{"name":""}]}"#,
        r#"{"methods":[{"name":"a"},{"name":"a"}]}"#,
        r#"{"methods":[{"name":"a","signature":[[]]}]}"#,
        r#"{"methods":[{"name":"a","signature":[["no type"]]}]}"#,
        r#"{"methods":[{"name":"a","signature":[["int","int"]],"parameters":["a","b"]}]}"#,
        r#"{"methods":[{"name":"a","parameters":["no name"]}]}"#,
        r#"{"methods":[{"name":"a","parameters":["twice","b","twice"]}]}"#,
        r#"{"methods":[{"name":"a","parameters":[7]}]}"#,
    ] {
        assert!(matches!(Description::parse(text), Err(DescriptionError::Malformed(_))), "{text}");
    }
}

#[test]
fn help_is_cut_and_cleaned() {
    let text = format!(r#"{{"methods":[{{"name":"a","help":"\u001b{}ä"}}]}}"#, "x".repeat(70_000));
    let help = &Description::parse(&text).unwrap().methods[0].help;
    assert!(help.starts_with('\u{FFFD}') && help.len() <= super::HELP_BYTES_MAX + 2);
}
