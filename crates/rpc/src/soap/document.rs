//! A bounded XML document: its elements in one flat list, names resolved.
//!
//! quick-xml finds the tags, matches their names and cuts the text; what else XML and its namespaces
//! ask for is checked here. Nothing outside of the bytes is ever looked at. Elements stand in one
//! vector and point to each other by number, so reading and dropping need no stack.

use std::borrow::Cow;
use std::num::NonZeroU32;

use quick_xml::events::attributes::{Attribute as RawAttribute, Attributes};
use quick_xml::events::{BytesStart, Event};

use super::text::{is_blank, is_ncname, push_attribute_value, split_qname};
use crate::encoding::readable;
use crate::telling::{position, quoted, tag_of};
use crate::xml::{
    Events, Problem, check_declaration, doctype, ill_formed, no_call, over_limit, resolve,
};
use crate::{Bounds, Encoding, Fault, FaultCode};

/// Attributes of one element, declarations of namespaces among them.
const ATTRIBUTES_MAX: usize = 64;
/// Namespace declarations in force at once.
const PREFIXES_MAX: usize = 256;
/// Bytes of one namespace's name.
const NAMESPACE_BYTES_MAX: usize = 1024;
/// Elements around the values of a message, and spare ones.
const ENVELOPE_DEPTH: usize = 8;
/// Elements that one nested value may take: a struct's member is an `item` with a `value`.
const ELEMENTS_FOR_DEPTH: usize = 2;

/// The namespaces that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ns {
    /// Of no namespace.
    None,
    /// SOAP 1.1's envelope.
    Envelope11,
    /// SOAP 1.2's envelope.
    Envelope12,
    /// SOAP 1.1's encoding (section 5).
    Encoding11,
    /// SOAP 1.2's encoding (part 2, section 3).
    Encoding12,
    /// XML Schema's types, of any of its three years.
    Schema,
    /// XML Schema's attributes in instances, of any of its three years.
    Instance,
    /// Apache SOAP's types: `Map`.
    Apache,
    /// Ours: `Array`, `fault`.
    Types,
    /// XML-binary optimized packaging: `Include`.
    Xop,
    /// SOAP 1.2's `rpc:result`.
    Rpc12,
    /// Another one.
    Other(Span),
}

impl Ns {
    fn known(name: &str) -> Option<Self> {
        Some(match name {
            super::ENVELOPE_11 => Self::Envelope11,
            super::ENVELOPE_12 => Self::Envelope12,
            super::ENCODING_11 => Self::Encoding11,
            super::ENCODING_12 => Self::Encoding12,
            super::SCHEMA
            | "http://www.w3.org/1999/XMLSchema"
            | "http://www.w3.org/2000/10/XMLSchema" => Self::Schema,
            super::INSTANCE
            | "http://www.w3.org/1999/XMLSchema-instance"
            | "http://www.w3.org/2000/10/XMLSchema-instance" => Self::Instance,
            super::APACHE => Self::Apache,
            super::TYPES => Self::Types,
            "http://www.w3.org/2004/08/xop/include" => Self::Xop,
            super::RPC_12 => Self::Rpc12,
            _ => return None,
        })
    }
}

/// A piece of the source, or of the text that had to be made anew (references, line ends).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    from: u32,
    to: u32,
    made: bool,
}

const EMPTY: Span = Span { from: 0, to: 0, made: false };

/// A qualified name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) ns: Ns,
    pub(super) local: Span,
}

/// The attributes that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// `xsi:type`.
    Type,
    /// `xsi:nil`, and `xsi:null` of 1999.
    Nil,
    /// `id`, and SOAP 1.2's `enc:id`.
    Id,
    /// `href`, and SOAP 1.2's `enc:ref`.
    Reference,
    /// SOAP 1.1's `enc:arrayType`; SOAP::Lite has it in SOAP 1.2, too.
    ArrayType,
    /// SOAP 1.1's `enc:offset` and `enc:position`: arrays that are not sent whole.
    Partial,
    /// SOAP 1.2's `enc:itemType`.
    ItemType,
    /// SOAP 1.2's `enc:arraySize`.
    ArraySize,
    /// SOAP 1.2's `enc:nodeType`.
    NodeType,
    /// `encodingStyle` of either version.
    EncodingStyle,
    /// `mustUnderstand` of either version.
    MustUnderstand,
    /// SOAP 1.1's `actor`, SOAP 1.2's `role`.
    Role,
}

