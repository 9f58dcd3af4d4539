//! Words made of parameters, and what is no template.

use proptest::prelude::*;

use super::*;

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn template(words: &[&str], parameters: &[&str], types: &[&str]) -> Result<JobTemplate, String> {
    JobTemplate::new(&owned(words), Seconds::Fixed(5.0), &owned(parameters), &owned(types))
}

fn words(asked: &JobAsked) -> Vec<&str> {
    asked.argv.iter().map(|word| std::str::from_utf8(word).unwrap()).collect()
}

#[test]
fn a_parameter_fills_a_word_or_a_part_of_one() {
    let template = template(
        &["./bin/f", "--size={n}x{x}", "{{{text}}}", "{flag}"],
        &["n", "x", "text", "flag"],
        &["int", "double", "string", "boolean"],
    );
    let args = [Value::Int(-3), Value::Double(0.5), "a b".into(), Value::Bool(true)];
    let asked = template.unwrap().fill("/srv/f", &args).unwrap();
    assert_eq!(words(&asked), ["/srv/f/bin/f", "--size=-3x0.5", "{a b}", "true"]);
    assert_eq!(asked.seconds, 5.0);
}

#[test]
fn the_seconds_may_be_a_parameter() {
    let make = |kind: &str| {
        let seconds = Seconds::Parameter(0);
        JobTemplate::new(&owned(&["/bin/true"]), seconds, &owned(&["t"]), &owned(&[kind]))
    };
    assert_eq!(make("double").unwrap().fill("/", &[Value::Int(7)]).unwrap().seconds, 7.0);
    assert!(make("string").unwrap_err().contains("no number"));
    assert_eq!(the_parameter("{t}", &owned(&["s", "t"])), Some(1));
    assert_eq!(the_parameter("{u}", &owned(&["s", "t"])), None);
}

#[test]
fn what_begins_with_a_dash_is_no_option() {
    let fill = |words: &[&str], text: &str| {
        let template = template(words, &["text"], &["string"]).unwrap();
        template.fill("/", &[text.into()]).map(|asked| asked.argv.len())
    };
    let refused = fill(&["/bin/f", "{text}"], "-rf").unwrap_err();
    assert_eq!(refused, "parameter 1 (text) must not begin with '-'");
    assert_eq!(fill(&["/bin/f", "{text}"], "a-rf"), Ok(2));
    assert_eq!(fill(&["/bin/f", "--", "{text}"], "-rf"), Ok(3));
    assert_eq!(fill(&["/bin/f", "--text={text}"], "-rf"), Ok(2));
    // Nor may it become one by what stands beside it.
    assert!(fill(&["/bin/f", "{text}x"], "-rf").is_err());
}

#[test]
fn a_dash_may_not_come_out_of_two_parameters() {
    let template = template(&["/bin/f", "{a}{b}"], &["a", "b"], &["string", "string"]).unwrap();
    assert!(template.fill("/", &["".into(), "-rf".into()]).is_err());
    assert!(template.fill("/", &["x".into(), "-rf".into()]).is_ok());
}

#[test]
fn what_is_no_template_is_told() {
    let check = |words: &[&str], types: &[&str], text: &str| {
        let wrong = template(words, &["p"], types).unwrap_err();
        assert!(wrong.contains(text), "{wrong}");
    };
    check(&[], &["int"], "names no program");
    check(&["f", "{p}"], &["int"], "begins with 'f'");
    check(&["../f", "{p}"], &["int"], "begins with '../f'");
    check(&["./../f", "{p}"], &["int"], "begins with './../f'");
    check(&["/bin/{p}"], &["int"], "begins with '/bin/{p}'");
    check(&["/bin/f", "{q}"], &["int"], "names 'q'");
    check(&["/bin/f", "{p"], &["int"], "a brace in '{p'");
    check(&["/bin/f", "p}"], &["int"], "a brace in 'p}'");
    check(&["/bin/f", "{p}"], &["struct"], "of type struct");
    check(&["/bin/f"], &["int"], "does not use the parameter 'p'");
    let many = vec!["{p}"; TEMPLATE_WORDS_MAX];
    check(&[&["/bin/f"], many.as_slice()].concat(), &["int"], "more than 1024 words");
    assert!(template(&[&["/bin/f"], &many[1..]].concat(), &["p"], &["int"]).is_ok());
}

#[test]
fn the_number_and_type_of_what_is_filled_in_are_held() {
    let template = template(&["/bin/f", "{p}"], &["p"], &["string"]).unwrap();
    assert_eq!(template.fill("/", &[]).unwrap_err(), "1 parameters are expected, 0 were given");
    let wrong = template.fill("/", &[Value::Nil]).unwrap_err();
    assert_eq!(wrong, "parameter 1 (p) must be a number, a string or a boolean");
}

proptest! {
    /// Whatever a caller writes stays within its word.
    #[test]
    fn a_word_holds_what_was_written(text in "[^-].{0,40}", other in any::<i64>()) {
        let template =
            template(&["/bin/f", "{text}", "n={n}"], &["text", "n"], &["string", "int"]).unwrap();
        let args = [text.as_str().into(), Value::Int(other)];
        let asked = template.fill("/", &args).unwrap();
        prop_assert_eq!(words(&asked), ["/bin/f", &text, &format!("n={other}")]);
    }

    #[test]
    fn no_text_makes_it_panic(words in proptest::collection::vec(".{0,20}", 0..6)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Ok(template) = template(&words, &["p"], &["string"]) {
            prop_assert!(template.fill("/srv", &["x".into()]).is_ok());
        }
    }
}
