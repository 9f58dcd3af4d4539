//! `system.multicall`: several calls in one, and what the server says it can do.
//!
//! A *multicall* has one parameter, an array of structs `{methodName, params}`; it answers an array
//! in which each call's place holds `[value]` or the struct `{faultCode, faultString}`. (Eric Kidd's
//! proposal of 2001; the clients' `MultiCall` of Python, Perl and PHP.) What is wrong with one call is
//! the answer in its place and nowhere else.

use crate::telling::quoted;
use crate::{Call, Fault, FaultCode, MethodName, Reply, Value};

#[cfg(test)]
mod tests;

/// The method's name.
pub const METHOD: &str = "system.multicall";

/// How many calls `call` stands for, as limits and budgets count them: those inside of a multicall,
/// and one for any other or an empty one.
#[must_use]
pub fn weight(call: &Call) -> usize {
    match call.params.first() {
        Some(Value::Array(calls)) if call.method.as_str() == METHOD => calls.len().max(1),
        _ => 1,
    }
}

/// The calls inside of a multicall with the parameters `params`, each as it came or with the fault
/// that answers it: -32602 where it is no struct of a `methodName` and an array `params`, -32601
/// where no method can have the name, -32600 where it is a multicall itself. `params` left out are
/// none.
///
/// # Errors
/// -32602 where `params` are not one array; 413 where it holds more than `calls_max` calls.
pub fn read(params: Vec<Value>, calls_max: usize) -> Result<Vec<Result<Call, Fault>>, Fault> {
    let mut params = params.into_iter();
    let (Some(Value::Array(calls)), None) = (params.next(), params.next()) else {
        let text = "system.multicall takes one array of structs {methodName, params}";
        return Err(Fault::invalid_params(text));
    };
    if calls.len() > calls_max {
        return Err(too_many(calls.len(), calls_max));
    }
    Ok(calls.into_iter().map(read_one).collect())
}

/// The fault for so many calls in one body.
pub(crate) fn too_many(calls: usize, calls_max: usize) -> Fault {
    let text = format!("{calls} calls in one request, the limit is {calls_max}");
    Fault::new(FaultCode::OverLimit, text)
}

fn read_one(value: Value) -> Result<Call, Fault> {
    let Value::Struct(mut members) = value else {
        return Err(Fault::invalid_params("a call in a multicall is a struct"));
    };
    let Some(Value::String(name)) = members.remove("methodName") else {
        return Err(Fault::invalid_params("a call in a multicall has a string methodName"));
    };
    let params = match members.remove("params") {
        Some(Value::Array(params)) => params,
        None => Vec::new(),
        Some(_) => {
            return Err(Fault::invalid_params("the params of a call in a multicall are an array"));
        }
    };
    if name == METHOD {
        let text = "a multicall may not stand inside of another";
        return Err(Fault::new(FaultCode::InvalidRequest, text));
    }
    match MethodName::parse(&name) {
        Ok(method) => Ok(Call { method, params }),
        Err(error) => {
            let text = format!("{} is no method name: {error}", quoted(&name));
            Err(Fault::new(FaultCode::NoSuchMethod, text))
        }
    }
}

/// The result of a multicall whose calls came to `replies`, in their order.
#[must_use]
pub fn result(replies: impl IntoIterator<Item = Reply>) -> Value {
    Value::Array(replies.into_iter().map(answer).collect())
}

fn answer(reply: Reply) -> Value {
    match reply {
        Ok(value) => Value::Array(vec![value]),
        Err(fault) => Value::record([
            ("faultCode", Value::Int(fault.code.number())),
            ("faultString", Value::String(fault.text)),
        ]),
    }
}

/// What one call of a multicall came to, from its place in the result, for clients.
///
/// # Errors
/// -32600 where it is neither an array of one value nor a fault's struct.
pub fn read_answer(value: Value) -> Result<Reply, Fault> {
    let wrong = || {
        let text = "an answer in a multicall's result is neither [value] nor a fault";
        Fault::new(FaultCode::InvalidRequest, text)
    };
    match value {
        Value::Array(mut values) if values.len() == 1 => values.pop().map(Ok).ok_or_else(wrong),
        Value::Struct(mut members) => {
            match (members.remove("faultCode"), members.remove("faultString")) {
                (Some(Value::Int(code)), Some(Value::String(text))) => {
                    Ok(Err(Fault::new(FaultCode::from_number(code), text)))
                }
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

/// What `system.getCapabilities` answers: for each capability a struct of its `specUrl` and
/// `specVersion` (<https://xmlrpc-epi.sourceforge.net/specs/rfc.system.getCapabilities.php>).
#[must_use]
pub fn capabilities() -> Value {
    const CAPABILITIES: &[(&str, &str, i64)] = &[
        ("xmlrpc", "http://xmlrpc.com/spec.md", 1),
        (
            "faults_interop",
            "http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php",
            20_010_516,
        ),
        ("introspection", "http://xmlrpc-c.sourceforge.net/introspection.html", 1),
        ("system.multicall", "http://www.xmlrpc.com/discuss/msgReader$1208", 1),
        ("nil", "http://www.ontosys.com/xml-rpc/extensions.php", 20_010_518),
        ("apache_extensions", "http://ws.apache.org/xmlrpc/types.html", 1),
        ("json-rpc", "https://www.jsonrpc.org/specification", 2),
        ("json-rpc-1", "https://www.jsonrpc.org/specification_v1", 1),
        ("soap11", "http://www.w3.org/TR/2000/NOTE-SOAP-20000508/", 1),
        ("soap12", "http://www.w3.org/TR/soap12-part1/", 1),
        ("wsdl", "http://www.w3.org/TR/wsdl", 1),
    ];
    let each = CAPABILITIES.iter().map(|(name, url, version)| {
        let about =
            Value::record([("specUrl", Value::from(*url)), ("specVersion", Value::Int(*version))]);
        ((*name).to_owned(), about)
    });
    Value::Struct(each.collect())
}
