use super::{Format, MediaType, choose};
use crate::{Dialect, Encoding, FaultCode};

const XML_RPC: &str = "<methodCall/>";
const SOAP_11: &str = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"/>";
const SOAP_12: &str = "<Envelope a='1' xmlns='http://www.w3.org/2003/05/soap-envelope'></Envelope>";
const JSON: &str = " \n{}";

fn media(header: &str) -> MediaType {
    MediaType::parse(header).unwrap()
}

#[track_caller]
fn check(header: &str, body: &str, expected: Format) {
    assert_eq!(choose(&media(header), body.as_bytes()), Ok(expected), "{header}: {body}");
}

#[track_caller]
fn check_mismatch(header: &str, body: &str, dialect: Dialect, text: &str) {
    let mismatch = choose(&media(header), body.as_bytes()).unwrap_err();
    assert_eq!((mismatch.dialect, mismatch.fault.text.as_str()), (dialect, text));
    assert_eq!(mismatch.fault.code, FaultCode::InvalidRequest);
}

#[test]
fn content_type_and_root_decide() {
    check("text/xml", XML_RPC, Format::XmlRpc);
    check("text/xml", SOAP_11, Format::Soap11);
    check("application/xml", XML_RPC, Format::XmlRpc);
    check("application/xml", SOAP_11, Format::Soap11);
    check("application/xml", SOAP_12, Format::Soap12);
    check("application/soap+xml", SOAP_12, Format::Soap12);
    for json in ["application/json", "text/json", "application/json-rpc", "application/jsonrequest"]
    {
        check(json, JSON, Format::JsonRpc);
        check(json, "[]", Format::JsonRpc);
    }
}

#[test]
fn a_root_is_found_behind_what_may_stand_before_it() {
    let before = "\u{FEFF}<?xml version='1.0'?>\n<!-- <a> --><?pi <b>?> ";
    check("text/xml", &format!("{before}{SOAP_11}"), Format::Soap11);
    check("text/xml", &format!("{before}{XML_RPC}"), Format::XmlRpc);
    let utf16: Vec<u8> =
        format!("\u{FEFF}{SOAP_11}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(choose(&media("text/xml; charset=utf-16"), &utf16), Ok(Format::Soap11));
}

#[test]
fn what_has_no_known_root_goes_to_the_first_reader() {
    for body in ["", " ", "x", "<", "<html>", "<a:methodCall/>"] {
        check("text/xml", body, Format::XmlRpc);
        check("application/soap+xml", body, Format::Soap12);
    }
    for body in ["<Envelope/>", "<a:Envelope xmlns:a='urn:b' xmlns='urn:c'/>", "<a:Envelope/>"] {
        check("text/xml", body, Format::Soap11);
        check("application/soap+xml", body, Format::Soap12);
    }
    check("text/xml", "<!DOCTYPE a><methodCall/>", Format::XmlRpc);
    check("text/xml", &format!("<!--{}-->{SOAP_11}", " ".repeat(20_000)), Format::XmlRpc);
    check("application/json", "nonsense", Format::JsonRpc);
    check("application/json", "", Format::JsonRpc);
    assert_eq!(choose(&media("text/json"), b"\xFF\xFE{\0"), Ok(Format::JsonRpc));
}

#[test]
fn contradictions_are_said() {
    check_mismatch(
        "application/json",
        XML_RPC,
        Dialect::JsonRpc2,
        "the content type says JSON, the body is XML",
    );
    check_mismatch(
        "text/json",
        "<a",
        Dialect::JsonRpc1,
        "the content type says JSON, the body is XML",
    );
    check_mismatch(
        "text/xml",
        JSON,
        Dialect::XmlRpc,
        "the content type says XML, the body is JSON",
    );
    check_mismatch(
        "text/xml",
        SOAP_12,
        Dialect::Soap12,
        "an envelope of SOAP 1.2 is sent as application/soap+xml, not as text/xml",
    );
    check_mismatch(
        "application/soap+xml",
        SOAP_11,
        Dialect::Soap11,
        "an envelope of SOAP 1.1 is sent as text/xml, not as application/soap+xml",
    );
    check_mismatch(
        "application/soap+xml",
        XML_RPC,
        Dialect::Soap12,
        "a call of XML-RPC is sent as text/xml, not as application/soap+xml",
    );
    let mismatch = choose(&media("text/xml; charset=utf-16"), b"<a/>").unwrap_err();
    assert_eq!(mismatch.fault.code, FaultCode::Parse);
}

#[test]
fn content_types_are_read() {
    let charset = |header| media(header).charset();
    assert_eq!(charset("text/xml"), None);
    assert_eq!(charset("Text/XML;charset=utf-8"), Some(Encoding::Utf8));
    assert_eq!(charset("text/xml ; Charset=\"ISO-8859-1\" ; x=y;"), Some(Encoding::Latin1));
    assert_eq!(charset("application/json; charset=utf-8; charset=UTF-8"), Some(Encoding::Utf8));
    let soap = media("application/soap+xml; charset=utf-8; action=\"urn:a;\\\"b\"");
    assert_eq!(soap.action(), Some("urn:a;\"b"));
    assert_eq!(soap.refused_in(), Dialect::Soap12);
}

#[test]
fn other_content_types_are_refused() {
    for header in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "multipart/related; type=\"text/xml\"",
        "text/xml, text/plain",
        "text/xmlx",
        "text/xml; charset=utf-7",
        "text/xml; charset=utf-8; charset=iso-8859-1",
        "text/xml; charset",
        "text/xml; charset=\"utf-8",
        "text/xml; charset=utf-8 x",
        "text/xml; =a",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-16",
    ] {
        let fault = MediaType::parse(header).unwrap_err();
        assert_eq!(fault.code, FaultCode::InvalidRequest, "{header}");
    }
}
