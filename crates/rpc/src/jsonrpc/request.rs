//! Calls out of a request's body.

use std::collections::BTreeMap;

use super::read::read;
use super::{Id, Receipt, Version};
use crate::telling::quoted;
use crate::{Bounds, Call, Fault, FaultCode, MethodName, NamedCall, Value, multicall};

/// Levels of JSON around a parameter: batch, request, `params`.
const AROUND: usize = 3;

/// One call or a batch of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Whether it is answered with an object or an array.
    pub shape: Shape,
    /// What it holds, in order; exactly one item in [`Shape::One`], at least one in a batch.
    pub items: Vec<Item>,
}

/// How calls came, and how their answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One object.
    One,
    /// An array of objects.
    Batch,
}

/// One call of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Which version it is of.
    pub version: Version,
    /// What it is answered with; `None` for a notification, which is not answered.
    pub receipt: Option<Receipt>,
    /// The call, or the fault that it comes to.
    pub call: Result<Asked, Fault>,
}

/// A call as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// With its parameters in order, or without any.
    Listed(Call),
    /// With its parameters by name, which only 2.0 has.
    Named(NamedCall),
}

impl Asked {
    fn weight(&self) -> usize {
        match self {
            Self::Listed(call) => multicall::weight(call),
            Self::Named(call) => call.weight(),
        }
    }
}

/// Reads a request.
///
/// What is wrong with one call of a batch is the fault of its item: -32600 (no call), -32601 (no
/// method can have the name), -32602 (`params` by name in 1.0).
///
/// # Errors
/// A fault that answers the whole body, see [`encode_refusal`](super::encode_refusal): -32700 (not
/// JSON), -32600 (an empty batch, or neither object nor array; a value that is refused in any place),
/// 413 (a bound, or more calls than `calls_max`, those in multicalls among them).
pub fn decode_request(body: &[u8], bounds: &Bounds) -> Result<Request, Fault> {
    let request = match read(body, AROUND, bounds)? {
        Value::Struct(members) => {
            Request { shape: Shape::One, items: vec![item(members, Shape::One)] }
        }
        Value::Array(calls) if calls.is_empty() => return Err(no_call("a batch without calls")),
        Value::Array(calls) if calls.len() > bounds.calls_max => {
            return Err(multicall::too_many(calls.len(), bounds.calls_max));
        }
        Value::Array(calls) => {
            let items = calls.into_iter().map(batch_item).collect();
            Request { shape: Shape::Batch, items }
        }
        _ => return Err(no_call("a call is an object, a batch an array of objects")),
    };
    let good = request.items.iter().filter_map(|item| item.call.as_ref().ok());
    let weight = good.map(Asked::weight).sum();
    if weight > bounds.calls_max {
        return Err(multicall::too_many(weight, bounds.calls_max));
    }
    Ok(request)
}

fn no_call(text: impl Into<String>) -> Fault {
    Fault::new(FaultCode::InvalidRequest, text)
}

fn batch_item(value: Value) -> Item {
    match value {
        Value::Struct(members) => item(members, Shape::Batch),
        _ => Item {
            version: Version::V2,
            receipt: Some(Receipt { version: Version::V2, id: Id::Null }),
            call: Err(no_call("a call is an object")),
        },
    }
}

/// The id that a request has.
enum Named {
    Absent,
    Id(Id),
    Wrong,
}

fn item(mut members: BTreeMap<String, Value>, shape: Shape) -> Item {
    let id = match members.remove("id").map(Id::from_value) {
        None => Named::Absent,
        Some(Some(id)) => Named::Id(id),
        Some(None) => Named::Wrong,
    };
    let (version, known) = match (members.remove("jsonrpc"), shape) {
        (None, Shape::One) => (Version::V1, Ok(())),
        (None, Shape::Batch) => {
            let text = "in a batch each call has the member \"jsonrpc\": \"2.0\"";
            (Version::V2, Err(no_call(text)))
        }
        (Some(version), _) => match (version.as_str(), shape) {
            (Some("2.0"), _) => (Version::V2, Ok(())),
            (Some("1.0"), Shape::One) => (Version::V1, Ok(())),
            _ => (Version::V2, Err(no_call("\"jsonrpc\" is not \"2.0\""))),
        },
    };
    let asked = known.and_then(|()| parts(members));
    // What is no call cannot be a notification: its sender hears of it.
    let is_notification = asked.is_ok()
        && match version {
            Version::V1 => matches!(id, Named::Id(Id::Null)),
            Version::V2 => matches!(id, Named::Absent),
        };
    let (id, asked) = match id {
        Named::Absent => (Id::Null, asked),
        Named::Id(id) => (id, asked),
        Named::Wrong => (Id::Null, Err(no_call("\"id\" is neither a string, a number nor null"))),
    };
    let receipt = (!is_notification).then_some(Receipt { version, id });
    Item { version, receipt, call: asked.and_then(|parts| call(parts, version)) }
}

/// What a request asks for, of the right shape and not yet of the right content.
struct Parts {
    method: String,
    params: Params,
}

enum Params {
    Listed(Vec<Value>),
    Named(BTreeMap<String, Value>),
}

fn parts(mut members: BTreeMap<String, Value>) -> Result<Parts, Fault> {
    let Some(Value::String(method)) = members.remove("method") else {
        return Err(no_call("a call has a string \"method\""));
    };
    let params = match members.remove("params") {
        None => Params::Listed(Vec::new()),
        Some(Value::Array(params)) => Params::Listed(params),
        Some(Value::Struct(params)) => Params::Named(params),
        Some(_) => return Err(no_call("\"params\" are neither an array nor an object")),
    };
    Ok(Parts { method, params })
}

fn call(Parts { method, params }: Parts, version: Version) -> Result<Asked, Fault> {
    let method = MethodName::parse(&method).map_err(|error| {
        let text = format!("{} is no method name: {error}", quoted(&method));
        Fault::new(FaultCode::NoSuchMethod, text)
    })?;
    match (params, version) {
        (Params::Listed(params), _) => Ok(Asked::Listed(Call { method, params })),
        (Params::Named(params), Version::V2) => Ok(Asked::Named(NamedCall { method, params })),
        (Params::Named(_), Version::V1) => Err(Fault::invalid_params(
            "parameters by name are JSON-RPC 2.0's: send an array, or \"jsonrpc\": \"2.0\"",
        )),
    }
}
