//! Methods: functions with the types of their parameters.

use std::collections::BTreeSet;

use nesssi_rpc::{Fault, Value};

use crate::failure::Failure;
use crate::request::Request;
use crate::values::{FromValue, IntoValue};

/// The parameters of a method: a tuple of up to eight types, of which the last may be options.
pub trait Params: Sized {
    /// The words for the types, in order.
    #[must_use]
    fn types() -> Vec<&'static str>;

    /// How many of them must be there.
    #[must_use]
    fn least() -> usize;

    /// What a caller sent, as these types. `names` are those of the parameters.
    ///
    /// # Errors
    /// Fault -32602 with the parameter's number and name.
    fn from_values(values: Vec<Value>, names: &[&str]) -> Result<Self, Fault>;
}

/// A function that answers calls.
pub trait Handler<P> {
    /// The word for the type of its answer.
    const RESULT: &'static str;

    /// Answers one call.
    ///
    /// # Errors
    /// [`Failure`].
    fn answer(&self, request: &Request<'_>, params: P) -> Result<Value, Failure>;
}

impl<F, P, R> Handler<P> for F
where
    F: Fn(&Request<'_>, P) -> Result<R, Failure>,
    R: IntoValue,
{
    const RESULT: &'static str = R::TYPE;

    fn answer(&self, request: &Request<'_>, params: P) -> Result<Value, Failure> {
        let result = self(request, params)?;
        result.into_value().map_err(|text| Failure::from(Unsendable(text)))
    }
}

/// The method answered what no value can be made of.
#[derive(Debug)]
struct Unsendable(String);

impl std::fmt::Display for Unsendable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "the answer cannot be sent: {}", self.0)
    }
}

impl std::error::Error for Unsendable {}

/// A method with all that is said of it.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) parameters: Vec<&'static str>,
    pub(crate) help: &'static str,
    /// The types of the answer and of the parameters, for each number of parameters that it takes.
    pub(crate) signatures: Vec<Vec<&'static str>>,
    #[allow(clippy::type_complexity, reason = "one use, and it reads as what it is")]
    pub(crate) answer: Box<dyn Fn(&Request<'_>, Vec<Value>) -> Result<Value, Failure>>,
}

impl std::fmt::Debug for Method {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

impl Method {
    /// # Errors
    /// What is wrong with the description, for the developer.
    pub(crate) fn new<P: Params, H: Handler<P> + 'static>(
        name: &'static str,
        parameters: &[&'static str],
        help: &'static str,
        handler: H,
    ) -> Result<Self, String> {
        let (types, least) = (P::types(), P::least());
        if types.len() != parameters.len() {
            return Err(format!(
                "{name} has {} parameters, and {} names for them",
                types.len(),
                parameters.len()
            ));
        }
        if parameters.iter().collect::<BTreeSet<_>>().len() != parameters.len() {
            return Err(format!("{name} has two parameters of one name"));
        }
        let signature = |count: usize| {
            [H::RESULT].into_iter().chain(types.iter().copied().take(count)).collect()
        };
        let names = parameters.to_vec();
        Ok(Self {
            name,
            parameters: parameters.to_vec(),
            help,
            signatures: (least..=types.len()).map(signature).collect(),
            answer: Box::new(move |request, values| {
                handler.answer(request, P::from_values(values, &names)?)
            }),
        })
    }
}

/// The parameter number `at`, taken from what was sent.
fn take<T: FromValue>(
    values: &mut impl Iterator<Item = Value>,
    names: &[&str],
    at: usize,
) -> Result<T, Fault> {
    let name = names.get(at).copied().unwrap_or_default();
    match values.next() {
        Some(value) => T::from_value(value).map_err(|text| {
            Fault::invalid_params(format!("parameter {} ({name}): {text}", at + 1))
        }),
        None => T::absent().ok_or_else(|| {
            Fault::invalid_params(format!("parameter {} ({name}) is missing", at + 1))
        }),
    }
}

macro_rules! params {
    ($(($($type:ident $at:literal),*);)*) => {$(
        impl<$($type: FromValue),*> Params for ($($type,)*) {
            fn types() -> Vec<&'static str> {
                vec![$($type::TYPE),*]
            }

            #[allow(unused_mut, unused_assignments, reason = "there is a tuple without members")]
            fn least() -> usize {
                let mut least = 0;
                $(if $type::absent().is_none() { least = $at + 1; })*
                least
            }

            #[allow(unused_variables, unused_mut, clippy::unused_unit, reason = "there is a tuple without members")]
            fn from_values(values: Vec<Value>, names: &[&str]) -> Result<Self, Fault> {
                let (count, most) = (values.len(), Self::types().len());
                if count > most {
                    let text = format!("at most {most} parameters are expected, {count} were given");
                    return Err(Fault::invalid_params(text));
                }
                let mut values = values.into_iter();
                Ok(($(take::<$type>(&mut values, names, $at)?,)*))
            }
        }
    )*};
}

params! {
    ();
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
}

#[cfg(test)]
mod tests;
