//! Writing: a value's tree is walked with an explicit stack, into one string.

use std::borrow::Cow;
use std::collections::btree_map;
use std::slice;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::request::{Reason, Refusal, ReplyForm};
use super::signature::{Merged, Signature, Type};
use super::text::{escaped, push_told};
use super::{APACHE, ENVELOPE_11, ENVELOPE_12, INSTANCE, RPC_12, SCHEMA, TYPES};
use super::{Style, Version, blames_sender};
use crate::chars::push_text;
use crate::{Call, Fault, FaultCode, Reply, Value};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes a call, for clients. Parameters are called `arg0`, `arg1`, ... and say their types.
///
/// The answer to a call of [`Style::Encoded`] says the types of all it holds; that of
/// [`Style::Literal`] leaves out what the WSDL says.
///
/// # Errors
/// [`FaultCode::InvalidParams`] where a parameter holds what SOAP cannot carry: a character that XML
/// forbids, a double that is not finite, a dateTime with a leap second.
pub fn encode_call(call: &Call, version: Version, style: Style) -> Result<Vec<u8>, Fault> {
    let form = ReplyForm::of(&call.method, version, style);
    let mut out = String::with_capacity(1024);
    open_envelope(&mut out, version);
    out.push_str("<soap:Body>");
    open_wrapper(&mut out, &form, "");
    for (place, value) in call.params.iter().enumerate() {
        let name = format!("{}arg{place}", part_prefix(&form));
        push_value(&mut out, &name, value, Type::Any, version, style).map_err(|what| {
            let text = format!("parameter {} cannot be sent as SOAP: {what}", place + 1);
            Fault::invalid_params(text)
        })?;
    }
    close_wrapper(&mut out, &form, "");
    out.push_str("</soap:Body></soap:Envelope>\n");
    Ok(out.into_bytes())
}

/// Writes the answer to a call, in its caller's form. `signatures` are those of the method, as the
/// WSDL describes it.
///
/// A value that SOAP cannot carry is answered as a fault that says so; such characters in a fault's own
/// text become U+FFFD. What is written is always well formed.
#[must_use]
pub fn encode_reply(reply: &Reply, form: &ReplyForm, signatures: &[Signature]) -> Vec<u8> {
    encode_answer(reply, form, signatures).0
}

/// The same, and the HTTP status to send it with.
#[must_use]
pub fn encode_answer(reply: &Reply, form: &ReplyForm, signatures: &[Signature]) -> (Vec<u8>, u16) {
    let mut out = String::with_capacity(1024);
    let written = match reply {
        Ok(value) => {
            let declared = Merged::returns(signatures).kind;
            push_response(&mut out, value, form, declared).map_err(|what| {
                let text = format!("the result cannot be sent as SOAP: {what}");
                Cow::Owned(Fault::new(FaultCode::Internal, text))
            })
        }
        Err(fault) => Err(Cow::Borrowed(fault)),
    };
    let status = match written {
        Ok(()) => 200,
        Err(fault) => {
            out.clear();
            push_fault(&mut out, form.version, &Reason::Other, &fault);
            form.version.fault_status(fault.code)
        }
    };
    (out.into_bytes(), status)
}

pub(super) fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    let mut out = String::with_capacity(1024);
    push_fault(&mut out, refusal.version, &refusal.reason, &refusal.fault);
    out.into_bytes()
}

