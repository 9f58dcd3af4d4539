//! The bed itself: a real Slurm starts, runs jobs for accounts, forgets, crashes, and leaves nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use nesssi_testkit::{Accounts, Place, Slurm, skipped, wait_until};

/// A folder in which the account may write.
fn folder_of(place: &Place, account: &str) -> std::path::PathBuf {
    let folder = place.folder(account);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
    folder
}

/// Submits a script on standard input, and returns the id.
fn submit(slurm: &Slurm, account: &str, command: &str, arguments: &[&str], script: &str) -> String {
    let mut child = slurm.spawn_as(account, command, arguments);
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn in_state(slurm: &Slurm, id: &str, state: &str) {
    wait_until(&format!("job {id} is {state}"), 30, || {
        slurm.job(id).filter(|job| job.state == state).map(drop)
    });
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    )
}

/// Why the test cannot run. With `./test`'s packages it must.
fn cannot() -> bool {
    let Some(why) = Slurm::missing() else { return false };
    assert!(
        !nesssi_testkit::is_root() || std::env::var_os("NESSSI_TOOLS").is_none(),
        "NESSSI_TOOLS is set, and: {why}"
    );
    skipped(&why);
    true
}

#[test]
fn a_job_runs_as_its_account_by_sbatch_and_by_the_wrapped_qsub() {
    if cannot() {
        return;
    }
    let accounts = Accounts::ensure();
    let slurm = Slurm::start();
    let place = Place::new();
    let folder = folder_of(&place, "out");
    let script = |name: &str| {
        format!(
            "#!/bin/sh\nid -un >{0}/{name}.new; mv {0}/{name}.new {0}/{name}\n",
            folder.display()
        )
    };
    let nowhere = ["-o", "/dev/null", "-e", "/dev/null"];
    let native = submit(
        &slurm,
        &accounts.strong,
        "sbatch",
        &[&["--parsable", "--chdir=/"], &nowhere[..]].concat(),
        &script("native"),
    );
    let wrapped = submit(
        &slurm,
        &accounts.other,
        "qsub",
        &[&nowhere[..], &["/dev/stdin"]].concat(),
        &script("wrapped"),
    );
    in_state(&slurm, &native, "COMPLETED");
    in_state(&slurm, &wrapped, "COMPLETED");
    let wrote = |name: &str| fs::read_to_string(folder.join(name)).unwrap().trim().to_owned();
    assert_eq!(wrote("native"), accounts.strong);
    assert_eq!(wrote("wrapped"), accounts.other);
    assert_eq!(slurm.job(&native).unwrap().user, accounts.strong);
    assert!(said(&slurm.run_as(&accounts.other, "qstat", &[&wrapped])).contains(&wrapped));
}

#[test]
fn partitions_hold_drain_and_cancel_are_as_they_say() {
    if cannot() {
        return;
    }
    let accounts = Accounts::ensure();
    let slurm = Slurm::start();
    let alice = accounts.strong.as_str();
    let sleep = "#!/bin/sh\nsleep 600\n";
    let to = |more: &[&str]| {
        let common = ["--parsable", "--chdir=/", "-o", "/dev/null"];
        submit(&slurm, alice, "sbatch", &[&common[..], more].concat(), sleep)
    };
    let down = to(&["-p", "down"]);
    wait_until("the reason is told", 10, || {
        slurm.job(&down).filter(|job| job.reason == "PartitionDown")
    });
    let refused = |more: &[&str]| {
        let output = slurm.run_as(alice, "sbatch", &[more, &["--wrap=true"]].concat());
        assert!(!output.status.success(), "{more:?} was taken");
        said(&output)
    };
    assert!(refused(&["-p", "closed"]).contains("not available"));
    assert!(refused(&["-p", "private"]).contains("group not permitted"));
    assert!(refused(&["-p", "short", "-t", "2"]).contains("Requested time limit is invalid"));
    assert!(refused(&["-p", "none"]).contains("Invalid partition name"));
    slurm.drain();
    let waits = to(&[]);
    slurm.hold(&waits);
    wait_until("it is held", 10, || {
        slurm.job(&waits).filter(|job| job.reason.starts_with("JobHeld"))
    });
    slurm.resume();
    slurm.release(&waits);
    in_state(&slurm, &waits, "RUNNING");
    assert!(slurm.run_as(alice, "scancel", &[&waits]).status.success());
    in_state(&slurm, &waits, "CANCELLED");
}

