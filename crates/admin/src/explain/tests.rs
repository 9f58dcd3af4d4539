use std::fs;
use std::path::PathBuf;

use clap::Parser;

use super::{Stop, Words, explained, service};
use crate::site::Site;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    words: Words,
}

/// A site in a folder, without a server.
struct Place {
    folder: tempfile::TempDir,
}

const SITE: &str = "
[policy]
gridmap = \"gridmap\"
[services]
directory = \"services\"
[[level]]
name = \"strong\"
from = \"gridmap\"
cpu_seconds = 100
[[level]]
name = \"weak\"
from = \"certificate\"
account = \"community\"
cpu_seconds = 10
";

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("nesssi.toml", SITE);
        place.write("gridmap", "\"/O=Grid/CN=Ann\" ann\n");
        place.service("open", "allow = [\"/\"]\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn service(&self, folder: &str, access: &str) {
        self.write(&format!("services/{folder}/__init__.py"), "");
        self.write(&format!("services/{folder}/.clarens_access"), access);
    }

    fn explain(&self, words: &str) -> Result<u8, Stop> {
        let config = self.path("nesssi.toml");
        let words = words.split(' ').filter(|word| !word.is_empty());
        let line = ["explain", "--config", config.to_str().unwrap()].into_iter().chain(words);
        explained(&Line::try_parse_from(line).unwrap().words)
    }

    fn check(&self, words: &str, code: u8) {
        let got = match self.explain(words) {
            Ok(code) => code,
            Err(Stop::Refused(_)) => 1,
            Err(Stop::Usage(_)) => 2,
            Err(Stop::Files(_)) => 3,
        };
        assert_eq!(got, code, "{words}");
    }

    fn mistakes(&self, words: &str) -> String {
        match self.explain(words) {
            Err(Stop::Files(mistakes)) => mistakes.join("\n"),
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn the_size_is_held_against_the_level_that_takes_the_caller() {
    let place = Place::new();
    for (who, seconds, code) in [
        ("/O=Grid/CN=Ann", 100, 0),
        ("CN=Ann,O=Grid", 100, 0),
        ("/O=Grid/CN=Ann", 101, 1),
        ("/O=Grid/CN=Bob", 10, 0),
        ("/O=Grid/CN=Bob", 11, 1),
    ] {
        place.check(&format!("--dn {who} --service open --seconds {seconds}"), code);
        place.check(&format!("--dn {who} --seconds {seconds}"), code);
    }
    place.check("--guest --service open", 1);
    place.check("--dn /O=Grid/CN=Ann --seconds -1", 1);
    place.check("--dn /O=Grid/CN=Ann --service system --seconds 100", 0);
    place.check("--dn /O=Grid/CN=Ann --proxy limited --seconds 1", 1);
    place.check("--dn /O=Grid/CN=Ann --account bob", 1);
}

#[test]
fn wrong_words_and_names_of_nothing() {
    let place = Place::new();
    place.check("--dn Ann", 2);
    place.check("--dn /O=Grid/CN=Ann --account 0", 2);
    place.check("--dn /O=Grid/CN=Ann --service ../etc", 2);
    place.check("--dn /O=Grid/CN=Ann --service closed", 1);
    for both in ["--dn /CN=a --guest", "--guest --proxy full", "", "--guest --method f"] {
        let line = ["explain"].into_iter().chain(both.split(' ').filter(|word| !word.is_empty()));
        assert!(Line::try_parse_from(line).is_err(), "{both}");
    }
}

#[test]
fn access_lists_of_the_folders_around_a_service_are_asked_too() {
    let place = Place::new();
    place.service("physics/sky", "");
    place.check("--dn /O=Grid/CN=Ann --service physics.sky", 1);
    place.write("services/physics/.clarens_access", "allow = [\"/O=Grid/CN=Ann\"]\n");
    place.check("--dn /O=Grid/CN=Ann --service physics.sky", 0);
    place.check("--dn /O=Grid/CN=Bob --service physics.sky", 1);
    // A package inside a service is a part of it.
    place.write("services/open/part/__init__.py", "");
    place.check("--dn /O=Grid/CN=Ann --service open.part", 1);
}

#[test]
fn a_service_serves_the_levels_of_its_manifest_and_changed_code_no_accounts() {
    let place = Place::new();
    place.write("services/open/service.toml", "levels = [\"weak\"]\n");
    place.check("--dn /O=Grid/CN=Ann --service open", 1);
    place.check("--dn /O=Grid/CN=Bob --service open", 0);
    let approve = |digest: &str| format!("approved = \"{digest}\"\n");
    place.write("services/open/service.toml", &approve(&"0".repeat(64)));
    place.check("--dn /O=Grid/CN=Ann --service open", 1);
    place.check("--dn /O=Grid/CN=Bob --service open", 0);
    let digest = service::digest(&place.path("services/open")).unwrap();
    place.write("services/open/service.toml", &approve(&digest));
    place.check("--dn /O=Grid/CN=Ann --service open", 0);
}

#[test]
fn every_mistake_in_the_files_is_told_with_its_line() {
    let place = Place::new();
    place.service("broken", "allow = [\"O\"]\norder = 3\n");
    place.write("services/broken/service.toml", "\nlevel = 1\n");
    let told = place.mistakes("--guest --service broken");
    for at in
        ["broken/service.toml:2: ", "broken/.clarens_access:1: ", "broken/.clarens_access:2: "]
    {
        assert!(told.contains(at), "{at} is not in {told}");
    }
    place.write("gridmap", "\n\"/O=Grid/CN=Ann\" root\n");
    assert!(place.mistakes("--guest").contains("gridmap:2:18: "), "{}", place.mistakes("--guest"));
    place.write("nesssi.toml", "[server]\nnonsense = 1\n");
    assert!(place.mistakes("--guest").contains("nesssi.toml:2: "));
}

#[test]
fn groups_that_cannot_be_read_are_none_and_groups_that_can_are_asked() {
    let place = Place::new();
    place.service("members", "allow_groups = [\"atlas\"]\n");
    let site = Site::read(&place.path("nesssi.toml")).unwrap();
    assert!(site.groups.is_err());
    place.check("--dn /O=Grid/CN=Ann --service members", 1);
    place.write("nesssi.toml", &format!("[server]\nstate_directory = \"state\"\n{SITE}"));
    fs::create_dir_all(place.path("state/gatekeeper")).unwrap();
    let (journal, _) =
        nesssi_journal::Journal::open(&place.path("state/gatekeeper/journal.sqlite")).unwrap();
    let by = nesssi_policy::SubjectDn::parse_oneline("/CN=Root").unwrap();
    let vo = |change| nesssi_journal::Change::Vo { change, by: by.clone(), at_ms: 1 };
    let group = "atlas".to_owned();
    let subject = nesssi_policy::SubjectDn::parse_oneline("/O=Grid/CN=Ann").unwrap();
    journal
        .write_and_wait(vec![
            vo(nesssi_policy::VoChange::Create { group: group.clone() }),
            vo(nesssi_policy::VoChange::AddMember { group, subject }),
        ])
        .unwrap();
    place.check("--dn /O=Grid/CN=Ann --service members", 0);
    place.check("--dn /O=Grid/CN=Bob --service members", 1);
}

#[test]
fn a_pool_has_an_account_as_long_as_one_is_free() {
    let place = Place::new();
    place.write(
        "nesssi.toml",
        &SITE.replace("= \"gridmap\"\n[s", "= \"gridmap\"\ngridmapdir = \"leases\"\n[s"),
    );
    place.write("gridmap", "\"/O=Grid/CN=Ann\" .grid\n");
    let told = place.mistakes("--dn /O=Grid/CN=Ann");
    assert!(told.contains("gridmapdir"), "{told}");
    place.write("leases/grid1", "");
    place.check("--dn /O=Grid/CN=Ann", 0);
    fs::hard_link(place.path("leases/grid1"), place.path("leases/%2fcn%3dbob")).unwrap();
    place.check("--dn /O=Grid/CN=Ann", 1);
}
