//! A raw answer: a part of an open file that is sent as it is.
//!
//! The front end sends it by offset where its dialect carries bare bytes. Everywhere else (JSON-RPC,
//! SOAP, inside of a multicall) the container reads it into a value, which is bounded.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use nesssi_rpc::{Dialect, Fault, FaultCode, Value};

use crate::reading::{Pool, read_whole};
use crate::{Answer, Inner};

/// Most bytes of a file that stand in one value.
pub(crate) const VALUE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A part of an open file, opened as its account: an answer that is sent raw.
#[derive(Debug)]
pub struct RawFile {
    /// The descriptor; to be read by offset.
    pub file: Arc<OwnedFd>,
    /// The first byte.
    pub offset: u64,
    /// So many bytes, which were there when it was opened.
    pub length: u64,
    /// The account, for a pool of its own.
    pub account: String,
    /// The file's last name, which says its type.
    pub name: Vec<u8>,
}

/// One answer is the same as another only if it is that answer.
impl PartialEq for RawFile {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// The answer as its caller can hear it: raw in XML-RPC alone.
pub(crate) async fn for_dialect(inner: &Inner, answer: Answer, dialect: Dialect) -> Answer {
    if dialect == Dialect::XmlRpc { answer } else { in_value(&inner.reading, answer).await }
}

/// The answer with the bytes of its file, if it has one, in a value.
pub(crate) async fn in_value(pool: &Pool, answer: Answer) -> Answer {
    match &answer.raw {
        None => answer,
        Some(raw) => Answer { reply: value(pool, raw).await, raw: None, ..answer },
    }
}

async fn value(pool: &Pool, raw: &RawFile) -> Result<Value, Fault> {
    if raw.length > VALUE_BYTES_MAX {
        let text = format!(
            "asked for {} bytes, {VALUE_BYTES_MAX} is the limit in this dialect: a single call in \
             XML-RPC answers any number, and so does GET",
            raw.length
        );
        return Err(Fault::new(FaultCode::OverLimit, text));
    }
    read_whole(pool, raw).await.map(Value::Binary)
}

#[cfg(test)]
mod tests;
