//! The registry: every service by its name, and what is known of it.
//!
//! `A` is what the holder keeps of a service's access file; this room does not read it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nesssi_rpc::MethodName;

use crate::{Description, Manifest, Method, ServiceName};

/// A service as it was found: one generation of its code.
#[derive(Debug)]
pub struct Service<A> {
    /// Its dotted name.
    pub name: ServiceName,
    /// Absolute path of its folder.
    pub folder: String,
    /// Raised at every restart, so that workers of old code are told from those of new.
    pub generation: u64,
    /// Whether it answers.
    pub state: ServiceState,
    /// Its methods by name; empty if it is broken.
    pub methods: BTreeMap<String, Method>,
    /// What `service.toml` says.
    pub manifest: Manifest,
    /// Whom to ask: the manifest's word, else the code's own.
    pub contact: Option<String>,
    /// What it is for, likewise.
    pub purpose: Option<String>,
    /// The version that the code says.
    pub version: Option<String>,
    /// The batch system of its jobs that name none: the manifest's word, else the code's own.
    pub batch: Option<String>,
    /// Who may call, parsed; `None` if it is broken.
    pub access: Option<A>,
    /// SHA-256 of the folder's code, as 64 hexadecimal digits.
    pub digest: String,
}

/// Whether a service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// It answers.
    Ok,
    /// It is listed, and answers nothing.
    Broken(BrokenReason),
}

/// Why a service is broken, twice: for strangers and for those who keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenReason {
    /// One line without paths, such as "SyntaxError in its code".
    pub kind: String,
    /// Everything that is known; for the log.
    pub detail: String,
}

impl fmt::Display for BrokenReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.kind, self.detail)
    }
}

impl BrokenReason {
    /// A reason of this kind and detail.
    #[must_use]
    pub fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into() }
    }

    /// Of an error in the code, as Python words it: the exception's name alone is for strangers.
    #[must_use]
    pub fn in_code(detail: &str) -> Self {
        let word = detail.split([':', ' ', '\n']).next().unwrap_or_default();
        let is_name = word.len() <= 60
            && word.split('.').all(crate::name::is_identifier)
            && word.starts_with(|c: char| c.is_ascii_uppercase());
        let kind =
            if is_name { format!("{word} in its code") } else { "its code does not load".into() };
        Self::new(kind, detail)
    }
}

impl<A> Service<A> {
    /// A broken service.
    #[must_use]
    pub fn broken(name: ServiceName, folder: String, generation: u64, why: BrokenReason) -> Self {
        Self {
            name,
            folder,
            generation,
            state: ServiceState::Broken(why),
            methods: BTreeMap::new(),
            manifest: Manifest::default(),
            contact: None,
            purpose: None,
            version: None,
            batch: None,
            access: None,
            digest: String::new(),
        }
    }

    /// A service that answers what its manifest and the worker's description say; where both
    /// describe a method, the manifest's word holds.
    #[must_use]
    pub fn sound(
        name: ServiceName,
        folder: String,
        generation: u64,
        manifest: Manifest,
        description: Description,
        access: A,
    ) -> Self {
        let described = description.methods.into_iter().chain(manifest.methods.iter().cloned());
        let methods = described.map(|method| (method.name.clone(), method)).collect();
        Self {
            name,
            folder,
            generation,
            state: ServiceState::Ok,
            methods,
            contact: manifest.contact.clone().or(description.contact),
            purpose: manifest.purpose.clone().or(description.purpose),
            version: description.version,
            batch: manifest.batch.clone().or(description.batch),
            access: Some(access),
            manifest,
            digest: String::new(),
        }
    }

    /// Whether it answers at all.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.state == ServiceState::Ok
    }

    /// Whether callers of `level` are served.
    #[must_use]
    pub fn serves_level(&self, level: &str) -> bool {
        self.manifest.levels.is_empty() || self.manifest.levels.iter().any(|known| known == level)
    }
}

/// All services by name. A change makes a new registry; readers keep the old one.
#[derive(Debug)]
pub struct Registry<A> {
    services: BTreeMap<ServiceName, Arc<Service<A>>>,
}

impl<A> Clone for Registry<A> {
    fn clone(&self) -> Self {
        Self { services: self.services.clone() }
    }
}

impl<A> Default for Registry<A> {
    fn default() -> Self {
        Self { services: BTreeMap::new() }
    }
}

impl<A> Registry<A> {
    /// The service of this dotted name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Service<A>>> {
        self.services.get(name)
    }

    /// The service that a method's name belongs to, and the method's name in it.
    #[must_use]
    pub fn find<'m>(&self, method: &'m MethodName) -> Option<(&Arc<Service<A>>, &'m str)> {
        let (service, name) = method.split();
        Some((self.get(service)?, name))
    }

    /// Puts a service in the place of the one of the same name, if there is one.
    pub fn insert(&mut self, service: Arc<Service<A>>) {
        self.services.insert(service.name.clone(), service);
    }

    /// Takes a service out.
    pub fn remove(&mut self, name: &str) {
        self.services.remove(name);
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service<A>>> {
        self.services.values()
    }
}

#[cfg(test)]
mod tests;