#[test]
fn the_controller_stops_crashes_gives_ids_again_and_forgets() {
    if cannot() {
        return;
    }
    let accounts = Accounts::ensure();
    let mut slurm = Slurm::builder().remembers_seconds(2).line("MessageTimeout=2").start();
    let submit = |slurm: &Slurm, script: &str| {
        let arguments = ["--parsable", "--chdir=/", "-o", "/dev/null"];
        submit(slurm, &accounts.strong, "sbatch", &arguments, script)
    };
    let long = submit(&slurm, "#!/bin/sh\nsleep 600\n");
    in_state(&slurm, &long, "RUNNING");
    slurm.keep_state();
    assert_eq!(slurm.job(&long).unwrap().state, "RUNNING", "what runs outlives a restart");
    let first = submit(&slurm, "#!/bin/sh\n:\n");
    in_state(&slurm, &first, "COMPLETED");
    slurm.back_to_kept_state();
    assert_eq!(submit(&slurm, "#!/bin/sh\n:\n"), first, "a crash gives an id again");
    wait_until("an ended job is forgotten", 90, || slurm.job(&first).is_none().then_some(()));
    slurm.crash_controller();
    assert!(slurm.try_jobs().is_none());
    slurm.start_controller();
    assert_eq!(slurm.job(&long).unwrap().state, "RUNNING");
}

#[test]
fn accounting_tells_of_jobs() {
    if cannot() {
        return;
    }
    if let Some(why) = Slurm::missing_for_accounting() {
        skipped(&why);
        return;
    }
    let accounts = Accounts::ensure();
    let slurm = Slurm::builder().with_accounting().start();
    let arguments = ["--parsable", "--chdir=/", "-o", "/dev/null"];
    let id = submit(&slurm, &accounts.strong, "sbatch", &arguments, "#!/bin/sh\nexit 7\n");
    // For a moment after a job has ended the accounts may say that it was root's.
    let expected = format!("FAILED|7:0|{}", accounts.strong);
    wait_until("sacct tells of it", 30, || {
        let output = slurm.run("sacct", &["-nPX", "-o", "state,exitcode,user", "-j", &id]);
        (said(&output).trim() == expected).then_some(())
    });
    let long = submit(&slurm, &accounts.strong, "sbatch", &arguments, "#!/bin/sh\nsleep 600\n");
    wait_until("sstat tells of it", 30, || {
        let output = slurm.run("sstat", &["-anP", "-o", "jobid,avecpu", "-j", &long]);
        said(&output).starts_with(&format!("{long}.batch|00:00")).then_some(())
    });
}

#[test]
fn a_bed_leaves_no_process_and_no_folder() {
    if cannot() {
        return;
    }
    let accounts = Accounts::ensure();
    let slurm = Slurm::start();
    let bed = slurm.path().to_owned();
    let arguments = ["--parsable", "--chdir=/", "-o", "/dev/null"];
    let id = submit(&slurm, &accounts.strong, "sbatch", &arguments, "#!/bin/sh\nsleep 600\n");
    in_state(&slurm, &id, "RUNNING");
    let ended = std::thread::spawn(move || {
        let _slurm = slurm;
        std::panic::panic_any("as a test that fails");
    });
    assert!(ended.join().is_err());
    assert!(!bed.exists());
    assert_eq!(processes_of(&bed), Vec::<String>::new());
}

/// Command lines of all processes that have the bed in their environment.
fn processes_of(bed: &Path) -> Vec<String> {
    let bed = bed.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&bed)
    });
    let line = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    processes.map(|entry| String::from_utf8_lossy(&line(entry)).into_owned()).collect()
}
