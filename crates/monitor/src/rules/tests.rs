//! Tests of rules kept up to date.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const GRIDMAP: &str = "\"/O=Grid/CN=Alice\" alice\n";
const CONFIG: &str = "[policy]\ngridmap = \"gridmap\"\n[services]\naccount = \"services\"\n";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.write("gridmap", GRIDMAP);
        place.write("nesssi.toml", &config(""));
        place
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&new, self.directory.path().join(name)).unwrap();
    }

    fn load(&self) -> RulesKeeper {
        RulesKeeper::load(&self.directory.path().join("nesssi.toml")).unwrap().0
    }
}

fn config(more: &str) -> String {
    format!(
        "{CONFIG}{more}[[level]]\nname = \"strong\"\nfrom = \"gridmap\"\n\
         [[level]]\nname = \"weak\"\nfrom = \"certificate\"\naccount = \"weak\"\n"
    )
}

fn account_of(keeper: &RulesKeeper, dn: &str) -> Option<String> {
    let subject = nesssi_dn::SubjectDn::parse_oneline(dn).unwrap();
    let judged =
        keeper.rules().judge(&nesssi_policy::Who::of(Some(&subject), [127, 0, 0, 1].into()));
    match judged.ok()?.account {
        nesssi_policy::Assigned::Account(account) => Some(account.as_str().to_owned()),
        nesssi_policy::Assigned::Pool(pool) => panic!("{pool:?}"),
    }
}

/// News of this place alone: other tests may make accounts meanwhile.
fn look(keeper: &mut RulesKeeper) -> Vec<News> {
    let mut news = keeper.look();
    news.retain(|news| {
        !matches!(
            news,
            News::Accounts | News::Generation { because: "accounts of this machine", .. }
        )
    });
    news
}

#[test]
fn a_changed_gridmap_is_a_new_generation() {
    let place = Place::new();
    let mut keeper = place.load();
    let before = keeper.generation();
    assert_eq!(look(&mut keeper), []);
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("alice"));
    place.write("gridmap", "\"/O=Grid/CN=Alice\" alicia\n");
    let news = look(&mut keeper);
    assert!(matches!(news[..], [News::Generation { because: "gridmap", .. }]), "{news:?}");
    assert!(keeper.generation() > before);
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("alicia"));
    assert_eq!(look(&mut keeper), []);
}

#[test]
fn a_gridmap_with_an_error_changes_nothing_and_names_the_line() {
    let place = Place::new();
    let mut keeper = place.load();
    let before = keeper.generation();
    place.write("gridmap", "\"/O=Grid/CN=Bob\" bob\n\"/O=Grid/CN=Alice\" root\n");
    let news = look(&mut keeper);
    let [News::Error(text)] = &news[..] else { panic!("{news:?}") };
    assert!(text.contains("gridmap:2:"), "{text}");
    assert_eq!(look(&mut keeper), [], "told once");
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("alice"));
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Bob").as_deref(), Some("weak"));
    assert!(keeper.generation() >= before);
    place.write("gridmap", GRIDMAP);
    assert!(matches!(look(&mut keeper)[..], [News::Generation { .. }]));
}

#[test]
fn a_gridmap_that_is_gone_or_open_to_others_stays_in_force() {
    let place = Place::new();
    let mut keeper = place.load();
    fs::remove_file(place.directory.path().join("gridmap")).unwrap();
    assert!(matches!(look(&mut keeper)[..], [News::Error(_)]));
    place.write("gridmap", "\"/O=Grid/CN=Alice\" mallory\n");
    let path = place.directory.path().join("gridmap");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(look(&mut keeper)[..], [News::Error(_)]));
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("alice"));
}

#[test]
fn changed_levels_are_a_new_generation_and_other_keys_are_not() {
    let place = Place::new();
    let mut keeper = place.load();
    place.write("nesssi.toml", &config("[bounds]\nconnections_max = 77\n"));
    assert_eq!(look(&mut keeper), [News::Config]);
    assert!(keeper.config_text().contains("77"), "the next gatekeeper gets it");
    place.write("nesssi.toml", &config("").replace("\"weak\"\n", "\"other\"\n"));
    let news = look(&mut keeper);
    let [News::Config, News::Generation { because: "levels", .. }] = news[..] else {
        panic!("{news:?}")
    };
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Bob").as_deref(), Some("other"));
    place.write("nesssi.toml", "nonsense = 1\n");
    let news = look(&mut keeper);
    assert!(
        matches!(&news[..], [News::Error(text), ..] if text.contains("nesssi.toml:1:")),
        "{news:?}"
    );
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Bob").as_deref(), Some("other"));
}

