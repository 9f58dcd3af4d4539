use std::fs;
use std::path::Path;

use nesssi_policy::{PoolName, SubjectDn};

use super::{Lease, link_name, look};

fn ask(directory: &Path, pool: &str, dn: &str) -> String {
    let subject = SubjectDn::parse_oneline(dn).unwrap();
    look(directory, &PoolName::parse(pool).unwrap(), &subject).unwrap().to_string()
}

#[test]
fn a_lease_is_found_and_none_is_made() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path();
    for account in ["grid001", "grid002", "gridadmin", "other1"] {
        fs::write(directory.join(account), "").unwrap();
    }
    let link = "%2fo%3dgrid%2fcn%3dann";
    assert_eq!(link_name(&SubjectDn::parse_oneline("/O=Grid/CN=Ann").unwrap()), link);
    fs::hard_link(directory.join("grid001"), directory.join(link)).unwrap();
    assert_eq!(ask(directory, "grid", "/O=Grid/CN=Ann"), "he has been leased grid001");
    assert_eq!(
        ask(directory, "grid", "/O=Grid/CN=Bob"),
        "he would be leased grid002 (1 of 2 are free)"
    );
    assert_eq!(
        ask(directory, "other", "/O=Grid/CN=Ann"),
        "he has a lease on grid001, not of this pool"
    );
    assert_eq!(ask(directory, "none", "/O=Grid/CN=Bob"), "each of its 0 accounts is leased");
    assert_eq!(directory.read_dir().unwrap().count(), 5);
    let long = SubjectDn::parse_oneline(&format!("/CN={}", "/".repeat(90))).unwrap();
    let lease = look(directory, &PoolName::parse("grid").unwrap(), &long).unwrap();
    assert_eq!((&lease, lease.account()), (&Lease::NoName, None));
}

#[test]
fn a_directory_that_others_may_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let subject = SubjectDn::parse_oneline("/O=Grid/CN=Ann").unwrap();
    let refused = look(place.path(), &PoolName::parse("grid").unwrap(), &subject).unwrap_err();
    assert!(refused.contains("others than its owner"), "{refused}");
}
