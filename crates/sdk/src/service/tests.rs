//! A service over a socket, with the container's part played by the test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nesssi_service::Description;
use nesssi_service::protocol::{Request as Ask, ToWorker};

use super::*;
use crate::{Bytes, Failure};

fn adder() -> Service {
    Service::new("Adds.")
        .contact("alice@example.org")
        .batch("slurm")
        .method("add", ["a", "b"], "add(a, b)", |_: &Request<'_>, (a, b): (i64, i64)| Ok(a + b))
        .method("who", [], "", |req: &Request<'_>, ()| {
            Ok(vec![req.clarens_dn().to_owned(), req.level().to_owned(), req.method().to_owned()])
        })
        .method("refuse", [], "", |_: &Request<'_>, ()| Err::<(), _>(Failure::fault(7, "no")))
        .method("fail", [], "", |_: &Request<'_>, ()| Ok("x".parse::<i64>()?))
        .method("panic", ["n"], "", |_: &Request<'_>, (n,): (u8,)| Ok(vec![0_i64][usize::from(n)]))
        .method("long", ["bytes"], "", |_: &Request<'_>, (bytes,): (u32,)| {
            Ok(Bytes(vec![0; usize::try_from(bytes)?]))
        })
        .method("job", ["seconds"], "", |req: &Request<'_>, (seconds,): (f64,)| {
            Ok(req.run_job(seconds, None, ["/bin/true", "; rm -rf /"])?)
        })
        .method("elsewhere", [], "", |req: &Request<'_>, ()| {
            Ok(req.run_job_on("pbs", 1.0, None, ["/bin/true"])?)
        })
}

/// The container's end, and the service that runs at the other.
struct Container {
    stream: BufReader<UnixStream>,
    service: JoinHandle<io::Result<()>>,
}

