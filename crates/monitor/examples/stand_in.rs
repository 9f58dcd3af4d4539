//! A stand-in for gatekeeper and jobmanager, for the monitor's tests: it is driven by the test over a
//! socket beside the root of sandboxes, and passes records on in both directions.
//!
//! From the test: one byte of order, then what belongs to it. `f` forwards the rest as a record to the
//! monitor, `x` exits with the code that follows, `c` closes the channel to the monitor and stays, `d` goes
//! through the leaf's door that comes as a descriptor, `p` tells what this process has. To the test: `m` and a record from the monitor
//! with its descriptors, `a` and an answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "part of the tests"
)]

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use nesssi_privsep::messages::FromMonitor;
use nesssi_privsep::wire::{Field, Reader, WireError, Writer};
use nesssi_privsep::{Channel, ChannelError, Received, channel, door, sys};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The bytes of a record as they are, behind version and id.
struct Raw(Vec<u8>);

impl Field for Raw {
    fn put(&self, out: &mut Writer) {
        self.0.iter().for_each(|byte| byte.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut bytes = Vec::new();
        while let Ok(byte) = u8::take(from) {
            bytes.push(byte);
        }
        Ok(Self(bytes))
    }
}

fn main() {
    // What came by exec, before anything is opened here.
    let descriptors = descriptors();
    let name = std::env::args().next().unwrap_or_default();
    let monitor = Channel::from_fd(sys::inherited(3).unwrap());
    let mut first = None;
    let root = if name.ends_with("gatekeeper") {
        let welcome = monitor.receive::<FromMonitor>().unwrap();
        let FromMonitor::Welcome { config_text, .. } = &welcome.message else { panic!("welcome") };
        let root = value_of(config_text, "root");
        first = Some(welcome);
        root
    } else {
        std::env::args().nth(4).map(PathBuf::from).unwrap().parent().unwrap().to_owned()
    };
    let test = connect(&root.parent().unwrap().join("stand-in.sock"));
    let arguments: Vec<String> = std::env::args().collect();
    let environment: Vec<String> =
        std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let hello = format!(
        "{}\n{}\n{}\n{}",
        std::process::id(),
        arguments.join(" "),
        environment.join(" "),
        descriptors.join(" ")
    );
    say(&test, b'h', hello.as_bytes(), &[]);
    if let Some(Received { id, message, descriptors }) = first {
        let record = channel::encode(id, &message).unwrap();
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        say(&test, b'm', &record[1..], &borrowed);
    }
    relay(&test, monitor);
}

fn relay(test: &Channel, monitor: Channel) {
    let mut monitor = Some(monitor);
    loop {
        let mut polled = vec![PollFd::new(test, PollFlags::IN)];
        polled.extend(monitor.as_ref().map(|monitor| PollFd::new(monitor, PollFlags::IN)));
        poll(&mut polled, None).unwrap();
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        drop(polled);
        if ready.get(1) == Some(&true) {
            // The monitor's end: a gatekeeper or jobmanager exits at once.
            match monitor.as_ref().unwrap().receive::<Raw>() {
                Ok(record) => {
                    let borrowed: Vec<BorrowedFd<'_>> =
                        record.descriptors.iter().map(AsFd::as_fd).collect();
                    let bytes = [&record.id.to_le_bytes()[..], &record.message.0].concat();
                    say(test, b'm', &bytes, &borrowed);
                }
                Err(ChannelError::Closed) => std::process::exit(0),
                Err(error) => panic!("{error}"),
            }
        }
        if ready[0] {
            let Ok(order) = test.receive::<Raw>() else { std::process::exit(0) };
            obey(test, &mut monitor, &order);
        }
    }
}

fn obey(test: &Channel, monitor: &mut Option<Channel>, order: &Received<Raw>) {
    let (kind, rest) = order.message.0.split_first().unwrap();
    match kind {
        b'f' => monitor.as_ref().unwrap().send_bytes(rest, &[]).unwrap(),
        b'x' => std::process::exit(i32::from(rest[0])),
        b'c' => drop(monitor.take()),
        b'd' => {
            let entered = door::enter(order.descriptors[0].as_fd(), Duration::from_secs(5));
            let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap();
            let answer = match entered {
                Ok(()) => format!("entered {cgroup}"),
                Err(error) => format!("refused {error}"),
            };
            say(test, b'a', answer.as_bytes(), &[]);
        }
        other => panic!("order {other}"),
    }
}

fn say(test: &Channel, kind: u8, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    test.send(0, &Raw([&[kind], bytes].concat()), descriptors).unwrap();
}

fn connect(path: &std::path::Path) -> Channel {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    Channel::from_fd(socket)
}

/// A key's text in a configuration.
fn value_of(config: &str, key: &str) -> PathBuf {
    let start = format!("{key} = \"");
    let line = config.lines().find_map(|line| line.strip_prefix(&start)).expect(key);
    line.trim_end_matches('"').into()
}

/// Every open descriptor and what it is.
fn descriptors() -> Vec<String> {
    let mut found: Vec<(i32, String)> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = std::fs::read_link(entry.path()).ok()?.display().to_string();
            // The directory being read.
            (!target.ends_with("/fd")).then_some((number, target))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(number, target)| format!("{number}={target}")).collect()
}