/// What SOAP cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
enum Uncarriable {
    #[error("a {0} holds the character U+{1:04X}, which XML forbids (send it as base64)")]
    Character(&'static str, u32),
    #[error("the double {0} is not finite")]
    Double(f64),
    #[error("XML Schema has no leap seconds")]
    LeapSecond,
}

impl Uncarriable {
    fn character(place: &'static str) -> impl Fn(char) -> Self {
        move |character| Self::Character(place, u32::from(character))
    }
}

fn open_envelope(out: &mut String, version: Version) {
    let (envelope, encoding) = (version.envelope(), version.encoding());
    push(
        out,
        format_args!(
            "{DECLARATION}<soap:Envelope xmlns:soap=\"{envelope}\" xmlns:enc=\"{encoding}\" \
             xmlns:xsi=\"{INSTANCE}\" xmlns:xsd=\"{SCHEMA}\" xmlns:map=\"{APACHE}\" \
             xmlns:n=\"{TYPES}\">"
        ),
    );
}

/// What the names of the parts in a wrapper begin with: they are of its namespace in the literal style.
fn part_prefix(form: &ReplyForm) -> &'static str {
    match form.style {
        Style::Literal if !form.namespace.is_empty() => "m:",
        Style::Literal | Style::Encoded => "",
    }
}

fn open_wrapper(out: &mut String, form: &ReplyForm, suffix: &str) {
    // The names were element names before, or were made to be; the namespace may hold anything.
    let ReplyForm { version, style, namespace, element } = form;
    let (prefix, namespace) = match namespace.as_str() {
        "" => ("", String::new()),
        name => ("m:", format!(" xmlns:m=\"{}\"", escaped(name))),
    };
    push(out, format_args!("<{prefix}{element}{suffix}{namespace}"));
    if *style == Style::Encoded {
        push(out, format_args!(" soap:encodingStyle=\"{}\"", version.encoding()));
    }
    out.push('>');
}

fn close_wrapper(out: &mut String, form: &ReplyForm, suffix: &str) {
    let prefix = if form.namespace.is_empty() { "" } else { "m:" };
    push(out, format_args!("</{prefix}{}{suffix}>", form.element));
}

fn push_response(
    out: &mut String,
    value: &Value,
    form: &ReplyForm,
    declared: Type,
) -> Result<(), Uncarriable> {
    open_envelope(out, form.version);
    out.push_str("<soap:Body>");
    open_wrapper(out, form, "Response");
    let name = format!("{}return", part_prefix(form));
    let declared = if form.style == Style::Literal { declared } else { Type::Any };
    push_value(out, &name, value, declared, form.version, form.style)?;
    if (form.version, form.style) == (Version::Soap12, Style::Encoded) {
        // SOAP 1.2 part 2, section 4.2.1. Behind the result: some clients take what comes first.
        push(out, format_args!("<r:result xmlns:r=\"{RPC_12}\">return</r:result>"));
    }
    close_wrapper(out, form, "Response");
    out.push_str("</soap:Body></soap:Envelope>\n");
    Ok(())
}

fn push_fault(out: &mut String, version: Version, reason: &Reason, fault: &Fault) {
    open_envelope(out, version);
    match version {
        Version::Soap11 => push_fault_11(out, reason, fault),
        Version::Soap12 => push_fault_12(out, reason, fault),
    }
    out.push_str("</soap:Body></soap:Envelope>\n");
}

/// SOAP 1.1, section 4.4. No detail for what is wrong with a header.
fn push_fault_11(out: &mut String, reason: &Reason, fault: &Fault) {
    let code = match reason {
        Reason::VersionMismatch => "VersionMismatch",
        Reason::MustUnderstand(_) => "MustUnderstand",
        Reason::DataEncodingUnknown => "Client",
        Reason::Other if blames_sender(fault.code) => "Client",
        Reason::Other => "Server",
    };
    push(
        out,
        format_args!("<soap:Body><soap:Fault><faultcode>soap:{code}</faultcode><faultstring>"),
    );
    push_told(out, &fault.text);
    out.push_str("</faultstring>");
    if !matches!(reason, Reason::MustUnderstand(_)) {
        out.push_str("<detail>");
        push_detail(out, fault);
        out.push_str("</detail>");
    }
    out.push_str("</soap:Fault>");
}

