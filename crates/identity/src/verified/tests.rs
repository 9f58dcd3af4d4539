use super::*;

#[test]
fn only_the_same_key_and_certificate_are_one_pair() {
    let verified = Verified::default();
    let pair = Pair::of([b"ab", b"c"], b"certificate");
    assert!(!verified.holds(pair));
    verified.remember(pair);
    assert!(verified.holds(Pair::of([b"ab", b"c"], b"certificate")));
    for other in [
        Pair::of([b"a", b"bc"], b"certificate"),
        Pair::of([b"ab", b""], b"ccertificate"),
        Pair::of([b"ab", b"c"], b"certificates"),
        Pair::of([b"ab", b"d"], b"certificate"),
    ] {
        assert!(!verified.holds(other));
    }
}

#[test]
fn it_stays_bounded() {
    let verified = Verified::default();
    for number in 0..=SIGNATURES_MAX {
        verified.remember(Pair::of([b"", b""], &number.to_le_bytes()));
    }
    assert_eq!(verified.lock().len(), 1);
}