/// Levels that never ask who is in the gridmap.
fn config_without_gridmap() -> String {
    format!("{CONFIG}[[level]]\nname = \"weak\"\nfrom = \"certificate\"\naccount = \"weak\"\n")
}

#[test]
fn levels_that_come_to_ask_the_gridmap_are_in_force_with_it_alone() {
    let place = Place::new();
    place.write("nesssi.toml", &config_without_gridmap());
    let mut keeper = place.load();
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("weak"));
    place.write("nesssi.toml", &config(""));
    look(&mut keeper);
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("alice"));
    // Without one that can be read, whoever is in it would be taken for somebody who is not.
    place.write("nesssi.toml", &config_without_gridmap());
    look(&mut keeper);
    place.write("gridmap", "\"/O=Grid/CN=Alice\" root\n");
    place.write("nesssi.toml", &config("").replace("\"weak\"\n", "\"other\"\n"));
    let news = look(&mut keeper);
    assert!(news.iter().any(|one| matches!(one, News::Error(text) if text.contains("gridmap:1:"))));
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Bob").as_deref(), Some("weak"), "the last good");
    assert!(!keeper.config_text().contains("other"), "nor does the next gatekeeper get it");
    place.write("gridmap", GRIDMAP);
    look(&mut keeper);
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Alice").as_deref(), Some("alice"));
    assert_eq!(account_of(&keeper, "/O=Grid/CN=Bob").as_deref(), Some("other"));
}

#[test]
fn a_first_gridmap_with_an_error_is_an_error_of_the_start() {
    let place = Place::new();
    place.write("gridmap", "\"/O=Grid/CN=Alice\"\n");
    let mistakes = RulesKeeper::load(&place.directory.path().join("nesssi.toml")).unwrap_err();
    assert!(mistakes[0].contains("gridmap:1:"), "{mistakes:?}");
    fs::remove_file(place.directory.path().join("gridmap")).unwrap();
    assert!(RulesKeeper::load(&place.directory.path().join("nesssi.toml")).is_err());
}

#[test]
fn a_pool_of_the_gridmap_is_leased_and_an_ended_lease_is_a_new_generation() {
    let place = Place::new();
    place.write("gridmap", "\"/O=Grid/CN=Alice\" .grid\n");
    place.write(
        "nesssi.toml",
        &config("").replace("= \"gridmap\"\n[s", "= \"gridmap\"\ngridmapdir = \"leases\"\n[s"),
    );
    let mistakes = RulesKeeper::load(&place.directory.path().join("nesssi.toml")).unwrap_err();
    assert!(mistakes[0].contains("leases: No such file"), "{mistakes:?}");
    let leases = place.directory.path().join("leases");
    fs::create_dir(&leases).unwrap();
    fs::write(leases.join("grid1"), "").unwrap();
    let mut keeper = place.load();
    let alice = nesssi_dn::SubjectDn::parse_oneline("/O=Grid/CN=Alice").unwrap();
    let judge =
        |keeper: &mut RulesKeeper| keeper.judge(&Who::of(Some(&alice), [127, 0, 0, 1].into()));
    let judged = judge(&mut keeper).unwrap();
    assert_eq!(judged.account.as_str(), "grid1");
    assert_eq!(judged.judgement.rule, "level strong: gridmap line 1, pool .grid, leased");
    assert_eq!(judged.new_lease.map(|pool| pool.to_string()).as_deref(), Some(".grid"));
    assert_eq!(judge(&mut keeper).unwrap().new_lease, None);
    assert_eq!(look(&mut keeper), []);
    fs::remove_file(leases.join("%2fo%3dgrid%2fcn%3dalice")).unwrap();
    let news = look(&mut keeper);
    let because = "leases in the gridmapdir";
    assert!(matches!(news[..], [News::Generation { because: b, .. }] if b == because), "{news:?}");
    // A pool in a gridmap that named none before is opened then.
    place.write("gridmap", GRIDMAP);
    look(&mut keeper);
    assert!(keeper.pools.is_none());
    place.write("gridmap", "\"/O=Grid/CN=Alice\" .grid\n");
    look(&mut keeper);
    assert_eq!(judge(&mut keeper).unwrap().account.as_str(), "grid1");
    place.write("gridmap", "\"/O=Grid/CN=Alice\" .none\n");
    look(&mut keeper);
    let text = judge(&mut keeper).unwrap_err();
    assert!(
        text.starts_with("level strong: gridmap line 1: pool .none: this caller has a"),
        "{text}"
    );
}
