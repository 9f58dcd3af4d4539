//! The network process: TLS, HTTP, routes and pages.
//!
//! It translates between what callers speak and what the container understands, and decides
//! nothing. [`serve()`] is the whole life of a gatekeeper; [`check()`] says beforehand what would go wrong.
//!
//! A connection's way through the room: `serve` accepts it, `crowd` gives it a place, `tls` its
//! secrecy, `trust` its peer, `drive` its end; `pulse` notices when it is slow, `live` when its credential counts no
//! longer. A request's way: `front` says for whom it is, where a proxy of the site stands before us; `clarens`
//! (calls) or `sandboxes` (files) makes a `Reply` of it, `answer` sends and logs that.

#![forbid(unsafe_code)]

mod access_log;
mod answer;
mod body;
mod check;
mod clarens;
mod clock;
mod crowd;
mod drive;
mod front;
mod house;
mod html;
mod live;
mod log;
mod pulse;
mod request_id;
mod run;
mod sandboxes;
mod serve;
mod tls;
mod trust;
mod wishes;

pub use check::{Report, check};
pub use log::start as start_log;
pub use run::{RunError, serve};
pub use tls::TlsError;
