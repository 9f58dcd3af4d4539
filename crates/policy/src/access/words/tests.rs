use crate::Access;

fn check(text: &str, words: &str) {
    assert_eq!(Access::parse(text).unwrap().in_words().join("\n"), words.trim(), "{text}");
}

#[test]
fn who_may_call_what() {
    check(
        "allow = [\"/O=Grid\"]\nallow_groups = [\"atlas\"]\ndeny = [\"/O=Grid/CN=Eve\"]\n\
         levels = [\"strong\"]\nstart = 2026-03-01T00:00:00Z\n\
         [[lower]]\nsubjects = [\"/O=Grid/OU=Students/*\"]\nlevel = \"weak\"\n\
         [method.burn]\nallow = []\nanonymous = true\n",
        "every method:
  admits /O=Grid, members of atlas, and of certificates no other
  refuses /O=Grid/CN=Eve, even if they are admitted
  refuses callers without a certificate (not said)
  is closed to all levels but strong
  is closed before 2026-03-01T00:00:00Z
  lowers /O=Grid/OU=Students/* to level weak
the method burn, beside that:
  admits nobody with a certificate by name
  admits callers without a certificate, and with one whom nothing here refuses",
    );
    check(
        "order = \"deny,allow\"\ndeny = [\"/O=Grid\"]\nallow = [\"/O=Grid/CN=Ann\"]\nanonymous = false",
        "every method:
  admits everybody with a certificate who is not refused
  refuses /O=Grid
  admits /O=Grid/CN=Ann, even if they are refused
  refuses callers without a certificate",
    );
    check(
        "",
        "every method:
  admits nobody with a certificate by name
  refuses callers without a certificate (not said)",
    );
}
