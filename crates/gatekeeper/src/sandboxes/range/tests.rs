use super::Part;

#[track_caller]
fn slice(header: &str, size: u64, first: u64, last: u64) {
    assert_eq!(Part::of(header, size), Part::Slice { first, last }, "{header} of {size}");
}

#[track_caller]
fn whole(header: &str) {
    assert_eq!(Part::of(header, 100), Part::Whole, "{header}");
}

#[track_caller]
fn unsatisfiable(header: &str, size: u64) {
    assert_eq!(Part::of(header, size), Part::Unsatisfiable, "{header} of {size}");
}

#[test]
fn one_range() {
    slice("bytes=0-0", 100, 0, 0);
    slice("bytes=10-19", 100, 10, 19);
    slice("bytes=0-99", 100, 0, 99);
    slice("bytes=99-", 100, 99, 99);
    slice("bytes=50-1000", 100, 50, 99);
    slice("bytes=0-99999999999999999999999", 100, 0, 99);
    slice("bytes=-1", 100, 99, 99);
    slice("bytes=-100", 100, 0, 99);
    slice("bytes=-101", 100, 0, 99);
    slice("Bytes= 5-6 ", 100, 5, 6);
}

#[test]
fn outside_of_the_file() {
    unsatisfiable("bytes=100-", 100);
    unsatisfiable("bytes=100-200", 100);
    unsatisfiable("bytes=99999999999999999999999-", 100);
    unsatisfiable("bytes=-0", 100);
    unsatisfiable("bytes=0-", 0);
    unsatisfiable("bytes=-1", 0);
}

#[test]
fn what_is_not_honoured() {
    for header in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5",
        "bytes=9-5",
        "bytes=a-b",
        "bytes=+1-5",
        "bytes=1-5,7-9",
        "bytes=1 -5",
        "bytes=--5",
        "bytes=1-5-7",
        "lines=1-2",
        "bytes=0x1-2",
        "bytes=1.0-2",
    ] {
        whole(header);
    }
}
