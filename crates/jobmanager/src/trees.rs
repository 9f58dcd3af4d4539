//! Trees: directories of the site that are read by their names in the configuration.
//!
//! The monitor says on the command line which there are, so whoever asks names none that the administrator did not.

use std::path::PathBuf;

use nesssi_session::{SandboxPath, Tree};
use rustix::io::Errno;

use crate::find;
use crate::manager::Manager;
use crate::requests::{Answer, Failure, plain};
use crate::sandboxes::{bounded, listing, opened, stated};

/// All trees that there are.
#[derive(Debug)]
pub(crate) struct Trees {
    trees: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: String,
    path: PathBuf,
    /// Once somebody has asked, and for as long as the directory is there.
    open: Option<Tree>,
}

impl Trees {
    pub(crate) fn new(trees: Vec<(String, PathBuf)>) -> Self {
        let named = |(name, path)| Named { name, path, open: None };
        Self { trees: trees.into_iter().map(named).collect() }
    }

    /// Opens a tree for the first time, or anew when it was removed.
    pub(crate) fn get(&mut self, name: &str) -> Result<&Tree, Failure> {
        let tree = self.trees.iter_mut().find(|tree| tree.name == name);
        let tree = tree.ok_or_else(unknown)?;
        let open = match tree.open.take() {
            Some(open) if !open.is_removed() => open,
            _ => Tree::open_root(&tree.path)?,
        };
        Ok(tree.open.insert(open))
    }

    /// The tree of a find, opened when it was asked for; none if it is in a sandbox.
    pub(crate) fn of(&self, order: &find::Order) -> Result<Option<&Tree>, Failure> {
        match &order.place {
            find::Place::Sandbox(_) => Ok(None),
            find::Place::Tree(name) => {
                let tree = self.trees.iter().find(|tree| tree.name == *name);
                tree.and_then(|tree| tree.open.as_ref()).map(Some).ok_or_else(unknown)
            }
        }
    }
}

fn unknown() -> Failure {
    Failure::new(Errno::NOENT, "no such tree")
}

impl Manager {
    pub(crate) fn tree_open(&mut self, tree: &str, path: &[u8]) -> Answer {
        let path = SandboxPath::parse(path)?;
        Ok(Some(opened(self.trees.get(tree)?.open(&path)?)))
    }

    pub(crate) fn tree_list(&mut self, tree: &str, path: &[u8], entries_max: u32) -> Answer {
        let path = SandboxPath::parse(path)?;
        plain(listing(self.trees.get(tree)?.list(&path, bounded(entries_max))?))
    }

    pub(crate) fn tree_stat(&mut self, tree: &str, path: &[u8]) -> Answer {
        let path = SandboxPath::parse(path)?;
        plain(stated(self.trees.get(tree)?.stat(&path)?))
    }
}
