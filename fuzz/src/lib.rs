//! What a fuzzer tries: each function takes any bytes, and panics only where a promise is broken.
//!
//! The promises go beyond not panicking: what was read is written and read again as the same, and
//! nothing made up by a fuzzer is ever trusted.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::let_underscore_must_use,
    clippy::missing_panics_doc,
    reason = "a broken promise is told by a panic, and what is tried is often only that it ends"
)]

use std::sync::LazyLock;

use nesssi_dn::SubjectDn;
use nesssi_identity::{Crl, SigningPolicy, TrustDirectory, TrustOptions, judge_chain};
use nesssi_policy::{Access, Ask, Gridmap};
use nesssi_rpc::jsonrpc::{self, Asked, Receipt};
use nesssi_rpc::soap::{
    Endpoint, Reason, ReplyForm, Request, Signature, Style, Version, decode_reply, encode_call,
    encode_reply, escape_name, unescape_name,
};
use nesssi_rpc::wsdl::{Interface, Operation, service_wsdl};
use nesssi_rpc::{
    Bounds, Call, Fault, FaultCode, Format, MediaType, MethodName, Mismatch, NamedCall, Value,
    choose, xmlrpc,
};
use rustls_pki_types::CertificateDer;

/// When the chains of the corpus are judged: they were made to be valid then.
pub const CHAIN_NOW_UNIX: i64 = 1_800_000_000;
/// The CA of the corpus, whose key nobody has any more.
const CA: &[u8] = include_bytes!("../testdata/ca.pem");
/// And what it may sign.
const CA_POLICY: &[u8] = include_bytes!("../testdata/ca.signing_policy");

static TRUST: LazyLock<TrustDirectory> = LazyLock::new(|| {
    let files = [("ca.pem", CA), ("ca.signing_policy", CA_POLICY)];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).to_vec();
    let (trust, problems) = TrustDirectory::from_files(files, TrustOptions::default());
    assert!(problems.is_empty(), "{problems:?}");
    trust
});

/// A name in any of its spellings comes back as it was.
pub fn dn(data: &[u8]) {
    if let Ok(name) = SubjectDn::parse_oneline_bytes(data) {
        let again = SubjectDn::parse_oneline(&name.to_oneline());
        assert_eq!(again.as_ref(), Ok(&name), "one-line form");
        assert_eq!(SubjectDn::from_bytes(&name.to_bytes()).as_ref(), Ok(&name), "bytes");
        let again = SubjectDn::parse_rfc4514(&name.to_rfc4514());
        assert_eq!(again.as_ref(), Ok(&name), "RFC 4514");
    }
    let _ = SubjectDn::from_bytes(data).map(|name| assert_eq!(name.to_bytes(), data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = SubjectDn::parse_any(text) {
        assert_eq!(SubjectDn::parse_any(&name.to_oneline()).as_ref(), Ok(&name));
    }
    let _ = nesssi_dn::DnPattern::parse(text);
}

/// No bytes are a caller but the chains that were signed: `data` is certificates, each behind its
/// length in two bytes, the greater first.
pub fn cert_chain(data: &[u8]) {
    let chain = split(data);
    let certificates: Vec<_> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
    if let Ok(identity) = judge_chain(&certificates, &TRUST, CHAIN_NOW_UNIX) {
        // A fuzzer has no key: what passes is a chain of the corpus, perhaps with more behind it.
        assert!(identity.subject.to_oneline().starts_with("/O=NESSSI Fuzz/"), "{identity:?}");
    }
    // The same as files of a trust directory, where names decide what they are read as.
    let files = ["0.pem", "1.crt", "00000000.0", "0.r0"];
    let files = files.iter().zip(chain.iter().chain([&data]));
    let files = files.map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    let _ = TrustDirectory::from_files(files, TrustOptions::default());
}

fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(([high, low], rest)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (part, behind) = rest.split_at(length);
        parts.push(part);
        data = behind;
    }
    parts
}

/// A gridmap that was read is the same after it was written.
pub fn gridmap(data: &[u8]) {
    let Ok((gridmap, _)) = Gridmap::parse_bytes(data) else { return };
    let (again, _) = Gridmap::parse(&gridmap.to_text()).expect("what was written is a gridmap");
    let told = |gridmap: &Gridmap| {
        let entries = gridmap.entries().iter();
        entries.map(|e| format!("{} {:?}", e.subject, e.accounts)).collect::<Vec<_>>()
    };
    assert_eq!(told(&again), told(&gridmap));
    for entry in gridmap.entries() {
        assert!(gridmap.lookup(&entry.subject).is_some());
    }
}

/// An access list of either form admits the same after it was converted.
pub fn access_literal(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(access) = Access::parse(text) else { return };
    let again = Access::parse(&access.to_toml()).expect("what was written is an access list");
    let subject = SubjectDn::parse_oneline("/O=Grid/CN=Alice").ok();
    for (method, subject) in [("echo", subject.as_ref()), ("burn", None), ("", subject.as_ref())] {
        let ask = Ask { method, subject, level: None, groups: &(), now_unix: CHAIN_NOW_UNIX };
        assert_eq!(
            Access::permits(&[&access], &ask).is_ok(),
            Access::permits(&[&again], &ask).is_ok(),
            "{method}"
        );
    }
    let _ = access.remarks();
}

/// Revocation lists.
pub fn crl(data: &[u8]) {
    if let Ok(crl) = Crl::parse(data) {
        assert!(!crl.lists(&[0xff; 40]) || !crl.is_empty());
    }
    let files = [("ca.pem", CA), ("ca.signing_policy", CA_POLICY), ("ca.r0", data)];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).to_vec();
    let (trust, _) = TrustDirectory::from_files(files, TrustOptions::default());
    assert_eq!(trust.len(), 1, "a CRL never takes a CA away");
}

