//! Finding names below a directory, bounded in matches, names and time.

use std::time::Instant;

use crate::sandbox::{Entry, SandboxError};
use crate::served::Served;
use crate::{Glob, SandboxPath};

/// How far a find goes.
#[derive(Debug, Clone, Copy)]
pub struct FindBounds {
    /// Most matches.
    pub entries_max: usize,
    /// Most bytes of their paths together.
    pub bytes_max: usize,
    /// Most names that are looked at.
    pub names_max: usize,
    /// When it ends.
    pub until: Instant,
}

/// Why a find ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindEnd {
    /// Everything was looked at that a path can name.
    Whole,
    /// There are more matches, or longer ones, than were asked for.
    Entries,
    /// There is more than a find looks at, its time is over, or nobody takes what is found.
    Effort,
}

impl Served<'_> {
    /// Hands what matches below a directory to `take`, until it says `false`.
    pub(crate) fn find(
        self,
        path: &SandboxPath,
        pattern: &Glob,
        bounds: FindBounds,
        take: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<FindEnd, SandboxError> {
        if !self.open(path)?.directory {
            return Err(SandboxError::Absent);
        }
        let mut search = Search {
            served: self,
            pattern,
            bounds,
            take,
            names: 0,
            matches: 0,
            bytes: 0,
            end: FindEnd::Whole,
        };
        search.below(path);
        Ok(search.end)
    }
}

/// A find under way.
struct Search<'a> {
    served: Served<'a>,
    pattern: &'a Glob,
    bounds: FindBounds,
    take: &'a mut dyn FnMut(Entry) -> bool,
    names: usize,
    matches: usize,
    bytes: usize,
    end: FindEnd,
}

impl Search<'_> {
    /// Everything below one directory. It is opened by its whole path, so that one that was moved out of the
    /// top meanwhile is not followed; no path, and so no recursion, is deeper than [`crate::PATH_PARTS_MAX`].
    fn below(&mut self, path: &SandboxPath) {
        let served = self.served;
        let Some(directory) = served.reopen(path) else { return };
        let whole = served.each(&directory, &mut |entry| self.look(path, entry));
        if whole == Ok(false) && self.end == FindEnd::Whole {
            self.end = FindEnd::Effort;
        }
    }

    /// One name; answers whether to go on.
    fn look(&mut self, directory: &SandboxPath, mut entry: Entry) -> bool {
        self.names += 1;
        if self.names > self.bounds.names_max || Instant::now() >= self.bounds.until {
            self.end = FindEnd::Effort;
            return false;
        }
        let Some(path) = SandboxPath::below(directory.as_bytes(), &entry.name) else { return true };
        let is_directory = entry.directory;
        if self.pattern.matches(&entry.name) {
            let bytes = self.bytes + path.as_bytes().len();
            if self.matches >= self.bounds.entries_max || bytes > self.bounds.bytes_max {
                self.end = FindEnd::Entries;
                return false;
            }
            self.matches += 1;
            self.bytes = bytes;
            entry.name = path.as_bytes().to_vec();
            if !(self.take)(entry) {
                self.end = FindEnd::Effort;
                return false;
            }
        }
        if is_directory {
            self.below(&path);
        }
        self.end == FindEnd::Whole
    }
}

#[cfg(test)]
mod tests;
