use std::fs;

use super::check;

#[test]
fn every_problem_is_said_and_a_good_configuration_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nesssi.toml");
    assert!(check(&path).problems.concat().contains("No such file"));

    fs::write(&path, "[server]\nlisten = 1\n[bounds]\nbody_bytes_max = \"x\"\n").unwrap();
    let mistakes = check(&path).problems;
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].contains("nesssi.toml:2"), "{mistakes:?}");

    let text = "[server]\ntrust_directory = \"certificates\"\nlog_directory = \"log\"\n\
                state_directory = \"state\"\ncertificate = \"host.pem\"\n";
    fs::write(&path, text).unwrap();
    let missing = check(&path).problems.join("\n");
    assert!(missing.contains("certificates: ") && !missing.contains("log: "), "{missing}");

    fs::create_dir(folder.path().join("log")).unwrap();
    fs::create_dir(folder.path().join("certificates")).unwrap();
    fs::write(folder.path().join("host.pem"), "no certificate").unwrap();
    let rest = check(&path).problems.join("\n");
    assert!(rest.contains("nobody is trusted") && rest.contains("host.pem: "), "{rest}");

    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Test");
    let pem = params.self_signed(&key).unwrap().pem();
    fs::write(folder.path().join("certificates/ca.pem"), &pem).unwrap();
    fs::write(folder.path().join("host.pem"), &pem).unwrap();
    // The server serves all the same, and refuses the callers of this CA.
    let report = check(&path);
    let rest = report.notes.join("\n");
    assert!(rest.contains("ca.pem: /") && rest.contains("no signing policy"), "{rest}");
    assert_eq!(report.problems, Vec::<String>::new());
    let policy = "access_id_CA X509 '/CN=rcgen self signed cert/O=Test'\n\
                  pos_rights globus CA:sign\ncond_subjects globus '\"/O=Test/*\"'\n";
    fs::write(folder.path().join("certificates/ca.signing_policy"), policy).unwrap();
    let report = check(&path);
    assert_eq!((report.problems, report.notes), (Vec::new(), Vec::new()));
    let batch = "[batch.x]\nsubmit = \"/s\"\nstatus = \"/t\"\ncancel = \"/c\"\n\
                 directives = [\"cpus=2\", \"que=a\"]\n";
    fs::write(&path, format!("{text}{batch}")).unwrap();
    let [problem] = check(&path).problems.try_into().unwrap();
    assert!(problem.contains("nesssi.toml:10: [batch.x]: \"que=a\": a directive is"), "{problem}");
}
