use std::collections::BTreeSet;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::soap::Param;

fn operation(name: &str, help: &str, signatures: &[&[&str]]) -> Operation {
    let signatures = signatures.iter().map(|words| Signature::from_words(words)).collect();
    Operation { name: name.to_owned(), help: help.to_owned(), signatures }
}

fn services() -> Vec<Interface> {
    let mut named = operation("named", "", &[&["int", "string"]]);
    named.signatures[0].params =
        vec![Param { name: Some("file name".to_owned()), kind: Type::String }];
    let echo = Interface {
        name: "echo".to_owned(),
        documentation: "Says <it> again & again.".to_owned(),
        address: "https://host/clarens/echo?a=\"b\"&c".to_owned(),
        methods: vec![
            operation(
                "echo",
                "One of <each>\u{0}.",
                &[&[
                    "string",
                    "boolean",
                    "int",
                    "double",
                    "string",
                    "dateTime.iso8601",
                    "base64",
                    "array",
                    "struct",
                    "undef",
                ]],
            ),
            operation("add", "", &[&["int", "int"], &["double", "int", "double"]]),
            operation("maybe", "", &[&["nil", "string"], &["string", "nil"]]),
            operation("unknown", "", &[]),
            operation("2-odd_x0032_", "", &[&["array"]]),
            named,
        ],
    };
    let nested = Interface {
        name: "apple.xray".to_owned(),
        documentation: String::new(),
        address: "https://host/clarens/apple.xray".to_owned(),
        methods: vec![operation("init", "", &[&["string"]])],
    };
    vec![echo, nested]
}

#[test]
fn a_service_and_a_container_are_described_so() {
    let services = services();
    insta::assert_snapshot!("service", service_wsdl(&services[0]));
    insta::assert_snapshot!("container", container_wsdl(&services));
}

/// Well formed, and every name that is referred to is there.
#[test]
fn every_reference_leads_somewhere() {
    for text in [service_wsdl(&services()[1]), container_wsdl(&services()), container_wsdl(&[])] {
        let mut reader = Reader::from_str(&text);
        let (mut names, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let event = reader.read_event().unwrap();
            let tag = match &event {
                Event::Start(tag) | Event::Empty(tag) => tag,
                Event::Eof => break,
                _ => continue,
            };
            for attribute in tag.attributes() {
                let attribute = attribute.unwrap();
                let value = attribute.value.to_string();
                match attribute.key.0 {
                    "name" => drop(names.insert(value)),
                    "message" | "binding" | "type" | "element" => {
                        let (prefix, local) = value.split_once(':').unwrap();
                        if prefix != "xsd" {
                            wanted.insert(local.to_owned());
                        }
                    }
                    _ => {}
                }
            }
        }
        let lost: Vec<_> = wanted.difference(&names).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
