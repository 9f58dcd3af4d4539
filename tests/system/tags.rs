//! Calls that are sent again: with a tag they are carried out once, whatever was lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nesssi_testkit::{Credential, Value, World, wait_until};

use crate::dialects::{JSON, SOAP_12, soap_12};
use crate::survival::{GATEKEEPER, JOBMANAGER, below, kill};

/// Sends one request; prints status, whether the answer was kept, its session, and the body. With
/// a patience it hangs up after so many seconds, before there is an answer.
const SEND: &str = r#"
import http.client, ssl, sys, time
port, ca, certificate, key, kind, tag, patience, body = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if certificate:
    context.load_cert_chain(certificate, key)
connection = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=60)
headers = {"Content-Type": kind}
if tag:
    headers["NESSSI-Client-Tag"] = tag
connection.request("POST", "/clarens/", body.encode(), headers)
if patience:
    time.sleep(float(patience))
    connection.sock.close()
    sys.exit(0)
answer = connection.getresponse()
print(answer.status, answer.getheader("NESSSI-Answer"), answer.getheader("NESSSI-Session-URL"))
sys.stdout.write(answer.read().decode())
"#;

/// `begin(before, after, folder)` waits, starts a job that leaves a new file in `folder`, waits, and
/// answers the session.
const BEGIN: &str = r#"
import time
from nesssi import run_job
def begin(req, method_name, args: tuple[float, float, str]) -> str:
    """Begins a job."""
    time.sleep(args[0])
    session = run_job(req, method_name, [5], ['/bin/mktemp', args[2] + '/XXXXXXXX'])
    time.sleep(args[1])
    return session
def count(req, method_name, args):
    with open(args[0] + '/calls', 'a') as calls:
        calls.write('x')
    return len(open(args[0] + '/calls').read())
methods_list = {'begin': begin, 'count': count}
"#;

struct Answer {
    status: u16,
    again: bool,
    url: Option<String>,
    text: String,
}

fn sender(
    world: &World,
    who: Option<&Credential>,
    kind: &str,
    tag: &str,
    patience: &str,
    body: &str,
) -> Child {
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (certificate, key) =
        who.map(|who| (path(&who.certificate), path(&who.key))).unwrap_or_default();
    let port = world.https.port().to_string();
    Command::new("/usr/bin/python3")
        .args(["-c", SEND, &port, &path(&world.grid.ca_file()), &certificate, &key])
        .args([kind, tag, patience, body])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn send(world: &World, who: Option<&Credential>, kind: &str, tag: &str, body: &str) -> Answer {
    let output = sender(world, who, kind, tag, "", body).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, text) = text.split_once('\n').expect("an answer");
    let words: Vec<&str> = head.split(' ').collect();
    Answer {
        status: words[0].parse().unwrap(),
        again: words[1] == "again",
        url: Some(words[2]).filter(|url| *url != "None").map(str::to_owned),
        text: text.to_owned(),
    }
}

fn xml(method: &str, params: &[&str]) -> String {
    let params: String =
        params.iter().map(|param| format!("<param><value>{param}</value></param>")).collect();
    format!("<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>")
}

/// A call of `t.begin` in XML-RPC, JSON-RPC and SOAP.
fn begin(before: &str, after: &str, folder: &str) -> [(&'static str, String); 3] {
    let double = |number: &str| format!("<double>{number}</double>");
    let words = [&*double(before), &*double(after), folder];
    let json = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"t.begin","params":[{before},{after},"{folder}"]}}"#
    );
    let soap = format!(
        "<w:begin xmlns:w=\"urn:nesssi:t\"><w:arg0>{before}</w:arg0><w:arg1>{after}</w:arg1>\
         <w:arg2>{folder}</w:arg2></w:begin>"
    );
    [("text/xml", xml("t.begin", &words)), (JSON, json), (SOAP_12, soap_12(&soap))]
}

