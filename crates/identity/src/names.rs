//! X.509 names as DNs.

use nesssi_dn::{Attribute, AttributeType, DnError, Rdn, SubjectDn};
use x509_parser::asn1_rs::{Any, Tag};
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

/// UTF-8, but for T61String: nobody agrees on what its bytes over 0x7f mean, so they stay.
fn to_value(value: &Any<'_>) -> Result<Vec<u8>, NameError> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => {
            std::str::from_utf8(bytes).map_err(|_| NameError::NotText)?;
            Ok(bytes.to_vec())
        }
        Tag::TeletexString => Ok(bytes.to_vec()),
        Tag::BmpString => {
            let units = bytes.as_chunks::<2>();
            let text = String::from_utf16(
                &units.0.iter().map(|c| u16::from_be_bytes(*c)).collect::<Vec<_>>(),
            );
            text.ok()
                .filter(|_| units.1.is_empty())
                .map(String::into_bytes)
                .ok_or(NameError::NotText)
        }
        Tag::UniversalString => {
            let units = bytes.as_chunks::<4>();
            let text: Option<String> =
                units.0.iter().map(|c| char::from_u32(u32::from_be_bytes(*c))).collect();
            text.filter(|_| units.1.is_empty()).map(String::into_bytes).ok_or(NameError::NotText)
        }
        _ => Err(NameError::NotText),
    }
}
