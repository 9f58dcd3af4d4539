//! Service workers: started with one end of a socket, ended with all descendants.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nesssi_privsep::messages::{FromJobmanager, ToJobmanager};
use nesssi_privsep::{Child, Command, Spawn, channel, door};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Signal};

use crate::leaf::Leaf;
use crate::manager::Manager;
use crate::proctree::Process;
use crate::requests::{Answer, Failure};
use crate::sweep::{Family, Sweep};

/// Most workers at once.
const WORKERS_MAX: usize = 1024;

/// How long the monitor may take to let a worker into its leaf.
const DOOR_WAIT: Duration = Duration::from_secs(3);

/// Where a worker finds the version of its service's modules; the last word of its arguments says so.
pub(crate) const MODULES_DESCRIPTOR: i32 = 4;

/// The variable by which the processes of a worker are known.
const MARKER: &str = "NESSSI_WORKER";

/// One worker of one peer.
#[derive(Debug)]
pub(crate) struct Worker {
    peer: u32,
    number: u64,
    child: Child,
    family: Family,
    leaf: Option<Leaf>,
    /// The requests to kill it, all to be answered.
    killers: Vec<(u32, u32)>,
    status: Option<i32>,
    sweep: Option<Sweep>,
}

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
    started: u64,
}

impl Workers {
    /// Pid and handle of those that live.
    pub(crate) fn polled(&self) -> impl Iterator<Item = (u32, std::os::fd::BorrowedFd<'_>)> {
        self.workers
            .iter()
            .filter(|worker| worker.status.is_none())
            .map(|worker| (worker.child.pid_number(), worker.child.as_fd()))
    }

    /// When the next sweep wants its step.
    pub(crate) fn next(&self) -> Option<std::time::Instant> {
        self.workers.iter().filter_map(|worker| worker.sweep.as_ref().map(Sweep::next)).min()
    }
}

impl Manager {
    pub(crate) fn start_worker(
        &mut self,
        peer: u32,
        request: ToJobmanager,
        mut descriptors: Vec<OwnedFd>,
    ) -> Answer {
        let ToJobmanager::StartWorker {
            worker: number,
            argv,
            environment,
            directory,
            has_log,
            has_modules,
        } = request
        else {
            return Err(Failure::new(Errno::INVAL, "not a StartWorker"));
        };
        let wrong = || Failure::new(Errno::INVAL, "wrong number of descriptors");
        let log = if has_log { Some(descriptors.pop().ok_or_else(wrong)?) } else { None };
        let modules = if has_modules { Some(descriptors.pop().ok_or_else(wrong)?) } else { None };
        let leaf = Leaf::take(descriptors).ok_or_else(wrong)?;
        if self.find_worker(peer, number).is_some() {
            return Err(Failure::new(Errno::EXIST, "there is a worker of that number"));
        }
        if self.workers.workers.len() >= WORKERS_MAX {
            return Err(Failure::new(Errno::AGAIN, "too many workers"));
        }
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| Failure::new(errno, "socketpair"))?;
        // Before the service's code can send any.
        channel::refuse_descriptors(&ours).map_err(|error| Failure {
            errno: error.raw_os_error().unwrap_or(0),
            text: "SO_PASSRIGHTS".into(),
        })?;
        self.workers.started += 1;
        let name = format!("{}-{}", std::process::id(), self.workers.started);
        let command = command(argv, environment)?.env(MARKER, name.as_str());
        let spec = WorkerSpec {
            directory: &directory,
            umask: self.umask(0o077),
            files_max: self.files_max,
        };
        let door = leaf.as_ref().map(|(door, _)| door);
        let given = Given { socket: &theirs, modules: modules.as_ref(), log: log.as_ref() };
        let child = spec.spawn(command, &given, door)?;
        let pid = child.pid().as_raw_pid();
        let family = Family {
            head: Process::read(pid).map(|process| (pid, process.start_ticks)),
            marker: format!("{MARKER}={name}"),
        };
        let answer = FromJobmanager::WorkerStarted { pid: child.pid_number() };
        self.workers.workers.push(Worker {
            peer,
            number,
            child,
            family,
            leaf: leaf.map(|(_, leaf)| leaf),
            killers: Vec::new(),
            status: None,
            sweep: None,
        });
        Ok(Some((answer, vec![ours])))
    }

    pub(crate) fn kill_worker(&mut self, peer: u32, id: u32, number: u64) -> Answer {
        let worker = self
            .find_worker(peer, number)
            .ok_or_else(|| Failure::new(Errno::SRCH, "there is no such worker"))?;
        worker.killers.push((peer, id));
        worker.begin_sweep();
        Ok(None)
    }

    fn find_worker(&mut self, peer: u32, number: u64) -> Option<&mut Worker> {
        let is_it = |worker: &&mut Worker| worker.peer == peer && worker.number == number;
        self.workers.workers.iter_mut().find(is_it)
    }

    /// Takes note of a worker's end; what it leaves behind is ended too.
    pub(crate) fn worker_ended(&mut self, pid: u32) {
        let is_it = |worker: &&mut Worker| worker.child.pid_number() == pid;
        if let Some(worker) = self.workers.workers.iter_mut().find(is_it)
            && let Ok(Some(ending)) = worker.child.try_wait()
        {
            worker.status = Some(ending.status());
            worker.begin_sweep();
        }
    }

    /// One step of every sweep; reports those workers of which nothing is left.
    pub(crate) fn sweep_workers(&mut self) {
        let now = std::time::Instant::now();
        let mut ended = Vec::new();
        let mut at = 0;
        while let Some(worker) = self.workers.workers.get_mut(at) {
            if worker.is_gone(now) {
                ended.push(self.workers.workers.swap_remove(at));
            } else {
                at += 1;
            }
        }
        for worker in ended {
            let status = worker.status.unwrap_or_default();
            let message = FromJobmanager::WorkerEnded { worker: worker.number, status };
            let mut told = worker.killers;
            if told.is_empty() {
                told.push((worker.peer, 0));
            }
            for (peer, id) in told {
                self.send(peer, id, &message, Vec::new());
            }
        }
    }

    /// Ends the workers of a peer that is gone: nobody has the other end of their sockets.
    pub(crate) fn drop_workers_of(&mut self, peer: u32) {
        for worker in self.workers.workers.iter_mut().filter(|worker| worker.peer == peer) {
            worker.begin_sweep();
        }
    }
}