/// SOAP 1.2 part 1, section 5.4; the subcodes are those of part 2, section 4.4.
fn push_fault_12(out: &mut String, reason: &Reason, fault: &Fault) {
    match reason {
        Reason::VersionMismatch => push(
            out,
            format_args!(
                "<soap:Header><soap:Upgrade><soap:SupportedEnvelope qname=\"a:Envelope\" \
                 xmlns:a=\"{ENVELOPE_12}\"/><soap:SupportedEnvelope qname=\"b:Envelope\" \
                 xmlns:b=\"{ENVELOPE_11}\"/></soap:Upgrade></soap:Header>"
            ),
        ),
        Reason::MustUnderstand(headers) => {
            out.push_str("<soap:Header>");
            for (namespace, local) in headers {
                let (bound, prefix) = match namespace.as_str() {
                    "" => (String::new(), ""),
                    name => (format!(" xmlns:h=\"{}\"", escaped(name)), "h:"),
                };
                push(out, format_args!("<soap:NotUnderstood qname=\"{prefix}{local}\"{bound}/>"));
            }
            out.push_str("</soap:Header>");
        }
        Reason::DataEncodingUnknown | Reason::Other => {}
    }
    let code = match reason {
        Reason::VersionMismatch => "VersionMismatch",
        Reason::MustUnderstand(_) => "MustUnderstand",
        Reason::DataEncodingUnknown => "DataEncodingUnknown",
        Reason::Other if blames_sender(fault.code) => "Sender",
        Reason::Other => "Receiver",
    };
    push(
        out,
        format_args!("<soap:Body><soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value>"),
    );
    let subcode = match (reason, fault.code) {
        (Reason::Other, FaultCode::NoSuchMethod) => Some("ProcedureNotPresent"),
        (Reason::Other, FaultCode::InvalidParams) => Some("BadArguments"),
        _ => None,
    };
    if let Some(subcode) = subcode {
        push(
            out,
            format_args!(
                "<soap:Subcode><soap:Value xmlns:r=\"{RPC_12}\">r:{subcode}</soap:Value></soap:Subcode>"
            ),
        );
    }
    out.push_str("</soap:Code><soap:Reason><soap:Text xml:lang=\"en\">");
    push_told(out, &fault.text);
    out.push_str("</soap:Text></soap:Reason>");
    if !matches!(reason, Reason::MustUnderstand(_)) {
        out.push_str("<soap:Detail>");
        push_detail(out, fault);
        out.push_str("</soap:Detail>");
    }
    out.push_str("</soap:Fault>");
}

fn push_detail(out: &mut String, fault: &Fault) {
    push(out, format_args!("<n:fault><code>{}</code><text>", fault.code.number()));
    push_told(out, &fault.text);
    out.push_str("</text></n:fault>");
}

/// A container whose parts are being written.
enum Open<'a> {
    Array(slice::Iter<'a, Value>),
    Struct(btree_map::Iter<'a, String, Value>),
}

struct Writer<'o> {
    out: &'o mut String,
    version: Version,
    style: Style,
}

fn push_value(
    out: &mut String,
    name: &str,
    root: &Value,
    declared: Type,
    version: Version,
    style: Style,
) -> Result<(), Uncarriable> {
    Writer { out, version, style }.value(name, root, declared)
}

