//! Do the parameters of a call fit what its method declares?
//!
//! A signature is the type returned and then those of the parameters, as words ([`Type::from_word`]);
//! a call fits if it fits one of a method's signatures. Here this is held against them, for every
//! dialect, before any code of a service runs.

use std::fmt::Write as _;

use crate::soap::Type;
use crate::{Fault, Value};

#[cfg(test)]
mod tests;

/// Holds the parameters of a call against the signatures of its method; without any, everything fits.
///
/// An int is a double too, since clients of dynamic languages send `2` where `2.0` is meant; it stays
/// as it is. An `i4` is an int of 32 bits. A word that names no type is a type of anything.
///
/// # Errors
/// Fault -32602 that names the method, the parameter (its place, and its name in `names`), what is
/// asked for and what was given.
pub fn check_params<S, W>(
    method: &str,
    names: &[impl AsRef<str>],
    signatures: &[S],
    params: &[Value],
) -> Result<(), Fault>
where
    S: AsRef<[W]>,
    W: AsRef<str>,
{
    if signatures.is_empty() {
        return Ok(());
    }
    // The parameters that are declared, without the type returned.
    let declared = || signatures.iter().map(|one| one.as_ref().get(1..).unwrap_or_default());
    let fitting = || declared().filter(|types| types.len() == params.len());
    let first_wrong = |types: &[W]| {
        let pairs = types.iter().zip(params);
        pairs.into_iter().position(|(word, value)| !fits(word.as_ref(), value))
    };
    // The signature that fits furthest says most about what was meant.
    let mut furthest = None;
    for types in fitting() {
        match first_wrong(types) {
            None => return Ok(()),
            wrong => furthest = furthest.max(wrong),
        }
    }
    Err(Fault::invalid_params(match furthest {
        None => {
            let counts: Vec<usize> = declared().map(<[W]>::len).collect();
            wrong_count(method, names, &counts, params.len())
        }
        Some(place) => {
            let asked = fitting().filter(|types| first_wrong(types) == Some(place));
            let words: Vec<&str> =
                asked.filter_map(|types| types.get(place)).map(AsRef::as_ref).collect();
            wrong_type(method, names, place, &words, params.get(place))
        }
    }))
}

/// Whether `value` is of the type that `word` names.
fn fits(word: &str, value: &Value) -> bool {
    let value_type = match value {
        Value::Nil => Type::Nil,
        Value::Bool(_) => Type::Boolean,
        Value::Int(number) if word == "i4" => return i32::try_from(*number).is_ok(),
        Value::Int(_) => Type::Int,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::DateTime(_) => Type::DateTime,
        Value::Binary(_) => Type::Base64,
        Value::Array(_) => Type::Array,
        Value::Struct(_) => Type::Struct,
    };
    match Type::from_word(word) {
        Type::Any => true,
        Type::Double => matches!(value_type, Type::Double | Type::Int),
        declared => declared == value_type,
    }
}

fn wrong_count(method: &str, names: &[impl AsRef<str>], counts: &[usize], given: usize) -> String {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let most = counts.last().copied().unwrap_or_default();
    let only_one = counts == [1];
    let counts: Vec<String> = if most == 0 {
        vec!["no".to_owned()]
    } else {
        counts.iter().map(ToString::to_string).collect()
    };
    let mut text = format!("{method} takes {} parameter", counts.join(" or "));
    text.push_str(if only_one { "" } else { "s" });
    if most > 0 && names.len() == most {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        // Writing to a String does not fail.
        write!(text, " ({})", names.join(", ")).unwrap_or_default();
    }
    text + &match given {
        0 => ", none was given".to_owned(),
        1 => ", 1 was given".to_owned(),
        _ => format!(", {given} were given"),
    }
}

fn wrong_type(
    method: &str,
    names: &[impl AsRef<str>],
    place: usize,
    words: &[&str],
    value: Option<&Value>,
) -> String {
    let mut words = words.to_vec();
    words.sort_unstable();
    words.dedup();
    let asked = words.join(" or ");
    let given = value.map_or("none", Value::type_name);
    let beyond = words.contains(&"i4") && given == "int";
    let number = place.saturating_add(1);
    let name = names.get(place).map_or_else(String::new, |name| format!(" ({})", name.as_ref()));
    format!(
        "parameter {number}{name} of {method} must be {asked}; {given}{} was given",
        if beyond { " of more than 32 bits" } else { "" }
    )
}
