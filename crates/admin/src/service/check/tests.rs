use super::*;

#[test]
fn a_slash_makes_a_folder() {
    for (target, folder) in [
        ("adder", false),
        ("apple.xray", false),
        ("./adder", true),
        ("/srv/adder", true),
        (".", true),
    ] {
        assert_eq!(is_folder(target), folder, "{target}");
    }
}
