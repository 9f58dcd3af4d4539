//! How a method fails: with a fault that its caller reads, or with an error that stands in the log.

use std::error::Error;
use std::fmt;

use nesssi_rpc::{Fault, FaultCode};

/// Why a method has no answer.
///
/// A [`Fault`] is shown to the caller as it is. Of any other error he reads an incident id alone;
/// the story of it, with the id, goes to the service's log. Both come here with `?`.
pub struct Failure(Inner);

enum Inner {
    Fault(Fault),
    Error(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// A fault of the service's own code; the text is read by strangers.
    #[must_use]
    pub fn fault(code: i64, text: impl Into<String>) -> Self {
        Self(Inner::Fault(Fault::new(FaultCode::from_number(code), text)))
    }

    /// The fault, if it is one.
    ///
    /// # Errors
    /// The error that it is otherwise.
    pub fn into_fault(self) -> Result<Fault, Box<dyn Error + Send + Sync>> {
        match self.0 {
            Inner::Fault(fault) => Ok(fault),
            Inner::Error(error) => Err(error),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = Box::new(error);
        Self(match error.downcast::<Fault>() {
            Ok(fault) => Inner::Fault(*fault),
            Err(error) => Inner::Error(error),
        })
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Fault(fault) => fault.fmt(out),
            Inner::Error(error) => error.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_is_passed_on_stays_a_fault() {
        fn refused() -> Result<(), Failure> {
            Err(Fault::refused("no"))?;
            Ok(())
        }
        assert_eq!(refused().unwrap_err().into_fault().unwrap(), Fault::refused("no"));
    }

    #[test]
    fn any_other_error_is_none() {
        fn unreadable() -> Result<i64, Failure> {
            Ok("x".parse::<i64>()?)
        }
        let error = unreadable().unwrap_err().into_fault().unwrap_err();
        assert_eq!(error.to_string(), "invalid digit found in string");
    }
}
