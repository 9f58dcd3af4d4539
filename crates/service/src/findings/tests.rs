use super::*;

fn findings(bytes: usize) -> Findings {
    Findings { name: "adder".to_owned(), folder: "x".repeat(bytes), ..Findings::default() }
}

#[test]
fn they_come_back_as_they_went_below_and_at_the_limit_and_not_above() {
    let bare = findings(0).to_json().unwrap().len();
    for bytes in [0, FINDINGS_BYTES_MAX - bare - 1, FINDINGS_BYTES_MAX - bare] {
        let all = findings(bytes);
        assert_eq!(Findings::from_json(all.to_json().unwrap().as_bytes()), Ok(all));
    }
    let above = findings(FINDINGS_BYTES_MAX - bare + 1);
    assert_eq!(above.to_json(), Err(FindingsError::TooLong));
    let text = serde_json::to_string(&above).unwrap();
    assert_eq!(Findings::from_json(text.as_bytes()), Err(FindingsError::TooLong));
}

#[test]
fn what_is_none_is_told() {
    for text in ["", "[]", "{}", "{\"name\": 3}"] {
        let error = Findings::from_json(text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("the findings cannot be read: "), "{error}");
    }
}
