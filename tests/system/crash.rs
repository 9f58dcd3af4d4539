//! Every process is killed again and again while jobs are submitted: each is started once, and none is
//! lost.
//!
//! What counts as a start is what the job itself has written, into a file of its own outside the
//! sandboxes. 200 submissions in the gate, 2,000 with `NESSSI_LONG=1`. Shepherds are not killed: the
//! death of one ends its job, which then is `lost` (see `survival`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nesssi_testkit::tokio::runtime::Runtime;
use nesssi_testkit::tokio::task::JoinSet;
use nesssi_testkit::{
    CallOptions, Client, Credential, Error, FaultCode, Slurm, StandInPbs, Tag, Value, World,
    WorldBuilder, skipped, tokio, wait_until,
};

use nesssi_testkit::standin::{Fault, Manner, Starts};

use crate::survival::{GATEKEEPER, JOBMANAGER, below, kill};

/// Those who submit at one time.
const SUBMITTERS: usize = 12;

/// How long one of them waits at most before the next, so that the kills come in between.
const PAUSE_MS: usize = 1_500;

/// A service whose workers are killed too; every fourth submission goes through it.
const RUN: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n    return run_job(req, method_name, [args[0]], [str(a) for a in args[1:]])\n\
    methods_list = {'run': run}\n";

const WORKER: &str = "python3";

/// What becomes of an answer of qsub, or of qsub.
const LOSSES: [Fault; 8] = [
    Fault::LostAfter,
    Fault::SilentAfter,
    Fault::GarbageAfter,
    Fault::Half,
    Fault::HangAfter,
    Fault::KilledAfter,
    Fault::Killed,
    Fault::Hang,
];

/// How long the last jobs may take, on a busy machine.
const ENDED_SECONDS_MAX: u64 = 240;

/// How long between two kills, about.
const KILL_MS: u64 = 300;

fn is_long() -> bool {
    std::env::var("NESSSI_LONG").is_ok_and(|long| long == "1")
}

fn count() -> usize {
    if is_long() { 2_000 } else { 200 }
}

/// Keys of nesssi.toml that let so many jobs in.
fn world(count: usize) -> WorldBuilder {
    let jobs = format!("jobs_at_once = {}", count + 1);
    let queue = format!("queue_max = {}", count + 1);
    World::builder()
        .key("job", "submit_levels = [\"strong\", \"weak\"]")
        .key("batch.local", "slots = 8")
        .key("batch.local", &queue)
        .level("strong", &jobs)
        .level("weak", &jobs)
}

#[test]
fn with_every_process_killed_at_random_each_job_is_started_once() {
    let count = count();
    let mut world = world(count).build();
    world.service("t", RUN, None);
    world.start_server();
    crash(&mut world, count, |_| {});
}

#[test]
fn through_a_batch_system_that_is_slow_and_loses_answers_too() {
    let (count, pbs) = (count() / 2, StandInPbs::start());
    pbs.plan(|plan| plan.slots = 8);
    let keys = pbs.keys();
    let world = batch_world(count, "pbs", &keys).key("batch.pbs", "command_seconds_max = 2");
    let mut world = world.build();
    world.service("t", RUN, None);
    world.start_server();
    crash(&mut world, count, |random| {
        // Another misfortune each time, and each third submission meets it.
        let fault = random.below(u64::try_from(LOSSES.len()).unwrap());
        let fault = Some(LOSSES[usize::try_from(fault).unwrap()].clone());
        let starts = [Starts::Once, Starts::TwiceAtOnce, Starts::Again];
        pbs.plan(|plan| {
            plan.qsub = Manner { delay_ms: 50, fault, every: 3, ..Manner::default() };
            plan.starts = starts[usize::try_from(random.below(3)).unwrap()];
        });
    });
    eprintln!("{} calls of qsub, {} starts of scripts", pbs.calls("qsub"), pbs.starts().len());
}

/// With the full size alone.
#[test]
fn through_slurm_too() {
    if let Some(why) = Slurm::missing() {
        return skipped(&why);
    }
    if !is_long() {
        return;
    }
    let (count, slurm) = (count() / 2, Slurm::start());
    let mut world = batch_world(count, "slurm", &slurm.keys()).build();
    world.service("t", RUN, None);
    world.start_server();
    crash(&mut world, count, |_| {});
}

fn batch_world(count: usize, name: &str, keys: &[String]) -> WorldBuilder {
    let section = format!("batch.{name}");
    let builder = world(count)
        .key("batch", &format!("default = {name:?}"))
        .key(&section, "poll_seconds_min = 1")
        .key(&section, "poll_seconds_max = 5");
    keys.iter().fold(builder, |builder, line| builder.key(&section, line))
}

