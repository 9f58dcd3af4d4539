//! X.509 names as DNs.

use nesssi_dn::{Attribute, AttributeType, DnError, Rdn, SubjectDn, text_from_ber};
use x509_parser::asn1_rs::{Any, Class};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Why a certificate's name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error(transparent)]
    Dn(#[from] DnError),
    #[error("it has a type without a usable OID")]
    Type,
    #[error("it has a value that is no text")]
    NotText,
}

/// The name as an RDN sequence. Two encodings of one text are one name; a value that is no text,
/// or not the text that its encoding promises, is refused, so that no two names become one.
pub(crate) fn to_dn(name: &X509Name<'_>) -> Result<SubjectDn, NameError> {
    let mut rdns = Vec::new();
    for rdn in name.iter_rdn() {
        let attributes: Result<Vec<_>, _> = rdn.iter().map(to_attribute).collect();
        rdns.push(Rdn::new(attributes?)?);
    }
    Ok(SubjectDn::from_rdns(rdns)?)
}

fn to_attribute(attribute: &AttributeTypeAndValue<'_>) -> Result<Attribute, NameError> {
    let oid = attribute.attr_type().to_id_string();
    let kind = AttributeType::from_oid(&oid).ok_or(NameError::Type)?;
    Ok(Attribute::new(kind, to_value(attribute.attr_value())?)?)
}

/// A string's bytes, as [`text_from_ber`] reads every spelling of a name.
fn to_value(value: &Any<'_>) -> Result<Vec<u8>, NameError> {
    if value.class() != Class::Universal {
        return Err(NameError::NotText);
    }
    let tag = u8::try_from(value.tag().0).map_err(|_| NameError::NotText)?;
    text_from_ber(tag, value.data).ok_or(NameError::NotText)
}

#[cfg(test)]
mod tests;
