//! Reading: quick-xml's events drive a stack of open elements.
//!
//! quick-xml finds the tags, matches their names and cuts the text; what else XML asks for (names,
//! characters, references, one root, a declaration only at the start) is checked here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use quick_xml::events::{BytesStart, Event};

use super::{ATTRIBUTES_MAX, Forms, Request};
use crate::encoding::{Encoding, readable};
use crate::telling::{position, quoted, tag_of};
use crate::xml::{
    Events, Problem, check_declaration, doctype, ill_formed, no_call, over_limit, resolve,
};
use crate::{Bounds, Call, DateTime, Fault, FaultCode, MethodName, Reply, Value, chars};

/// Reads a `methodCall`.
///
/// # Errors
/// A fault -32700 (not well formed), -32600 (no call), 413 (a bound), with position.
pub fn decode_call(body: &[u8], bounds: &Bounds) -> Result<Call, Fault> {
    decode_request(body, None, bounds).map(|request| request.call)
}

/// Reads a `methodCall` as a server does: `charset` is what the content type says.
///
/// # Errors
/// As [`decode_call`]; -32700 also where `charset` is not what the body is.
pub fn decode_request(
    body: &[u8],
    charset: Option<Encoding>,
    bounds: &Bounds,
) -> Result<Request, Fault> {
    match Decoder::run(body, charset, bounds, Root::Call)? {
        (Message::Call(call), forms) => Ok(Request { call, forms }),
        (Message::Response(_), _) => Err(Fault::new(FaultCode::InvalidRequest, "not a methodCall")),
    }
}

/// Reads a `methodResponse`, for clients.
///
/// # Errors
/// As [`decode_call`], about the answer.
pub fn decode_reply(body: &[u8], bounds: &Bounds) -> Result<Reply, Fault> {
    match Decoder::run(body, None, bounds, Root::Response)? {
        (Message::Response(reply), _) => Ok(reply),
        (Message::Call(_), _) => Err(Fault::new(FaultCode::InvalidRequest, "not a methodResponse")),
    }
}

/// Standard base64, padded or not: some old clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A text longer than this is moved into its value; a shorter one is copied, to fit exactly.
const MOVED_TEXT_BYTES_MIN: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Call,
    Response,
}

impl Root {
    fn name(self) -> &'static str {
        match self {
            Self::Call => "methodCall",
            Self::Response => "methodResponse",
        }
    }
}

#[derive(Debug)]
enum Message {
    Call(Call),
    Response(Reply),
}

/// The types whose content is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    I4,
    Int,
    I8,
    Boolean,
    Double,
    String,
    DateTime,
    Base64,
    ExI1,
    ExI2,
    ExI8,
    ExBigInteger,
    ExFloat,
    ExBigDecimal,
    ExDateTime,
}

impl Scalar {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "i4" => Self::I4,
            "int" => Self::Int,
            "i8" => Self::I8,
            "boolean" => Self::Boolean,
            "double" => Self::Double,
            "string" => Self::String,
            "dateTime.iso8601" => Self::DateTime,
            "base64" => Self::Base64,
            "ex:i1" => Self::ExI1,
            "ex:i2" => Self::ExI2,
            "ex:i8" => Self::ExI8,
            "ex:biginteger" => Self::ExBigInteger,
            "ex:float" => Self::ExFloat,
            "ex:bigdecimal" => Self::ExBigDecimal,
            "ex:dateTime" => Self::ExDateTime,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::I4 => "i4",
            Self::Int => "int",
            Self::I8 => "i8",
            Self::Boolean => "boolean",
            Self::Double => "double",
            Self::String => "string",
            Self::DateTime => "dateTime.iso8601",
            Self::Base64 => "base64",
            Self::ExI1 => "ex:i1",
            Self::ExI2 => "ex:i2",
            Self::ExI8 => "ex:i8",
            Self::ExBigInteger => "ex:biginteger",
            Self::ExFloat => "ex:float",
            Self::ExBigDecimal => "ex:bigdecimal",
            Self::ExDateTime => "ex:dateTime",
        }
    }
}