/// One who submits.
struct Person {
    client: Client,
    credential: Credential,
    account: String,
}

/// A submission that was answered.
#[derive(Debug, Clone)]
struct Submitted {
    number: usize,
    person: usize,
    session: String,
}

/// What the submitters were told on the way, and how often.
type Told = Arc<Mutex<BTreeMap<String, u32>>>;

/// Submits `count` jobs while processes are killed, and holds what became of
/// them against what was answered.
fn crash(world: &mut World, count: usize, mut disturb: impl FnMut(&mut Random)) {
    let starts = folder(world);
    let people: Vec<Arc<Person>> = [
        (&world.alice, &world.accounts.strong),
        (&world.bob, &world.accounts.other),
        (&world.wendy, &world.accounts.weak),
    ]
    .into_iter()
    .map(|(credential, account)| {
        Arc::new(Person {
            client: world.client(Some(credential)),
            credential: credential.clone(),
            account: account.clone(),
        })
    })
    .collect();
    let seed = std::process::id().wrapping_add(u32::try_from(count).unwrap());
    let told = Told::default();
    let begun = Instant::now();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let submitting = submit_all(&runtime, count, &people, &starts, &told);

    let mut random = Random(u64::from(seed) | 1);
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    while !submitting.is_finished() {
        sleep(Duration::from_millis(KILL_MS / 2 + random.below(KILL_MS)));
        disturb(&mut random);
        kill_one(world, &mut random, &mut kills);
        if world.server().ended().is_some() {
            world.server = None;
            world.start_server();
        }
    }
    let submitted = runtime.block_on(submitting).unwrap();
    let taken = begun.elapsed();
    eprintln!(
        "{count} submissions in {taken:.1?}, seed {seed}; killed: {kills:?}; told: {:?}",
        told.lock().unwrap()
    );
    assert!(kills.values().sum::<u32>() >= 10, "{kills:?}");
    check(world, &people, &starts, &submitted, count);
}

/// A folder in which anybody's job may leave a file.
fn folder(world: &World) -> PathBuf {
    let folder = world.path().join("starts");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
    folder
}

/// Numbers that look like none in particular (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn one_of(&mut self, pids: &[i32]) -> Option<i32> {
        let at = self.below(u64::try_from(pids.len()).unwrap());
        pids.get(usize::try_from(at).unwrap()).copied()
    }
}

fn kill_one(world: &mut World, random: &mut Random, kills: &mut BTreeMap<&'static str, u32>) {
    let monitor = world.server().pid();
    let (who, victims): (_, Vec<i32>) = match random.below(8) {
        0 => ("monitor", vec![monitor.cast_signed()]),
        1 => {
            let mut all = vec![monitor.cast_signed()];
            for name in [GATEKEEPER, JOBMANAGER, WORKER] {
                all.extend(below(monitor, name));
            }
            ("all", all)
        }
        2 | 3 => ("gatekeeper", below(monitor, GATEKEEPER)),
        4 => ("worker", random.one_of(&below(monitor, WORKER)).into_iter().collect()),
        _ => ("jobmanager", random.one_of(&below(monitor, JOBMANAGER)).into_iter().collect()),
    };
    if victims.is_empty() {
        return;
    }
    let is_monitor = victims.contains(&monitor.cast_signed());
    victims.into_iter().for_each(kill);
    *kills.entry(who).or_default() += 1;
    if is_monitor {
        wait_until("the monitor is gone", 10, || world.server().ended());
    }
}

fn submit_all(
    runtime: &Runtime,
    count: usize,
    people: &[Arc<Person>],
    starts: &std::path::Path,
    told: &Told,
) -> tokio::task::JoinHandle<Vec<Submitted>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut submitters = JoinSet::new();
    for _ in 0..SUBMITTERS {
        let (next, people, starts) = (Arc::clone(&next), people.to_vec(), starts.to_owned());
        let told = Arc::clone(told);
        submitters.spawn_on(
            async move {
                let mut all = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return all;
                    }
                    let person = number % people.len();
                    let session = submit(&people[person].client, number, &starts, &told).await;
                    all.push(Submitted { number, person, session });
                    let pause_ms = number * 7919 % PAUSE_MS;
                    tokio::time::sleep(Duration::from_millis(pause_ms as u64)).await;
                }
            },
            runtime.handle(),
        );
    }
    runtime.spawn(async move { submitters.join_all().await.into_iter().flatten().collect() })
}

