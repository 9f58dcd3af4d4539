use std::net::Ipv4Addr;

use super::*;

fn level(name: &str, from: From, account: Option<&str>) -> Level {
    Level {
        name: LevelName::parse(name).unwrap(),
        from,
        account: account.map(|account| AccountName::parse(account).unwrap()),
        limits: Limits {
            cpu_seconds: 60,
            wall_seconds: 60,
            jobs_at_once: 1,
            calls_per_minute: 1,
            call_wall_seconds: 1,
            call_cpu_seconds: 1,
            sandbox_bytes: 1,
            retention_seconds: 1,
        },
    }
}

const GRIDMAP: &str = "# people\n\"/O=Grid/CN=Alice\" alice,second\n";

/// The account, level and rule for a caller, or why there is none.
fn check(levels: &[Level], caller: Option<&str>, expected: &str) {
    let (gridmap, _) = Gridmap::parse(GRIDMAP).unwrap();
    let rules = Rules { gridmap, levels: levels.to_vec() };
    let subject = caller.map(|text| SubjectDn::parse_oneline(text).unwrap());
    let told = match rules.judge(subject.as_ref(), Ipv4Addr::LOCALHOST.into()) {
        Ok(judgement) => format!("{}, {}", judgement.account, judgement.rule),
        Err(error) => error.to_string(),
    };
    assert_eq!(told, expected);
}

const ALICE: Option<&str> = Some("/O=Grid/CN=Alice");
const BOB: Option<&str> = Some("/O=Grid/CN=Bob");

#[test]
fn the_three_levels() {
    let levels = [
        level("strong", From::Gridmap, None),
        level("weak", From::Certificate, Some("nesssi-weak")),
        level("anonymous", From::Anonymous, Some("nesssi-anon")),
    ];
    check(&levels, ALICE, "alice, level strong: gridmap line 2");
    check(&levels, Some("/o=grid/cn=ALICE"), "alice, level strong: gridmap line 2");
    check(&levels, BOB, "nesssi-weak, level weak: community account of certificate");
    check(&levels, None, "nesssi-anon, level anonymous: community account of anonymous");
}

#[test]
fn nothing_falls_through() {
    let levels = [
        level("strong", From::Gridmap, None),
        level("weak", From::Certificate, None),
        level("weaker", From::Certificate, Some("nesssi-weak")),
    ];
    check(&levels, BOB, "level weak has no account");
    check(&levels, None, "no level takes callers without a certificate");
    check(&levels[..1], BOB, "no level takes callers that are not in the gridmap");
    check(&levels[..0], ALICE, "no level takes callers that are in the gridmap");
    check(&levels[..0], None, "no level takes callers without a certificate");
}

#[test]
fn the_first_level_that_takes_him_decides() {
    let levels = [
        level("weak", From::Certificate, Some("nesssi-weak")),
        level("strong", From::Gridmap, None),
    ];
    check(&levels, ALICE, "nesssi-weak, level weak: community account of certificate");
}

#[test]
fn a_certificate_is_never_anonymous() {
    let levels = [level("anonymous", From::Anonymous, Some("nesssi-anon"))];
    check(&levels, BOB, "no level takes callers that are not in the gridmap");
}
