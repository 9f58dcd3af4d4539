//! An account's umask: its GECOS field, then login.defs, then what the configuration says.

use std::ffi::OsStr;

/// Longest login.defs that is read.
const LOGIN_DEFS_BYTES_MAX: u64 = 1 << 20;

/// The umask that the system gives the account of this process; `None` if it says nothing.
///
/// Asks the name service, which may block: the one who waits is this account's own jobmanager.
pub(crate) fn of_this_account() -> Option<u32> {
    let gecos = nesssi_privsep::account::current().ok().map(|account| account.gecos().clone());
    gecos.as_deref().and_then(from_gecos).or_else(|| from_login_defs(&login_defs()))
}

fn login_defs() -> String {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open("/etc/login.defs")
        .and_then(|file| file.take(LOGIN_DEFS_BYTES_MAX).read_to_string(&mut text))
        .map(|_| text)
        .unwrap_or_default()
}

/// The `umask=077` among the comma-separated parts of a GECOS field.
fn from_gecos(gecos: &OsStr) -> Option<u32> {
    gecos.to_string_lossy().split(',').find_map(|part| octal(part.trim().strip_prefix("umask=")?))
}

/// The `UMASK 022` of login.defs.
fn from_login_defs(text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("UMASK")).then(|| octal(words.next()?)).flatten()
    })
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|umask| *umask <= 0o777)
}

#[cfg(test)]
mod tests;
