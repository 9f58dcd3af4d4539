//! The values of certificates' names as they are encoded: a string type's tag, and its content.

/// The text that a string type's `content` (without tag and length) stands for, in UTF-8; `None`
/// if `tag` is no string type of X.520, or the content is not the text that it promises.
///
/// Two encodings of one text are one value. `TeletexString` is the exception that cannot be read:
/// nobody agrees on what its bytes over 0x7f mean, so they stay as they are, and where they could
/// be taken for UTF-8, and so for another name's, they are refused.
#[must_use]
pub fn text_from_ber(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    match tag {
        UTF8 => std::str::from_utf8(content).ok().map(|text| text.as_bytes().to_vec()),
        NUMERIC | PRINTABLE | IA5 | VISIBLE => content.is_ascii().then(|| content.to_vec()),
        TELETEX => {
            let clear = content.is_ascii() || std::str::from_utf8(content).is_err();
            clear.then(|| content.to_vec())
        }
        BMP => {
            let (units, rest) = content.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            let text = String::from_utf16(&units).ok()?;
            rest.is_empty().then(|| text.into_bytes())
        }
        UNIVERSAL => {
            let (units, rest) = content.as_chunks::<4>();
            let text: Option<String> =
                units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
            rest.is_empty().then_some(text?.into_bytes())
        }
        _ => None,
    }
}

const UTF8: u8 = 0x0c;
const NUMERIC: u8 = 0x12;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const VISIBLE: u8 = 0x1a;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// The value that one whole BER string encodes: a tag, a length and nothing behind the content.
pub(crate) fn read_text(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, content) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, content) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), content)
        }
        _ => return None, // a length that follows the content, or one over 4 GB
    };
    (content.len() == length).then(|| text_from_ber(tag, content))?
}

/// The reverse: a UTF-8 string, or a Teletex string for bytes that are no UTF-8.
pub(crate) fn write_text(value: &[u8]) -> Vec<u8> {
    let tag = if std::str::from_utf8(value).is_ok() { UTF8 } else { TELETEX };
    let mut out = vec![tag];
    match u8::try_from(value.len()) {
        Ok(length @ 0..=0x7f) => out.push(length),
        Ok(length) => out.extend([0x81, length]),
        Err(_) => {
            // Saturates never: VALUE_BYTES_MAX is far below.
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            out.push(0x82);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend_from_slice(value);
    out
}
