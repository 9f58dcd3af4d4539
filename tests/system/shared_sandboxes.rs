//! Sandboxes on a file system on which root has no power: what NESSSI does there it does as the account.
//!
//! A kernel that exports and mounts NFS is not to be had in a test, so the file system is played: see `squash.py`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

use nesssi_testkit::{Slurm, Value, World, WorldBuilder, is_root, skipped, wait_until};

const SQUASH: &str = include_str!("squash.py");
/// The group over whose files root has no power, as `squash.py` has it.
const SQUASHED: u32 = 54_321;

fn id(word: &str, account: &str) -> u32 {
    let output = Command::new("/usr/bin/id").args([word, account]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// A World whose sandboxes' root has this mode, and whose server runs where root is squashed.
fn squashed(mode: u32) -> (World, PathBuf) {
    laid_out(World::builder(), mode)
}

fn laid_out(builder: WorldBuilder, mode: u32) -> (World, PathBuf) {
    let world = builder.key("sandboxes", "shared = true").build();
    world.service(
        "s",
        "from nesssi import run_job\n\
         def hello(req, method_name, args):\n\
         \x20   return run_job(req, method_name, [5], ['/bin/sh', '-c', 'echo hello; mkdir deep; id -un > deep/who'])\n\
         def hello_on(req, method_name, args):\n\
         \x20   return run_job(req, method_name, [5], ['/bin/echo', 'hello'], batch=args[0])\n\
         methods_list = {'hello': hello, 'hello_on': hello_on}\n",
        None,
    );
    let root = world.path().join("sandboxes");
    fs::create_dir(&root).unwrap();
    chown(&root, Some(id("-u", &world.accounts.gatekeeper)), Some(SQUASHED)).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2000 | mode)).unwrap();
    let nesssid = world.program("nesssid");
    fs::rename(&nesssid, world.program("nesssid-real")).unwrap();
    fs::write(&nesssid, SQUASH).unwrap();
    fs::set_permissions(&nesssid, fs::Permissions::from_mode(0o755)).unwrap();
    (world, root)
}

fn run(world: &World, words: &[&str]) -> Output {
    Command::new(world.program("nesssid")).args(words).env_clear().output().unwrap()
}

fn check(world: &World) -> (bool, String) {
    let output = run(world, &["--check", "--config", &world.config.display().to_string()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), text)
}

