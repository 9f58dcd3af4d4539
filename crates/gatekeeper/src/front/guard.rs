//! Which headers only a front may send.

use http::header::{HeaderMap, HeaderName};
use nesssi_config::FrontHeader;

/// Headers with certificates that fronts usually send: never anybody else's, whatever is configured.
const NAMES: [&str; 2] = ["client-cert", "client-cert-chain"];
const BEGINNINGS: [&str; 2] = ["ssl-client-", "x-ssl-client-"];

/// Knows the headers that only a front may send.
#[derive(Debug)]
pub(crate) struct Guard {
    names: Vec<String>,
    beginnings: Vec<String>,
    /// The first letters of all of them, as bits of the low five bits of a letter: most headers are told by that.
    letters: u32,
}

impl Guard {
    pub(crate) fn new(header: Option<&FrontHeader>) -> Self {
        let mut names: Vec<String> = NAMES.map(str::to_owned).into();
        let mut beginnings: Vec<String> = BEGINNINGS.map(str::to_owned).into();
        if let Some(header) = header {
            names.push(header.name.clone());
            names.extend(header.address.clone());
            beginnings.push(format!("{}-chain", header.name));
        }
        let all = names.iter().chain(&beginnings);
        let letters =
            all.filter_map(|name| name.bytes().next()).fold(0, |all, byte| all | bit(byte));
        Self { names, beginnings, letters }
    }

    /// Takes them out. The usual request has none, and then nothing is allocated.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if !headers.keys().any(|name| self.holds(name.as_str())) {
            return;
        }
        let found: Vec<HeaderName> =
            headers.keys().filter(|name| self.holds(name.as_str())).cloned().collect();
        for name in found {
            headers.remove(name);
        }
    }

    /// Whether a name, which is in lower case, is one of them, `_` being as good as `-`.
    fn holds(&self, name: &str) -> bool {
        let Some(first) = name.bytes().next() else { return false };
        if self.letters & bit(first) == 0 {
            return false;
        }
        self.names.iter().any(|known| known.len() == name.len() && begins(name, known))
            || self.beginnings.iter().any(|known| begins(name, known))
    }
}

fn bit(byte: u8) -> u32 {
    1 << (byte & 31)
}

fn begins(name: &str, known: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
    name.len() >= known.len() && name.bytes().zip(known.bytes()).all(same)
}

#[cfg(test)]
mod tests;
