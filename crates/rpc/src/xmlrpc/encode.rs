//! Writing: a value's tree is walked with an explicit stack, into one string.

use std::collections::btree_map;
use std::slice;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Forms;
use crate::{Call, Fault, FaultCode, Reply, Value, chars};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes a `methodCall`, for clients.
///
/// # Errors
/// [`FaultCode::InvalidParams`] where a parameter holds what XML cannot carry: a control character,
/// U+FFFE, U+FFFF, or a double that is not finite.
pub fn encode_call(call: &Call) -> Result<Vec<u8>, Fault> {
    let mut out = String::with_capacity(256);
    out.push_str(DECLARATION);
    out.push_str("<methodCall><methodName>");
    out.push_str(call.method.as_str()); // a MethodName holds no markup
    out.push_str("</methodName><params>");
    for (index, value) in call.params.iter().enumerate() {
        out.push_str("<param>");
        push_value(&mut out, value, Forms::Plain).map_err(|what| {
            let text = format!("parameter {} cannot be sent as XML-RPC: {what}", index + 1);
            Fault::invalid_params(text)
        })?;
        out.push_str("</param>");
    }
    out.push_str("</params></methodCall>\n");
    Ok(out.into_bytes())
}

/// Writes a `methodResponse`.
///
/// A value that holds what XML cannot carry is answered as a fault that says so; such characters in a
/// fault's own text become U+FFFD. What is written is always well formed.
#[must_use]
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    encode_reply_in(reply, Forms::Plain)
}

/// Writes a `methodResponse` as [`encode_reply`] does, in the caller's forms.
#[must_use]
pub fn encode_reply_in(reply: &Reply, forms: Forms) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    match reply {
        Ok(value) => match push_response(&mut out, value, forms) {
            Ok(()) => {}
            Err(what) => {
                out.clear();
                let text = format!("the result cannot be sent as XML-RPC: {what}");
                push_fault(&mut out, &Fault::new(FaultCode::Internal, text), forms);
            }
        },
        Err(fault) => push_fault(&mut out, fault, forms),
    }
    out.into_bytes()
}

/// What XML-RPC cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
enum Uncarriable {
    #[error("a {0} holds the character U+{1:04X}, which XML forbids (send it as base64)")]
    Character(&'static str, u32),
    #[error("the double {0} is not finite")]
    Double(f64),
}

impl Uncarriable {
    fn character(place: &'static str) -> impl Fn(char) -> Self {
        move |character| Self::Character(place, u32::from(character))
    }
}

fn push_response(out: &mut String, value: &Value, forms: Forms) -> Result<(), Uncarriable> {
    push_root(out, forms);
    out.push_str("<params><param>");
    push_value(out, value, forms)?;
    out.push_str("</param></params></methodResponse>\n");
    Ok(())
}

fn push_root(out: &mut String, forms: Forms) {
    out.push_str(DECLARATION);
    out.push_str(match forms {
        Forms::Plain => "<methodResponse>",
        Forms::Apache => {
            "<methodResponse xmlns:ex=\"http://ws.apache.org/xmlrpc/namespaces/extensions\">"
        }
    });
}

fn push_fault(out: &mut String, fault: &Fault, forms: Forms) {
    let text = fault.text.replace(|character| !chars::is_allowed(character), "\u{FFFD}");
    push_root(out, forms);
    out.push_str("<fault><value><struct><member><name>faultCode</name><value>");
    push_integer(out, fault.code.number(), forms);
    out.push_str("</value></member><member><name>faultString</name><value><string>");
    // Cannot fail: every character that could make it fail has just been replaced.
    chars::push_text(out, &text).unwrap_or_default();
    out.push_str("</string></value></member></struct></value></fault></methodResponse>\n");
}

/// A container whose members are being written.
enum Open<'a> {
    Array(slice::Iter<'a, Value>),
    Struct(btree_map::Iter<'a, String, Value>),
}

fn push_value(out: &mut String, root: &Value, forms: Forms) -> Result<(), Uncarriable> {
    let mut open = Vec::new();
    open.extend(begin(out, root, forms)?);
    while let Some(innermost) = open.last_mut() {
        let next = match innermost {
            Open::Array(items) => items.next(),
            Open::Struct(members) => match members.next() {
                Some((name, value)) => {
                    out.push_str("<member><name>");
                    chars::push_text(out, name).map_err(Uncarriable::character("member's name"))?;
                    out.push_str("</name>");
                    Some(value)
                }
                None => None,
            },
        };
        match next {
            Some(value) => match begin(out, value, forms)? {
                Some(inner) => open.push(inner),
                None => end_member(out, open.last()),
            },
            None => {
                out.push_str(match innermost {
                    Open::Array(_) => "</data></array></value>",
                    Open::Struct(_) => "</struct></value>",
                });
                open.pop();
                end_member(out, open.last());
            }
        }
    }
    Ok(())
}

/// Writes a scalar whole, or the opening tags of a container, which is given back.
fn begin<'a>(
    out: &mut String,
    value: &'a Value,
    forms: Forms,
) -> Result<Option<Open<'a>>, Uncarriable> {
    out.push_str("<value>");
    match value {
        Value::Nil => out.push_str(match forms {
            Forms::Plain => "<nil/>",
            Forms::Apache => "<ex:nil/>",
        }),
        Value::Bool(truth) => {
            out.push_str(if *truth { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" });
        }
        Value::Int(number) => push_integer(out, *number, forms),
        Value::Double(number) => push_double(out, *number)?,
        Value::String(text) => {
            out.push_str("<string>");
            chars::push_text(out, text).map_err(Uncarriable::character("string"))?;
            out.push_str("</string>");
        }
        Value::DateTime(when) => {
            push(out, format_args!("<dateTime.iso8601>{when}</dateTime.iso8601>"));
        }
        Value::Binary(bytes) => {
            out.push_str("<base64>");
            STANDARD.encode_string(bytes, out);
            out.push_str("</base64>");
        }
        Value::Array(items) => {
            out.push_str("<array><data>");
            return Ok(Some(Open::Array(items.iter())));
        }
        Value::Struct(members) => {
            out.push_str("<struct>");
            return Ok(Some(Open::Struct(members.iter())));
        }
    }
    out.push_str("</value>");
    Ok(None)
}

/// After a value inside `parent`: a struct's member ends with it.
fn end_member(out: &mut String, parent: Option<&Open<'_>>) {
    if let Some(Open::Struct(_)) = parent {
        out.push_str("</member>");
    }
}

fn push_integer(out: &mut String, number: i64, forms: Forms) {
    match (i32::try_from(number), forms) {
        (Ok(small), _) => push(out, format_args!("<int>{small}</int>")),
        (Err(_), Forms::Plain) => push(out, format_args!("<i8>{number}</i8>")),
        (Err(_), Forms::Apache) => push(out, format_args!("<ex:i8>{number}</ex:i8>")),
    }
}

/// Without an exponent, as the specification asks, and with as many digits as bring the same double back.
fn push_double(out: &mut String, number: f64) -> Result<(), Uncarriable> {
    if !number.is_finite() {
        return Err(Uncarriable::Double(number));
    }
    let point = if number.fract() == 0.0 { ".0" } else { "" };
    push(out, format_args!("<double>{number}{point}</double>"));
    Ok(())
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    std::fmt::Write::write_fmt(out, what).unwrap_or_default();
}
