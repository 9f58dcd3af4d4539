//! The access lists in force: those of the services, and of the folders around them.
//!
//! They are read apart from the services' code, and again every [`LOOK_EVERY`], so that a list that
//! has changed holds without a restart of anything. A file with a mistake leaves the last good one
//! in force. A service whose file is gone answers nothing until there is one again, and so does one
//! below a folder whose file has been wrong since this process began: what it would have denied is
//! not known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use nesssi_policy::Access;
use nesssi_service::{BrokenReason, FolderList, ServiceName, ServiceState};

use super::{BAD_ACCESS, NO_ACCESS, SCAN_SILENCE_SECONDS_MAX, Service, text_of, try_restart};
use crate::Inner;
use crate::link::{AccessFound, AskError, Jobmanager};

/// How often the files are looked at: soon enough for who has just written one and tries it, and seldom
/// enough that reading some thousand small files is no load.
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// What is said of a file that cannot be read.
const UNREADABLE: &str = "its .clarens_access cannot be read";

/// The lists by the dotted names of their folders.
type Table = BTreeMap<String, Arc<Listed>>;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    current: ArcSwap<Table>,
    /// The services account's process, kept from one look to the next; one look at a time.
    reader: tokio::sync::Mutex<Option<Jobmanager>>,
}

/// One folder's list.
#[derive(Debug, Clone, Default, PartialEq)]
struct Listed {
    /// The text that was seen last, good or not; `None` is no file.
    text: Option<String>,
    good: Option<Good>,
    /// Why what lies there is not in force: for strangers.
    remark: Option<&'static str>,
}

/// A list in force, the same only if it is the same reading.
#[derive(Debug, Clone)]
struct Good(Arc<Access>);

impl PartialEq for Good {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The lists on the way to a service, the outermost first and its own last.
pub(crate) type Path = Vec<Arc<Access>>;

impl Lists {
    /// The lists that decide about a service.
    ///
    /// # Errors
    /// Why it answers nothing, in words for strangers.
    pub(crate) fn path(&self, service: &ServiceName) -> Result<Path, &'static str> {
        let table = self.current.load();
        let name = service.as_str();
        let mut path = Vec::new();
        for (dot, _) in name.match_indices('.') {
            match name.get(..dot).and_then(|folder| table.get(folder)).map(AsRef::as_ref) {
                Some(Listed { good: Some(good), .. }) => path.push(Arc::clone(&good.0)),
                Some(Listed { text: None, remark: None, .. }) | None => {}
                Some(_) => return Err("the access list of a folder around it cannot be used"),
            }
        }
        let own = table.get(name).ok_or(NO_ACCESS)?;
        let good = own.good.as_ref().ok_or(own.remark.unwrap_or(NO_ACCESS))?;
        path.push(Arc::clone(&good.0));
        Ok(path)
    }

    /// The texts of the lists of the folders around a service, the outermost first.
    pub(super) fn around(&self, service: &ServiceName) -> Vec<FolderList> {
        let table = self.current.load();
        let folders = service.as_str().match_indices('.');
        let folders = folders.filter_map(|(dot, _)| service.as_str().get(..dot));
        let texts = folders.filter_map(|name| {
            let text = table.get(name)?.text.clone()?;
            Some(FolderList { name: name.to_owned(), text })
        });
        texts.collect()
    }

    /// Why what lies in a service's folder is not in force, though an older list is.
    pub(crate) fn remark(&self, service: &ServiceName) -> Option<&'static str> {
        self.current.load().get(service.as_str())?.remark
    }

    /// Takes in what was found of one folder.
    pub(super) fn take(&self, found: &AccessFound) {
        self.current.rcu(|table| {
            let mut table = Table::clone(table);
            put(&mut table, found);
            table
        });
    }

    /// The folder is gone.
    pub(super) fn forget(&self, name: &str) {
        self.current.rcu(|table| {
            let mut table = Table::clone(table);
            table.remove(name);
            table
        });
    }

    /// Takes in what a look at the whole tree has found, but for what others have taken in since it
    /// began at `before`.
    fn take_all(&self, before: &Table, found: &[AccessFound]) {
        let current = self.current.load_full();
        let mut table = Table::clone(&current);
        let is_as_before = |name: &str| match (before.get(name), current.get(name)) {
            (None, None) => true,
            (Some(before), Some(current)) => Arc::ptr_eq(before, current),
            (Some(_), None) | (None, Some(_)) => false,
        };
        for one in found.iter().filter(|one| is_as_before(&one.name)) {
            put(&mut table, one);
        }
        let gone = |name: &String| {
            is_as_before(name) && !found.iter().any(|one| one.name == *name || hides(one, name))
        };
        let gone: Vec<String> = current.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            tracing::warn!(folder = name, "an access list is gone");
            table.remove(&name);
        }
        if table == *current {
            return;
        }
        // A restart that came between is looked at again in the next round.
        let swapped = self.current.compare_and_swap(&current, Arc::new(table));
        if !Arc::ptr_eq(&swapped, &current) {
            tracing::debug!("access lists were read twice at once");
        }
    }

    /// Whether a service that is broken for want of a list has one now.
    fn is_mended(&self, name: &ServiceName) -> bool {
        self.path(name).is_ok() && self.remark(name).is_none()
    }
}

