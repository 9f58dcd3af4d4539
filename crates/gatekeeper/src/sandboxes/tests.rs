use super::{content_type, follow_from, wants_follow};

#[track_caller]
fn check(name: &str, kind: &str) {
    assert_eq!(content_type(name), kind, "{name}");
}

#[test]
fn types_by_name() {
    check("stdout", "text/plain; charset=utf-8");
    check("job.log", "text/plain; charset=utf-8");
    check("result.txt", "text/plain; charset=utf-8");
    check("page.html", "text/html; charset=utf-8");
    check("PLOT.PNG", "image/png");
    check("table.csv", "text/csv; charset=utf-8");
    check("vector.svg", "image/svg+xml");
    check("data.json", "application/json");
    check("archive.tar.gz", "application/gzip");
    check("strange.\u{1F600}", "application/octet-stream");
    check("ends.in.dot.", "application/octet-stream");
}

#[test]
fn following_is_asked_by_name() {
    for query in ["follow", "follow=1", "a=b&follow", "follow&x"] {
        assert!(wants_follow(Some(query)), "{query}");
    }
    for query in ["", "unfollow", "a=follow", "followme"] {
        assert!(!wants_follow(Some(query)), "{query}");
    }
    assert!(!wants_follow(None));
}

#[test]
fn a_follower_says_where_to_go_on() {
    for (query, from) in [
        ("follow", 0),
        ("follow&from=10", 10),
        ("from=18446744073709551615&follow", u64::MAX),
        ("follow&from=18446744073709551616", 0),
        ("follow&from=-1", 0),
        ("follow&from=", 0),
    ] {
        assert_eq!(follow_from(Some(query)), from, "{query}");
    }
    assert_eq!(follow_from(None), 0);
}