fn world() -> World {
    let mut world = World::builder().key("job", "submit_levels = [\"strong\"]").build();
    world.service("t", BEGIN, Some("allow = [\"/\"]\nanonymous = true"));
    world.start_server();
    world
}

/// A folder in which anybody's job may leave a file.
fn folder(world: &World, name: &str) -> String {
    let folder = world.path().join(name);
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// How many jobs have begun there.
fn starts(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// The session in an answer, or in the text of a fault.
fn session_in(text: &str) -> Option<String> {
    let is_hex = |word: &&str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    text.split(|c: char| !c.is_ascii_alphanumeric()).find(is_hex).map(str::to_owned)
}

#[test]
fn an_answer_lost_with_its_connection_is_had_again_in_every_dialect_and_after_a_restart() {
    let mut world = world();
    let starts_in = folder(&world, "starts");
    let calls = begin("0.2", "0.8", &starts_in);
    let alice = world.alice.clone();
    let (kind, body) = &calls[0];
    // Hangs up before its job is begun, and another time while the call still runs.
    assert!(sender(&world, Some(&alice), kind, "lost-1", "0.05", body).wait().unwrap().success());
    let first = send(&world, Some(&alice), kind, "lost-1", body);
    assert_eq!((first.status, first.again), (200, true), "{}", first.text);
    let session = session_in(&first.text).unwrap();
    assert!(first.url.as_deref().unwrap().contains(&session));
    assert_eq!(world.ended(Some(&alice), &session)["state"], Value::from("done"));
    assert_eq!(starts(&starts_in), 1);

    let all_again = |world: &World| {
        for (kind, body) in &calls {
            let again = send(world, Some(&alice), kind, "lost-1", body);
            assert_eq!((again.status, again.again), (200, true), "{kind} {}", again.text);
            assert_eq!(session_in(&again.text).as_ref(), Some(&session));
            assert_eq!(again.url, first.url);
        }
    };
    all_again(&world);
    // As the member of a last struct, too.
    let tag =
        "<struct><member><name>nesssi_client_tag</name><value>lost-1</value></member></struct>";
    let words = ["<double>0.2</double>", "<double>0.8</double>", &*starts_in, tag];
    let again = send(&world, Some(&alice), "text/xml", "", &xml("t.begin", &words));
    assert!(again.again, "{}", again.text);
    let other = begin("0.2", "0.9", &starts_in);
    let refused = send(&world, Some(&alice), kind, "lost-1", &other[0].1);
    assert!(refused.text.contains("<int>409</int>"), "{}", refused.text);

    world.stop_server();
    world.start_server();
    all_again(&world);
    let gatekeepers = below(world.server().pid(), GATEKEEPER);
    gatekeepers.into_iter().for_each(kill);
    wait_until("the next gatekeeper answers", 30, || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all_again(&world))).ok()
    });
    let seen = world.call(Some(&alice), "system.last_call", vec!["lost-1".into()]).unwrap();
    assert_eq!(seen.member("state").and_then(Value::as_str), Some("done"), "{seen:?}");
    assert_eq!(seen.member("value").and_then(Value::as_str), Some(&*session));
    assert_eq!(seen.member("url").and_then(Value::as_str), first.url.as_deref());
    assert_eq!(starts(&starts_in), 1, "one job, however often it was asked for");
}

/// How often the server is killed in the middle of a call.
const KILLS: u32 = 8;