/// An open element and what it has been given so far.
#[derive(Debug)]
enum Frame {
    Call {
        method: Option<MethodName>,
        params: Option<Vec<Value>>,
    },
    Response(Option<Reply>),
    MethodName,
    Params(Vec<Value>),
    Param(Option<Value>),
    Fault(Option<Value>),
    /// `None` while no type has been named: its text may yet be a string.
    Value(Option<Value>),
    Scalar(Scalar),
    Nil,
    Array(Option<Vec<Value>>),
    Data(Vec<Value>),
    Struct(BTreeMap<String, Value>),
    Member {
        name: Option<String>,
        value: Option<Value>,
    },
    Name,
}

impl Frame {
    fn name(&self) -> &'static str {
        match self {
            Self::Call { .. } => "methodCall",
            Self::Response(_) => "methodResponse",
            Self::MethodName => "methodName",
            Self::Params(_) => "params",
            Self::Param(_) => "param",
            Self::Fault(_) => "fault",
            Self::Value(_) => "value",
            Self::Scalar(scalar) => scalar.name(),
            Self::Nil => "nil",
            Self::Array(_) => "array",
            Self::Data(_) => "data",
            Self::Struct(_) => "struct",
            Self::Member { .. } => "member",
            Self::Name => "name",
        }
    }

    /// Whether the element's own text means something.
    fn holds_text(&self) -> bool {
        match self {
            Self::MethodName | Self::Name | Self::Scalar(_) | Self::Value(None) => true,
            Self::Call { .. }
            | Self::Response(_)
            | Self::Params(_)
            | Self::Param(_)
            | Self::Fault(_)
            | Self::Value(Some(_))
            | Self::Nil
            | Self::Array(_)
            | Self::Data(_)
            | Self::Struct(_)
            | Self::Member { .. } => false,
        }
    }
}

struct Decoder<'b> {
    bounds: &'b Bounds,
    root: Root,
    stack: Vec<Frame>,
    /// The text of the innermost element that holds text; only one can at a time.
    text: String,
    depth: usize,
    elements: usize,
    forms: Forms,
    encoding: Encoding,
    /// Whether there are line ends to be made line feeds (XML 1.0, section 2.11).
    has_returns: bool,
    message: Option<Message>,
}

impl<'b> Decoder<'b> {
    fn run(
        body: &[u8],
        charset: Option<Encoding>,
        bounds: &'b Bounds,
        root: Root,
    ) -> Result<(Message, Forms), Fault> {
        let (body, encoding) = readable(body, charset)?;
        let decoder = Self {
            bounds,
            root,
            stack: Vec::with_capacity(16),
            text: String::new(),
            depth: 0,
            elements: 0,
            forms: Forms::Plain,
            encoding,
            has_returns: body.contains('\r'),
            message: None,
        };
        decoder.document(&body).map_err(|(at, (code, text))| {
            let (line, column) = position(&body, at);
            Fault::new(code, format!("line {line}, column {column}: {text}"))
        })
    }

    /// Reads the whole document; a problem comes with the byte where it was seen.
    fn document(mut self, body: &str) -> Result<(Message, Forms), (usize, Problem)> {
        let mut events = Events::of(body);
        loop {
            let (at, event) = events.next()?;
            if matches!(event, Event::Eof) {
                return self.end_of_document().map_err(|problem| (body.len(), problem));
            }
            self.event(&event, at).map_err(|problem| (at, problem))?;
        }
    }

