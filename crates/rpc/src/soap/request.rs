//! From an envelope to a call.

use super::document::{Document, Id, Key, Ns, ROOT};
use super::signature::{Merged, Signature};
use super::text::bad_value;
use super::value::Reader;
use super::{Style, Version, encode, escape_name, service_namespace, soap_action, unescape_name};
use crate::chars::trim;
use crate::telling::{quoted, tag_of};
use crate::xml::{Problem, no_call};
use crate::{Bounds, Call, Encoding, Fault, FaultCode, METHOD_NAME_BYTES_MAX, MethodName, Value};

/// Parameters of one call.
const PARAMS_MAX: usize = 256;
/// Header blocks that a fault names.
const TOLD_HEADERS_MAX: usize = 16;

/// Where and how a message came in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Endpoint<'a> {
    /// The service, at an address of its own.
    pub service: Option<&'a str>,
    /// The SOAPAction header of SOAP 1.1 as it was sent, or the `action` of SOAP 1.2's content type.
    pub action: Option<&'a str>,
    /// The version that the content type means; a message that cannot be read is answered in it.
    pub version: Option<Version>,
    /// The `charset` of the content type.
    pub charset: Option<Encoding>,
}

/// An envelope whose method is known and whose parameters are not read yet.
#[derive(Debug)]
pub struct Request<'b> {
    document: Document<'b>,
    bounds: Bounds,
    form: ReplyForm,
    name: MethodName,
    method: Id,
}

/// How a call is answered: its version, its style, and its element's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyForm {
    /// The version.
    pub version: Version,
    /// The style.
    pub style: Style,
    /// The namespace of the call's element; empty is none.
    pub namespace: String,
    /// The local name of the call's element.
    pub element: String,
}

impl ReplyForm {
    /// How a call of `method` is answered that was sent as the WSDL says.
    #[must_use]
    pub fn of(method: &MethodName, version: Version, style: Style) -> Self {
        let (service, name) = method.split();
        let (namespace, element) = (service_namespace(service), escape_name(name));
        Self { version, style, namespace, element }
    }
}

/// Why there is no call to answer, and in which version that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The version to answer in.
    pub version: Version,
    /// Which of SOAP's own faults it is.
    pub reason: Reason,
    /// What is answered.
    pub fault: Fault,
}

/// The faults that SOAP itself knows (SOAP 1.1, section 4.4.1; SOAP 1.2, section 5.4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The root is no envelope of a version that is spoken here.
    VersionMismatch,
    /// Headers that must be understood and are not: namespaces and local names.
    MustUnderstand(Vec<(String, String)>),
    /// The `encodingStyle` is of neither version.
    DataEncodingUnknown,
    /// Any other: the fault's code says which.
    Other,
}

impl Refusal {
    /// The message that says so.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode::encode_refusal(self)
    }

    /// The HTTP status to send it with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.reason {
            Reason::Other => self.version.fault_status(self.fault.code),
            Reason::VersionMismatch | Reason::MustUnderstand(_) | Reason::DataEncodingUnknown => {
                500
            }
        }
    }
}

