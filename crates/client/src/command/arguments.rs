//! A word of the command line as a parameter.

use nesssi_client::Value;

use super::json;

#[cfg(test)]
mod tests;

/// The parameters that `words` stand for; with `as_json` each word is a JSON value.
///
/// The error is for the one who typed them.
pub(super) fn parse(words: &[String], as_json: bool) -> Result<Vec<Value>, String> {
    words.iter().map(|word| if as_json { json::read(word) } else { plain(word) }).collect()
}

/// `s:` begins a string; what looks like a number is one; `true` and `false` are booleans.
fn plain(word: &str) -> Result<Value, String> {
    if let Some(text) = word.strip_prefix("s:") {
        return Ok(Value::from(text));
    }
    match word {
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if !looks_like_number(word) {
        return Ok(Value::from(word));
    }
    if let Ok(number) = word.parse::<i64>() {
        return Ok(Value::Int(number));
    }
    let integer = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'));
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() && !integer => Ok(Value::Double(number)),
        _ => Err(format!("{word}: too large a number (write s:{word} for a string)")),
    }
}

/// An optional sign, digits with at most one point in or before them, an optional exponent.
fn looks_like_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let good_mantissa = digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty());
    let good_exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    good_mantissa && good_exponent
}