    fn event(&mut self, event: &Event<'_>, at: usize) -> Result<(), Problem> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::Empty(tag) => {
                self.start(tag)?;
                self.end()
            }
            Event::End(_) => self.end(), // quick-xml has matched the names
            Event::Text(text) => {
                // One byte is looked for sooner than three.
                if text.contains(']') && text.contains("]]>") {
                    return Err(ill_formed("`]]>` may not stand in text"));
                }
                if self.has_returns {
                    self.characters(&text.xml10_content(), Characters::Plain)
                } else {
                    self.characters(text, Characters::Plain)
                }
            }
            Event::CData(text) => self.characters(&text.xml10_content(), Characters::Marked),
            Event::GeneralRef(name) => {
                let character = resolve(name)?;
                self.characters(character.encode_utf8(&mut [0; 4]), Characters::Marked)
            }
            Event::Decl(declaration) => check_declaration(declaration, at, self.encoding),
            Event::PI(instruction) => check_instruction(instruction.target()),
            Event::Comment(_) | Event::Eof => Ok(()),
            Event::DocType(_) => Err(doctype()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), Problem> {
        let name = tag.name().0;
        if name.len() > self.bounds.name_bytes_max {
            let max = self.bounds.name_bytes_max;
            return Err(over_limit(format!("an element's name is longer than {max} bytes")));
        }
        self.elements += 1;
        if self.elements > self.bounds.elements_max {
            let max = self.bounds.elements_max;
            return Err(over_limit(format!("more than {max} elements")));
        }
        let attributes = if tag.len() > name.len() { check_attributes(tag) } else { Ok(()) };
        // What may stand anywhere has a good name: only the others need to be looked at.
        attributes.and_then(|()| self.open(name)).map_err(|problem| {
            if chars::is_name(name) {
                problem
            } else {
                ill_formed(format!("{} is no element's name", quoted(name)))
            }
        })
    }

    /// Pushes the frame of the element `name`, if it may stand here.
    fn open(&mut self, name: &str) -> Result<(), Problem> {
        let Some(parent) = self.stack.last() else {
            return self.open_root(name);
        };
        let frame = match (parent, name) {
            (Frame::Value(None), _) => return self.open_typed(name),
            (Frame::Call { method: None, params: None }, "methodName") => Frame::MethodName,
            (Frame::Call { method: Some(_), params: None }, "params") => Frame::Params(Vec::new()),
            (Frame::Response(None), "params") => Frame::Params(Vec::new()),
            (Frame::Response(None), "fault") => Frame::Fault(None),
            (Frame::Params(_), "param") => Frame::Param(None),
            (Frame::Param(None) | Frame::Fault(None) | Frame::Data(_), "value")
            | (Frame::Member { name: Some(_), value: None }, "value") => Frame::Value(None),
            (Frame::Array(None), "data") => Frame::Data(Vec::new()),
            (Frame::Struct(_), "member") => Frame::Member { name: None, value: None },
            (Frame::Member { name: None, value: None }, "name") => Frame::Name,
            (parent, _) => return Err(misplaced(name, parent.name())),
        };
        if frame.holds_text() {
            self.text.clear();
        }
        self.stack.push(frame);
        Ok(())
    }

    fn open_root(&mut self, name: &str) -> Result<(), Problem> {
        if self.message.is_some() {
            return Err(ill_formed("a second root element"));
        }
        if name != self.root.name() {
            let wanted = self.root.name();
            return Err(no_call(format!("expected <{wanted}>, found {}", tag_of(name))));
        }
        self.stack.push(match self.root {
            Root::Call => Frame::Call { method: None, params: None },
            Root::Response => Frame::Response(None),
        });
        Ok(())
    }

