use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn level(name: &str, from: From, account: Option<&str>) -> Level {
    Level::new(
        LevelName::parse(name).unwrap(),
        from,
        account.map(|account| AccountName::parse(account).unwrap()),
        Limits {
            cpu_seconds: 60,
            wall_seconds: 60,
            jobs_at_once: 1,
            calls_per_minute: 1,
            call_wall_seconds: 1,
            call_cpu_seconds: 1,
            sandbox_bytes: 1,
            retention_seconds: 1,
            cpu_seconds_per_day: 1,
        },
    )
}

const GRIDMAP: &str = "# people\n\"/O=Grid/CN=Alice\" alice,second\n";

/// The account, level and rule for a caller, or why there is none.
fn check(levels: &[Level], caller: Option<&str>, expected: &str) {
    let (gridmap, _) = Gridmap::parse(GRIDMAP).unwrap();
    let rules = Rules { gridmap, levels: levels.to_vec() };
    let subject = caller.map(|text| SubjectDn::parse_oneline(text).unwrap());
    let told = match rules.judge(&Who::of(subject.as_ref(), Ipv4Addr::LOCALHOST.into())) {
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

fn certificate(name: &str, account: &str, narrow: impl FnOnce(Level) -> Level) -> Level {
    narrow(level(name, From::Certificate, Some(account)))
}

fn patterns(texts: &[&str]) -> Vec<DnPattern> {
    texts.iter().map(|text| DnPattern::parse(text).unwrap()).collect()
}

/// The account and rule for anybody, by the levels and the usual gridmap.
fn check_who(levels: &[Level], who: Who<'_>, expected: &str) {
    let (gridmap, _) = Gridmap::parse(GRIDMAP).unwrap();
    let rules = Rules { gridmap, levels: levels.to_vec() };
    let told = match rules.judge(&who) {
        Ok(Judgement { account: Assigned::Account(account), rule, reads_only, .. }) => {
            format!("{account}, {rule}{}", if reads_only { ", reads only" } else { "" })
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(told, expected, "{who:?}");
}

#[test]
fn every_condition_of_a_level_narrows_it() {
    let (bob, carol) = (dn("/O=Grid/CN=Bob"), dn("/O=Other/CN=Carol"));
    let (ca, other_ca) = (dn("/O=Grid/CN=CA"), dn("/O=Other/CN=CA"));
    let here: IpAddr = "192.0.2.7".parse().unwrap();
    let who = |subject| Who { issuer: Some(&ca), ..Who::of(Some(subject), here) };
    let narrow = |narrow: fn(Level) -> Level| {
        [certificate("narrow", "few", narrow), certificate("rest", "many", |level| level)]
    };
    let few = "few, level narrow: community account of certificate";
    let many = "many, level rest: community account of certificate";

    let levels = narrow(|level| Level { subjects: patterns(&["/O=Grid/*"]), ..level });
    check_who(&levels, who(&bob), few);
    check_who(&levels, who(&carol), many);

    let levels = narrow(|level| Level { issuers: patterns(&["/O=Grid/CN=CA"]), ..level });
    check_who(&levels, who(&carol), few);
    check_who(&levels, Who { issuer: Some(&other_ca), ..who(&carol) }, many);
    check_who(&levels, Who { issuer: None, ..who(&carol) }, many);

    let alice = dn("/O=Grid/CN=Alice");
    let levels = narrow(|level| Level { gridmapped: Some(true), ..level });
    check_who(&levels, who(&alice), few);
    check_who(&levels, who(&bob), many);
    let levels = narrow(|level| Level { gridmapped: Some(false), ..level });
    check_who(&levels, who(&alice), many);
    check_who(&levels, who(&bob), few);

    let levels = narrow(|level| Level { proxies: vec![ProxyWord(None)], ..level });
    check_who(&levels, who(&bob), few);
    check_who(&levels, Who { proxy: Some(ProxyKind::Full), ..who(&bob) }, many);
    check_who(
        &levels,
        Who { proxy: Some(ProxyKind::Limited), ..who(&bob) },
        "many, level rest: community account of certificate, reads only",
    );

    // Without the key: all but independent ones, which a level has to name.
    let levels =
        narrow(|level| Level { proxies: ProxyWord::WORDS.map(|(_, w)| w).to_vec(), ..level });
    let independent = Who { proxy: Some(ProxyKind::Independent), ..who(&bob) };
    check_who(&levels, independent, few);
    check_who(&levels[1..], independent, "no level takes callers that are not in the gridmap");
    check_who(&levels[1..], Who { proxy: Some(ProxyKind::Full), ..who(&bob) }, many);

    let levels = narrow(|level| {
        let nets = ["192.0.2.0/29", "2001:db8::/32"].map(|net| net.parse().unwrap());
        Level { addresses: nets.to_vec(), ..level }
    });
    check_who(&levels, who(&bob), few);
    for (address, expected) in
        [("192.0.2.8", many), ("::ffff:192.0.2.7", few), ("2001:db8::1", few), ("::1", many)]
    {
        check_who(&levels, Who { address: address.parse().unwrap(), ..who(&bob) }, expected);
    }
}

#[test]
fn another_account_is_had_only_where_the_line_lists_it() {
    let levels = [
        level("strong", From::Gridmap, None),
        level("weak", From::Certificate, Some("nesssi-weak")),
    ];
    let (alice, bob) = (dn("/O=Grid/CN=Alice"), dn("/O=Grid/CN=Bob"));
    let name = |text| AccountName::parse(text).unwrap();
    fn ask<'a>(subject: &'a SubjectDn, account: &'a AccountName) -> Who<'a> {
        Who { account: Some(account), ..Who::of(Some(subject), Ipv4Addr::LOCALHOST.into()) }
    }
    check_who(&levels, ask(&alice, &name("second")), "second, level strong: gridmap line 2");
    check_who(&levels, ask(&alice, &name("alice")), "alice, level strong: gridmap line 2");
    let not_his = "account nesssi-weak is not one of this caller's at level strong";
    check_who(&levels, ask(&alice, &name("nesssi-weak")), not_his);
    let not_his = "account alice is not one of this caller's at level weak";
    check_who(&levels, ask(&bob, &name("alice")), not_his);
}

#[test]
fn a_service_lowers_and_never_raises() {
    let mut levels = [
        level("strong", From::Gridmap, None),
        level("weak", From::Certificate, Some("nesssi-weak")),
        level("anonymous", From::Anonymous, Some("nesssi-anon")),
    ];
    levels[1].limits.cpu_seconds = 7;
    levels[2].limits.cpu_seconds = 99;
    let (alice, bob) = (dn("/O=Grid/CN=Alice"), dn("/O=Grid/CN=Bob"));
    let name = |text| LevelName::parse(text).unwrap();
    fn lower<'a>(subject: &'a SubjectDn, lowered: &'a LevelName) -> Who<'a> {
        Who { lowered: Some(lowered), ..Who::of(Some(subject), Ipv4Addr::LOCALHOST.into()) }
    }
    let weak = "nesssi-weak, level weak: community account of certificate";
    check_who(
        &levels,
        lower(&alice, &name("weak")),
        &format!("{weak}, lowered by the service from level strong"),
    );
    check_who(&levels, lower(&bob, &name("weak")), weak);
    check_who(&levels, lower(&bob, &name("strong")), weak);
    check_who(
        &levels,
        lower(&bob, &name("nowhere")),
        "the service lowers this caller to level nowhere, which there is not",
    );
    // The lower level allows more CPU here than his own: he gets the lesser.
    let (gridmap, _) = Gridmap::parse(GRIDMAP).unwrap();
    let rules = Rules { gridmap, levels: levels.to_vec() };
    let judged = rules.judge(&lower(&bob, &name("anonymous"))).unwrap();
    assert_eq!((judged.level.as_str(), judged.limits.cpu_seconds), ("anonymous", 7));
}

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

#[test]
fn a_level_covers_one_that_it_leaves_nobody() {
    let level = |from: From, more: &dyn Fn(&mut Level)| {
        let limits = Limits::from_bytes(&[1; crate::LIMITS_BYTES]).unwrap();
        let mut level = Level::new(LevelName::parse("l").unwrap(), from, None, limits);
        more(&mut level);
        level
    };
    let plain = |from| level(from, &|_| {});
    let net = |text: &str| vec![text.parse::<IpNet>().unwrap()];
    let from_net =
        |text: &'static str| level(From::Certificate, &move |level| level.addresses = net(text));
    let mapped = |mapped| level(From::Certificate, &move |level| level.gridmapped = Some(mapped));
    let by = |text: &'static str| {
        level(From::Certificate, &move |level| {
            level.issuers = vec![DnPattern::parse(text).unwrap()];
        })
    };
    for (first, second, covered) in [
        (plain(From::Certificate), plain(From::Gridmap), true),
        (plain(From::Gridmap), plain(From::Certificate), false),
        (plain(From::Gridmap), mapped(true), true),
        (plain(From::Gridmap), mapped(false), false),
        (mapped(true), plain(From::Gridmap), true),
        (mapped(false), plain(From::Gridmap), false),
        (plain(From::Anonymous), plain(From::Anonymous), true),
        (plain(From::Certificate), plain(From::Anonymous), false),
        (plain(From::Certificate), from_net("10.0.0.0/8"), true),
        (from_net("10.0.0.0/8"), plain(From::Certificate), false),
        (from_net("10.0.0.0/8"), from_net("10.1.0.0/16"), true),
        (from_net("10.1.0.0/16"), from_net("10.0.0.0/8"), false),
        (by("/O=A/*"), by("/O=A/*"), true),
        (by("/O=A/*"), by("/O=B/*"), false),
        (by("/O=A/*"), plain(From::Certificate), false),
    ] {
        assert_eq!(first.covers(&second), covered, "{first:?} {second:?}");
    }
}