impl Key {
    fn of(ns: Ns, local: &str) -> Option<Self> {
        Some(match (ns, local) {
            (Ns::Instance, "type") => Self::Type,
            (Ns::Instance, "nil" | "null") => Self::Nil,
            (Ns::None, "id") | (Ns::Encoding12, "id") => Self::Id,
            (Ns::None, "href") | (Ns::Encoding12, "ref") => Self::Reference,
            (Ns::Encoding11 | Ns::Encoding12, "arrayType") => Self::ArrayType,
            (Ns::Encoding11, "offset" | "position") => Self::Partial,
            (Ns::Encoding12, "itemType") => Self::ItemType,
            (Ns::Encoding12, "arraySize") => Self::ArraySize,
            (Ns::Encoding12, "nodeType") => Self::NodeType,
            (Ns::Envelope11 | Ns::Envelope12, "encodingStyle") => Self::EncodingStyle,
            (Ns::Envelope11 | Ns::Envelope12, "mustUnderstand") => Self::MustUnderstand,
            (Ns::Envelope11, "actor") | (Ns::Envelope12, "role") => Self::Role,
            _ => return None,
        })
    }

    /// Whether the value is a qualified name.
    fn is_qname(self) -> bool {
        matches!(self, Self::Type | Self::ArrayType | Self::ItemType)
    }
}

/// An attribute; `value` is a local name in `ns` where the key's values are qualified names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute {
    key: Key,
    ns: Ns,
    value: Span,
}

/// The number of an element.
pub(super) type Id = u32;

#[derive(Debug, Clone, Copy)]
struct Node {
    name: Name,
    /// Where it begins in the source.
    at: u32,
    /// Its text, if it has no elements in it.
    text: Span,
    attributes_from: u32,
    attributes_to: u32,
    /// The root is 0 and nobody's child.
    first_child: Option<NonZeroU32>,
    next_sibling: Option<NonZeroU32>,
    /// Whether it has both text and elements in it.
    mixed: bool,
}

/// A document that was read whole.
#[derive(Debug)]
pub(super) struct Document<'b> {
    source: Cow<'b, str>,
    made: String,
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
}

/// The root's number.
pub(super) const ROOT: Id = 0;