impl Container {
    fn of(service: fn() -> Service) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let service =
            std::thread::spawn(move || service().serve(&Link::new(theirs)).map(|_code| ()));
        Self { stream: BufReader::new(ours), service }
    }

    fn say(&mut self, message: &ToWorker<'_>) {
        let mut line = Vec::new();
        message.write_line(&mut line).unwrap();
        self.stream.get_mut().write_all(&line).unwrap();
    }

    fn hear(&mut self) -> FromWorker {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        FromWorker::parse(line.trim_end().as_bytes()).unwrap()
    }

    fn call(&mut self, name: &str, args: &[Value]) {
        let caller = CallerFacts {
            clarens_dn: "/O=Grid/CN=Alice".into(),
            account: "alice".into(),
            level: "strong".into(),
            cpu_limit: 100,
            protocol: "xmlrpc".into(),
            request_id: "r1".into(),
        };
        let token = Token::from_random([7; 16]);
        let method = format!("adder.{name}");
        self.say(&ToWorker::Call { id: 1, token, method: &method, name, args, caller: &caller });
    }

    fn outcome(&mut self, name: &str, args: &[Value]) -> Outcome {
        self.call(name, args);
        match self.hear() {
            FromWorker::Answer { id: 1, outcome } => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn end(self) -> io::Result<()> {
        drop(self.stream);
        self.service.join().unwrap()
    }
}

fn ready() -> Container {
    let mut container = Container::of(adder);
    assert!(matches!(container.hear(), FromWorker::Ready { methods } if methods.len() == 8));
    container
}

#[test]
fn calls_are_answered_one_after_the_other() {
    let mut container = ready();
    for n in 0..3 {
        let sum = container.outcome("add", &[n.into(), 5.into()]);
        assert_eq!(sum, Outcome::Value(Value::Int(n + 5)));
    }
    let who = ["/O=Grid/CN=Alice", "strong", "adder.who"].map(Value::from);
    assert_eq!(container.outcome("who", &[]), Outcome::Value(Value::Array(who.into())));
    container.say(&ToWorker::Shutdown);
    container.service.join().unwrap().unwrap();
}

#[test]
fn what_is_wrong_is_a_fault_or_an_incident_and_the_next_call_is_answered() {
    let mut container = ready();
    let fault = |code, text: &str| Outcome::Fault { code, text: text.to_owned() };
    assert_eq!(container.outcome("refuse", &[]), fault(7, "no"));
    assert_eq!(
        container.outcome("add", &[Value::Int(1), "x".into()]),
        fault(-32602, "parameter 2 (b): int is expected, string was given")
    );
    assert_eq!(container.outcome("none", &[]), fault(-32601, "no such method: adder.none"));
    for (name, args) in [("fail", vec![]), ("panic", vec![Value::Int(1)])] {
        let outcome = container.outcome(name, &args);
        assert!(
            matches!(&outcome, Outcome::Exception { incident } if incident.len() == 8),
            "{outcome:?}"
        );
    }
    // base64 makes four bytes of three: this line would be longer than the protocol allows.
    let outcome = container.outcome("long", &[Value::Int(13 * 1024 * 1024)]);
    assert!(matches!(outcome, Outcome::Exception { .. }));
    assert_eq!(container.outcome("panic", &[Value::Int(0)]), Outcome::Value(Value::Int(0)));
    container.end().unwrap();
}

#[test]
fn a_job_may_name_its_batch_system() {
    let mut container = ready();
    container.call("elsewhere", &[]);
    let FromWorker::Ask { id, ask: Ok(ask) } = container.hear() else { panic!("no ask") };
    let Ask::RunJob { batch, .. } = ask.request else { panic!("another ask") };
    assert_eq!(batch.as_deref(), Some("pbs"));
    container.say(&ToWorker::Answer { id: &id, outcome: Ok(&Value::from("s")) });
    container.hear();
    container.end().unwrap();
}

#[test]
fn a_job_is_asked_for_with_the_calls_token_and_words_that_no_shell_reads() {
    let mut container = ready();
    for refused in [false, true] {
        container.call("job", &[Value::Int(10)]);
        let FromWorker::Ask { id, ask: Ok(ask) } = container.hear() else { panic!("no ask") };
        assert_eq!(ask.token.reveal(), Token::from_random([7; 16]).reveal());
        let Ask::RunJob { method, seconds, session, command, batch } = ask.request else {
            panic!("another ask")
        };
        assert_eq!((method.as_str(), seconds, session, batch), ("adder.job", 10.0, None, None));
        let words = ["/bin/true", "; rm -rf /"].map(|word| word.as_bytes().to_vec());
        assert_eq!(command, nesssi_service::protocol::Command::Argv(words.into()));
        let session = Value::from("ab".repeat(16));
        let answer = if refused { Err((413, "too much")) } else { Ok(&session) };
        container.say(&ToWorker::Answer { id: &id, outcome: answer });
        let expected = match refused {
            false => Outcome::Value(session.clone()),
            true => Outcome::Fault { code: 413, text: "too much".to_owned() },
        };
        assert_eq!(container.hear(), FromWorker::Answer { id: 1, outcome: expected });
    }
    container.end().unwrap();
}

#[test]
fn a_worker_whose_container_goes_in_the_middle_of_a_call_ends() {
    let mut container = ready();
    container.call("job", &[Value::Int(10)]);
    assert!(matches!(container.hear(), FromWorker::Ask { .. }));
    container.end().unwrap();
}

#[test]
fn an_end_that_is_asked_for_in_the_middle_of_a_call_comes_after_its_answer() {
    let mut container = ready();
    container.call("job", &[Value::Int(10)]);
    let FromWorker::Ask { id, .. } = container.hear() else { panic!("no ask") };
    container.say(&ToWorker::Shutdown);
    container.say(&ToWorker::Answer { id: &id, outcome: Ok(&Value::from("x")) });
    assert!(matches!(container.hear(), FromWorker::Answer { id: 1, .. }));
    container.service.join().unwrap().unwrap();
}

#[test]
fn the_description_is_one_that_the_container_reads() {
    let text = nesssi_service::json::to_string(&adder().description()).unwrap();
    let description = Description::parse(&text).unwrap();
    assert_eq!(description.batch.as_deref(), Some("slurm"));
    assert_eq!(description.purpose.as_deref(), Some("Adds."));
    let add = description.methods.iter().find(|method| method.name == "add").unwrap();
    assert_eq!(add.signatures, [["int", "int", "int"].map(str::to_owned)]);
}

#[test]
fn a_service_that_is_described_wrongly_says_so() {
    let twice = || adder().method("add", [], "", |_: &Request<'_>, ()| Ok(()));
    assert_eq!(twice().mistake().unwrap(), "there are two methods add");
    let mut container =
        Container::of(|| Service::new("").method("f", ["a"], "", |_: &Request<'_>, ()| Ok(())));
    let error = "f has 0 parameters, and 1 names for them".to_owned();
    assert_eq!(container.hear(), FromWorker::Broken { error });
}
