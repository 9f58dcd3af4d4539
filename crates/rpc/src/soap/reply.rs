//! The client's side: from an envelope to a reply.

use super::Style;
use super::document::{Document, Id, Key, Ns, ROOT};
use super::request::{parts, version_of};
use super::signature::{Merged, Signature, Type};
use super::value::Reader;
use crate::chars::trim;
use crate::xml::no_call;
use crate::{Bounds, Fault, FaultCode, Reply, Value};

/// Reads the answer to a call, for clients. `signatures` are those of the method that was called; none
/// if they are not known, or if the call was of [`super::Style::Encoded`].
///
/// # Errors
/// A fault -32700 (not well formed), -32600 (no answer), -32602 (no such value), 413 (a bound), about
/// the answer.
pub fn decode_reply(
    body: &[u8],
    bounds: &Bounds,
    signatures: &[Signature],
) -> Result<Reply, Fault> {
    let document = Document::read(body, None, bounds)?;
    let wrong = |node, text| document.fault(node, no_call(text));
    let version =
        version_of(&document).ok_or_else(|| wrong(ROOT, "not an Envelope of SOAP 1.1 or 1.2"))?;
    let (_, body) = parts(&document, version).map_err(|(node, text)| wrong(node, text))?;
    let answer =
        document.first_child(body).ok_or_else(|| wrong(body, "the Body holds no answer"))?;
    if document.is(answer, document.name(ROOT).ns, "Fault") {
        return Ok(Err(read_fault(&document, answer)));
    }
    let result = document.children(answer).find(|child| document.name(*child).ns != Ns::Rpc12);
    let Some(result) = result else { return Ok(Ok(Value::Nil)) };
    let declared = if signatures.is_empty() { Type::Any } else { Merged::returns(signatures).kind };
    let encoded = document.attribute(answer, Key::EncodingStyle).is_some();
    let style = if encoded { Style::Encoded } else { Style::Literal };
    Reader::new(&document, bounds, style)
        .value(result, declared)
        .map(Ok)
        .map_err(|(node, problem)| document.fault(node, problem))
}

/// The fault of either version, by local names. Where the detail is not ours, SOAP's own code says
/// whose doing it was.
fn read_fault(document: &Document<'_>, fault: Id) -> Fault {
    let child = |node: Id, names: &[&str]| {
        document.children(node).find(|child| names.contains(&document.local(*child)))
    };
    let detail = child(fault, &["detail", "Detail"]).and_then(|detail| child(detail, &["fault"]));
    let number = detail.and_then(|detail| child(detail, &["code"]));
    let number = number.and_then(|code| trim(document.text(code)).parse().ok());
    let told = child(fault, &["faultstring"]).or_else(|| {
        let reason = child(fault, &["Reason"])?;
        child(reason, &["Text"])
    });
    let code = number.map(FaultCode::from_number).unwrap_or_else(|| {
        let written = child(fault, &["faultcode"]).or_else(|| {
            let code = child(fault, &["Code"])?;
            child(code, &["Value"])
        });
        let written = written.map(|node| trim(document.text(node))).unwrap_or_default();
        let local = written.rsplit(':').next().unwrap_or_default();
        let first = local.split('.').next().unwrap_or_default();
        match first {
            "Server" | "Receiver" => FaultCode::Internal,
            _ => FaultCode::InvalidRequest,
        }
    });
    Fault::new(code, told.map(|node| document.text(node)).unwrap_or_default())
}