impl<'b> Request<'b> {
    /// Reads an envelope as far as the method's name.
    ///
    /// # Errors
    /// A [`Refusal`] with -32700 (not well formed), -32600 (no call), 413 (a bound), and SOAP's own
    /// reasons.
    pub fn read(body: &'b [u8], bounds: &Bounds, endpoint: &Endpoint<'_>) -> Result<Self, Refusal> {
        let supposed = endpoint.version.unwrap_or(Version::Soap11);
        let refused = |fault| Refusal { version: supposed, reason: Reason::Other, fault };
        let document = Document::read(body, endpoint.charset, bounds).map_err(refused)?;
        let version = version_of(&document).ok_or_else(|| {
            let tag = tag_of(document.local(ROOT));
            let text = format!("expected an Envelope of SOAP 1.1 or 1.2, found {tag}");
            let fault = document.fault(ROOT, no_call(text));
            Refusal { version: supposed, reason: Reason::VersionMismatch, fault }
        })?;
        let read = read_envelope(&document, version, endpoint);
        let (method, name, style) = read.map_err(|(node, reason, problem)| Refusal {
            version,
            reason,
            fault: document.fault(node, problem),
        })?;
        let form = ReplyForm {
            version,
            style,
            namespace: document.namespace(document.name(method).ns).to_owned(),
            element: document.local(method).to_owned(),
        };
        Ok(Self { document, bounds: *bounds, form, name, method })
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &MethodName {
        &self.name
    }

    /// How the call is answered.
    #[must_use]
    pub fn form(&self) -> &ReplyForm {
        &self.form
    }

    /// Reads the parameters. `signatures` are the method's; none if they are not known.
    ///
    /// Their number is not checked against the signatures', nor are their types beyond what is needed
    /// to read them.
    ///
    /// # Errors
    /// A [`Refusal`] with -32602 (no such value), 413 (a bound).
    pub fn into_call(self, signatures: &[Signature]) -> Result<(Call, ReplyForm), Refusal> {
        let params = self.params(signatures).map_err(|(node, problem)| Refusal {
            version: self.form.version,
            reason: Reason::Other,
            fault: self.document.fault(node, problem),
        })?;
        Ok((Call { method: self.name, params }, self.form))
    }

    fn params(&self, signatures: &[Signature]) -> Result<Vec<Value>, (Id, Problem)> {
        let elements: Vec<Id> = self.document.children(self.method).take(PARAMS_MAX + 1).collect();
        if elements.len() > PARAMS_MAX {
            let text = format!("more than {PARAMS_MAX} parameters");
            return Err((self.method, (FaultCode::OverLimit, text)));
        }
        if self.document.is_mixed(self.method) || !trim(self.document.text(self.method)).is_empty()
        {
            return Err((self.method, bad_value("text beside the parameters")));
        }
        let places = self.places(&elements, signatures)?;
        let count = places.iter().max().map_or(0, |last| last + 1);
        let fitting: Vec<Signature> =
            signatures.iter().filter(|one| one.params.len() == count).cloned().collect();
        let signatures = if fitting.is_empty() { signatures } else { &fitting };
        let mut params = vec![Value::Nil; count];
        let mut reader = Reader::new(&self.document, &self.bounds, self.form.style);
        for (element, place) in elements.into_iter().zip(places) {
            let declared = Merged::param(signatures, place).kind;
            let value = reader.value(element, declared)?;
            if let Some(param) = params.get_mut(place) {
                *param = value;
            }
        }
        Ok(params)
    }

    /// The place of each element among the parameters: by name if every name is known, else by order.
    fn places(
        &self,
        elements: &[Id],
        signatures: &[Signature],
    ) -> Result<Vec<usize>, (Id, Problem)> {
        let by_order = || (0..elements.len()).collect();
        let mut places = Vec::with_capacity(elements.len());
        for element in elements {
            let local = self.document.local(*element);
            let Some(place) = place_of(local, signatures) else { return Ok(by_order()) };
            if places.contains(&place) {
                let text = format!("two parameters are called {}", quoted(local));
                return Err((*element, bad_value(text)));
            }
            places.push(place);
        }
        Ok(places)
    }
}

/// The place of the parameter that is called `local`.
fn place_of(local: &str, signatures: &[Signature]) -> Option<usize> {
    let name = unescape_name(local);
    let named = |signature: &Signature| {
        signature.params.iter().position(|param| param.name.as_ref() == Some(&name))
    };
    if let Some(place) = signatures.iter().find_map(named) {
        return Some(place);
    }
    let digits = local.strip_prefix("arg")?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let place = if plain { digits.parse().ok()? } else { return None };
    (place < PARAMS_MAX).then_some(place)
}

/// The version whose envelope the root is.
pub(super) fn version_of(document: &Document<'_>) -> Option<Version> {
    match (document.name(ROOT).ns, document.local(ROOT)) {
        (Ns::Envelope11, "Envelope") => Some(Version::Soap11),
        (Ns::Envelope12, "Envelope") => Some(Version::Soap12),
        _ => None,
    }
}

type Refused = (Id, Reason, Problem);

fn refused(node: Id, text: impl Into<String>) -> Refused {
    (node, Reason::Other, no_call(text))
}

/// The method's element, its name, and the style.
fn read_envelope(
    document: &Document<'_>,
    version: Version,
    endpoint: &Endpoint<'_>,
) -> Result<(Id, MethodName, Style), Refused> {
    let (header, body) = parts(document, version).map_err(|(node, text)| refused(node, text))?;
    if let Some(header) = header {
        check_headers(document, version, header)?;
    }
    let mut entries = document.children(body);
    let method = entries.next().ok_or_else(|| refused(body, "the Body holds no call"))?;
    // What follows may only be what the call refers to.
    if let Some(other) = entries.find(|entry| document.attribute(*entry, Key::Id).is_none()) {
        return Err(refused(other, "a second call in the Body"));
    }
    let mut style = Style::Literal;
    for node in [ROOT, body, method] {
        style = style_of(document, version, node, style)?;
    }
    let name = method_name(document, method, endpoint.service)
        .map_err(|problem| (method, Reason::Other, problem))?;
    check_action(document, method, &name, endpoint.action)
        .map_err(|problem| (method, Reason::Other, problem))?;
    Ok((method, name, style))
}

/// The Header, if there is one, and the Body.
pub(super) fn parts(
    document: &Document<'_>,
    version: Version,
) -> Result<(Option<Id>, Id), (Id, &'static str)> {
    let own = document.name(ROOT).ns;
    if document.is_mixed(ROOT) {
        return Err((ROOT, "text in the Envelope"));
    }
    let mut children = document.children(ROOT).peekable();
    let header = children.next_if(|child| document.is(*child, own, "Header"));
    let body = children.next().ok_or((ROOT, "the Envelope has no Body"))?;
    if !document.is(body, own, "Body") {
        return Err((body, "an element where the Body should be"));
    }
    match (children.next(), version) {
        (Some(after), Version::Soap12) => Err((after, "an element after the Body")),
        // SOAP 1.1, section 4, lets others follow if they have a namespace; they mean nothing here.
        (Some(after), Version::Soap11) if document.name(after).ns == Ns::None => {
            Err((after, "an element without a namespace after the Body"))
        }
        _ => Ok((header, body)),
    }
}

/// No header means anything here: one that must be understood is refused if it is for us (SOAP 1.1,
/// section 4.2; SOAP 1.2, section 2.4).
fn check_headers(document: &Document<'_>, version: Version, header: Id) -> Result<(), Refused> {
    let mut names = Vec::new();
    let mut first = None;
    for block in document.children(header) {
        let must = document.attribute(block, Key::MustUnderstand).map(trim);
        let must = match (must, version) {
            (None | Some("0"), _) | (Some("false"), Version::Soap12) => false,
            (Some("1"), _) | (Some("true"), _) => true,
            (Some(_), _) => return Err(refused(block, "mustUnderstand is neither 1 nor 0")),
        };
        let role = document.attribute(block, Key::Role).map(trim).unwrap_or_default();
        let ours = matches!(
            role,
            "" | "http://schemas.xmlsoap.org/soap/actor/next"
                | "http://www.w3.org/2003/05/soap-envelope/role/next"
                | "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver"
        );
        if must && ours {
            first.get_or_insert(block);
            let namespace = document.namespace(document.name(block).ns).to_owned();
            names.push((namespace, document.local(block).to_owned()));
        }
    }
    let Some(block) = first else { return Ok(()) };
    names.truncate(TOLD_HEADERS_MAX);
    let told: Vec<String> = names.iter().map(|(_, local)| tag_of(local)).collect();
    let text = format!("headers that must be understood and are not: {}", told.join(", "));
    Err((block, Reason::MustUnderstand(names), no_call(text)))
}

/// The style that `node` says, or the one outside of it.
fn style_of(
    document: &Document<'_>,
    version: Version,
    node: Id,
    outer: Style,
) -> Result<Style, Refused> {
    let Some(written) = document.attribute(node, Key::EncodingStyle) else { return Ok(outer) };
    let mut names =
        written.split([' ', '\t', '\n', '\r']).filter(|name| !name.is_empty()).peekable();
    if names.peek().is_none() {
        return Ok(Style::Literal);
    }
    // SOAP 1.1, section 4.1.1: from the most specific on; what begins with its name is the encoding.
    names
        .find_map(|name| match name {
            super::ENCODING_12 => Some(Style::Encoded),
            "http://www.w3.org/2003/05/soap-envelope/encoding/none" => Some(Style::Literal),
            _ => name.starts_with(super::ENCODING_11).then_some(Style::Encoded),
        })
        .ok_or_else(|| {
            let reason = match version {
                Version::Soap11 => Reason::Other,
                Version::Soap12 => Reason::DataEncodingUnknown,
            };
            let text = format!("the encodingStyle {} is not known", quoted(written));
            (node, reason, no_call(text))
        })
}

/// The method that the element `node` names; see [`crate::soap`].
fn method_name(
    document: &Document<'_>,
    node: Id,
    at_service: Option<&str>,
) -> Result<MethodName, Problem> {
    let local = unescape_name(document.local(node));
    let namespace = document.namespace(document.name(node).ns);
    let full = match namespace.strip_prefix(super::SERVICE_PREFIX) {
        Some(service) => match local.strip_prefix(service) {
            Some(rest) if rest.starts_with('.') => local,
            _ => format!("{service}.{local}"),
        },
        None if local.contains('.') => local,
        None => match at_service {
            Some(service) => format!("{service}.{local}"),
            None => {
                let text = format!(
                    "{} names no service: its namespace should be {}<service>",
                    tag_of(&local),
                    super::SERVICE_PREFIX
                );
                return Err((FaultCode::NoSuchMethod, text));
            }
        },
    };
    let wrong = |_| {
        let text = format!(
            "{} is no method name: dot-separated parts of letters, digits, '_' and '-', at most \
             {METHOD_NAME_BYTES_MAX} bytes long",
            quoted(&full)
        );
        no_call(text)
    };
    let name = MethodName::parse(&full).map_err(wrong)?;
    match at_service {
        Some(service) if name.split().0 != service => {
            let text = format!("{name} is no method of the service at this address, {service}");
            Err(no_call(text))
        }
        _ => Ok(name),
    }
}

/// The body decides; a SOAPAction that is there must agree with it.
///
/// Taken: ours, `<namespace>#<name>` and `<namespace>/<name>` of the body's element, its namespace or
/// its name alone, and the dotted name.
fn check_action(
    document: &Document<'_>,
    node: Id,
    name: &MethodName,
    action: Option<&str>,
) -> Result<(), Problem> {
    let action = trim(action.unwrap_or_default());
    let action = action.strip_prefix('"').and_then(|a| a.strip_suffix('"')).unwrap_or(action);
    let namespace = document.namespace(document.name(node).ns);
    let local = document.local(node);
    let (service, method) = name.split();
    let joined = action.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(['#', '/']));
    let agrees = action.is_empty()
        || joined == Some(local)
        || action == namespace
        || action == local
        || action == name.as_str()
        || action == soap_action(service, method);
    if agrees {
        return Ok(());
    }
    let text =
        format!("the SOAPAction {} is not that of {name}, which the Body calls", quoted(action));
    Err(no_call(text))
}