/// Signing policies permit nobody by accident.
pub fn signing_policy(data: &[u8]) {
    let Ok(policy) = SigningPolicy::parse(data) else { return };
    let name = |text| SubjectDn::parse_oneline(text).expect("a name");
    let _ = policy.judge(&name("/O=Grid/CN=CA"), &name("/O=Grid/CN=Alice"));
}

/// A call that was read from any envelope is the same after it was written in each version and style,
/// and so is a reply; a refusal is an answer that clients can read.
pub fn soap(data: &[u8]) {
    let bounds = Bounds::default();
    let read = |body: &[u8], signatures: &[Signature]| -> Result<Call, _> {
        let request = Request::read(body, &bounds, &Endpoint::default())?;
        request.into_call(signatures).map(|(call, _)| call)
    };
    chosen(data);
    soap_reply(data);
    let _ = read(data, &declared());
    match read(data, &[]) {
        Ok(call) => {
            told_apart(data, &[Format::Soap11, Format::Soap12]);
            soap_names(&call);
            for version in [Version::Soap11, Version::Soap12] {
                for style in [Style::Literal, Style::Encoded] {
                    // A leap second can be read and not be written; an escape may make a name too long.
                    let Ok(body) = encode_call(&call, version, style) else { continue };
                    if call.method.as_str().len() < bounds.name_bytes_max / 8 {
                        assert_eq!(read(&body, &[]).as_ref(), Ok(&call), "{version:?} {style:?}");
                    }
                }
            }
        }
        Err(refusal) => {
            let answer = decode_reply(&refusal.encode(), &bounds, &[]).expect("an envelope");
            let fault = answer.expect_err("a refusal is a fault");
            assert!(refusal.reason != Reason::Other || fault == refusal.fault, "{refusal:?}");
        }
    }
}

/// Two ways to call a method of two parameters, of types that are read differently.
fn declared() -> [Signature; 2] {
    ["int string base64", "array struct"]
        .map(|words| Signature::named(&words.split(' ').collect::<Vec<_>>(), &["first", "second"]))
}

/// A reply is the same after it was written.
fn soap_reply(data: &[u8]) {
    let bounds = Bounds::default();
    let _ = decode_reply(data, &bounds, &declared());
    let Ok(reply) = decode_reply(data, &bounds, &[]) else { return };
    let method = MethodName::parse("a.b").expect("a name");
    for version in [Version::Soap11, Version::Soap12] {
        for style in [Style::Literal, Style::Encoded] {
            let body = encode_reply(&reply, &ReplyForm::of(&method, version, style), &[]);
            match decode_reply(&body, &bounds, &[]).expect("what was written is an answer") {
                // A leap second can be read and not be written.
                Err(Fault { code: FaultCode::Internal, .. }) if reply.is_ok() => {}
                again => assert_eq!(again, reply, "{version:?} {style:?}"),
            }
        }
    }
}

/// The names of a call stand in a WSDL, whatever they are.
fn soap_names(call: &Call) {
    let (service, name) = call.method.split();
    let names = [service, name].into_iter().chain(call.params.iter().filter_map(Value::as_str));
    for name in names {
        assert_eq!(unescape_name(&escape_name(name)), name);
    }
    let operation = Operation {
        name: name.to_owned(),
        help: call.params.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
        signatures: declared().to_vec(),
    };
    let wsdl = service_wsdl(&Interface {
        name: service.to_owned(),
        documentation: String::new(),
        address: "https://localhost/clarens/".to_owned(),
        methods: vec![operation],
    });
    // Well formed, and no answer.
    let refused = decode_reply(wsdl.as_bytes(), &Bounds::default(), &[]);
    assert_eq!(refused.expect_err("a WSDL").code, FaultCode::InvalidRequest, "{wsdl}");
}

