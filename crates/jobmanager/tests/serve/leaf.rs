//! A leaf as the monitor makes it, with a keeper at its door.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nesssi_privsep::door::Doorkeeper;

static LEAVES: AtomicU32 = AtomicU32::new(0);

pub struct Leaf {
    path: PathBuf,
    files: Vec<OwnedFd>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

/// Where cgroup v2 is mounted, if a leaf can be made there.
fn mount() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = text.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

impl Leaf {
    /// `None`, loudly, where there is no root or no cgroup v2.
    pub fn new() -> Option<Self> {
        let number = LEAVES.fetch_add(1, Ordering::Relaxed);
        let name = format!("nesssi-test-{}-{number}", std::process::id());
        let path = mount().map(|mount| mount.join(name));
        let Some(path) = path.filter(|path| fs::create_dir(path).is_ok()) else {
            println!("SKIPPED: needs root and cgroup v2");
            return None;
        };
        let (door, theirs) = Doorkeeper::new().unwrap();
        let procs = path.join("cgroup.procs");
        let keeper = std::thread::spawn(move || keep(door, &procs));
        let open = |name: &str, write: bool| -> OwnedFd {
            let mut options = fs::OpenOptions::new();
            options.read(!write).write(write).open(path.join(name)).unwrap().into()
        };
        let files = vec![
            theirs,
            open("cpu.stat", false),
            open("cgroup.kill", true),
            open("cgroup.events", false),
        ];
        Some(Self { path, files, keeper: Some(keeper) })
    }

    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.files.iter().map(AsFd::as_fd).collect()
    }

    pub fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

fn keep(door: Doorkeeper, procs: &PathBuf) {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        match door.visitor() {
            Ok(Some(visitor)) => {
                let placed = fs::write(procs, visitor.pid.to_string()).is_ok();
                door.answer(placed).unwrap();
                return;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        fs::write(self.path.join("cgroup.kill"), "1").unwrap_or_default();
        self.files.clear();
        if let Some(keeper) = self.keeper.take() {
            keeper.join().unwrap_or_default();
        }
        for _ in 0..500 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