impl Writer<'_> {
    /// Writes an element `name` that holds `root`.
    fn value(&mut self, name: &str, root: &Value, declared: Type) -> Result<(), Uncarriable> {
        let mut open = Vec::new();
        open.extend(self.begin(name, root, declared)?);
        while let Some(innermost) = open.last_mut() {
            let next = match innermost {
                Open::Array(items) => items.next().map(|value| ("item", value)),
                Open::Struct(members) => match members.next() {
                    Some((key, value)) => {
                        self.key(key)?;
                        Some(("value", value))
                    }
                    None => None,
                },
            };
            match next {
                Some((part, value)) => match self.begin(part, value, Type::Any)? {
                    Some(inner) => open.push(inner),
                    None => self.end_part(open.last()),
                },
                None => {
                    open.pop();
                    let part = match open.last() {
                        None => name,
                        Some(Open::Array(_)) => "item",
                        Some(Open::Struct(_)) => "value",
                    };
                    self.end(part);
                    self.end_part(open.last());
                }
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &str) -> Result<(), Uncarriable> {
        self.out.push_str(match self.style {
            Style::Literal => "<item><key>",
            Style::Encoded => "<item><key xsi:type=\"xsd:string\">",
        });
        push_text(self.out, key).map_err(Uncarriable::character("member's name"))?;
        self.out.push_str("</key>");
        Ok(())
    }

    fn end(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// After a value inside `parent`: a member of a struct ends with it.
    fn end_part(&mut self, parent: Option<&Open<'_>>) {
        if let Some(Open::Struct(_)) = parent {
            self.out.push_str("</item>");
        }
    }

    /// Writes a simple value whole, or the opening tag of a container, which is given back.
    fn begin<'a>(
        &mut self,
        name: &str,
        value: &'a Value,
        declared: Type,
    ) -> Result<Option<Open<'a>>, Uncarriable> {
        let out = &mut *self.out;
        let mut open = |said: Type, kind: &str| {
            out.push('<');
            out.push_str(name);
            if said != declared {
                out.push_str(" xsi:type=\"");
                out.push_str(kind);
                out.push('"');
            }
            out.push('>');
        };
        match value {
            Value::Nil => {
                push(self.out, format_args!("<{name} xsi:nil=\"true\"/>"));
                return Ok(None);
            }
            Value::Bool(truth) => {
                open(Type::Boolean, "xsd:boolean");
                self.out.push_str(if *truth { "true" } else { "false" });
            }
            Value::Int(number) => {
                open(Type::Int, "xsd:long");
                push(self.out, format_args!("{number}"));
            }
            Value::Double(number) => {
                if !number.is_finite() {
                    return Err(Uncarriable::Double(*number));
                }
                open(Type::Double, "xsd:double");
                // With as many digits as bring the same double back.
                push(self.out, format_args!("{number:?}"));
            }
            Value::String(text) => {
                open(Type::String, "xsd:string");
                push_text(self.out, text).map_err(Uncarriable::character("string"))?;
            }
            Value::DateTime(when) => {
                if when.second > 59 {
                    return Err(Uncarriable::LeapSecond);
                }
                open(Type::DateTime, "xsd:dateTime");
                let crate::DateTime { year, month, day, hour, minute, second } = when;
                push(
                    self.out,
                    format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
                );
            }
            Value::Binary(bytes) => {
                open(Type::Base64, "xsd:base64Binary");
                STANDARD.encode_string(bytes, self.out);
            }
            Value::Array(items) => {
                match (self.style, self.version) {
                    (Style::Literal, _) => open(Type::Array, "n:Array"),
                    (Style::Encoded, Version::Soap11) => push(
                        self.out,
                        format_args!(
                            "<{name} xsi:type=\"enc:Array\" enc:arrayType=\"xsd:anyType[{}]\">",
                            items.len()
                        ),
                    ),
                    // SOAP::Lite knows an array by its arrayType in SOAP 1.2, too.
                    (Style::Encoded, Version::Soap12) => push(
                        self.out,
                        format_args!(
                            "<{name} xsi:type=\"enc:Array\" enc:itemType=\"xsd:anyType\" \
                             enc:arraySize=\"{0}\" enc:arrayType=\"xsd:anyType[{0}]\">",
                            items.len()
                        ),
                    ),
                }
                return Ok(Some(Open::Array(items.iter())));
            }
            Value::Struct(members) => {
                open(Type::Struct, "map:Map");
                return Ok(Some(Open::Struct(members.iter())));
            }
        }
        self.end(name);
        Ok(None)
    }
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    std::fmt::Write::write_fmt(out, what).unwrap_or_default();
}
