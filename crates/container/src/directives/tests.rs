use super::*;

fn told(dialect: &str, directives: &str) -> Vec<String> {
    let text = format!(
        "[batch.x]\ndialect = \"{dialect}\"\nsubmit = \"/s\"\nstatus = \"/t\"\ncancel = \"/c\"\n\
         directives = [{directives}]\n"
    );
    let config = nesssi_config::parse(&text, "n.toml").unwrap();
    check_directives(&config).iter().map(ToString::to_string).collect()
}

#[test]
fn every_directive_is_held_against_its_dialect() {
    let all = "\"queue=a\", \"account=b\", \"cpus=2\", \"memory_mib=10\"";
    for dialect in nesssi_config::DIALECTS.iter().chain(&["auto"]) {
        assert_eq!(told(dialect, all), [""; 0], "{dialect}");
    }
    assert_eq!(told("slurm", "\"reservation=r\", \"feature=f\", \"resource.gpu=1\""), [""; 0]);
    assert_eq!(
        told("openpbs", "\"queue=a\",\n\"reservation=r\""),
        ["n.toml:7: [batch.x]: \"reservation=r\": OpenPBS has no reservation"]
    );
    assert_eq!(told("auto", "\"reservation=r\""), [""; 0]);
}

#[test]
fn what_is_no_directive_is_told_with_its_line_and_why() {
    let list = "\"que=a\",\n\"queue=-a\",\n\"resource.walltime=1\",\n\"resource.gpu=0\"";
    let expected = [
        "n.toml:6: [batch.x]: \"que=a\": a directive is queue, account, qos, reservation, feature \
         or resource.NAME",
        "n.toml:7: [batch.x]: \"queue=-a\": queue: only letters, digits and _ . + - (not first), at \
         most 64",
        "n.toml:8: [batch.x]: \"resource.walltime=1\": resource: CPUs, memory and times are not given \
         as a resource",
        "n.toml:9: [batch.x]: \"resource.gpu=0\": resource: its count is a number from 1 to 4294967295",
    ];
    assert_eq!(told("auto", list), expected);
}

/// What `config` says of them without knowing `job`.
#[test]
fn the_bounds_of_the_configuration_are_the_dialects() {
    use nesssi_job::batch::{CPUS_MAX, DIRECTIVES_MAX};
    assert_eq!(nesssi_config::BATCH_CPUS_MAX, CPUS_MAX);
    assert_eq!(nesssi_config::BATCH_DIRECTIVES_MAX, DIRECTIVES_MAX);
    let names = DialectName::ALL.map(DialectName::as_str);
    assert_eq!(nesssi_config::DIALECTS, names);
    let asked = |mib: u64| Some(mib * (1 << 20));
    assert!(asked(nesssi_config::BATCH_MEMORY_MIB_MAX) <= Some(1 << 60));
}
