//! Values as JSON and back.
//!
//! What JSON has no form for is an object with the member `$nesssi`: `{"$nesssi": "binary", "base64":
//! …}`, `{"$nesssi": "datetime", "iso": …}`; a struct that has such a member itself is `{"$nesssi":
//! "struct", "members": {…}}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nesssi_client::{DateTime, Value};
use serde_json::{Map, Value as Json, json};

#[cfg(test)]
mod tests;

const TAG: &str = "$nesssi";

/// The value that a JSON text stands for; the error is for the one who typed it.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
    from_json(json).map_err(|error| format!("{text}: {error}"))
}

/// `value` as JSON.
pub(super) fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::String(text) => json!(text),
        Value::DateTime(when) => json!({ TAG: "datetime", "iso": when.to_string() }),
        Value::Binary(bytes) => json!({ TAG: "binary", "base64": STANDARD.encode(bytes) }),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Struct(members) => {
            let plain: Map<String, Json> =
                members.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
            if plain.contains_key(TAG) {
                json!({ TAG: "struct", "members": plain })
            } else {
                Json::Object(plain)
            }
        }
    }
}

fn from_json(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(double)) if number.is_f64() && double.is_finite() => Value::Double(double),
            _ => return Err(format!("{number} does not fit in 64 bits")),
        },
        Json::String(text) => Value::String(text),
        Json::Array(items) => {
            Value::Array(items.into_iter().map(from_json).collect::<Result<_, _>>()?)
        }
        Json::Object(members) => match members.get(TAG).cloned() {
            Some(tag) => tagged(&tag, members)?,
            None => record(members)?,
        },
    })
}

fn record(members: Map<String, Json>) -> Result<Value, String> {
    let members = members.into_iter().map(|(name, json)| Ok((name, from_json(json)?)));
    members.collect::<Result<_, String>>().map(Value::Struct)
}

fn tagged(tag: &Json, mut members: Map<String, Json>) -> Result<Value, String> {
    let text = |name: &str| {
        members.get(name).and_then(Json::as_str).ok_or_else(|| format!("{TAG} without {name}"))
    };
    match tag.as_str() {
        Some("binary") => STANDARD
            .decode(text("base64")?)
            .map(Value::Binary)
            .map_err(|_| "base64 is wrong".to_owned()),
        Some("datetime") => {
            DateTime::parse(text("iso")?).map(Value::DateTime).map_err(|error| error.to_string())
        }
        Some("struct") => match members.remove("members") {
            Some(Json::Object(inner)) => record(inner),
            _ => Err(format!("{TAG} without members")),
        },
        _ => Err(format!("{TAG} must be binary, datetime or struct")),
    }
}