impl<'b> Document<'b> {
    /// Reads a document of any encoding that is read here; `charset` is what the content type said.
    ///
    /// # Errors
    /// A fault -32700 (not well formed), -32600 (what SOAP forbids), 413 (a bound), with position.
    pub(super) fn read(
        body: &'b [u8],
        charset: Option<Encoding>,
        bounds: &Bounds,
    ) -> Result<Self, Fault> {
        let (source, encoding) = readable(body, charset)?;
        if u32::try_from(source.len()).is_err() {
            return Err(Fault::new(FaultCode::OverLimit, "the message is larger than 4 GiB"));
        }
        let mut builder = Builder::new(source.as_ref(), encoding, bounds);
        let read = builder.run();
        let Builder { made, nodes, attributes, .. } = builder;
        match read {
            Ok(()) => Ok(Self { source, made, nodes, attributes }),
            Err((at, problem)) => Err(located(&source, at, problem)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.source.len()
    }

    pub(super) fn str(&self, span: Span) -> &str {
        slice(&self.source, &self.made, span)
    }

    pub(super) fn name(&self, node: Id) -> Name {
        self.node(node).map_or(Name { ns: Ns::None, local: EMPTY }, |node| node.name)
    }

    pub(super) fn local(&self, node: Id) -> &str {
        self.str(self.name(node).local)
    }

    /// Whether the element is called `local` in the namespace `ns`.
    pub(super) fn is(&self, node: Id, ns: Ns, local: &str) -> bool {
        self.name(node).ns == ns && self.local(node) == local
    }

    /// The namespace's own name.
    pub(super) fn namespace(&self, ns: Ns) -> &str {
        match ns {
            Ns::None => "",
            Ns::Envelope11 => super::ENVELOPE_11,
            Ns::Envelope12 => super::ENVELOPE_12,
            Ns::Encoding11 => super::ENCODING_11,
            Ns::Encoding12 => super::ENCODING_12,
            Ns::Schema => super::SCHEMA,
            Ns::Instance => super::INSTANCE,
            Ns::Apache => super::APACHE,
            Ns::Types => super::TYPES,
            Ns::Xop => "http://www.w3.org/2004/08/xop/include",
            Ns::Rpc12 => super::RPC_12,
            Ns::Other(span) => self.str(span),
        }
    }

    /// The text of an element that holds no elements.
    pub(super) fn text(&self, node: Id) -> &str {
        self.node(node).map_or("", |node| self.str(node.text))
    }

    pub(super) fn is_mixed(&self, node: Id) -> bool {
        self.node(node).is_some_and(|node| node.mixed)
    }

    pub(super) fn first_child(&self, node: Id) -> Option<Id> {
        self.node(node)?.first_child.map(NonZeroU32::get)
    }

    pub(super) fn next_sibling(&self, node: Id) -> Option<Id> {
        self.node(node)?.next_sibling.map(NonZeroU32::get)
    }

    pub(super) fn children(&self, node: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(self.first_child(node), |child| self.next_sibling(*child))
    }

    /// Where the attributes of the element stand; the same for elements that have the same.
    pub(super) fn attributes(&self, node: Id) -> (u32, u32) {
        self.node(node).map_or((0, 0), |node| (node.attributes_from, node.attributes_to))
    }

    /// The attribute `key`, if the element has it.
    pub(super) fn attribute(&self, node: Id, key: Key) -> Option<&str> {
        self.qname(node, key).map(|name| self.str(name.local))
    }

    /// The attribute `key` whose value is a qualified name.
    pub(super) fn qname(&self, node: Id, key: Key) -> Option<Name> {
        let node = self.node(node)?;
        let range = index(node.attributes_from)..index(node.attributes_to);
        let all = self.attributes.get(range)?;
        let found = all.iter().find(|attribute| attribute.key == key)?;
        Some(Name { ns: found.ns, local: found.value })
    }

    /// Every element with an `id`, in order.
    pub(super) fn identified(&self) -> impl Iterator<Item = (&str, Id)> {
        self.nodes.iter().zip(0..).filter_map(|(node, id)| {
            if node.attributes_from == node.attributes_to {
                return None;
            }
            Some((self.attribute(id, Key::Id)?, id))
        })
    }

    /// A problem with `node`, as a fault that says where it stands.
    pub(super) fn fault(&self, node: Id, problem: Problem) -> Fault {
        let at = self.node(node).map_or(0, |node| index(node.at));
        located(&self.source, at, problem)
    }

    fn node(&self, node: Id) -> Option<&Node> {
        self.nodes.get(index(node))
    }
}

fn located(source: &str, at: usize, (code, text): Problem) -> Fault {
    let (line, column) = position(source, at);
    Fault::new(code, format!("line {line}, column {column}: {text}"))
}

fn slice<'a>(source: &'a str, made: &'a str, span: Span) -> &'a str {
    let text = if span.made { made } else { source };
    text.get(index(span.from)..index(span.to)).unwrap_or_default()
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A length that `Document::read` has made sure of.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

struct Open {
    node: Id,
    last_child: Option<NonZeroU32>,
    /// Declarations in force outside of it.
    prefixes: usize,
    text: Collected,
    made_from: usize,
}

/// The text of an element, while it is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collected {
    Nothing,
    /// One piece of the source, as it stands.
    Source(Span),
    /// In `made`, from the element's `made_from` on.
    Made,
    /// There are elements, so text means nothing.
    Elements,
}

struct Builder<'s> {
    source: &'s str,
    encoding: Encoding,
    bounds: &'s Bounds,
    depth_max: usize,
    made: String,
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
    /// Declared prefixes, the innermost last.
    prefixes: Vec<(Span, Ns)>,
    open: Vec<Open>,
    /// Whether there are line ends to be made line feeds (XML 1.0, section 2.11).
    has_returns: bool,
    /// Room for the attributes of one tag.
    scratch: Vec<RawAttribute<'s>>,
    /// Start tags that were read lately: most documents repeat a few.
    known: [Option<Known>; KNOWN_TAGS],
    knows_any: bool,
}

/// How many start tags are remembered.
const KNOWN_TAGS: usize = 32;

/// A start tag that declares no prefix, and what it came to. It holds as long as the prefixes in
/// force are those that it was read with.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// All that stands in the tag.
    tag: Span,
    ns: Ns,
    /// How far behind the `<` the local name begins and ends.
    local: (u32, u32),
    attributes_from: u32,
    attributes_to: u32,
}