#[test]
fn a_server_killed_in_the_middle_of_a_call_starts_nothing_twice() {
    let mut world = world();
    let alice = world.alice.clone();
    // One that is warm, so that the kills come while the call is carried out.
    let warm = folder(&world, "warm");
    let [(kind, body), ..] = begin("0", "0", &warm);
    send(&world, Some(&alice), kind, "", &body);
    for kill_number in 0..KILLS {
        let starts_in = folder(&world, &format!("starts{kill_number}"));
        let is_submission = kill_number % 2 == 1;
        let (body, window_ms) = if is_submission {
            let command = format!(
                "<array><data><value>/bin/mktemp</value><value>{starts_in}/XXXXXXXX</value></data></array>"
            );
            (xml("job.submit", &[&command, "<double>5</double>"]), 120)
        } else {
            let [(_, body), ..] = begin("0.15", "0.15", &starts_in);
            (body, 450)
        };
        let (kind, tag) = ("text/xml", format!("killed-{kill_number}"));
        let mut lost = sender(&world, Some(&alice), kind, &tag, "", &body);
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let pause_ms = 60 + u64::from(nanos.subsec_micros()) % window_ms;
        sleep(Duration::from_millis(pause_ms));
        let monitor = world.server().pid();
        let mut victims = below(monitor, GATEKEEPER);
        victims.extend(below(monitor, JOBMANAGER));
        kill(monitor.cast_signed());
        victims.into_iter().for_each(kill);
        wait_until("the monitor is gone", 10, || world.server().ended());
        world.server = None;
        lost.wait().unwrap();
        world.start_server();

        let told = send(&world, Some(&alice), kind, &tag, &body);
        let what = format!("killed after {pause_ms} ms: {}", told.text);
        if told.text.contains("<fault>") {
            assert!(told.text.contains("<int>409</int>"), "{what}");
            assert!(!is_submission || session_in(&told.text).is_none(), "{what}");
        }
        match session_in(&told.text) {
            Some(session) => {
                let ended = world.ended(Some(&alice), &session);
                // One whose start the kill has cut off is started anew.
                assert_eq!(ended["state"], Value::from("done"), "{what} {ended:?}");
                assert_eq!(starts(&starts_in), 1, "{what} {ended:?}");
            }
            None => {
                assert!(told.text.contains("the call is lost"), "{what}");
                // Time enough for what might have been begun all the same.
                sleep(Duration::from_millis(300));
                assert_eq!(starts(&starts_in), 0, "{what}");
            }
        }
        let again = send(&world, Some(&alice), kind, &tag, &body);
        assert_eq!(session_in(&again.text), session_in(&told.text), "{what}");
        let seen = world.call(Some(&alice), "system.last_call", vec![tag.as_str().into()]).unwrap();
        let session = seen.member("session").and_then(Value::as_str);
        assert_eq!(session.map(str::to_owned), session_in(&told.text), "{what}");
        assert!(starts(&starts_in) <= 1, "{what}");
    }
}

#[test]
fn two_callers_have_tags_of_their_own_and_anonymous_ones_are_long() {
    let world = world();
    let counts = [folder(&world, "alice"), folder(&world, "bob"), folder(&world, "nobody")];
    let call = |who: Option<&Credential>, folder: &str, tag: &str| {
        send(&world, who, "text/xml", tag, &xml("t.count", &[folder])).text
    };
    let one = "<int>1</int>";
    let (alice, bob) = (Some(&world.alice), Some(&world.bob));
    for _ in 0..3 {
        for (who, folder) in [(alice, &counts[0]), (bob, &counts[1])] {
            let text = call(who, folder, "the-same");
            assert!(text.contains(one) && !text.contains("<fault>"), "{text}");
        }
    }
    let text = call(bob, &counts[0], "the-same");
    assert!(text.contains("<int>409</int>"), "{text}");
    let text = call(None, &counts[2], "the-same");
    assert!(text.contains("<int>-32602</int>"), "{text}");
    for _ in 0..2 {
        let text = call(None, &counts[2], "0123456789abcdef0123456789abcdef");
        assert!(text.contains(one) && !text.contains("<fault>"), "{text}");
    }
    let fault = world.call(None, "system.last_call", vec!["the-same".into()]).unwrap_err();
    assert_eq!(fault.code.number(), 401);
    let unknown = world.call(bob, "system.last_call", vec!["another".into()]).unwrap_err();
    assert_eq!(unknown.code.number(), 404);
}
