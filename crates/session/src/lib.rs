//! A session is 32 hexadecimal digits; a sandbox is the session's directory.
//!
//! This is the one room that resolves a path inside a sandbox. Everything is done relative to an
//! open directory handle with `openat2(2)`, never through a symbolic link or onto another file
//! system, so that whoever races against us swaps names in vain.

mod account;
mod id;
mod path;
mod private;
mod removal;
mod sandbox;

pub use account::AccountDir;
pub use id::{SESSION_DIGITS, SessionId, SessionIdError};
pub use path::{PATH_BYTES_MAX, PATH_PARTS_MAX, SandboxPath, SandboxPathError};
pub use private::{PrivateDir, Reserve};
pub use removal::{LEFT_MAX, Left};
pub use sandbox::{Entry, Listing, Opened, Sandbox, SandboxError};
