//! Values into JSON text: a tree is walked with an explicit stack, into one string.

use std::collections::btree_map;
use std::slice;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Id, Receipt, Shape, TAG, Version};
use crate::{Call, Fault, FaultCode, Reply, Value, chars};

/// Writes one call, for clients; without `id` a notification.
///
/// # Errors
/// [`FaultCode::InvalidParams`] where a parameter or the id holds what no dialect can carry: a
/// control character, U+FFFE, U+FFFF, or a double that is not finite.
pub fn encode_call(version: Version, id: Option<&Id>, call: &Call) -> Result<Vec<u8>, Fault> {
    let mut out = String::with_capacity(256);
    push_call(&mut out, version, id, call)?;
    out.push('\n');
    Ok(out.into_bytes())
}

/// Writes a batch of calls and notifications of version 2.0, for clients. An empty one is no request.
///
/// # Errors
/// As [`encode_call`].
pub fn encode_batch<'a>(
    calls: impl IntoIterator<Item = (Option<&'a Id>, &'a Call)>,
) -> Result<Vec<u8>, Fault> {
    let mut out = String::with_capacity(1024);
    let mut before = '[';
    for (id, call) in calls {
        out.push(before);
        push_call(&mut out, Version::V2, id, call)?;
        before = ',';
    }
    if out.is_empty() {
        out.push('[');
    }
    out.push_str("]\n");
    Ok(out.into_bytes())
}

/// Writes the answers to a request, each in its call's version; `None` where there is nothing to
/// answer, since all calls were notifications.
///
/// A value that holds what no dialect can carry is answered as a fault that says so; such characters
/// in a fault's own text become U+FFFD. What is written is always JSON. A request of one call is
/// answered with the first of the answers.
#[must_use]
pub fn encode_answer<'a>(
    shape: Shape,
    answers: impl IntoIterator<Item = (&'a Receipt, &'a Reply)>,
) -> Option<Vec<u8>> {
    let mut out = String::with_capacity(256);
    let mut before = '[';
    for (receipt, reply) in answers {
        if shape == Shape::Batch {
            out.push(before);
        }
        push_response(&mut out, receipt, reply);
        before = ',';
        if shape == Shape::One {
            break;
        }
    }
    if out.is_empty() {
        return None;
    }
    out.push_str(match shape {
        Shape::One => "\n",
        Shape::Batch => "]\n",
    });
    Some(out.into_bytes())
}

/// Writes the answer to a body that no call could be read from: the fault, with the id null.
#[must_use]
pub fn encode_refusal(version: Version, fault: &Fault) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    push_response(&mut out, &Receipt { version, id: Id::Null }, &Err(fault.clone()));
    out.push('\n');
    out.into_bytes()
}

/// What no text and no number can be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
enum Uncarriable {
    #[error("a {0} holds the character U+{1:04X}, which no text may hold (send it as binary)")]
    Character(&'static str, u32),
    #[error("the double {0} is not finite")]
    Double(f64),
}

fn push_call(
    out: &mut String,
    version: Version,
    id: Option<&Id>,
    call: &Call,
) -> Result<(), Fault> {
    out.push_str(match version {
        Version::V1 => "{\"method\":\"",
        Version::V2 => "{\"jsonrpc\":\"2.0\",\"method\":\"",
    });
    out.push_str(call.method.as_str()); // a MethodName needs no escapes
    out.push_str("\",\"params\":[");
    for (index, value) in call.params.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_value(out, value).map_err(|what| {
            let text = format!("parameter {} cannot be sent as JSON: {what}", index + 1);
            Fault::invalid_params(text)
        })?;
    }
    out.push(']');
    let id = match (version, id) {
        (Version::V2, None) => None,
        (Version::V1, None) => Some(&Id::Null),
        (_, Some(id)) => Some(id),
    };
    if let Some(id) = id {
        out.push_str(",\"id\":");
        push_id(out, id).map_err(|what| {
            Fault::invalid_params(format!("the id cannot be sent as JSON: {what}"))
        })?;
    }
    out.push('}');
    Ok(())
}

fn push_response(out: &mut String, receipt: &Receipt, reply: &Reply) {
    out.push_str(match receipt.version {
        Version::V1 => "{",
        Version::V2 => "{\"jsonrpc\":\"2.0\",",
    });
    match reply {
        Ok(value) => {
            let start = out.len();
            out.push_str("\"result\":");
            match push_value(out, value) {
                Ok(()) if receipt.version == Version::V1 => out.push_str(",\"error\":null"),
                Ok(()) => {}
                Err(what) => {
                    out.truncate(start);
                    let text = format!("the result cannot be sent as JSON: {what}");
                    push_error(out, receipt.version, &Fault::new(FaultCode::Internal, text));
                }
            }
        }
        Err(fault) => push_error(out, receipt.version, fault),
    }
    out.push_str(",\"id\":");
    let start = out.len();
    if push_id(out, &receipt.id).is_err() {
        // An id that was read can be written; one made up by other code may not.
        out.truncate(start);
        out.push_str("null");
    }
    out.push('}');
}

