//! What a service is, and how its worker is spoken to.
//!
//! A *service* is a folder with code and an access file; its dotted name is the folder's place in
//! the tree. A *service worker* is a process that runs the code of one service for one account and
//! level. This room holds the words both sides share: the name, the manifest (`service.toml`), the
//! description of methods, the registry, and the JSON lines of the service-worker protocol. Only
//! [`folder`] reads files.

#![forbid(unsafe_code)]

mod digest;
mod findings;
pub mod folder;
pub mod json;
mod lines;
mod manifest;
mod method;
mod name;
pub mod protocol;
mod registry;
mod template;
mod token;
mod version;

pub use digest::CodeDigest;
pub use findings::{
    FINDINGS_BYTES_MAX, Findings, FindingsError, FolderList, LevelFacts, ServerKnows,
};
pub use lines::{LineTooLong, Lines};
pub use manifest::{
    CONCURRENCY_DEFAULT, CONCURRENCY_MAX, MANIFEST_BYTES_MAX, Manifest, ManifestMistake,
};
pub use method::{
    Description, DescriptionError, HELP_BYTES_MAX, METHODS_MAX, Method, NOTE_BYTES_MAX,
    PARAMETERS_MAX, SIGNATURES_MAX, Signature,
};
pub use name::{RESERVED_NAMES, SERVICE_NAME_BYTES_MAX, ServiceName, ServiceNameError};
pub use registry::{BrokenReason, Registry, Service, ServiceState};
pub use template::{JobAsked, JobTemplate, TEMPLATE_WORDS_MAX};
pub use token::{Token, TokenError};
pub use version::{MODULES_BYTES_MAX, MODULES_MAX, Modules, VERSION_BYTES_MAX, VersionFacts};
