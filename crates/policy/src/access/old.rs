//! From the Python form of the original to an access list.
//!
//! `access` is a list of pairs of a name and a specification. The name is that of a method; the empty
//! text is the service. The specification is six things: the order (0 is allow,deny, 1 is deny,allow),
//! the allowed DNs, the allowed groups, the denied DNs, the denied groups, and when: the time of the
//! last change, which says nothing, the start and the end, in seconds since 1970. `None` and an empty
//! list are a key that is not there; the last of the six may be left out.

use std::collections::BTreeMap;

use nesssi_dn::SubjectDn;

use super::lists::{DnList, GroupList, ITEMS_MAX, Prefix};
use super::literal::{Literal, Literals};
use super::read::{check_method_name, check_times};
use super::{Access, AccessError, Form, Order, Scope};
use crate::check_group_name;
use crate::written::{Lined, SECONDS_MAX, seconds_up};

pub(super) fn read(literals: &Literals) -> Result<Access, Vec<AccessError>> {
    let mut mistakes = Mistakes::default();
    let mut service = Scope { line: 1, ..Scope::default() };
    let mut methods = BTreeMap::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for pair in list(&literals.access, "`access`", &mut mistakes) {
        let Some((name, scope)) = read_pair(pair, &mut mistakes) else { continue };
        if let Some(first) = lines.insert(name.clone(), pair.line) {
            let text = format!("{name:?} stands on line {first} already");
            mistakes.add(pair.line, text);
        }
        if name.is_empty() {
            service = scope;
        } else {
            methods.insert(name, scope);
        }
    }
    if mistakes.all.is_empty() {
        return Ok(Access { folder: None, form: Form::OldPython, service, methods });
    }
    mistakes.all.sort_by_key(|mistake| mistake.line);
    Err(mistakes.all)
}

#[derive(Default)]
struct Mistakes {
    all: Vec<AccessError>,
}

impl Mistakes {
    fn add(&mut self, line: usize, text: impl Into<String>) {
        self.all.push(AccessError { line, text: text.into() });
    }
}

/// The items of a list; `None` is one without.
fn list<'a>(
    value: &'a Lined<Literal>,
    what: &str,
    mistakes: &mut Mistakes,
) -> &'a [Lined<Literal>] {
    match &value.value {
        Literal::List(items) => items,
        Literal::None => &[],
        other => {
            mistakes.add(value.line, format!("{what} is a list, not {}", other.kind()));
            &[]
        }
    }
}

