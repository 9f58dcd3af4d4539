//! The whole network side over real sockets and real TLS, against a stand-in for the container.

mod api;
mod deadlines;
mod dialects;
mod files;
mod fronts;
mod rotation;
mod uploads;
mod world;