impl<'s> Builder<'s> {
    fn new(source: &'s str, encoding: Encoding, bounds: &'s Bounds) -> Self {
        let depth_max = bounds.depth() * ELEMENTS_FOR_DEPTH + ENVELOPE_DEPTH;
        Self {
            source,
            encoding,
            bounds,
            depth_max,
            // Room for a small message, so that it takes no more.
            made: String::with_capacity(512),
            nodes: Vec::with_capacity(32),
            attributes: Vec::with_capacity(16),
            prefixes: Vec::with_capacity(16),
            open: Vec::with_capacity(16),
            has_returns: source.contains('\r'),
            scratch: Vec::with_capacity(8),
            known: [None; KNOWN_TAGS],
            knows_any: false,
        }
    }

    /// Forgets the tags that were read under other prefixes.
    fn forget(&mut self) {
        if std::mem::take(&mut self.knows_any) {
            self.known = [None; KNOWN_TAGS];
        }
    }

    /// Reads the whole document; a problem comes with the byte where it was seen.
    fn run(&mut self) -> Result<(), (usize, Problem)> {
        let mut events = Events::of(self.source);
        loop {
            while self.leaf(&mut events) {}
            let (at, event) = events.next()?;
            if matches!(event, Event::Eof) {
                return self.end_of_document().map_err(|problem| (self.source.len(), problem));
            }
            self.event(&event, at).map_err(|problem| (at, problem))?;
        }
    }

    /// Takes the next element at one go, if it is of the kind that most are; whether it was. What is
    /// over a limit is left to [`Self::start`], which says so.
    fn leaf(&mut self, events: &mut Events<'s>) -> bool {
        let outermost = self.open.is_empty();
        let over =
            self.nodes.len() >= self.bounds.elements_max || self.open.len() >= self.depth_max;
        if outermost || over {
            return false;
        }
        let known = |tag: &str| {
            let known = self.remembered(tag, place_of(tag))?;
            Some((known, index(known.local.1)))
        };
        let Some(leaf) = events.leaf(known) else { return false };
        self.end_text_of_parent();
        let text_from = short(leaf.text_at);
        let to = text_from.saturating_add(short(leaf.text_bytes));
        let text = Span { from: text_from, to, made: false };
        self.link();
        self.nodes.push(Node { text, ..node_of(&leaf.known, leaf.at) });
        true
    }

