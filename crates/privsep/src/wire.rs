//! How fields become bytes: little-endian numbers, lengths before text, nothing optional.
//!
//! Reading never trusts a length: each is held against what is left of the record.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes are no record of the kind expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field reaches past the end of the record.
    #[error("record is cut short at byte {0}")]
    Short(usize),
    /// Bytes are left over behind the last field.
    #[error("record has {0} bytes too many")]
    Long(usize),
    /// A kind or tag that nobody knows.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The number met.
        value: u8,
    },
    /// A text field holds bytes that are no UTF-8.
    #[error("a text field is not UTF-8")]
    NotText,
}

/// A body being written.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        // Saturates: a body of 4 GiB is refused by the channel long before.
        self.raw(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
}

/// A body being read.
#[derive(Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, total: bytes.len() }
    }

    /// The end must have been reached.
    ///
    /// # Errors
    /// [`WireError::Long`] if bytes are left.
    pub fn finish(self) -> Result<(), WireError> {
        if self.left.is_empty() { Ok(()) } else { Err(WireError::Long(self.left.len())) }
    }

    fn raw(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let at = self.total - self.left.len();
        let (head, tail) = self.left.split_at_checked(count).ok_or(WireError::Short(at))?;
        self.left = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let at = self.total - self.left.len();
        self.raw(N)?.try_into().map_err(|_| WireError::Short(at))
    }

    fn length(&mut self) -> Result<usize, WireError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }
}

/// A type that stands in a record.
pub trait Field: Sized {
    /// Appends this value.
    fn put(&self, out: &mut Writer);
    /// Reads one value.
    ///
    /// # Errors
    /// [`WireError`] where the bytes hold no such value.
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Writer) {
                out.raw(&self.to_le_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, i32, i64);

impl Field for bool {
    fn put(&self, out: &mut Writer) {
        u8::from(*self).put(out);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(WireError::Unknown { what: "truth value", value }),
        }
    }
}

impl Field for String {
    fn put(&self, out: &mut Writer) {
        out.length(self.len());
        out.raw(self.as_bytes());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let length = from.length()?;
        let bytes = from.raw(length)?;
        Ok(std::str::from_utf8(bytes).map_err(|_| WireError::NotText)?.to_owned())
    }
}

/// Bytes that are no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl Field for Blob {
    fn put(&self, out: &mut Writer) {
        out.length(self.0.len());
        out.raw(&self.0);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let length = from.length()?;
        Ok(Self(from.raw(length)?.to_vec()))
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Writer) {
        out.length(self.len());
        for item in self {
            item.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = from.length()?;
        // Every item takes a byte at least, so a lying count cannot reserve more than the record.
        let mut items = Self::with_capacity(count.min(from.left.len()));
        for _ in 0..count {
            items.push(T::take(from)?);
        }
        Ok(items)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Writer) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        if bool::take(from)? { Ok(Some(T::take(from)?)) } else { Ok(None) }
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl Field for IpAddr {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::V4(address) => {
                4_u8.put(out);
                out.raw(&address.octets());
            }
            Self::V6(address) => {
                6_u8.put(out);
                out.raw(&address.octets());
            }
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match u8::take(from)? {
            4 => Ok(Self::V4(Ipv4Addr::from(from.array::<4>()?))),
            6 => Ok(Self::V6(Ipv6Addr::from(from.array::<16>()?))),
            value => Err(WireError::Unknown { what: "address family", value }),
        }
    }
}

/// A record type: a struct whose fields are all [`Field`]s, written in order.
macro_rules! fields {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }
        impl $crate::wire::Field for $name {
            fn put(&self, out: &mut $crate::wire::Writer) {
                $($crate::wire::Field::put(&self.$field, out);)*
            }
            fn take(
                from: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::WireError> {
                Ok(Self { $($field: $crate::wire::Field::take(from)?,)* })
            }
        }
    };
}
pub(crate) use fields;

/// A message type: an enum whose variants have a number on the wire and fields in order.
macro_rules! variants {
    ($(#[$doc:meta])* pub enum $name:ident { $(
        $(#[$vdoc:meta])* $number:literal => $variant:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* },
    )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant { $($(#[$fdoc])* $field: $type,)* },)* }
        impl $crate::wire::Field for $name {
            fn put(&self, out: &mut $crate::wire::Writer) {
                match self { $(
                    Self::$variant { $($field,)* } => {
                        let number: u8 = $number;
                        $crate::wire::Field::put(&number, out);
                        $($crate::wire::Field::put($field, out);)*
                    }
                )* }
            }
            fn take(
                from: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::WireError> {
                match <u8 as $crate::wire::Field>::take(from)? { $(
                    $number => Ok(Self::$variant {
                        $($field: $crate::wire::Field::take(from)?,)*
                    }),
                )*
                    value => Err($crate::wire::WireError::Unknown { what: stringify!($name), value }),
                }
            }
        }
    };
}
pub(crate) use variants;

#[cfg(test)]
mod tests;
