//! Findings: what was found of one service's folder, for who checks it.
//!
//! Whoever looks (a server's jobmanager, or a developer's own) writes down what lies there and what the
//! code said; whoever reads it (`nesssi service check`) judges it. Nothing in it is proof of anything.

use serde::{Deserialize, Serialize};

/// Most bytes of findings: what one scan passes on of a service, and the lists of the folders around it.
pub const FINDINGS_BYTES_MAX: usize = 4 << 20;

/// What was found of a service's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Its dotted name.
    pub name: String,
    /// Absolute path of its folder.
    pub folder: String,
    /// The account that looked, and ran the code.
    pub account: String,
    /// Text of `.clarens_access`.
    pub access: Option<String>,
    /// Text of `service.toml`.
    pub manifest: Option<String>,
    /// What the worker said in its mode `check` or `describe`: one JSON object.
    pub description: Option<String>,
    /// What could not be read or run, in words.
    pub problem: Option<String>,
    /// SHA-256 of the folder's code, as 64 hexadecimal digits; empty where it is not known.
    pub digest: String,
    /// Why no version of its modules can be kept, if that is so.
    pub in_place: Option<String>,
    /// What the server knows; none where no server was asked.
    pub server: Option<ServerKnows>,
}

/// What a running server knows beside what lies in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerKnows {
    /// `ok`, `unhealthy` or `broken`; empty where it has not taken the service up yet.
    pub state: String,
    /// Why it is not `ok`, with every detail.
    pub reason: String,
    /// The digest of the code that it runs.
    pub running_digest: String,
    /// The access lists of the folders around it, the outermost first.
    pub around: Vec<FolderList>,
    /// The levels there are.
    pub levels: Vec<LevelFacts>,
    /// The names of the batch systems.
    #[serde(default)]
    pub batch: Vec<String>,
    /// How many edits of administrators stand beside the access lists.
    pub edits: u32,
}

/// The access list of a folder around a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderList {
    /// Dotted name of the folder.
    pub name: String,
    /// Text of its `.clarens_access`.
    pub text: String,
}

/// A level, as far as who may call depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelFacts {
    /// Its name.
    pub name: String,
    /// Whether its callers have a certificate.
    pub certified: bool,
    /// Whether its callers have accounts of their own.
    pub own_accounts: bool,
}

impl Findings {
    /// As one JSON text.
    ///
    /// # Errors
    /// Where it would be over [`FINDINGS_BYTES_MAX`].
    pub fn to_json(&self) -> Result<String, FindingsError> {
        let text = serde_json::to_string(self).map_err(|e| FindingsError::Json(e.to_string()))?;
        if text.len() > FINDINGS_BYTES_MAX { Err(FindingsError::TooLong) } else { Ok(text) }
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<Self, FindingsError> {
        if text.len() > FINDINGS_BYTES_MAX {
            return Err(FindingsError::TooLong);
        }
        serde_json::from_slice(text).map_err(|error| FindingsError::Json(error.to_string()))
    }
}

/// These are no findings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindingsError {
    /// There is too much.
    #[error("the findings have more than {FINDINGS_BYTES_MAX} bytes")]
    TooLong,
    /// They are not what they should be.
    #[error("the findings cannot be read: {0}")]
    Json(String),
}

#[cfg(test)]
mod tests;