    /// Pushes the frame of the type `name`, inside a `<value>` that has none yet.
    fn open_typed(&mut self, name: &str) -> Result<(), Problem> {
        if !self.text.bytes().all(chars::is_space) {
            return Err(no_call(format!("text before {} in <value>", tag_of(name))));
        }
        if name.starts_with("ex:") {
            self.forms = Forms::Apache;
        }
        let frame = match name {
            "array" => Frame::Array(None),
            "struct" => Frame::Struct(BTreeMap::new()),
            "nil" | "ex:nil" => Frame::Nil,
            "ex:serializable" | "ex:dom" => {
                let text = format!("{}: serialized objects are not taken", tag_of(name));
                return Err(no_call(text));
            }
            _ => match Scalar::from_name(name) {
                Some(scalar) => Frame::Scalar(scalar),
                None => return Err(misplaced(name, "value")),
            },
        };
        if matches!(frame, Frame::Array(_) | Frame::Struct(_)) {
            self.depth += 1;
            let max = self.bounds.depth();
            if self.depth > max {
                let text = format!("arrays and structs nested deeper than {max}");
                return Err(over_limit(text));
            }
        }
        self.text.clear();
        self.stack.push(frame);
        Ok(())
    }

    fn characters(&mut self, text: &str, kind: Characters) -> Result<(), Problem> {
        let blank = || text.bytes().all(chars::is_space);
        match self.stack.last() {
            None if kind == Characters::Plain && blank() => Ok(()),
            None => Err(ill_formed("text outside of the root element")),
            Some(frame) if frame.holds_text() => {
                let (what, max) = match frame {
                    Frame::Name => ("a member's name", self.bounds.name_bytes_max),
                    _ => ("a text", self.bounds.text_bytes_max),
                };
                if text.len() > max.saturating_sub(self.text.len()) {
                    return Err(over_limit(format!("{what} is longer than {max} bytes")));
                }
                self.text.push_str(text);
                Ok(())
            }
            Some(_) if blank() => Ok(()),
            Some(frame) => Err(no_call(format!("text in <{}>", frame.name()))),
        }
    }

    /// Closes the innermost element and hands what it made to the one around it.
    fn end(&mut self) -> Result<(), Problem> {
        match self.stack.pop() {
            None => Err(ill_formed("an end tag without a start tag")),
            Some(Frame::Call { method, params }) => {
                let method = method.ok_or_else(|| lacking("methodCall", "methodName"))?;
                let params = params.unwrap_or_default();
                self.message = Some(Message::Call(Call { method, params }));
                Ok(())
            }
            Some(Frame::Response(reply)) => {
                let reply = reply.ok_or_else(|| lacking("methodResponse", "params> or <fault"))?;
                self.message = Some(Message::Response(reply));
                Ok(())
            }
            Some(Frame::MethodName) => self.end_method_name(),
            Some(Frame::Params(values)) => self.end_params(values),
            Some(Frame::Param(value)) => {
                let value = value.ok_or_else(|| lacking("param", "value"))?;
                self.give(value)
            }
            Some(Frame::Fault(value)) => {
                let fault = read_fault(&value.ok_or_else(|| lacking("fault", "value"))?)?;
                if let Some(Frame::Response(reply)) = self.stack.last_mut() {
                    *reply = Some(Err(fault));
                }
                Ok(())
            }
            Some(Frame::Value(Some(value))) => self.give(value),
            Some(Frame::Value(None)) => {
                let text = self.take_text();
                self.give(Value::String(text))
            }
            Some(Frame::Scalar(scalar)) => {
                let value = self.scalar(scalar)?;
                self.give(value)
            }
            Some(Frame::Nil) => self.give(Value::Nil),
            Some(Frame::Array(items)) => {
                self.depth -= 1;
                let items = items.ok_or_else(|| lacking("array", "data"))?;
                self.give(Value::Array(items))
            }
            Some(Frame::Data(items)) => {
                if let Some(Frame::Array(place)) = self.stack.last_mut() {
                    *place = Some(items);
                }
                Ok(())
            }
            Some(Frame::Struct(members)) => {
                self.depth -= 1;
                self.give(Value::Struct(members))
            }
            Some(Frame::Member { name, value }) => self.end_member(name, value),
            Some(Frame::Name) => {
                let text = self.take_text();
                if let Some(Frame::Member { name, .. }) = self.stack.last_mut() {
                    *name = Some(text);
                }
                Ok(())
            }
        }
    }

