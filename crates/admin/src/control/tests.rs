use super::*;

#[test]
fn a_request_is_132_bytes_with_the_name_padded() {
    let request = request(&Verb::RestartService("sleepy".to_owned())).unwrap();
    assert_eq!(&request[..10], b"\x01\x01\0\0sleepy");
    assert!(request[10..].iter().all(|byte| *byte == 0));
}

#[test]
fn names_of_128_bytes_fit_and_longer_ones_do_not() {
    assert!(request(&Verb::RestartService("n".repeat(127))).is_ok());
    assert!(request(&Verb::RestartService("n".repeat(128))).is_ok());
    assert!(matches!(request(&Verb::RestartService("n".repeat(129))), Err(ControlError::LongName)));
}

#[test]
fn an_answer_that_lies_about_its_length_is_none() {
    let mut answer = [0_u8; ANSWER_BYTES];
    answer[2..4].copy_from_slice(&1024_u16.to_le_bytes());
    assert_eq!(read_answer(&answer).unwrap().len(), 1024);
    answer[2..4].copy_from_slice(&1025_u16.to_le_bytes());
    assert!(matches!(read_answer(&answer), Err(ControlError::NoAnswer)));
}

#[test]
fn refusals_and_failures_are_told_apart() {
    let mut answer = [0_u8; ANSWER_BYTES];
    answer[..6].copy_from_slice(b"\x01\x01\x02\0no");
    assert_eq!(read_answer(&answer).unwrap_err().to_string(), "refused: no");
    answer[1] = 2;
    assert_eq!(read_answer(&answer).unwrap_err().to_string(), "failed: no");
}

#[test]
fn a_socket_that_is_not_there_is_named_with_a_hint() {
    let place = Where {
        control: Some(PathBuf::from("/nonexistent/control")),
        config: PathBuf::from("/nonexistent.toml"),
    };
    let text = ask(&place, &Verb::Status).unwrap_err().to_string();
    assert!(text.contains("/nonexistent/control") && text.contains("running?"), "{text}");
}

#[test]
fn a_configuration_that_is_elsewhere_is_asked_for() {
    let place = Where { control: None, config: PathBuf::from("/nonexistent.toml") };
    let text = ask(&place, &Verb::Status).unwrap_err().to_string();
    assert!(text.contains("/nonexistent.toml: No such file"), "{text}");
    assert!(text.contains("NESSSI_CONFIG") && text.contains("NESSSI_CONTROL"), "{text}");
}