#[test]
fn on_a_file_system_with_root_squash_each_account_makes_its_directory_itself() {
    if !is_root() {
        return skipped("needs root, to take power from it");
    }
    let (mut world, root) = squashed(0o1733);
    let (good, text) = check(&world);
    assert!(good, "{text}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "a check makes nothing");
    world.start_server();
    let session = world.call(Some(&world.alice), "s.hello", vec![]).unwrap();
    let session = session.as_str().unwrap().to_owned();
    wait_until("the job's end", 20, || {
        (world.state(Some(&world.alice), &session) == "done").then_some(())
    });
    assert_eq!(world.file(&session, "stdout").1, "hello\n");
    let who = format!("{}\n", world.accounts.strong);
    assert_eq!(world.file(&session, "deep/who").1, who);

    let own = root.join(&world.accounts.strong);
    let facts = fs::metadata(&own).unwrap();
    assert_eq!((facts.uid(), facts.gid()), (id("-u", &world.accounts.strong), SQUASHED));
    assert_eq!(facts.mode() & 0o777, 0o700);
    // Where the server runs, root has no power there indeed.
    let own = own.display().to_string();
    for words in [["/bin/ls", &own], ["/bin/rmdir", &own], ["/usr/bin/touch", &format!("{own}/x")]]
    {
        let output = run(&world, &words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{words:?}");
        assert!(told.contains("ermission denied") || told.contains("not permitted"), "{told}");
    }
    assert!(fs::exists(root.join(&own).join(&session)).unwrap());
    world.call(Some(&world.alice), "session.destroy", vec![session.as_str().into()]).unwrap();
    assert!(!fs::exists(root.join(&own).join(&session)).unwrap());
}

/// The node is not in the server's namespace: what it sees in the sandbox is what an account of its own sees.
#[test]
fn a_job_of_slurm_runs_in_a_sandbox_over_which_root_has_no_power() {
    if crate::slurm::cannot() {
        return;
    }
    let slurm = Slurm::start();
    let builder = World::builder()
        .key("batch", "default = \"slurm\"")
        .batch("slurm", &slurm.keys())
        .batch("wrapped", &slurm.torque_keys());
    let (mut world, root) = laid_out(builder, 0o1733);
    world.start_server();
    for way in ["slurm", "wrapped"] {
        let session = world.call(Some(&world.alice), "s.hello_on", vec![way.into()]).unwrap();
        let session = session.as_str().unwrap().to_owned();
        wait_until("the job's end", 60, || {
            (world.state(Some(&world.alice), &session) == "done").then_some(())
        });
        assert_eq!(world.file(&session, "stdout").1, "hello\n", "{way}");
        let output = root.join(&world.accounts.strong).join(&session).join("stdout");
        assert_eq!(fs::metadata(output).unwrap().uid(), id("-u", &world.accounts.strong));
    }
}

#[test]
fn a_directory_that_is_not_the_account_s_own_is_not_used() {
    if !is_root() {
        return skipped("needs root, to take power from it");
    }
    let (mut world, root) = squashed(0o1733);
    let (alice, bob) = (world.accounts.strong.clone(), world.accounts.other.clone());
    // Made by somebody who was faster; and one of her own that everybody may look into.
    for (name, owner, mode) in [(&bob, &alice, 0o700), (&alice, &alice, 0o755)] {
        fs::create_dir(root.join(name)).unwrap();
        chown(root.join(name), Some(id("-u", owner)), None).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    world.start_server();
    let (alices, bobs) = (world.alice.clone(), world.bob.clone());
    for (caller, told) in [
        (&bobs, format!("sandboxes/{bob}: it belongs to uid {}", id("-u", &alice))),
        (&alices, format!("sandboxes/{alice}: its mode is 0755, and must be 0700")),
    ] {
        let fault = world.call(Some(caller), "s.hello", vec![]).unwrap_err().to_string();
        assert!(!fault.contains("uid") && !fault.contains(&bob) && !fault.contains('/'), "{fault}");
        wait_until("the log says why", 10, || world.server().log().contains(&told).then_some(()));
    }
    // She sets it right herself: nothing of it needs root.
    fs::set_permissions(root.join(&alice), fs::Permissions::from_mode(0o700)).unwrap();
    wait_until("it is used", 30, || world.call(Some(&alices), "s.hello", vec![]).ok());
}

#[test]
fn a_root_that_accounts_may_not_write_holds_directories_that_were_made_for_them() {
    if !is_root() {
        return skipped("needs root, to take power from it");
    }
    let (mut world, root) = squashed(0o711);
    let (good, text) = check(&world);
    assert!(!good && text.contains("the account has no directory, and cannot make it"), "{text}");
    let accounts = world.accounts.clone();
    // As `install -d` does on the file server.
    for name in [&accounts.strong, &accounts.weak, &accounts.anonymous, &accounts.services] {
        fs::create_dir(root.join(name)).unwrap();
        chown(root.join(name), Some(id("-u", name)), None).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let (good, text) = check(&world);
    assert!(good, "{text}");
    world.start_server();
    let session = world.call(Some(&world.alice), "s.hello", vec![]).unwrap();
    assert!(matches!(session, Value::String(_)));
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2733)).unwrap();
    let (good, text) = check(&world);
    assert!(!good && text.contains("it must be sticky (mode 1733)"), "{text}");
    fs::remove_dir_all(&root).unwrap();
    let (good, text) = check(&world);
    assert!(!good && text.contains("[sandboxes] root"), "{text}");
}
