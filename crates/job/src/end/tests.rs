use proptest::prelude::*;

use super::*;
use crate::{JobState, Tag};

fn record() -> EndRecord {
    EndRecord {
        reason: EndReason::Exited,
        exit_code: Some(0),
        signal: None,
        cpu_usec: 1_200_000,
        wall_usec: 5_000_000,
        started_ms: 1_700_000_000_000,
        ended_ms: 1_700_000_005_000,
        cpu_seconds_max: 60,
        wall_seconds_max: 120,
        sandbox_bytes_max: 0,
        text: String::new(),
    }
}

fn any_record() -> impl Strategy<Value = EndRecord> {
    let numbers = prop::array::uniform7(any::<u64>());
    let reason = prop::sample::select(EndReason::ALL.to_vec());
    (reason, any::<Option<i32>>(), any::<Option<i32>>(), numbers, "[^\\x00-\\x1f\\x7f-\\x9f]{0,80}")
        .prop_map(|(reason, exit_code, signal, numbers, text)| {
            let [cpu_usec, wall_usec, started_ms, ended_ms, cpu_seconds_max, wall, bytes] = numbers;
            EndRecord {
                reason,
                exit_code,
                signal,
                cpu_usec,
                wall_usec,
                started_ms,
                ended_ms,
                cpu_seconds_max,
                wall_seconds_max: wall,
                sandbox_bytes_max: bytes,
                text,
            }
        })
}

#[test]
fn states_follow_from_the_reason() {
    let with = |reason, exit_code| EndRecord { reason, exit_code, ..record() };
    let cases = [
        (with(EndReason::Exited, Some(0)), JobState::Done),
        (with(EndReason::Exited, Some(3)), JobState::Failed),
        (with(EndReason::Exited, None), JobState::Failed),
        (with(EndReason::StartFailed, None), JobState::Failed),
        (with(EndReason::Cancelled, None), JobState::Cancelled),
        (with(EndReason::OverCpu, None), JobState::OverLimit),
        (with(EndReason::OverWall, Some(0)), JobState::OverLimit),
        (with(EndReason::OverBytes, None), JobState::OverLimit),
        (with(EndReason::Lost, None), JobState::Lost),
    ];
    for (record, state) in cases {
        assert_eq!(JobState::from_end(Some(&record)), state, "{record:?}");
    }
    assert_eq!(JobState::from_end(None), JobState::Lost);
}

#[test]
fn state_words_go_both_ways() {
    for state in JobState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    assert!("Done".parse::<JobState>().is_err());
    assert!("".parse::<JobState>().is_err());
}

#[test]
fn text_cannot_make_a_line() {
    let sly = EndRecord { text: "no\nreason=cancelled\rx".into(), ..record() };
    let read = EndRecord::parse(&sly.to_text()).unwrap();
    assert_eq!(read.text, "no reason=cancelled x");
    assert_eq!(read.reason, EndReason::Exited);
}

#[test]
fn wrong_lines_are_named() {
    let good = record().to_text();
    assert_eq!(EndRecord::parse(""), Err(EndRecordError::Missing("end")));
    assert_eq!(EndRecord::parse("garbage\n"), Err(EndRecordError::Line(1)));
    assert_eq!(EndRecord::parse(&format!("{good}reason=lost\n")), Err(EndRecordError::Line(11)));
    assert_eq!(EndRecord::parse(&format!("{good}color=red\n")), Err(EndRecordError::Line(11)));
    assert!(EndRecord::parse(&good.replace("cpu_usec=1200000", "cpu_usec=-1")).is_err());
    assert!(EndRecord::parse(&good.replace("reason=exited\n", "")).is_err());
}

#[test]
fn length_is_bounded() {
    let long = "x".repeat(RECORD_BYTES_MAX + 1);
    assert_eq!(EndRecord::parse(&long), Err(EndRecordError::TooLong));
    let wide = EndRecord { text: "é".repeat(5000), ..record() };
    assert!(wide.to_text().len() < 2000);
}

#[test]
fn tags_are_sixteen_digits() {
    let tag = Tag::from_bytes([0, 1, 2, 0xff, 0xab, 0, 9, 0x10]);
    assert_eq!(tag.as_str(), "000102ffab000910");
    assert_eq!(Tag::parse(tag.as_str()), Ok(tag));
    for bad in ["", "000102ffab00091", "000102ffab0009100", "000102FFab000910", "g00102ffab000910"]
    {
        assert!(Tag::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn records_go_both_ways(record in any_record()) {
        prop_assert_eq!(EndRecord::parse(&record.to_text()), Ok(record));
    }

    /// A record cut anywhere is refused, never read as another.
    #[test]
    fn a_cut_record_is_refused(record in any_record(), at in 0_usize..1000) {
        let text = record.to_text();
        let whole = text.trim_end().len();
        let at = at % whole;
        prop_assume!(text.is_char_boundary(at));
        prop_assert!(EndRecord::parse(&text[..at]).is_err());
    }

    #[test]
    fn any_text_is_read_without_harm(text in ".{0,400}") {
        drop(EndRecord::parse(&text));
    }
}
