//! Channels between the processes of NESSSI, descriptor passing, and becoming a user.
//!
//! The processes talk over inherited Unix socket pairs (`SOCK_SEQPACKET`): one record a message,
//! fixed header, bounded body, descriptors beside it. This is the one room with `unsafe`, all of it
//! in [`sys`]; the modules around it are what the other rooms use.

pub mod account;
pub mod become_user;
pub mod channel;
pub mod command;
pub mod door;
pub mod messages;
pub mod signals;
pub mod spawn;
pub mod sys;
pub mod wire;

pub use account::{Account, AccountRefusal, AccountRules};
pub use become_user::{BecomeError, Dropped, become_user};
pub use channel::{Channel, ChannelError, Received};
pub use command::Command;
pub use spawn::{Child, Ending, Spawn, SpawnError};
