//! Decoding of calls, against quick-xml alone that reads the same text, and serde_json for JSON; and
//! how long it takes to write the same values.

use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use nesssi_rpc::soap::{Endpoint, Request, Style, Version};
use nesssi_rpc::{Bounds, Call, MethodName, Value, jsonrpc, soap, xmlrpc};
use quick_xml::Reader;
use quick_xml::events::Event;

#[derive(Parser)]
struct Arguments {
    /// How long each measurement takes, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    ms: u64,
    /// One sample alone.
    #[arg(long)]
    only: Option<String>,
    /// One dialect alone.
    #[arg(long)]
    dialect: Option<String>,
    /// Writes what would be decoded into this folder, as SAMPLE.DIALECT, and measures nothing.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() {
    let Arguments { ms, only, dialect, write } = Arguments::parse();
    let mut figures = serde_json::Map::new();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for (name, params) in samples().into_iter().filter(|(name, _)| wanted(name)) {
        let call = Call { method: MethodName::parse("echo.echo").unwrap(), params };
        if let Some(folder) = &write {
            for (dialect, body) in bodies(&call) {
                std::fs::write(folder.join(format!("{name}.{dialect}")), body).unwrap();
            }
            continue;
        }
        figures.insert(name.to_owned(), measure(&call, Duration::from_millis(ms), dialect.as_deref()));
    }
    let _ = writeln!(std::io::stdout(), "{}", serde_json::Value::Object(figures));
}

/// What is decoded: a small call, and arrays and texts of about a megabyte.
fn samples() -> Vec<(&'static str, Vec<Value>)> {
    let numbers = (0..60_000).map(|n| Value::Int(n * 37 % 100_000)).collect();
    let texts = (0..20_000).map(|n| Value::from(format!("a text of some words, number {n}")));
    let record = |n: i64| {
        Value::record([
            ("name", Value::from(format!("M {n}"))),
            ("ra", Value::Double(n as f64 / 7.0)),
            ("dec", Value::Double(n as f64 / -11.0)),
            ("flag", Value::Bool(n % 2 == 0)),
        ])
    };
    let bytes = (0..7_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        ("small", vec![Value::from("Hello"), Value::Int(3)]),
        ("ints", vec![Value::Array(numbers)]),
        ("texts", vec![Value::Array(texts.collect())]),
        ("structs", vec![Value::Array((0..5_000).map(record).collect())]),
        ("base64", vec![Value::Binary(bytes)]),
    ]
}

/// The call in every dialect.
fn bodies(call: &Call) -> [(&'static str, Vec<u8>); 4] {
    let id = jsonrpc::Id::Int(1);
    [
        ("xmlrpc", xmlrpc::encode_call(call).unwrap()),
        ("soap11", soap::encode_call(call, Version::Soap11, Style::Literal).unwrap()),
        ("soap12", soap::encode_call(call, Version::Soap12, Style::Encoded).unwrap()),
        ("jsonrpc", jsonrpc::encode_call(jsonrpc::Version::V2, Some(&id), call).unwrap()),
    ]
}

fn bounds() -> Bounds {
    Bounds { elements_max: 1_000_000, ..Bounds::default() }
}

fn measure(call: &Call, for_each: Duration, only: Option<&str>) -> serde_json::Value {
    let bounds = bounds();
    let [(_, xml), (_, literal), (_, encoded), (_, json)] = bodies(call);
    let from_soap = |body: &[u8]| {
        Request::read(body, &bounds, &Endpoint::default()).unwrap().into_call(&[]).unwrap().0
    };
    // What is measured is right.
    assert_eq!(xmlrpc::decode_call(&xml, &bounds).unwrap(), *call);
    assert_eq!(from_soap(&literal), *call);
    assert_eq!(from_soap(&encoded), *call);
    let measured: [(&str, &dyn Fn(), &dyn Fn()); 4] = [
        ("xmlrpc", &|| drop(black_box(xmlrpc::decode_call(&xml, &bounds))), &|| events(&xml)),
        ("soap11", &|| drop(black_box(from_soap(&literal))), &|| events(&literal)),
        ("soap12", &|| drop(black_box(from_soap(&encoded))), &|| events(&encoded)),
        ("jsonrpc", &|| drop(black_box(jsonrpc::decode_request(&json, &bounds))), &|| {
            drop(black_box(serde_json::from_slice::<serde_json::Value>(&json)));
        }),
    ];
    let id = jsonrpc::Id::Int(1);
    let written: [&dyn Fn(); 4] = [
        &|| drop(black_box(xmlrpc::encode_call(call))),
        &|| drop(black_box(soap::encode_call(call, Version::Soap11, Style::Literal))),
        &|| drop(black_box(soap::encode_call(call, Version::Soap12, Style::Encoded))),
        &|| drop(black_box(jsonrpc::encode_call(jsonrpc::Version::V2, Some(&id), call))),
    ];
    let mut figures = serde_json::Map::new();
    figures.insert("bytes".to_owned(), xml.len().into());
    for ((dialect, decode, alone), write) in measured.into_iter().zip(written) {
        if only.is_none_or(|only| only == dialect) {
            let (ours, reference) = side_by_side(decode, alone, for_each);
            let speed = reference / ours;
            let (write, _) = side_by_side(write, &|| (), for_each / 2);
            let figure = serde_json::json!({
                "us": ours * 1e6, "alone_us": reference * 1e6, "speed": speed, "write_us": write * 1e6,
            });
            figures.insert(dialect.to_owned(), figure);
        }
    }
    figures.into()
}

/// quick-xml alone: every event, and nothing made of it.
fn events(text: &[u8]) {
    let mut reader = Reader::from_str(std::str::from_utf8(text).unwrap());
    loop {
        match black_box(reader.read_event().unwrap()) {
            Event::Eof => return,
            _ => continue,
        }
    }
}

/// Seconds of one run of each, by turns, the least of several rounds: a neighbour on the machine
/// makes a run longer, nothing makes it shorter.
fn side_by_side(a: &dyn Fn(), b: &dyn Fn(), for_each: Duration) -> (f64, f64) {
    const ROUNDS: u32 = 12;
    let mut least = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        least.0 = least.0.min(seconds_of(a, for_each / ROUNDS));
        least.1 = least.1.min(seconds_of(b, for_each / ROUNDS));
    }
    least
}

fn seconds_of(run: &dyn Fn(), at_least: Duration) -> f64 {
    let began = Instant::now();
    let mut runs = 0_u32;
    loop {
        run();
        runs += 1;
        let taken = began.elapsed();
        if taken >= at_least {
            return taken.as_secs_f64() / f64::from(runs);
        }
    }
}