/// A call or a reply of XML-RPC is the same after it was written, and a refusal is one line.
pub fn xmlrpc(data: &[u8]) {
    let bounds = Bounds::default();
    chosen(data);
    match xmlrpc::decode_request(data, None, &bounds) {
        Ok(request) => {
            told_apart(data, &[Format::XmlRpc]);
            let body = xmlrpc::encode_call(&request.call).expect("what was read can be written");
            assert_eq!(xmlrpc::decode_call(&body, &bounds).as_ref(), Ok(&request.call));
            for param in request.call.params {
                let reply = Ok(param);
                let body = xmlrpc::encode_reply_in(&reply, request.forms);
                assert_eq!(xmlrpc::decode_reply(&body, &bounds), Ok(reply));
            }
        }
        Err(fault) => assert!(!fault.text.contains(char::is_control), "{fault}"),
    }
    if let Ok(reply) = xmlrpc::decode_reply(data, &bounds) {
        let body = xmlrpc::encode_reply(&reply);
        assert_eq!(xmlrpc::decode_reply(&body, &bounds), Ok(reply));
    }
}

/// The same for JSON-RPC, where what is not answered is never answered.
pub fn jsonrpc(data: &[u8]) {
    let bounds = Bounds::default();
    chosen(data);
    match jsonrpc::decode_request(data, &bounds) {
        Ok(request) => {
            told_apart(data, &[Format::JsonRpc]);
            for item in request.items {
                let call = match item.call {
                    Ok(Asked::Listed(call)) => call,
                    Ok(Asked::Named(call)) => ordered(call),
                    Err(_) => continue,
                };
                let id = item.receipt.as_ref().map(|receipt| &receipt.id);
                let body = jsonrpc::encode_call(item.version, id, &call);
                let body = body.expect("what was read can be written");
                // A value may be as deep as a batch leaves room for, or a level deeper.
                let read = jsonrpc::decode_request(&body, &bounds).expect("what was written");
                let again = read.items.first().expect("one call");
                assert_eq!(again.call.as_ref(), Ok(&Asked::Listed(call)));
                assert!(item.receipt.is_some() || again.receipt.is_none());
            }
        }
        Err(fault) => assert!(!fault.text.contains(char::is_control), "{fault}"),
    }
    if let Ok(response) = jsonrpc::decode_reply(data, &bounds) {
        let body = jsonrpc_answer(jsonrpc::Shape::One, std::slice::from_ref(&response));
        assert_eq!(jsonrpc::decode_reply(&body, &bounds), Ok(response));
    }
    if let Ok(responses) = jsonrpc::decode_replies(data, &bounds)
        && !responses.is_empty()
    {
        let body = jsonrpc_answer(jsonrpc::Shape::Batch, &responses);
        assert_eq!(jsonrpc::decode_replies(&body, &bounds), Ok(responses));
    }
}

fn jsonrpc_answer(shape: jsonrpc::Shape, responses: &[jsonrpc::Response]) -> Vec<u8> {
    let receipt = |id: &jsonrpc::Id| Receipt { version: jsonrpc::Version::V2, id: id.clone() };
    let receipts: Vec<_> = responses.iter().map(|response| receipt(&response.id)).collect();
    let replies = responses.iter().map(|response| &response.reply);
    jsonrpc::encode_answer(shape, receipts.iter().zip(replies)).expect("an answer")
}

/// Every content type that calls are sent with.
const MEDIA_TYPES: [&str; 6] = [
    "text/xml",
    "text/xml; charset=iso-8859-1",
    "application/xml; charset=utf-16",
    "application/soap+xml; action=\"a\"",
    "application/json",
    "text/json",
];

/// Which reader a body is for is said of any bytes, and a contradiction in one line; a content type is
/// any bytes too.
fn chosen(data: &[u8]) {
    for media in MEDIA_TYPES {
        let media = MediaType::parse(media).expect("a content type");
        if let Err(Mismatch { fault, .. }) = choose(&media, data) {
            assert!(!fault.text.contains(char::is_control), "{fault}");
        }
    }
    let head = data.get(..128).unwrap_or(data);
    if let Err(fault) = MediaType::parse(&String::from_utf8_lossy(head)) {
        assert!(!fault.text.contains(char::is_control), "{fault}");
    }
}

/// What could be read is sent to the reader that has read it, or refused for its content type.
fn told_apart(data: &[u8], formats: &[Format]) {
    // What begins further behind is not looked at.
    if data.len() > 8 * 1024 {
        return;
    }
    for media in MEDIA_TYPES.iter().filter(|media| !media.contains("charset")) {
        let media = MediaType::parse(media).expect("a content type");
        if let Ok(format) = choose(&media, data) {
            assert!(formats.contains(&format), "{format:?}");
        }
    }
}

/// The call for a method whose parameters have the very names, in the order of the alphabet.
fn ordered(call: NamedCall) -> Call {
    let names: Vec<String> = call.params.keys().cloned().collect();
    let _ = call.clone().in_order(&["a", "b"], &[["any"; 2]]);
    let ordered = call.in_order::<[&str; 0], &str>(&names, &[]).expect("every name is there");
    assert!(names.len() == ordered.params.len(), "{names:?}: {ordered:?}");
    ordered
}
