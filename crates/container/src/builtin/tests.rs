use std::collections::BTreeSet;

use super::{all, purpose};

#[test]
fn every_parameter_of_the_longest_signature_has_a_name_of_its_own() {
    for builtin in all() {
        let longest = builtin.signatures.iter().map(|words| words.len() - 1).max().unwrap_or(0);
        let names: BTreeSet<&str> = builtin.parameters.iter().copied().collect();
        assert_eq!(builtin.parameters.len(), longest, "{}", builtin.name);
        assert_eq!(names.len(), longest, "{}", builtin.name);
    }
}

#[test]
fn every_service_of_built_ins_says_what_it_is_for() {
    for builtin in all() {
        let (service, _) = builtin.name.rsplit_once('.').unwrap();
        assert!(purpose(service).ends_with('.'), "{service}");
    }
    assert_eq!(purpose("none"), "");
}

#[test]
fn the_help_of_every_built_in_ends_in_an_example_of_its_call() {
    for builtin in all() {
        let example = builtin.help.rsplit_once("Example: ").map(|(_, example)| example);
        let example = example.unwrap_or_else(|| panic!("{} has no example", builtin.name));
        assert!(example.contains(builtin.name), "{}: {example}", builtin.name);
    }
}
