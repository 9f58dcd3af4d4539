use super::{Encoding, peek, readable};
use crate::FaultCode;

const TEXT: &str = "<a>\u{e9}t\u{e9}</a>";

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{FEFF}{text}").encode_utf16().flat_map(bytes).collect()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

fn read(body: &[u8], charset: Option<&str>) -> Result<(String, Encoding), String> {
    let charset = charset.map(|label| Encoding::from_label(label).unwrap());
    readable(body, charset).map(|(text, encoding)| (text.into_owned(), encoding)).map_err(|fault| {
        assert_eq!(fault.code, FaultCode::Parse);
        fault.text
    })
}

#[test]
fn each_encoding_is_read_as_what_is_said_of_it() {
    let declared = |name: &str| format!("<?xml version='1.0' encoding=\"{name}\"?>{TEXT}");
    let good: [(Vec<u8>, Option<&str>, Encoding); 12] = [
        (TEXT.into(), None, Encoding::Utf8),
        (TEXT.into(), Some("UTF-8"), Encoding::Utf8),
        (format!("\u{FEFF}{TEXT}").into(), None, Encoding::Utf8),
        (format!("\u{FEFF}{TEXT}").into(), Some("utf8"), Encoding::Utf8),
        (latin1(TEXT), Some("ISO-8859-1"), Encoding::Latin1),
        (latin1(&declared("iso-8859-1")), None, Encoding::Latin1),
        (latin1(&declared("Latin1")), Some("iso_8859-1"), Encoding::Latin1),
        (utf16(TEXT, u16::to_le_bytes), None, Encoding::Utf16Le),
        (utf16(TEXT, u16::to_be_bytes), Some("utf-16"), Encoding::Utf16Be),
        (utf16(&declared("UTF-16"), u16::to_be_bytes), None, Encoding::Utf16Be),
        (utf16(TEXT, u16::to_le_bytes)[2..].to_vec(), Some("utf-16le"), Encoding::Utf16Le),
        (utf16(TEXT, u16::to_be_bytes)[2..].to_vec(), Some("UTF-16BE"), Encoding::Utf16Be),
    ];
    for (body, charset, expected) in good {
        let (text, encoding) = read(&body, charset).unwrap();
        assert!(text.ends_with(TEXT), "{text}");
        assert_eq!(encoding, expected, "{text}");
        let charset = charset.and_then(Encoding::from_label);
        assert!(peek(&body, charset, 1000).unwrap().ends_with(TEXT), "{text}");
    }
    let ascii = "<?xml version=\"1.0\"  encoding = 'us-ascii' ?><a/>";
    assert_eq!(read(ascii.as_bytes(), None), Ok((ascii.into(), Encoding::Ascii)));
}

#[test]
fn what_contradicts_itself_or_is_not_read_is_refused() {
    let both = |body: &[u8], charset, text: &str| assert_eq!(read(body, charset), Err(text.into()));
    let marked = format!("\u{FEFF}{TEXT}");
    both(
        marked.as_bytes(),
        Some("ISO-8859-1"),
        "the content type says ISO-8859-1, and the document is UTF-8",
    );
    both(
        &utf16(TEXT, u16::to_le_bytes),
        Some("utf-16be"),
        "the content type says UTF-16BE, and the document is UTF-16LE",
    );
    both(
        &utf16(TEXT, u16::to_le_bytes),
        Some("utf-8"),
        "the content type says UTF-8, and the document is UTF-16LE",
    );
    both(TEXT.as_bytes(), Some("utf-16"), "UTF-16 without a byte-order mark");
    both(
        &utf16(TEXT, u16::to_le_bytes)[2..],
        None,
        "UTF-16 without a byte-order mark, or an encoding that is not read here",
    );
    both(
        b"<?xml version='1.0' encoding='utf-16'?><a/>",
        None,
        "the XML declaration says UTF-16, and the document is UTF-8",
    );
    both(
        b"<?xml version='1.0' encoding='UTF-7'?><a/>",
        None,
        "the encoding `UTF-7` is not read here: send UTF-8, US-ASCII, ISO-8859-1 or UTF-16",
    );
    both(&latin1(TEXT), None, "line 1, column 4: not UTF-8, and nothing declares another encoding");
    both(
        TEXT.as_bytes(),
        Some("us-ascii"),
        "line 1, column 4: not US-ASCII, which is what is declared",
    );
    both(b"\xFF\xFEa\0\n\0\0\xD8b\0", None, "line 2, column 1: half a surrogate pair");
    both(b"\xFF\xFEa\0b", None, "line 1, column 2: half a character of UTF-16");
    // UTF-32's mark is UTF-16's with a NUL behind it.
    both(b"\xFF\xFE\0\0<\0\0\0", None, "line 1, column 1: the character U+0000, which XML forbids");
}

#[test]
fn a_declaration_agrees_with_what_was_read() {
    let agrees = |encoding: Encoding, label| encoding.check_declared(label).is_ok();
    assert!(agrees(Encoding::Utf8, "UTF-8") && agrees(Encoding::Utf8, "us-ascii"));
    assert!(agrees(Encoding::Utf16Le, "utf-16") && agrees(Encoding::Utf16Le, "utf-16LE"));
    assert!(!agrees(Encoding::Utf16Le, "utf-16be") && !agrees(Encoding::Utf16Le, "utf-8"));
    assert!(!agrees(Encoding::Utf8, "iso-8859-1") && !agrees(Encoding::Latin1, "utf-8"));
    assert!(!agrees(Encoding::Utf8, "ebcdic-cp-us"));
}

#[test]
fn a_first_look_is_no_longer_than_asked() {
    assert_eq!(peek("ab\u{e9}".as_bytes(), None, 3).unwrap(), "ab");
    assert_eq!(peek(b"abcd", None, 3).unwrap(), "abc");
    assert_eq!(peek(b"ab\xFF", None, 9).unwrap(), "ab");
}
