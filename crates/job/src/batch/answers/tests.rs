use super::*;

#[test]
fn clocks_of_every_form_are_seconds() {
    for (text, seconds) in [
        ("0:06", Some(6)),
        ("00:00:00", Some(0)),
        ("100:00:01", Some(360_001)),
        ("1-02:03:04", Some(93_784)),
        ("00:04.358", Some(5)),
        ("00:04.000", Some(4)),
        ("6", None),
        ("", None),
        ("INVALID", None),
        ("1:2:3:4", None),
        ("-1:00", None),
        ("99999999999:00", None),
    ] {
        assert_eq!(clock_seconds(text), seconds, "{text}");
    }
    assert_eq!((clock(0), clock(90_061)), ("00:00:00".into(), "25:01:01".into()));
}

#[test]
fn a_listing_has_an_end() {
    let mut listing = Listing::default();
    let sighting = |number: usize| Sighting {
        id: BatchId::parse(&number.to_string()).unwrap(),
        name: format!("nesssi-{number:016x}"),
        owner: "alice".into(),
        state: BatchState::Queued,
        cpu_seconds: None,
        wall_seconds: None,
        comment: Words::default(),
    };
    (0..=SIGHTINGS_MAX).for_each(|number| listing.note(sighting(number)));
    assert_eq!((listing.len(), listing.unread), (SIGHTINGS_MAX, 1));
}
