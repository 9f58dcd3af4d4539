//! From elements to a value: a stack of open containers, never deeper than the bounds say.

use std::collections::{BTreeMap, HashMap};

use super::Style;
use super::document::{Document, Id, Key, Name, Ns};
use super::scalar::Scalar;
use super::signature::Type;
use super::text::{bad_value, is_blank};
use crate::chars::trim;
use crate::telling::{quoted, tag_of};
use crate::xml::{Problem, over_limit};
use crate::{Bounds, Value};

/// How much larger than the message the values read from it may be: an element that several others
/// refer to counts each time.
const EXPANSION_MAX: usize = 4;
/// Elements that a reference may lead over before a value is found.
const REFERENCES_MAX: usize = 16;

/// A problem and the element it is with.
pub(super) type At = (Id, Problem);

/// Reads values out of one document, counting what they come to.
pub(super) struct Reader<'d> {
    document: &'d Document<'d>,
    bounds: &'d Bounds,
    style: Style,
    /// The elements with an `id`, once a reference asked for them.
    targets: Option<HashMap<&'d str, Id>>,
    values: usize,
    bytes: usize,
    /// What simple values said lately that they are: most documents repeat a few.
    said: [Option<(Said, Scalar)>; SAID_MAX],
}

/// How much of what values said is remembered.
const SAID_MAX: usize = 8;

/// What decides how an element is read that says itself that it is a simple value.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    attributes: (u32, u32),
    declared: Type,
}

/// A container whose parts are being read.
struct Open {
    /// The element that holds the parts; references to it from inside are circles.
    node: Id,
    next: Option<Id>,
    filling: Filling,
}

enum Filling {
    Array { items: Vec<Value>, kind: Item },
    Struct { members: BTreeMap<String, Value>, name: String, map: bool },
}

/// What the items of an array are, where they do not say themselves.
#[derive(Clone, Copy)]
enum Item {
    Any,
    Scalar(Scalar),
    Array,
}

enum Begun {
    Whole(Value),
    Open(Open),
}

/// How it is known what an element is.
enum Known {
    /// Its attributes say so.
    Stated(Shape),
    /// By all else: what is declared, what is in it.
    Guessed(Shape),
}