/// Whether a folder that could not be looked into has this one in it.
fn hides(one: &AccessFound, name: &str) -> bool {
    let inside = name.strip_prefix(one.name.as_str()).is_some_and(|rest| rest.starts_with('.'));
    one.problem.is_some() && inside
}

fn put(table: &mut Table, found: &AccessFound) {
    let before = table.get(&found.name);
    let now = after(before.map(AsRef::as_ref), found);
    if before.is_none_or(|before| **before != now) {
        table.insert(found.name.clone(), Arc::new(now));
    }
}

/// What holds after something was found.
fn after(before: Option<&Listed>, found: &AccessFound) -> Listed {
    let before = before.cloned().unwrap_or_default();
    let name = &found.name;
    if let Some(problem) = &found.problem {
        if before.remark != Some(UNREADABLE) {
            tracing::error!(folder = name, problem, "an access list cannot be read");
        }
        return Listed { remark: Some(UNREADABLE), ..before };
    }
    let Some(text) = &found.access else {
        if before.good.is_some() {
            tracing::error!(folder = name, "its access list is gone: a service there is broken");
        }
        return Listed::default();
    };
    if before.text.as_ref() == Some(text) && before.remark != Some(UNREADABLE) {
        return before;
    }
    match Access::parse(text) {
        Ok(access) => {
            if before.text.is_some() {
                tracing::info!(folder = name, "its new access list is in force");
            }
            let good = Some(Good(Arc::new(access.of_folder(name))));
            Listed { text: Some(text.clone()), good, remark: None }
        }
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!(folder = name, %mistake, "its access list is not taken up");
            }
            Listed { text: Some(text.clone()), good: before.good, remark: Some(BAD_ACCESS) }
        }
    }
}

/// Looks at all lists once.
///
/// # Errors
/// [`AskError`] where the services account cannot be had or does not answer: nothing changes.
pub(super) async fn look(inner: &Inner) -> Result<(), AskError> {
    let lists = &inner.services.lists;
    let mut reader = lists.reader.lock().await;
    let before = lists.current.load_full();
    let jobmanager = match reader.take().filter(|reader| !reader.is_closed()) {
        Some(open) => open,
        None => inner.monitor.discover().await?,
    };
    let root = text_of(&inner.config.services.directory);
    let silence_max = Duration::from_secs(SCAN_SILENCE_SECONDS_MAX);
    let (found, problems) = jobmanager.scan_access(root, silence_max).await?;
    *reader = Some(jobmanager);
    // A tree that cannot be walked at all is no empty one.
    if !found.is_empty() || problems.is_empty() {
        lists.take_all(&before, &found);
    }
    Ok(())
}

/// Looks again and again.
pub(super) async fn keep_looking(inner: Arc<Inner>) {
    let mut was_told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match look(&inner).await {
            Ok(()) => was_told = false,
            Err(error) => {
                if !std::mem::replace(&mut was_told, true) {
                    tracing::error!(%error, "the access lists cannot be read: those before hold");
                }
            }
        }
        mend(&inner).await;
    }
}

/// Reads services again that were broken, or not restarted, for want of an access list, and have one now.
async fn mend(inner: &Arc<Inner>) {
    let for_its_list = |why: &BrokenReason| why.kind == NO_ACCESS || why.kind == BAD_ACCESS;
    let wants = |service: &Service| match &service.state {
        ServiceState::Broken(why) => for_its_list(why),
        // Its restart failed for its list, and what was good before answers.
        ServiceState::Ok => {
            inner.services.outdone(&service.name).is_some_and(|why| for_its_list(&why))
        }
    };
    let mended: Vec<ServiceName> = {
        let services = inner.services.current();
        let broken = services.iter().filter(|service| wants(service));
        let mended = broken.filter(|service| inner.services.lists.is_mended(&service.name));
        mended.map(|service| service.name.clone()).collect()
    };
    for name in mended {
        let outcome = try_restart(inner, name.as_str()).await;
        tracing::info!(service = %name, ?outcome, "its access list is there now: it was read again");
    }
}

#[cfg(test)]
mod tests;