/// Submits until there is an answer, with the same tag as long as it may have been carried out.
async fn submit(client: &Client, number: usize, starts: &std::path::Path, told: &Told) -> String {
    let file = starts.join(number.to_string());
    // One write, at the end of what is there: two starts are two lines.
    let script = format!(
        "printf '%s %s\\n' {number} \"$(id -un)\" | tee -a {}; sleep 0.{}",
        file.to_str().unwrap(),
        number % 10
    );
    let words = ["/bin/sh", "-c", &script].map(Value::from);
    let (method, params) = if number.is_multiple_of(4) {
        ("t.run", [vec![Value::Int(20)], words.to_vec()].concat())
    } else {
        ("job.submit", vec![Value::Array(words.to_vec()), Value::Int(20)])
    };
    let mut again = 0;
    let mut tag = Tag::random().unwrap();
    loop {
        let options = CallOptions { tag: Some(tag.clone()), seconds_max: Some(60) };
        let error = match client.ask_with(method, params.clone(), options).await {
            Ok(answer) => return answer.value.as_str().unwrap().to_owned(),
            Err(error) => error,
        };
        let what = match &error {
            Error::Fault(fault) => format!("{}: {}", fault.code.number(), fault.text),
            Error::Transport(_) => "the connection".to_owned(),
            Error::Setup(wrong) => panic!("{wrong}"),
        };
        // Without the incident, the date and the session.
        tell(told, what.split([',', ':']).take(2).collect::<Vec<_>>().join(":").as_str());
        match error {
            // It was cut off, or its worker was: what it had made is known, and it goes no further.
            Error::Fault(fault)
                if matches!(fault.code, FaultCode::Conflict | FaultCode::Internal) =>
            {
                match made(client, &tag).await {
                    Made::Session(session) => return session,
                    Made::Nothing => tag = Tag::random().unwrap(),
                    Made::Unknown => {}
                }
            }
            _ => {}
        }
        again += 1;
        assert!(again < 200, "{number}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn tell(told: &Told, what: &str) {
    *told.lock().unwrap().entry(what.to_owned()).or_default() += 1;
}

enum Made {
    Session(String),
    Nothing,
    /// The server does not say now.
    Unknown,
}

/// What a call that came to nothing good has made.
async fn made(client: &Client, tag: &Tag) -> Made {
    let Ok(seen) = client.call("system.last_call", vec![tag.as_str().into()]).await else {
        return Made::Unknown;
    };
    match seen.member("session").and_then(Value::as_str) {
        Some(session) => Made::Session(session.to_owned()),
        None => Made::Nothing,
    }
}

/// Holds every job's end, its output and the lines that were written against each other.
fn check(
    world: &mut World,
    people: &[Arc<Person>],
    starts: &std::path::Path,
    submitted: &[Submitted],
    count: usize,
) {
    assert_eq!(submitted.len(), count);
    let sessions: BTreeSet<&str> = submitted.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(sessions.len(), count, "two submissions were given one session");
    let mut wrong = Vec::new();
    let mut listed = 0;
    for (at, person) in people.iter().enumerate() {
        let mine: Vec<&Submitted> = submitted.iter().filter(|one| one.person == at).collect();
        let ends = wait_until("all jobs have ended", ENDED_SECONDS_MAX, || {
            ends(world, &person.credential)
        });
        listed += ends.len();
        for Submitted { number, session, .. } in mine {
            let expected = format!("{number} {}\n", person.account);
            let sandbox = world.path().join("sandboxes").join(&person.account).join(session);
            let output = fs::read_to_string(sandbox.join("stdout"));
            let started = fs::read_to_string(starts.join(number.to_string()));
            let started = started.unwrap_or_else(|error| error.to_string());
            match ends.get(session.as_str()) {
                Some((state, _)) if state == "done" && started == expected => {
                    if output.as_deref().ok() != Some(&expected) {
                        wrong.push(format!("{number} {session}: its output is {output:?}"));
                    }
                }
                Some((state, reason)) => {
                    let line = format!("{number} {session}: {state} ({reason}), wrote {started:?}");
                    wrong.push(line);
                }
                None => wrong.push(format!("{number} {session}: not in the list")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    // Nothing was submitted that nobody was told of.
    assert_eq!(listed, count);
    assert_eq!(fs::read_dir(starts).unwrap().count(), count);
}

/// State and reason of each of a person's sessions that has a job, once all have ended.
fn ends(world: &World, who: &Credential) -> Option<BTreeMap<String, (String, String)>> {
    let Value::Array(all) = world.call(Some(who), "job.list", vec![]).ok()? else { return None };
    let text = |one: &Value, name: &str| {
        one.member(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut ends = BTreeMap::new();
    for one in &all {
        let state = text(one, "state");
        match state.as_str() {
            "queued" | "running" => return None,
            "prepared" => {}
            _ => drop(ends.insert(text(one, "session"), (state, text(one, "reason")))),
        }
    }
    Some(ends)
}
