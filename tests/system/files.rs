//! The file route: what a browser reads of a sandbox, and what nobody reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nesssi_testkit::{World, wait_until};

const RUN: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n    return run_job(req, method_name, [20], ['/bin/sh', '-c', args[0]])\n\
    methods_list = {'run': run}\n";

fn world() -> World {
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    world
}

fn ran(world: &World, script: &str) -> String {
    let session = world.session(Some(&world.alice), "t.run", vec![script.into()]);
    let status = world.ended(Some(&world.alice), &session);
    assert_eq!(status["state"].as_str(), Some("done"), "{status:?}");
    session
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[test]
fn a_file_is_served_whole_in_part_and_conditionally_with_safe_headers() {
    let world = world();
    let session = ran(&world, "printf 0123456789 > data.txt; printf '<script>' > page.html");
    let path = format!("/sandboxes/{session}/data.txt");
    let (head, body) = world.http(&format!("GET {path}"), &[]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, b"0123456789");
    assert_eq!(header(&head, "X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(header(&head, "Referrer-Policy"), Some("no-referrer"));
    assert!(header(&head, "Content-Security-Policy").unwrap().contains("sandbox"), "{head}");
    assert!(header(&head, "Set-Cookie").is_none());
    assert!(header(&head, "Content-Type").unwrap().starts_with("text/plain"));
    let etag = header(&head, "ETag").unwrap().to_owned();
    let (head, body) = world.http(&format!("GET {path}"), &[("If-None-Match", &etag)]);
    assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
    for (range, expected) in [
        ("bytes=0-0", "0"),
        ("bytes=3-5", "345"),
        ("bytes=8-", "89"),
        ("bytes=-2", "89"),
        ("bytes=5-100", "56789"),
    ] {
        let (head, body) = world.http(&format!("GET {path}"), &[("Range", range)]);
        assert!(head.starts_with("HTTP/1.1 206"), "{range}: {head}");
        assert_eq!(body, expected.as_bytes(), "{range}");
    }
    let (head, _) = world.http(&format!("GET {path}"), &[("Range", "bytes=10-")]);
    assert!(head.starts_with("HTTP/1.1 416"), "{head}");
    let (head, body) = world.http(&format!("HEAD {path}"), &[]);
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    assert_eq!(header(&head, "Content-Length"), Some("10"));
    let (head, _) = world.http(&format!("POST {path}"), &[("Content-Length", "0")]);
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
}

#[test]
fn absent_malformed_and_forbidden_are_404_alike() {
    let world = world();
    let session = ran(
        &world,
        "echo x > .hidden; mkdir .dir; echo y > .dir/file; ln -s /etc/passwd link; ln -s / root; mkfifo fifo; \
         mkdir open; echo z > open/file; ln -s open way",
    );
    let (first, nothing) = world.http(&format!("GET /sandboxes/{session}/absent"), &[]);
    let strip = |head: &str| -> String {
        let changing = ["date:", "nesssi-request-id:"];
        let keep = |line: &&str| !changing.iter().any(|c| line.to_lowercase().starts_with(c));
        head.lines().filter(keep).collect::<Vec<_>>().join("\n")
    };
    assert!(first.starts_with("HTTP/1.1 404"), "{first}");
    let zeros = "0".repeat(32);
    let upper = session.to_uppercase();
    let paths = [
        format!("{session}/.hidden"),
        format!("{session}/.dir/file"),
        format!("{session}/.nesssi/record"),
        format!("{session}/link"),
        format!("{session}/root/etc/passwd"),
        format!("{session}/way/file"),
        format!("{session}/fifo"),
        format!("{session}/../{session}/stdout"),
        format!("{session}/open/../stdout"),
        format!("{session}/open/%2e%2e/stdout"),
        format!("{session}/open%2ffile%2f..%2f..%2fstdout"),
        format!("{session}/open%00/file"),
        format!("{session}/open\\file"),
        format!("{session}/%ff"),
        format!("{session}/stdout/"),
        format!("{session}/stdout/x"),
        format!("{zeros}/stdout"),
        "xyz/stdout".to_owned(),
        format!("{}/stdout", &session[..31]),
        format!("{session}0/stdout"),
    ];
    for path in paths {
        let began = Instant::now();
        let (head, body) = world.http(&format!("GET /sandboxes/{path}"), &[]);
        assert_eq!((strip(&head), &body), (strip(&first), &nothing), "{path}");
        assert!(began.elapsed() < Duration::from_secs(5), "{path} was waited for");
    }
    if upper != session {
        assert!(
            world
                .http(&format!("GET /sandboxes/{upper}/stdout"), &[])
                .0
                .starts_with("HTTP/1.1 404")
        );
    }
    assert_eq!(world.file(&session, "open/file"), (200, "z\n".to_owned()));
}

#[test]
fn the_directory_page_lists_what_is_served_and_escapes_names() {
    let world = world();
    let session = ran(
        &world,
        "echo > '<img src=x onerror=alert(1)>.txt'; echo > .hidden; mkdir sub; mkfifo fifo",
    );
    let (head, body) = world.http(&format!("GET /sandboxes/{session}/"), &[]);
    let page = String::from_utf8(body).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200")
            && header(&head, "Content-Type").unwrap().starts_with("text/html")
    );
    assert!(page.contains("&lt;img") && !page.contains("<img"), "{page}");
    assert!(page.contains("sub/") && page.contains("stdout"), "{page}");
    assert!(
        !page.contains(".hidden") && !page.contains("fifo") && !page.contains(".nesssi"),
        "{page}"
    );
    let (head, body) =
        world.http(&format!("GET /sandboxes/{session}/"), &[("Accept", "application/json")]);
    assert!(header(&head, "Content-Type").unwrap().contains("json"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("\"stdout\""));
    let (head, _) = world.http(&format!("GET /sandboxes/{session}"), &[]);
    assert!(head.starts_with("HTTP/1.1 30"), "{head}");
}

#[test]
fn follow_streams_until_the_job_has_ended() {
    let world = world();
    let script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.4; done";
    let session = world.session(Some(&world.alice), "t.run", vec![script.into()]);
    wait_until("the first line is there", 20, || {
        world.file(&session, "stdout").1.contains("line 1").then_some(())
    });
    let (head, body) = world.http(&format!("GET /sandboxes/{session}/stdout?follow"), &[]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let text = String::from_utf8_lossy(&body).into_owned();
    for number in 1..=5 {
        assert!(text.contains(&format!("line {number}\n")), "{text}");
    }
}

#[test]
fn truncation_ends_a_followed_stream() {
    let world = world();
    let script = "echo 0123456789; sleep 2; : > stdout; sleep 30";
    let session = world.session(Some(&world.alice), "t.run", vec![script.into()]);
    wait_until("the line is there", 20, || {
        (world.file(&session, "stdout").1.len() == 11).then_some(())
    });
    let mut stream = TcpStream::connect(world.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let request = format!(
        "GET /sandboxes/{session}/stdout?follow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let began = Instant::now();
    // Whether the end is clean or not, it comes well before the job's.
    drop(stream.read_to_end(&mut answer));
    assert!(began.elapsed() < Duration::from_secs(14), "the stream went on");
    assert!(String::from_utf8_lossy(&answer).contains("0123456789"));
    world.call(Some(&world.alice), "job.cancel", vec![session.into()]).unwrap();
}