fn read_pair(pair: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<(String, Scope)> {
    let items = match &pair.value {
        Literal::List(items) => items.as_slice(),
        _ => &[],
    };
    let [name, spec] = items else {
        mistakes.add(pair.line, "an entry is a pair of a name and a specification");
        return None;
    };
    let name = read_name(name, mistakes);
    let scope = read_spec(spec, mistakes);
    let scope = Scope { line: pair.line, ..scope? };
    Some((name?, scope))
}

fn read_name(name: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<String> {
    let text = read_text(name, mistakes)?;
    let wrong = (!text.is_empty()).then(|| check_method_name(&text).err()).flatten();
    if let Some(wrong) = wrong {
        mistakes.add(name.line, wrong);
        return None;
    }
    Some(text)
}

fn read_text(item: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<String> {
    let Literal::Text(bytes) = &item.value else {
        mistakes.add(item.line, format!("a text is expected, not {}", item.value.kind()));
        return None;
    };
    let text = String::from_utf8(bytes.clone());
    if text.is_err() {
        mistakes.add(item.line, "the text is no UTF-8");
    }
    text.ok()
}

fn read_spec(spec: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<Scope> {
    let items = match &spec.value {
        Literal::List(items) => items.as_slice(),
        _ => &[],
    };
    let (lists, times) = match items {
        [order, allow, allow_groups, deny, deny_groups] => {
            ([order, allow, allow_groups, deny, deny_groups], None)
        }
        [order, allow, allow_groups, deny, deny_groups, times] => {
            ([order, allow, allow_groups, deny, deny_groups], Some(times))
        }
        _ => {
            let text = "a specification is a list of six: order, allowed DNs, allowed groups, denied \
                        DNs, denied groups, times";
            mistakes.add(spec.line, text);
            return None;
        }
    };
    let [order, allow, allow_groups, deny, deny_groups] = lists;
    let [start, end] = times.map_or([None, None], |times| read_times(times, mistakes));
    if let Err((line, wrong)) = check_times(start.as_ref(), end.as_ref()) {
        mistakes.add(line, wrong);
    }
    Some(Scope {
        order: read_order(order, mistakes),
        allow: read_dns(allow, mistakes),
        deny: read_dns(deny, mistakes),
        allow_groups: read_groups(allow_groups, mistakes),
        deny_groups: read_groups(deny_groups, mistakes),
        start,
        end,
        ..Scope::default()
    })
}

fn read_order(order: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<Lined<Order>> {
    let value = match order.value {
        Literal::Integer(0) => Order::AllowDeny,
        Literal::Integer(1) => Order::DenyAllow,
        _ => {
            mistakes.add(order.line, "the order is ORDER_ALLOW_DENY or ORDER_DENY_ALLOW");
            return None;
        }
    };
    Some(Lined { line: order.line, value })
}

fn items_of<T>(
    value: &Lined<Literal>,
    mistakes: &mut Mistakes,
    read: impl Fn(&Lined<Literal>, &mut Mistakes) -> Option<T>,
) -> Option<(usize, Vec<Lined<T>>)> {
    let items = list(value, "each of the four", mistakes);
    if items.len() > ITEMS_MAX {
        mistakes.add(value.line, format!("the list has more than {ITEMS_MAX} items"));
        return None;
    }
    let read =
        |item: &Lined<Literal>| read(item, mistakes).map(|value| Lined { line: item.line, value });
    let read: Vec<_> = items.iter().filter_map(read).collect();
    (!items.is_empty()).then_some((value.line, read))
}

fn read_dns(value: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<DnList> {
    let (line, items) = items_of(value, mistakes, |item, mistakes| {
        let Literal::Text(bytes) = &item.value else { return no_text(item, mistakes) };
        if bytes == b"/" {
            return Some(Prefix::Anyone);
        }
        let dn = SubjectDn::parse_oneline_bytes(bytes);
        if let Err(error) = &dn {
            let text = String::from_utf8_lossy(bytes);
            mistakes.add(item.line, format!("{text:?} is no beginning of DNs: {error}"));
        }
        dn.ok().map(Prefix::Dn)
    })?;
    Some(DnList::new(line, items))
}

fn read_groups(value: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<GroupList> {
    let (line, items) = items_of(value, mistakes, |item, mistakes| {
        let text = read_text(item, mistakes)?;
        if let Err(error) = check_group_name(&text) {
            mistakes.add(item.line, format!("{text:?} is no VO group: {error}"));
            return None;
        }
        Some(text)
    })?;
    Some(GroupList::new(line, items))
}

fn no_text<T>(item: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<T> {
    mistakes.add(item.line, format!("a text is expected, not {}", item.value.kind()));
    None
}

/// Start and end.
fn read_times(times: &Lined<Literal>, mistakes: &mut Mistakes) -> [Option<Lined<i64>>; 2] {
    match list(times, "the times", mistakes) {
        [changed, start, end] => {
            read_time(changed, mistakes);
            [read_time(start, mistakes), read_time(end, mistakes)]
        }
        [] if times.value == Literal::None => [None, None],
        [] if !matches!(times.value, Literal::List(_)) => [None, None],
        _ => {
            mistakes.add(times.line, "the times are three: of the last change, start, end");
            [None, None]
        }
    }
}

fn read_time(time: &Lined<Literal>, mistakes: &mut Mistakes) -> Option<Lined<i64>> {
    let value = match time.value {
        Literal::None => return None,
        Literal::Integer(seconds) => Some(seconds),
        Literal::Float(seconds) => seconds_up(seconds),
        Literal::Truth(_) | Literal::Text(_) | Literal::List(_) => None,
    };
    let value = value.filter(|seconds| (0..=SECONDS_MAX).contains(seconds));
    if value.is_none() {
        mistakes.add(time.line, "a time is None or a number of seconds since 1970");
    }
    Some(Lined { line: time.line, value: value? })
}
