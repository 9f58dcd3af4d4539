//! Parameters by name: where in the order does each of them go?
//!
//! Only JSON-RPC 2.0 has them beside parameters by place, which are what a [`Call`] holds. A method's
//! names are those of its longest signature; the shorter ones have the first of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::multicall::METHOD as MULTICALL;
use crate::telling::quoted;
use crate::{CLIENT_TAG_MEMBER, Call, Fault, MethodName, Value};

#[cfg(test)]
mod tests;

/// A call whose parameters are named, so that the method must be known before it is a [`Call`].
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCall {
    /// The method.
    pub method: MethodName,
    /// The parameters.
    pub params: BTreeMap<String, Value>,
}

impl NamedCall {
    /// The call with its parameters in the order of `names`. `signatures` are the method's: the type
    /// returned and then those of the parameters; without any, whatever stands before the last one that
    /// is given must be given too.
    ///
    /// A client tag ([`CLIENT_TAG_MEMBER`]) that is named beside them goes into a struct behind them,
    /// which is where a call by place has it. No parameters at all need no names.
    ///
    /// # Errors
    /// -32602 for a parameter that the method has not, one that is missing, and a method whose names are
    /// not known.
    pub fn in_order<S, W>(self, names: &[impl AsRef<str>], signatures: &[S]) -> Result<Call, Fault>
    where
        S: AsRef<[W]>,
        W: AsRef<str>,
    {
        let Self { method, params: mut given } = self;
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let own = names.contains(&CLIENT_TAG_MEMBER);
        let tag = if own { None } else { given.remove(CLIENT_TAG_MEMBER) };
        let counts: BTreeSet<usize> =
            signatures.iter().map(|one| one.as_ref().len().saturating_sub(1)).collect();
        let most = counts.last().copied();
        let known =
            if names.is_empty() { most == Some(0) } else { most.unwrap_or(0) <= names.len() };
        if !known && !given.is_empty() {
            return Err(Fault::invalid_params(format!(
                "the names of the parameters of {method} are not known here: send an array"
            )));
        }
        if known {
            check_names(&method, &names, &counts, &given)?;
        }
        let mut params: Vec<Value> = names.iter().map_while(|name| given.remove(*name)).collect();
        params.extend(tag.map(|tag| Value::record([(CLIENT_TAG_MEMBER, tag)])));
        Ok(Call { method, params })
    }

    /// How many calls it stands for, as [`multicall::weight`](crate::multicall::weight).
    #[must_use]
    pub fn weight(&self) -> usize {
        let calls = |value: &Value| match value {
            Value::Array(calls) => calls.len(),
            _ => 0,
        };
        match self.method.as_str() {
            MULTICALL => self.params.values().map(calls).sum::<usize>().max(1),
            _ => 1,
        }
    }
}

/// Whether `given` are the first of `names`, as many as one of `counts` says.
fn check_names(
    method: &MethodName,
    names: &[&str],
    counts: &BTreeSet<usize>,
    given: &BTreeMap<String, Value>,
) -> Result<(), Fault> {
    if let Some(unknown) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let takes = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let text = format!("{method} has no parameter called {}, but {takes}", quoted(unknown));
        return Err(Fault::invalid_params(text));
    }
    let last = names.iter().rposition(|name| given.contains_key(*name)).map_or(0, |at| at + 1);
    let count = counts.range(last..).next().copied().unwrap_or(last);
    let mut asked = names.iter().take(count).enumerate();
    match asked.find(|(_, name)| !given.contains_key(**name)) {
        None => Ok(()),
        Some((place, name)) => {
            let text = format!("parameter {} ({name}) of {method} is missing", place + 1);
            Err(Fault::invalid_params(text))
        }
    }
}
