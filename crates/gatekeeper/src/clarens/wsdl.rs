//! `?wsdl`: what a caller may call, for clients that generate code.

use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use nesssi_container::Offered;
use nesssi_rpc::wsdl::{Interface, container_wsdl, service_wsdl};
use nesssi_rpc::{Fault, FaultCode};

use super::dialect::XML;
use crate::answer::Reply;
use crate::body::Source;

/// Whether a query asks for a WSDL: `?wsdl`, as every tool writes it, in any case.
pub(super) fn is_asked_for(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.eq_ignore_ascii_case("wsdl"))
}

/// The WSDL of what is offered: of the container, or of the one service that `only` says. The
/// services' addresses lie under `address`.
pub(super) fn render(offers: Vec<Offered>, only: bool, address: &str) -> String {
    let described = |Offered { service, purpose, methods }| {
        let address = format!("{address}{service}");
        Interface { name: service, documentation: purpose, address, methods }
    };
    let interfaces: Vec<Interface> = offers.into_iter().map(described).collect();
    match interfaces.as_slice() {
        [one] if only => service_wsdl(one),
        all => container_wsdl(all),
    }
}

/// The answer that holds a WSDL, or says why there is none; to `HEAD` without it.
pub(super) fn reply(text: Result<String, Fault>, head: bool) -> Reply {
    let (status, kind, text) = match text {
        Ok(text) => (StatusCode::OK, XML, text),
        Err(fault) => (status_of(&fault), super::PLAIN, format!("{}\n", fault.text)),
    };
    let length = u64::try_from(text.len()).unwrap_or(0);
    let body = if head { Source::EMPTY } else { Source::of(text) };
    Reply::new(status, body)
        .with(CONTENT_TYPE, kind)
        .with(CONTENT_LENGTH, length.into())
        .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// The HTTP status of a fault, for those who read no other.
pub(super) fn status_of(fault: &Fault) -> StatusCode {
    match fault.code {
        FaultCode::NoCredential => StatusCode::UNAUTHORIZED,
        FaultCode::Refused => StatusCode::FORBIDDEN,
        FaultCode::NoSuchMethod | FaultCode::NotFound => StatusCode::NOT_FOUND,
        FaultCode::TooMany => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}
