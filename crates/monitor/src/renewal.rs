//! Whether files that belong together were renewed: an administrator replaces one after the other.

use std::path::PathBuf;

use crate::files::Stamp;

/// Two files under watch. To be asked once a second.
#[derive(Debug)]
pub struct Renewal {
    paths: [PathBuf; 2],
    stamps: [Option<Stamp>; 2],
    changed: bool,
}

impl Renewal {
    /// As they are now is how they were.
    #[must_use]
    pub fn new(paths: [PathBuf; 2]) -> Self {
        let stamps = paths.each_ref().map(|path| Stamp::of(path));
        Self { paths, stamps, changed: false }
    }

    /// Whether something has changed, and nothing more since the last time that this was asked.
    pub fn is_due(&mut self) -> bool {
        let now = self.paths.each_ref().map(|path| Stamp::of(path));
        if now != self.stamps {
            self.stamps = now;
            self.changed = true;
            return false;
        }
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests;