fn push_error(out: &mut String, version: Version, fault: &Fault) {
    let text = fault.text.replace(|character| !chars::is_allowed(character), "\u{FFFD}");
    if version == Version::V1 {
        out.push_str("\"result\":null,");
    }
    push(out, format_args!("\"error\":{{\"code\":{},\"message\":", fault.code.number()));
    // Cannot fail: every character that could make it fail has just been replaced.
    push_string(out, &text, "text").unwrap_or_default();
    out.push('}');
}

fn push_id(out: &mut String, id: &Id) -> Result<(), Uncarriable> {
    match id {
        Id::Null => out.push_str("null"),
        Id::Int(number) => push(out, format_args!("{number}")),
        Id::Double(number) => push_double(out, *number)?,
        Id::String(text) => push_string(out, text, "string")?,
    }
    Ok(())
}

/// A container whose members are being written.
enum Open<'a> {
    Array(slice::Iter<'a, Value>),
    /// With what is written at its end.
    Struct(btree_map::Iter<'a, String, Value>, &'static str),
}

fn push_value(out: &mut String, root: &Value) -> Result<(), Uncarriable> {
    let mut open = Vec::new();
    open.extend(begin(out, root)?);
    let mut is_first = true;
    while let Some(innermost) = open.last_mut() {
        let next = match innermost {
            Open::Array(items) => items.next().map(|value| (None, value)),
            Open::Struct(members, _) => members.next().map(|(name, value)| (Some(name), value)),
        };
        let Some((name, value)) = next else {
            out.push_str(match innermost {
                Open::Array(_) => "]",
                Open::Struct(_, end) => end,
            });
            open.pop();
            is_first = false;
            continue;
        };
        if !is_first {
            out.push(',');
        }
        if let Some(name) = name {
            push_string(out, name, "member's name")?;
            out.push(':');
        }
        let inner = begin(out, value)?;
        is_first = inner.is_some();
        open.extend(inner);
    }
    Ok(())
}

/// Writes a scalar whole, or the beginning of a container, which is given back.
fn begin<'a>(out: &mut String, value: &'a Value) -> Result<Option<Open<'a>>, Uncarriable> {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => push(out, format_args!("{number}")),
        Value::Double(number) => push_double(out, *number)?,
        Value::String(text) => push_string(out, text, "string")?,
        Value::DateTime(when) => {
            push(out, format_args!("{{\"{TAG}\":\"datetime\",\"iso\":\"{when}\"}}"));
        }
        Value::Binary(bytes) => {
            push(out, format_args!("{{\"{TAG}\":\"binary\",\"base64\":\""));
            STANDARD.encode_string(bytes, out);
            out.push_str("\"}");
        }
        Value::Array(items) => {
            out.push('[');
            return Ok(Some(Open::Array(items.iter())));
        }
        Value::Struct(members) if members.contains_key(TAG) => {
            push(out, format_args!("{{\"{TAG}\":\"struct\",\"members\":{{"));
            return Ok(Some(Open::Struct(members.iter(), "}}")));
        }
        Value::Struct(members) => {
            out.push('{');
            return Ok(Some(Open::Struct(members.iter(), "}")));
        }
    }
    Ok(None)
}

/// With a point or an exponent, so that it is read as a double, and with as many digits as bring the
/// same one back.
fn push_double(out: &mut String, number: f64) -> Result<(), Uncarriable> {
    if !number.is_finite() {
        return Err(Uncarriable::Double(number));
    }
    push(out, format_args!("{number:?}"));
    Ok(())
}

fn push_string(out: &mut String, text: &str, place: &'static str) -> Result<(), Uncarriable> {
    if let Some((_, character)) = chars::first_forbidden(text) {
        return Err(Uncarriable::Character(place, u32::from(character)));
    }
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\', '\n', '\r', '\t']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        out.push_str(match characters.next() {
            Some('"') => "\\\"",
            Some('\\') => "\\\\",
            Some('\n') => "\\n",
            Some('\r') => "\\r",
            _ => "\\t",
        });
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
    Ok(())
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    std::fmt::Write::write_fmt(out, what).unwrap_or_default();
}
