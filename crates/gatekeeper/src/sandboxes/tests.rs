use super::{content_type, wants_follow};

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