    fn event(&mut self, event: &Event<'s>, at: usize) -> Result<(), Problem> {
        match event {
            Event::Start(tag) => self.start(tag, at),
            Event::Empty(tag) => {
                self.start(tag, at)?;
                self.end()
            }
            Event::End(_) => self.end(), // quick-xml has matched the names
            Event::Text(text) => self.plain_text(text, at),
            Event::CData(text) => self.more_text(&text.xml10_content()),
            Event::GeneralRef(name) => {
                let character = resolve(name)?;
                self.more_text(character.encode_utf8(&mut [0; 4]))
            }
            Event::Decl(declaration) => check_declaration(declaration, at, self.encoding),
            Event::PI(_) => Err(no_call("SOAP allows no processing instruction")),
            Event::Comment(_) | Event::Eof => Ok(()),
            Event::DocType(_) => Err(doctype()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'s>, at: usize) -> Result<(), Problem> {
        let qname = tag.name().0;
        let max = self.bounds.name_bytes_max;
        if qname.len() > max {
            return Err(over_limit(format!("an element's name is longer than {max} bytes")));
        }
        let max = self.bounds.elements_max;
        if self.nodes.len() >= max {
            return Err(over_limit(format!("more than {max} elements")));
        }
        if self.open.len() >= self.depth_max {
            return Err(over_limit(format!("elements nested deeper than {}", self.depth_max)));
        }
        self.end_text_of_parent();
        let prefixes = self.prefixes.len();
        let place = place_of(tag);
        let known = match self.remembered(tag, place) {
            Some(known) => known,
            None => {
                let read = self.read_tag(tag, at)?;
                // What it declares is in force for this element alone.
                let lasts = self.prefixes.len() == prefixes;
                if let (true, Some(slot)) = (lasts, self.known.get_mut(place)) {
                    *slot = Some(read);
                    self.knows_any = true;
                }
                read
            }
        };
        self.push(node_of(&known, at), prefixes)
    }

    /// What the same tag came to before, under the same prefixes.
    fn remembered(&self, tag: &str, place: usize) -> Option<Known> {
        let known = (*self.known.get(place)?)?;
        (slice(self.source, "", known.tag) == tag).then_some(known)
    }

    /// Reads the tag that begins at the byte `at`, and puts the prefixes that it declares in force.
    fn read_tag(&mut self, tag: &BytesStart<'s>, at: usize) -> Result<Known, Problem> {
        let qname = tag.name().0;
        let (prefix, local) = split_qname(qname)
            .ok_or_else(|| ill_formed(format!("{} is no element's name", quoted(qname))))?;
        let attributes_from = short(self.attributes.len());
        let begins = at + 1;
        if tag.len() > qname.len() {
            let mut attributes = std::mem::take(&mut self.scratch);
            attributes.clear();
            let whole = self.source.get(begins..begins + tag.len()).unwrap_or_default();
            gather_attributes(&mut attributes, whole, qname.len())?;
            if tag.contains("xmlns") {
                self.declare(&attributes)?;
            }
            self.keep_attributes(&attributes)?;
            self.scratch = attributes;
        }
        Ok(Known {
            tag: Span { from: short(begins), to: short(begins + tag.len()), made: false },
            ns: self.look_up(prefix)?,
            local: (short(qname.len() - local.len()), short(qname.len())),
            attributes_from,
            attributes_to: short(self.attributes.len()),
        })
    }

    /// An element that has elements in it has no text, but for blanks between them.
    fn end_text_of_parent(&mut self) {
        let Some(parent) = self.open.last_mut() else { return };
        let text = match parent.text {
            Collected::Nothing | Collected::Elements => "",
            Collected::Source(span) => slice(self.source, "", span),
            Collected::Made => self.made.get(parent.made_from..).unwrap_or_default(),
        };
        if let (false, Some(node)) = (is_blank(text), self.nodes.get_mut(index(parent.node))) {
            node.mixed = true;
        }
        if parent.text == Collected::Made {
            self.made.truncate(parent.made_from);
        }
        parent.text = Collected::Elements;
    }

    /// Makes the next element a child of the innermost one that is open.
    fn link(&mut self) {
        let id = NonZeroU32::new(short(self.nodes.len()));
        let Some(parent) = self.open.last_mut() else { return };
        let before = parent.last_child.map_or(parent.node, NonZeroU32::get);
        let first = parent.last_child.is_none();
        parent.last_child = id;
        if let Some(before) = self.nodes.get_mut(index(before)) {
            let place = if first { &mut before.first_child } else { &mut before.next_sibling };
            *place = id;
        }
    }

    fn push(&mut self, node: Node, prefixes: usize) -> Result<(), Problem> {
        let id = short(self.nodes.len());
        if self.open.is_empty() && id != ROOT {
            return Err(ill_formed("a second root element"));
        }
        self.link();
        self.nodes.push(node);
        self.open.push(Open {
            node: id,
            last_child: None,
            prefixes,
            text: Collected::Nothing,
            made_from: self.made.len(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let open = self.open.pop().ok_or_else(|| ill_formed("an end tag without a start tag"))?;
        if self.prefixes.len() > open.prefixes {
            self.prefixes.truncate(open.prefixes);
            self.forget();
        }
        let text = match open.text {
            Collected::Nothing | Collected::Elements => EMPTY,
            Collected::Source(span) => span,
            Collected::Made => {
                Span { from: short(open.made_from), to: short(self.made.len()), made: true }
            }
        };
        if let Some(node) = self.nodes.get_mut(index(open.node)) {
            node.text = text;
        }
        Ok(())
    }

    fn plain_text(&mut self, raw: &str, at: usize) -> Result<(), Problem> {
        if raw.contains('>') && raw.contains("]]>") {
            return Err(ill_formed("`]]>` may not stand in text"));
        }
        if self.open.is_empty() {
            let blank = is_blank(raw);
            return if blank { Ok(()) } else { Err(outside()) };
        }
        let returns = self.has_returns && raw.contains('\r');
        match self.open.last_mut() {
            Some(open) if !returns && open.text == Collected::Nothing => {
                let span = Span { from: short(at), to: short(at + raw.len()), made: false };
                open.text = Collected::Source(span);
                Ok(())
            }
            _ if returns => self.more_text(&raw.replace("\r\n", "\n").replace('\r', "\n")),
            _ => self.more_text(raw),
        }
    }

    fn more_text(&mut self, text: &str) -> Result<(), Problem> {
        let Some(open) = self.open.last_mut() else { return Err(outside()) };
        match open.text {
            Collected::Elements => {
                if let (false, Some(node)) = (is_blank(text), self.nodes.get_mut(index(open.node)))
                {
                    node.mixed = true;
                }
                return Ok(());
            }
            Collected::Source(span) => {
                let first = slice(self.source, "", span);
                self.made.push_str(first);
            }
            Collected::Nothing | Collected::Made => {}
        }
        open.text = Collected::Made;
        self.made.push_str(text);
        Ok(())
    }

    /// Puts the namespaces that are declared in force (Namespaces in XML 1.0, section 3).
    fn declare(&mut self, attributes: &[RawAttribute<'_>]) -> Result<(), Problem> {
        for attribute in attributes {
            let prefix = match attribute.key.0 {
                "xmlns" => "",
                other => match other.strip_prefix("xmlns:") {
                    Some(prefix) => prefix,
                    None => continue,
                },
            };
            let span = self.make_value(&attribute.value)?;
            let name = slice(self.source, &self.made, span);
            if name.len() > NAMESPACE_BYTES_MAX {
                let text = format!("a namespace's name is longer than {NAMESPACE_BYTES_MAX} bytes");
                return Err(over_limit(text));
            }
            let bound = !prefix.is_empty();
            if bound && (name.is_empty() || !is_ncname(prefix) || matches!(prefix, "xml" | "xmlns"))
            {
                let text = format!("the prefix {} cannot be declared so", quoted(prefix));
                return Err(ill_formed(text));
            }
            let ns = match Ns::known(name) {
                Some(known) => known,
                None if name.is_empty() => Ns::None,
                None => Ns::Other(span),
            };
            if self.prefixes.len() >= PREFIXES_MAX {
                let text = format!("more than {PREFIXES_MAX} namespace declarations in force");
                return Err(over_limit(text));
            }
            let from = self.made.len();
            self.made.push_str(prefix);
            let prefix = Span { from: short(from), to: short(self.made.len()), made: true };
            self.prefixes.push((prefix, ns));
            self.forget();
        }
        Ok(())
    }

    /// Checks the other attributes, and keeps those that mean something.
    fn keep_attributes(&mut self, attributes: &[RawAttribute<'_>]) -> Result<(), Problem> {
        let from = self.attributes.len();
        for attribute in attributes {
            let qname = attribute.key.0;
            let named = split_qname(qname);
            let (prefix, local) = named
                .ok_or_else(|| ill_formed(format!("{} is no attribute's name", quoted(qname))))?;
            if prefix == "xmlns" || qname == "xmlns" {
                continue;
            }
            let ns = if prefix.is_empty() { Ns::None } else { self.look_up(prefix)? };
            let Some(key) = Key::of(ns, local) else {
                let made = self.made.len();
                self.make_value(&attribute.value)?;
                self.made.truncate(made);
                continue;
            };
            if self.attributes.iter().skip(from).any(|known| known.key == key) {
                return Err(ill_formed(format!("two attributes mean {}", quoted(local))));
            }
            let value = self.make_value(&attribute.value)?;
            let (ns, value) =
                if key.is_qname() { self.resolve_qname(value)? } else { (Ns::None, value) };
            self.attributes.push(Attribute { key, ns, value });
        }
        Ok(())
    }

    /// Splits a value like `xsd:int` or `xsd:int[2]` into its namespace and what is behind the colon.
    fn resolve_qname(&mut self, value: Span) -> Result<(Ns, Span), Problem> {
        let text = slice(self.source, &self.made, value);
        let blanks = text.len() - text.trim_start().len();
        let (prefix, skipped) = match text.trim_start().split_once(':') {
            Some((prefix, _)) => (prefix, blanks + prefix.len() + 1),
            None => ("", blanks),
        };
        let length = text.trim_end().len();
        let ns = match (self.look_up(prefix), prefix) {
            // Node's `soap` lets a program write these without a declaration.
            (Err(_), "xsd" | "xs") => Ns::Schema,
            (found, _) => found?,
        };
        let from = value.from.saturating_add(short(skipped));
        let to = value.from.saturating_add(short(length)).max(from);
        Ok((ns, Span { from, to, made: value.made }))
    }

    /// An attribute's value with its references resolved, kept in `made`.
    fn make_value(&mut self, raw: &str) -> Result<Span, Problem> {
        let from = self.made.len();
        push_attribute_value(&mut self.made, raw)?;
        Ok(Span { from: short(from), to: short(self.made.len()), made: true })
    }

    fn look_up(&self, prefix: &str) -> Result<Ns, Problem> {
        let known = |span: Span| slice(self.source, &self.made, span) == prefix;
        let found = self.prefixes.iter().rev().find(|(span, _)| known(*span));
        match (found, prefix) {
            (Some((_, ns)), _) => Ok(*ns),
            (None, "") => Ok(Ns::None),
            (None, "xml") => Ok(Ns::Other(EMPTY)),
            (None, _) => Err(ill_formed(format!("the prefix {} is not declared", quoted(prefix)))),
        }
    }

    fn end_of_document(&self) -> Result<(), Problem> {
        match self.open.last().and_then(|open| self.nodes.get(index(open.node))) {
            Some(node) => {
                let name = tag_of(slice(self.source, &self.made, node.name.local));
                Err(ill_formed(format!("the document ends inside of {name}")))
            }
            None if self.nodes.is_empty() => Err(ill_formed("the document has no element")),
            None => Ok(()),
        }
    }
}

/// An element that begins at the byte `at` with a tag that is known, and nothing in it.
fn node_of(known: &Known, at: usize) -> Node {
    let begins = short(at).saturating_add(1); // behind the `<`
    let (from, to) = known.local;
    let local =
        Span { from: begins.saturating_add(from), to: begins.saturating_add(to), made: false };
    Node {
        name: Name { ns: known.ns, local },
        at: short(at),
        text: EMPTY,
        attributes_from: known.attributes_from,
        attributes_to: known.attributes_to,
        first_child: None,
        next_sibling: None,
        mixed: false,
    }
}

/// Takes in the attributes of a tag, whose name has so many bytes: well formed, few, and no two of
/// one name.
fn gather_attributes<'s>(
    into: &mut Vec<RawAttribute<'s>>,
    tag: &'s str,
    name_bytes: usize,
) -> Result<(), Problem> {
    let told = || tag_of(tag.get(..name_bytes).unwrap_or_default());
    let malformed = || ill_formed(format!("the attributes of {} are not well formed", told()));
    let mut attributes = Attributes::new(tag, name_bytes);
    // Without a list of its own: there are few.
    attributes.with_checks(false);
    for attribute in attributes {
        let attribute = attribute.map_err(|_| malformed())?;
        if into.len() >= ATTRIBUTES_MAX {
            let text = format!("more than {ATTRIBUTES_MAX} attributes in one element");
            return Err(over_limit(text));
        }
        if into.iter().any(|known| known.key == attribute.key) {
            return Err(malformed());
        }
        into.push(attribute);
    }
    Ok(())
}

/// Where a tag is remembered.
fn place_of(tag: &str) -> usize {
    let bytes = tag.as_bytes();
    let byte = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
    let from_end = |at: usize| byte(bytes.len().wrapping_sub(at));
    // Tags that follow each other differ in their length, in their first letters, or in the type that
    // they end with.
    let first = bytes.len() + byte(0) + 3 * byte(1) + 5 * byte(2) + 7 * byte(3);
    (first + 11 * from_end(2) + 13 * from_end(3) + 19 * from_end(5)) % KNOWN_TAGS
}

fn outside() -> Problem {
    ill_formed("text outside of the root element")
}