/// What an element says, or looks as if, it is.
enum Shape {
    Nil,
    Scalar(Scalar),
    Array(Item),
    Struct,
    Map,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Document<'d>, bounds: &'d Bounds, style: Style) -> Self {
        Self { document, bounds, style, targets: None, values: 0, bytes: 0, said: [None; SAID_MAX] }
    }

    /// Reads the value of the element `node`, where `declared` is asked for.
    pub(super) fn value(&mut self, node: Id, declared: Type) -> Result<Value, At> {
        let mut stack: Vec<Open> = Vec::new();
        let mut done = match self.begin(node, declared, Item::Any, &stack)? {
            Begun::Whole(value) => return Ok(value),
            Begun::Open(open) => {
                stack.push(open);
                None
            }
        };
        loop {
            let Some(innermost) = stack.last_mut() else {
                return Ok(done.unwrap_or(Value::Nil));
            };
            if let Some(value) = done.take() {
                innermost.take(value);
            }
            match self.next_part(innermost)? {
                Some((part, item)) => match self.begin(part, Type::Any, item, &stack)? {
                    Begun::Whole(value) => done = Some(value),
                    Begun::Open(open) => stack.push(open),
                },
                None => done = stack.pop().map(Open::finish),
            }
        }
    }

    /// The element of the next part of a container, and what an array says its items are.
    fn next_part(&mut self, open: &mut Open) -> Result<Option<(Id, Item)>, At> {
        let Some(part) = open.next else { return Ok(None) };
        open.next = self.document.next_sibling(part);
        match &mut open.filling {
            Filling::Array { kind, .. } => Ok(Some((part, *kind))),
            Filling::Struct { members, name, map: false } => {
                *name = super::unescape_name(self.document.local(part));
                refuse_twice(members, name, part)?;
                Ok(Some((part, Item::Any)))
            }
            Filling::Struct { members, name, map: true } => {
                let entry = self.referred(part)?;
                let Some((key, value)) = self.entry(entry) else {
                    return Err((part, bad_value("an <item> of a Map is one <key>, one <value>")));
                };
                let key = self.referred(key)?;
                if self.document.first_child(key).is_some() {
                    return Err((key, bad_value("the <key> of a Map is text")));
                }
                *name = self.key(key)?;
                let max = self.bounds.name_bytes_max;
                if name.len() > max {
                    let text = format!("a member's name is longer than {max} bytes");
                    return Err((key, over_limit(text)));
                }
                refuse_twice(members, name, key)?;
                Ok(Some((value, Item::Any)))
            }
        }
    }

    /// A Map's key, which SOAP::Lite writes as base64 where it is more than ASCII.
    fn key(&mut self, key: Id) -> Result<String, At> {
        let attributes = self.document.attributes(key);
        let said =
            (attributes.0 < attributes.1).then_some(Said { attributes, declared: Type::String });
        let known = said.and_then(|said| self.known(said));
        let stated = match (known, said) {
            (Some(scalar), _) => Some(scalar),
            (None, None) if matches!(self.document.name(key).ns, Ns::None | Ns::Other(_)) => None,
            (None, said) => match self.shape(key, Type::String, Item::Any) {
                Ok(Known::Stated(Shape::Scalar(scalar))) => {
                    self.remember(said, scalar);
                    Some(scalar)
                }
                _ => None,
            },
        };
        if stated != Some(Scalar::Base64) {
            self.count(key, self.document.text(key).len())?;
            return Ok(self.document.text(key).to_owned());
        }
        match self.scalar(key, Scalar::Base64, Type::String)? {
            Value::String(text) => Ok(text),
            _ => Err((key, bad_value("the <key> of a Map is text"))),
        }
    }

    /// The key and the value, if there are these two and nothing else in `item`.
    fn entry(&self, item: Id) -> Option<(Id, Id)> {
        let mut children = self.document.children(item);
        let (key, value) = (children.next()?, children.next()?);
        let named = self.document.local(key) == "key" && self.document.local(value) == "value";
        (named && children.next().is_none()).then_some((key, value))
    }

    /// Reads a simple value whole, or the beginning of a container.
    fn begin(&mut self, node: Id, declared: Type, item: Item, stack: &[Open]) -> Result<Begun, At> {
        let attributes = self.document.attributes(node);
        let said = (attributes.0 < attributes.1).then_some(Said { attributes, declared });
        if let Some(scalar) = said.and_then(|said| self.known(said)) {
            return self.scalar(node, scalar, declared).map(Begun::Whole);
        }
        let referring = node;
        let node = self.referred(node)?;
        if stack.iter().any(|open| open.node == node) {
            return Err((node, bad_value("an element refers to one that it is in")));
        }
        let shape = self.shape(node, declared, item).map_err(|problem| (node, problem))?;
        let shape = match shape {
            Known::Stated(shape) => {
                if let (Shape::Scalar(scalar), true) = (&shape, node == referring) {
                    self.remember(said, *scalar);
                }
                shape
            }
            Known::Guessed(shape) => shape,
        };
        let filling = match shape {
            Shape::Nil => {
                self.count(node, 0)?;
                return Ok(Begun::Whole(Value::Nil));
            }
            Shape::Scalar(scalar) => {
                let value = self.scalar(node, scalar, declared)?;
                return Ok(Begun::Whole(value));
            }
            Shape::Array(kind) => Filling::Array { items: Vec::new(), kind },
            Shape::Struct => Filling::structure(false),
            Shape::Map => Filling::structure(true),
        };
        self.count(node, 0)?;
        let tag = || tag_of(self.document.local(node));
        if self.document.is_mixed(node) {
            return Err((node, bad_value(format!("text between the elements in {}", tag()))));
        }
        if !is_blank(self.document.text(node)) {
            return Err((node, bad_value(format!("text where {} should have elements", tag()))));
        }
        let max = self.bounds.depth();
        if stack.len() >= max {
            return Err((node, over_limit(format!("arrays and structs nested deeper than {max}"))));
        }
        Ok(Begun::Open(Open { node, next: self.document.first_child(node), filling }))
    }

    /// What an element that says the same was found to be.
    fn known(&self, said: Said) -> Option<Scalar> {
        let (known, scalar) = (*self.said.get(said.place())?)?;
        (known == said).then_some(scalar)
    }

    fn remember(&mut self, said: Option<Said>, scalar: Scalar) {
        let Some(said) = said else { return };
        if let Some(place) = self.said.get_mut(said.place()) {
            *place = Some((said, scalar));
        }
    }

    fn scalar(&mut self, node: Id, scalar: Scalar, declared: Type) -> Result<Value, At> {
        let document = self.document;
        if let Some(child) = document.first_child(node) {
            let text = if document.name(child).ns == Ns::Xop {
                "content outside of the message (XOP) is not read: send it as base64".to_owned()
            } else {
                let (child, node) = (document.local(child), document.local(node));
                format!("{} where {} should have text", tag_of(child), tag_of(node))
            };
            return Err((child, bad_value(text)));
        }
        let text = document.text(node);
        self.count(node, text.len())?;
        let max = self.bounds.text_bytes_max;
        if text.len() > max {
            return Err((node, over_limit(format!("a text is longer than {max} bytes"))));
        }
        let tag = || tag_of(document.local(node));
        let value = scalar.read(text);
        let value = value.map_err(|(code, text)| (node, (code, format!("{}: {text}", tag()))))?;
        Ok(match (value, declared) {
            // A language that keeps no encoding with its strings sends them as bytes.
            (Value::Binary(bytes), Type::String) => match String::from_utf8(bytes) {
                Ok(text) => Value::String(text),
                Err(error) => Value::Binary(error.into_bytes()),
            },
            (value, _) => value,
        })
    }

    /// What `node` is: nil, what it says in `xsi:type`, what is declared, what it looks like.
    fn shape(&self, node: Id, declared: Type, item: Item) -> Result<Known, Problem> {
        let document = self.document;
        let nil = document.attribute(node, Key::Nil).map(trim);
        if matches!(nil, Some("true" | "1")) {
            let empty = document.first_child(node).is_none() && is_blank(document.text(node));
            return if empty {
                Ok(Known::Guessed(Shape::Nil))
            } else {
                Err(bad_value("nil, and yet not empty"))
            };
        }
        if document.attribute(node, Key::Partial).is_some() {
            return Err(bad_value("arrays in parts are not read: send them whole"));
        }
        if let Some(shape) = self.stated(node, declared)? {
            return Ok(Known::Stated(shape));
        }
        self.guessed(node, declared, item).map(Known::Guessed)
    }

    /// What `node` is that does not say so itself.
    fn guessed(&self, node: Id, declared: Type, item: Item) -> Result<Shape, Problem> {
        let document = self.document;
        match (Scalar::of_declared(declared), item) {
            (Some(scalar), _) | (None, Item::Scalar(scalar)) => return Ok(Shape::Scalar(scalar)),
            (None, Item::Array) => return Ok(Shape::Array(Item::Any)),
            (None, Item::Any) => {}
        }
        let empty = document.first_child(node).is_none();
        // In the encoded style an array or a Map says what it is, and a struct need not.
        let literal = self.style == Style::Literal;
        Ok(match declared {
            Type::Array => Shape::Array(Item::Any),
            Type::Struct if literal && self.is_map(node) => Shape::Map,
            Type::Struct => Shape::Struct,
            Type::Nil if empty && is_blank(document.text(node)) => Shape::Nil,
            _ if empty => Shape::Scalar(Scalar::Text),
            _ if literal && self.is_map(node) => Shape::Map,
            _ if literal && self.looks_like_array(node) => Shape::Array(Item::Any),
            _ => Shape::Struct,
        })
    }

    /// What `node` says itself that it is.
    fn stated(&self, node: Id, declared: Type) -> Result<Option<Shape>, Problem> {
        let document = self.document;
        let own_name = document.name(node);
        let named = matches!(own_name.ns, Ns::Encoding11 | Ns::Encoding12).then_some(own_name);
        let stated = document.qname(node, Key::Type).or(named);
        if let Some(name) = stated {
            let local = document.str(name.local);
            match (name.ns, local) {
                (Ns::Schema, "anyType" | "ur-type") => {}
                (Ns::Schema | Ns::Encoding11 | Ns::Encoding12, "Array")
                | (Ns::Types, "Array")
                | (Ns::Apache, "Vector") => return self.array(node).map(Some),
                (Ns::Encoding11 | Ns::Encoding12, "Struct") => return Ok(Some(Shape::Struct)),
                (Ns::Apache, "Map") => return Ok(Some(Shape::Map)),
                (Ns::Schema | Ns::Encoding11 | Ns::Encoding12, _) => {
                    return match Scalar::of_schema(local) {
                        Some(scalar) => Ok(Some(Shape::Scalar(scalar.yielding_to(declared)))),
                        None => Err(bad_value(format!("the type {} is not known", quoted(local)))),
                    };
                }
                _ => {} // a type of the caller's own
            }
        }
        let array = [Key::ArrayType, Key::ItemType, Key::ArraySize];
        if array.iter().any(|key| document.attribute(node, *key).is_some()) {
            return self.array(node).map(Some);
        }
        match document.attribute(node, Key::NodeType).map(trim) {
            Some("array") => self.array(node).map(Some),
            Some("struct") => Ok(Some(Shape::Struct)),
            _ => Ok(None),
        }
    }

    /// What an array of an encoding says of its items: SOAP 1.1, section 5.4.2; SOAP 1.2 part 2,
    /// section 3.1.4. The stated size is not believed.
    fn array(&self, node: Id) -> Result<Shape, Problem> {
        let document = self.document;
        let size = document.attribute(node, Key::ArraySize).map(trim).unwrap_or_default();
        if size.contains([' ', '\t', '\n', '\r']) {
            return Err(dimensions());
        }
        if let Some(name) = document.qname(node, Key::ItemType) {
            return Ok(Shape::Array(self.item(name, document.str(name.local))));
        }
        let Some(name) = document.qname(node, Key::ArrayType) else {
            return Ok(Shape::Array(Item::Any));
        };
        let written = document.str(name.local);
        let (kind, size) = written
            .strip_suffix(']')
            .and_then(|rest| rest.rsplit_once('['))
            .ok_or_else(|| bad_value(format!("{} is no arrayType", quoted(written))))?;
        if size.contains(',') {
            return Err(dimensions());
        }
        Ok(Shape::Array(if kind.ends_with(']') { Item::Array } else { self.item(name, kind) }))
    }

    fn item(&self, name: Name, local: &str) -> Item {
        match name.ns {
            Ns::Schema | Ns::Encoding11 | Ns::Encoding12 => {
                Scalar::of_schema(local).map_or(Item::Any, Item::Scalar)
            }
            _ => Item::Any,
        }
    }

    /// Whether there are `item`s of a `key` and a `value` each, and nothing else.
    fn is_map(&self, node: Id) -> bool {
        let mut children = self.document.children(node).peekable();
        children.peek().is_some()
            && children
                .all(|item| self.document.local(item) == "item" && self.entry(item).is_some())
    }

    /// Whether there are several elements of one name, or an `item`.
    fn looks_like_array(&self, node: Id) -> bool {
        let mut names = self.document.children(node).map(|child| self.document.local(child));
        let Some(first) = names.next() else { return false };
        let mut count = 1;
        names.all(|name| {
            count += 1;
            name == first
        }) && (count > 1 || first == "item")
    }

    /// The element that `node` refers to, over however many others; or itself.
    fn referred(&mut self, node: Id) -> Result<Id, At> {
        let mut found = node;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = self.document.attribute(found, Key::Reference) else {
                return Ok(found);
            };
            let reference = trim(reference);
            let id = match reference.strip_prefix('#') {
                Some(id) => id,
                // SOAP 1.2 refers by bare names; what could be an address is none of them.
                None if !reference.contains([':', '/', '.']) => reference,
                None => {
                    let text = format!(
                        "{} refers out of the message: nothing is fetched",
                        quoted(reference)
                    );
                    return Err((found, bad_value(text)));
                }
            };
            let document = self.document;
            if self.targets.is_none() {
                let mut targets = HashMap::new();
                for (id, node) in document.identified() {
                    if targets.insert(id, node).is_some() {
                        let text = format!("two elements have the id {}", quoted(id));
                        return Err((node, bad_value(text)));
                    }
                }
                self.targets = Some(targets);
            }
            let target = self.targets.as_ref().and_then(|targets| targets.get(id));
            found = *target.ok_or_else(|| {
                (found, bad_value(format!("no element has the id {}", quoted(id))))
            })?;
        }
        Err((node, bad_value("references that lead to no value")))
    }

    /// Counts one value of so many bytes of text.
    fn count(&mut self, node: Id, bytes: usize) -> Result<(), At> {
        self.values += 1;
        self.bytes += bytes;
        let max = self.bounds.elements_max;
        if self.values > max {
            return Err((node, over_limit(format!("more than {max} values"))));
        }
        if self.bytes > self.document.len().saturating_mul(EXPANSION_MAX) {
            let text =
                format!("its references make a message more than {EXPANSION_MAX} times larger");
            return Err((node, over_limit(text)));
        }
        Ok(())
    }
}

impl Said {
    fn place(self) -> usize {
        usize::try_from(self.attributes.0).unwrap_or_default() % SAID_MAX
    }
}

impl Filling {
    fn structure(map: bool) -> Self {
        Self::Struct { members: BTreeMap::new(), name: String::new(), map }
    }
}

impl Open {
    fn take(&mut self, value: Value) {
        match &mut self.filling {
            Filling::Array { items, .. } => items.push(value),
            Filling::Struct { members, name, .. } => {
                members.insert(std::mem::take(name), value);
            }
        }
    }

    fn finish(self) -> Value {
        match self.filling {
            Filling::Array { items, .. } => Value::Array(items),
            Filling::Struct { members, .. } => Value::Struct(members),
        }
    }
}

fn refuse_twice(members: &BTreeMap<String, Value>, name: &str, node: Id) -> Result<(), At> {
    if members.contains_key(name) {
        return Err((node, bad_value(format!("two members are called {}", quoted(name)))));
    }
    Ok(())
}

fn dimensions() -> Problem {
    bad_value("arrays of more than one dimension are not read: send arrays of arrays")
}
