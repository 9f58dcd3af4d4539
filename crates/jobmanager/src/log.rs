//! One line for each trouble, on standard error.

use std::io::Write as _;

/// Writes a line. Control characters are shown, not sent: a file name may hold any.
pub(crate) fn line(account: &str, text: &str) {
    let text: String = text
        .chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect();
    // A log that cannot be written has nobody to be told to.
    writeln!(std::io::stderr(), "nesssi-jobmanager[{account}]: {text}").unwrap_or_default();
}