    fn end_method_name(&mut self) -> Result<(), Problem> {
        let name = chars::trim(&self.text);
        let parsed = MethodName::parse(name)
            .map_err(|error| no_call(format!("{} is no method name: {error}", quoted(name))))?;
        if let Some(Frame::Call { method, .. }) = self.stack.last_mut() {
            *method = Some(parsed);
        }
        Ok(())
    }

    fn end_params(&mut self, mut values: Vec<Value>) -> Result<(), Problem> {
        match self.stack.last_mut() {
            Some(Frame::Response(reply)) => {
                let count = values.len();
                match values.pop() {
                    Some(value) if count == 1 => *reply = Some(Ok(value)),
                    _ => {
                        let text = format!("an answer has one <param>, this one has {count}");
                        return Err(no_call(text));
                    }
                }
            }
            Some(Frame::Call { params, .. }) => *params = Some(values),
            _ => {}
        }
        Ok(())
    }

    fn end_member(&mut self, name: Option<String>, value: Option<Value>) -> Result<(), Problem> {
        let name = name.ok_or_else(|| lacking("member", "name"))?;
        let value = value.ok_or_else(|| lacking("member", "value"))?;
        if let Some(Frame::Struct(members)) = self.stack.last_mut() {
            match members.entry(name) {
                Entry::Occupied(entry) => {
                    let text = format!("two members are called {}", quoted(entry.key()));
                    return Err(no_call(text));
                }
                Entry::Vacant(place) => place.insert(value),
            };
        }
        Ok(())
    }

    /// Hands a finished value to the innermost element, which `open` made sure can take it.
    fn give(&mut self, value: Value) -> Result<(), Problem> {
        match self.stack.last_mut() {
            Some(Frame::Params(values) | Frame::Data(values)) => values.push(value),
            Some(
                Frame::Param(place)
                | Frame::Fault(place)
                | Frame::Value(place)
                | Frame::Member { value: place, .. },
            ) => *place = Some(value),
            _ => return Err(no_call("a value where none may stand")),
        }
        Ok(())
    }

