//! A session is 32 hexadecimal digits; a sandbox is the session's directory; a tree is a directory of the site
//! that is read by the same rules.
//!
//! This is the one room that resolves a path inside a sandbox or a tree. Everything is done relative to an
//! open directory handle with `openat2(2)`, never through a symbolic link or onto another file
//! system, so that whoever races against us swaps names in vain.

mod account;
mod change;
mod find;
mod glob;
mod id;
mod path;
mod private;
mod removal;
mod sandbox;
mod served;
mod tree;

pub use account::{AccountDir, AccountDirError};
pub use change::{Leftover, WRITES_PER_DIRECTORY_MAX, Writing, Written};
pub use find::{FindBounds, FindEnd};
pub use glob::{Glob, GlobError, PATTERN_BYTES_MAX};
pub use id::{SESSION_DIGITS, SessionId, SessionIdError};
pub use path::{PATH_BYTES_MAX, PATH_PARTS_MAX, SandboxPath, SandboxPathError};
pub use private::{PrivateDir, Reserve, StartLock, SubmissionLock};
pub use removal::{LEFT_MAX, Left};
pub use sandbox::{Entry, Facts, Listing, Opened, Sandbox, SandboxError};
pub use tree::Tree;