impl Worker {
    fn begin_sweep(&mut self) {
        if self.sweep.is_none() {
            self.sweep = Some(Sweep::new(self.family.clone(), self.leaf.take()));
        }
    }

    fn is_gone(&mut self, now: std::time::Instant) -> bool {
        let swept = match &mut self.sweep {
            Some(sweep) if sweep.next() <= now => sweep.step(),
            _ => false,
        };
        swept && self.status.is_some()
    }
}

/// Program, arguments and environment as a channel brought them.
pub(crate) fn command(
    argv: Vec<String>,
    environment: Vec<(String, String)>,
) -> Result<Command, Failure> {
    let mut words = argv.into_iter();
    let program = words.next().filter(|program| !program.is_empty());
    let program = program.ok_or_else(|| Failure::new(Errno::INVAL, "there is no program"))?;
    Ok(Command::new(program).args(words).envs(environment))
}

/// How a worker's process is made, warm or throwaway.
pub(crate) struct WorkerSpec<'a> {
    pub(crate) directory: &'a str,
    pub(crate) umask: u32,
    pub(crate) files_max: rustix::process::Rlimit,
}

/// What a worker is given open.
pub(crate) struct Given<'a> {
    /// Its descriptor 3.
    pub(crate) socket: &'a OwnedFd,
    /// Its descriptor 4.
    pub(crate) modules: Option<&'a OwnedFd>,
    /// Where its output goes, else nowhere.
    pub(crate) log: Option<&'a OwnedFd>,
}

impl WorkerSpec<'_> {
    /// Starts it.
    pub(crate) fn spawn(
        &self,
        command: Command,
        given: &Given<'_>,
        door: Option<&OwnedFd>,
    ) -> Result<Child, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.directory, flags, Mode::empty())
            .map_err(|errno| Failure::new(errno, "the worker's directory"))?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Failure::new(errno, "/dev/null"))?;
        let output = given.log.unwrap_or(&null).as_fd();
        let files_max = self.files_max;
        let mut spawn = Spawn::new(command);
        if let Some(modules) = given.modules {
            spawn = spawn.descriptor(MODULES_DESCRIPTOR, modules.as_fd());
        }
        let child = spawn
            .descriptor(0, null.as_fd())
            .descriptor(1, output)
            .descriptor(2, output)
            .descriptor(3, given.socket.as_fd())
            .directory(directory.as_fd())
            .umask(self.umask)
            .new_session()
            .death_signal(Signal::KILL)
            .limit(Resource::Core, 0)
            .before(move || {
                rustix::process::setrlimit(Resource::Nofile, files_max)
                    .map_err(|e| e.to_string())?;
                door.map_or(Ok(()), |door| door::enter(door.as_fd(), DOOR_WAIT))
                    .map_err(|e| e.to_string())
            })
            .spawn()?;
        Ok(child)
    }
}