    fn take_text(&mut self) -> String {
        if self.text.len() >= MOVED_TEXT_BYTES_MIN {
            std::mem::take(&mut self.text)
        } else {
            let text = self.text.as_str().to_owned();
            self.text.clear();
            text
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Result<Value, Problem> {
        let text = chars::trim(&self.text);
        let wrong = |what: &str| no_call(format!("<{}>: {} {what}", scalar.name(), quoted(text)));
        match scalar {
            Scalar::String => Ok(Value::String(self.take_text())),
            // The specification says 32 bits; Node's and Ruby's clients write all whole numbers so.
            Scalar::I4 | Scalar::Int | Scalar::I8 | Scalar::ExI8 => {
                integer(text, i64::MIN, i64::MAX).ok_or_else(|| wrong("is no 64-bit integer"))
            }
            Scalar::ExI1 => integer(text, i8::MIN.into(), i8::MAX.into())
                .ok_or_else(|| wrong("is no 8-bit integer")),
            Scalar::ExI2 => integer(text, i16::MIN.into(), i16::MAX.into())
                .ok_or_else(|| wrong("is no 16-bit integer")),
            Scalar::ExBigInteger => integer(text, i64::MIN, i64::MAX)
                .ok_or_else(|| wrong("is no integer that 64 bits hold")),
            Scalar::Boolean => match text {
                "0" => Ok(Value::Bool(false)),
                "1" => Ok(Value::Bool(true)),
                _ => Err(wrong("is neither 0 nor 1")),
            },
            Scalar::Double | Scalar::ExFloat | Scalar::ExBigDecimal => {
                read_double(text).map(Value::Double).ok_or_else(|| wrong("is no finite double"))
            }
            Scalar::DateTime | Scalar::ExDateTime => DateTime::parse(text)
                .map(Value::DateTime)
                .map_err(|error| wrong(&format!("is {error}"))),
            // In one piece, as most write it; a line end stops the first try at once.
            Scalar::Base64 => BASE64
                .decode(text)
                .or_else(|_| BASE64.decode(without_space(text).as_ref()))
                .map(Value::Binary)
                .map_err(|_| no_call("<base64>: the text is not base64")),
        }
    }

    fn end_of_document(self) -> Result<(Message, Forms), Problem> {
        match (self.stack.last(), self.message) {
            (Some(frame), _) => {
                Err(ill_formed(format!("the document ends inside of <{}>", frame.name())))
            }
            (None, Some(message)) => Ok((message, self.forms)),
            (None, None) => Err(ill_formed("the document has no element")),
        }
    }
}

/// Whether text was written out, or came as CDATA or by reference and so cannot stand outside of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Characters {
    Plain,
    Marked,
}

fn check_instruction(target: &str) -> Result<(), Problem> {
    if chars::is_name(target) && !target.eq_ignore_ascii_case("xml") {
        Ok(())
    } else {
        Err(ill_formed(format!("{} names no processing instruction", quoted(target))))
    }
}

/// Attributes mean nothing here; they must be well formed, and few.
fn check_attributes(tag: &BytesStart<'_>) -> Result<(), Problem> {
    for (index, attribute) in tag.attributes().enumerate() {
        if index >= ATTRIBUTES_MAX {
            let text = format!("more than {ATTRIBUTES_MAX} attributes in one element");
            return Err(over_limit(text));
        }
        let attribute = attribute.map_err(|_| {
            ill_formed(format!("the attributes of {} are not well formed", tag_of(tag.name().0)))
        })?;
        if !chars::is_name(attribute.key.0) {
            return Err(ill_formed(format!("{} is no attribute's name", quoted(attribute.key.0))));
        }
        check_attribute_value(&attribute.value)?;
    }
    Ok(())
}

fn check_attribute_value(value: &str) -> Result<(), Problem> {
    if value.contains('<') {
        return Err(ill_formed("`<` in an attribute's value"));
    }
    for after in value.split('&').skip(1) {
        match after.split_once(';') {
            Some((name, _)) => resolve(name).map(|_| ())?,
            None => return Err(ill_formed("`&` without `;` in an attribute's value")),
        }
    }
    Ok(())
}

fn read_fault(value: &Value) -> Result<Fault, Problem> {
    let code = value.member("faultCode").and_then(Value::as_int);
    let text = value.member("faultString").and_then(Value::as_str);
    match (code, text) {
        (Some(code), Some(text)) => Ok(Fault::new(FaultCode::from_number(code), text)),
        _ => Err(no_call("a <fault> without an integer faultCode and a string faultString")),
    }
}

/// `text` without white space anywhere; not copied where there is none.
fn without_space(text: &str) -> Cow<'_, str> {
    if !text.bytes().fold(false, |seen, byte| seen | chars::is_space(byte)) {
        return Cow::Borrowed(text);
    }
    let mut packed = String::with_capacity(text.len());
    // In lines, as encoders write it.
    for line in text.split('\n') {
        if line.bytes().fold(false, |seen, byte| seen | chars::is_space(byte)) {
            packed.extend(line.split([' ', '\t', '\r']));
        } else {
            packed.push_str(line);
        }
    }
    Cow::Owned(packed)
}

/// An optional sign and decimal digits, of a number within `min` and `max`.
fn integer(text: &str, min: i64, max: i64) -> Option<Value> {
    let number = text.parse().ok()?; // Rust's syntax is exactly this
    (min..=max).contains(&number).then_some(Value::Int(number))
}

/// An optional sign, digits with at most one point, an optional exponent; finite.
fn read_double(text: &str) -> Option<f64> {
    let shaped =
        text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let number: f64 = if shaped { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

fn misplaced(name: &str, parent: &str) -> Problem {
    no_call(format!("{} may not stand here in <{parent}>", tag_of(name)))
}

fn lacking(element: &str, missing: &str) -> Problem {
    no_call(format!("<{element}> without <{missing}>"))
}
