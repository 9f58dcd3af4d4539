use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn every_command_of_a_batch_system_is_checked() {
    let place = tempfile::tempdir().unwrap();
    let real = place.path().canonicalize().unwrap();
    let shown = real.display();
    for name in ["qsub", "qdel"] {
        fs::write(real.join(name), "").unwrap();
        fs::set_permissions(real.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::symlink("qdel", real.join("sacct")).unwrap();
    let text = format!(
        "[batch.x]\nsubmit = \"{shown}/qsub\"\nstatus = \"{shown}/qstat\"\n\
         cancel = \"{shown}/qdel\"\naccount = \"{shown}/sacct\"\n"
    );
    let config = nesssi_config::parse(&text, "n.toml").unwrap();
    let problems = || problems_of(&config.batch.systems[0]);
    let none = format!("[batch.x] status: {shown}/qstat: No such file or directory (os error 2)");
    assert_eq!(problems(), [none.as_str()]);
    fs::set_permissions(real.join("qdel"), fs::Permissions::from_mode(0o775)).unwrap();
    let open = "its group or everybody may write it";
    assert_eq!(
        problems(),
        [
            none,
            format!("[batch.x] cancel: {shown}/qdel: {open}"),
            format!("[batch.x] account: {shown}/sacct: {shown}/qdel: {open}"),
        ]
    );
}

#[test]
fn python_s_own_files_are_checked() {
    let place = tempfile::tempdir().unwrap();
    let real = place.path().canonicalize().unwrap();
    let shown = real.display();
    fs::create_dir_all(real.join("python/nesssi")).unwrap();
    fs::write(real.join("python3"), "").unwrap();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(real.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["python", "python/nesssi", "python3"] {
        mode(name, 0o755);
    }
    let text =
        format!("[services]\npython = \"{shown}/python3\"\npython_path = \"{shown}/python\"\n");
    let config = nesssi_config::parse(&text, "n.toml").unwrap();
    assert_eq!(problems_of_python(&config), [""; 0]);
    mode("python/nesssi", 0o757);
    let open = format!(
        "[services] python_path: {shown}/python/nesssi: its group or everybody may write in it"
    );
    assert_eq!(problems_of_python(&config), [open.as_str()]);
    if rustix::process::geteuid().is_root() {
        mode("python3", 0o775);
        let python =
            format!("[services] python: {shown}/python3: its group or everybody may write it");
        assert_eq!(problems_of_python(&config), [python, open]);
    }
}
