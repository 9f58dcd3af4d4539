//! Replies out of an answer's body, for clients.

use std::collections::BTreeMap;

use super::Id;
use super::read::read;
use crate::{Bounds, Fault, FaultCode, Reply, Value};

/// Levels of JSON around a result: batch, response.
const AROUND: usize = 2;

/// The answer to one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The call's id; null where the server could read none.
    pub id: Id,
    /// What the call came to.
    pub reply: Reply,
}

/// Reads the answer to one call, of either version.
///
/// # Errors
/// A fault -32700 (not JSON), -32600 (no answer), 413 (a bound), about the answer.
pub fn decode_reply(body: &[u8], bounds: &Bounds) -> Result<Response, Fault> {
    match read(body, AROUND, bounds)? {
        Value::Struct(members) => response(members),
        _ => Err(no_answer("an answer is an object")),
    }
}

/// Reads the answers to a batch, in the server's order. A server that refuses the whole batch sends
/// one fault without id, which is then all there is.
///
/// # Errors
/// As [`decode_reply`], where any of them is no answer.
pub fn decode_replies(body: &[u8], bounds: &Bounds) -> Result<Vec<Response>, Fault> {
    match read(body, AROUND, bounds)? {
        Value::Struct(members) => Ok(vec![response(members)?]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Struct(members) => response(members),
                _ => Err(no_answer("an answer is an object")),
            })
            .collect(),
        _ => Err(no_answer("an answer is an object, the answers to a batch an array")),
    }
}

fn no_answer(text: &str) -> Fault {
    Fault::new(FaultCode::InvalidRequest, text)
}

fn response(mut members: BTreeMap<String, Value>) -> Result<Response, Fault> {
    match members.remove("jsonrpc") {
        None => {}
        Some(version) if matches!(version.as_str(), Some("2.0" | "1.0")) => {}
        Some(_) => return Err(no_answer("\"jsonrpc\" is not \"2.0\"")),
    }
    let id = members.remove("id").and_then(Id::from_value);
    let id = id.ok_or_else(|| no_answer("an answer without an \"id\""))?;
    // In 1.0 both members are there and one is null.
    let reply = match (members.remove("result"), members.remove("error")) {
        (Some(value), None | Some(Value::Nil)) => Ok(value),
        (None | Some(Value::Nil), Some(Value::Struct(error))) => Err(read_error(error)?),
        (None, None | Some(Value::Nil)) => {
            return Err(no_answer("an answer with neither \"result\" nor \"error\""));
        }
        (None | Some(Value::Nil), Some(_)) => return Err(no_answer("\"error\" is no object")),
        (Some(_), Some(_)) => return Err(no_answer("both a \"result\" and an \"error\"")),
    };
    Ok(Response { id, reply })
}

fn read_error(mut error: BTreeMap<String, Value>) -> Result<Fault, Fault> {
    match (error.remove("code"), error.remove("message")) {
        (Some(Value::Int(code)), Some(Value::String(text))) => {
            Ok(Fault::new(FaultCode::from_number(code), text))
        }
        _ => Err(no_answer("an \"error\" without an integer \"code\" and a string \"message\"")),
    }
}
