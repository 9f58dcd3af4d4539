//! The header of the PROXY protocol, version 2, before a connection that was passed on (haproxy's `doc/proxy-protocol.txt`,
//! section 2.2): who really calls. Version 1, a line of text, is refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_LOCAL: u8 = 0x20;
const VERSION_PROXY: u8 = 0x21;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
/// Addresses and all that a front may add (TLVs): certificates' names and the like, of which nothing is used.
const REST_BYTES_MAX: usize = 4_096;

/// Reads the header and not a byte more. The caller's address; `None` is a connection of the front's own (`LOCAL`).
///
/// # Errors
/// The stream's, and `InvalidData` for anything else than a header of version 2 for TCP.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<IpAddr>> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let [signature @ .., command, family, high, low] = fixed;
    if signature != SIGNATURE {
        return Err(wrong("no PROXY header of version 2"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(wrong("a PROXY header that is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match (command, family) {
        (VERSION_LOCAL, _) => Ok(None),
        (VERSION_PROXY, TCP_V4) => v4(&rest).map(Some).ok_or_else(too_short),
        (VERSION_PROXY, TCP_V6) => v6(&rest).map(Some).ok_or_else(too_short),
        _ => Err(wrong("a PROXY header with another command or family than ours")),
    }
}

/// Both addresses and both ports must be there; the first address is the caller's.
fn v4(rest: &[u8]) -> Option<IpAddr> {
    let (addresses, _) = rest.split_first_chunk::<12>()?;
    let (caller, _) = addresses.split_first_chunk::<4>()?;
    Some(IpAddr::V4(Ipv4Addr::from(*caller)))
}

fn v6(rest: &[u8]) -> Option<IpAddr> {
    let (addresses, _) = rest.split_first_chunk::<36>()?;
    let (caller, _) = addresses.split_first_chunk::<16>()?;
    Some(IpAddr::V6(Ipv6Addr::from(*caller)).to_canonical())
}

fn too_short() -> io::Error {
    wrong("a PROXY header without addresses")
}

fn wrong(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests;
