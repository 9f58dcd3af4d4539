//! Directories that root may work in: each one on the way is root's or the invoking user's, and
//! nobody else can change it.
//!
//! Root never touches a path that a user can change. So a directory of the configuration is opened step
//! by step from `/`, following no link, and every step is held against its owner and mode.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkdirat, openat,
};

/// Sticky bit: in such a directory nobody renames or removes what is another's.
const STICKY: u32 = 0o1000;
/// Writable for group or others.
const WRITABLE: u32 = 0o022;
/// Writable for others.
const WRITABLE_BY_OTHERS: u32 = 0o002;
/// Executable for anybody at all.
const EXECUTABLE: u32 = 0o111;
/// Others may look names up in it.
const SEARCHABLE_BY_OTHERS: u32 = 0o001;
/// Links on one way.
const LINKS_MAX: usize = 40;
/// Mode of directories that are made on the way.
const MODE_ON_THE_WAY: u32 = 0o755;

/// Why a directory is not used. For the log and `--check`.
#[derive(Debug, thiserror::Error)]
pub enum PathProblem {
    /// A system call failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("{path}: {what}")]
    Unsafe {
        /// Where.
        path: String,
        /// What.
        what: String,
    },
}

/// Who a directory is to belong to, and with which mode.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// Its uid.
    pub uid: u32,
    /// Its gid.
    pub gid: u32,
    /// Its mode.
    pub mode: u32,
}

/// Whether a directory that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is made, with what is missing on the way.
    Make,
    /// It is an error.
    Refuse,
}

/// Opens a directory after checking it and everything above it, and its owner and mode.
///
/// # Errors
/// [`PathProblem`], which names the step that is wrong.
pub fn open_owned(path: &Path, owner: Owner, missing: Missing) -> Result<OwnedFd, PathProblem> {
    let real = real_path(path)?;
    let mut parts: Vec<_> = real.components().collect();
    let last = match parts.pop() {
        Some(Component::Normal(last)) => last.to_owned(),
        _ => return Err(unsafe_at(&real, "it is no directory below another".into())),
    };
    let (mut here, mut shown) = root_directory()?;
    for part in parts {
        let Component::Normal(name) = part else { continue };
        shown.push(name);
        here = step(&here, Path::new(name), &shown, missing)?;
        check_on_the_way(&here, &shown)?;
    }
    shown.push(&last);
    let last = Path::new(&last);
    let (directory, made) = match open_directory(&here, last) {
        Err(rustix::io::Errno::NOENT) if missing == Missing::Make => {
            (make(&here, last, &shown, MODE_ON_THE_WAY & owner.mode)?, true)
        }
        answer => (answer.map_err(at(&shown))?, false),
    };
    if made {
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        fchown(&directory, Some(uid), Some(gid)).map_err(at(&shown))?;
        fchmod(&directory, Mode::from_raw_mode(owner.mode)).map_err(at(&shown))?;
    }
    check_owner(&directory, owner, &shown)?;
    Ok(directory)
}

/// Opens the root of sandboxes on a file system on which root has no power, as a place to look names up in and no
/// more. Nothing is made. The server's user, or root where the file system is, owns it; where others may make a
/// directory in it, nobody can remove or rename another's.
///
/// # Errors
/// [`PathProblem`], which names the step that is wrong.
pub fn open_shared(path: &Path, owner: u32) -> Result<OwnedFd, PathProblem> {
    let real = real_path(path)?;
    let (mut here, mut shown) = root_directory()?;
    let mut parts = real
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(Path::new(name)),
            _ => None,
        })
        .peekable();
    while let Some(name) = parts.next() {
        shown.push(name);
        here = step(&here, name, &shown, Missing::Refuse)?;
        if parts.peek().is_some() {
            check_on_the_way(&here, &shown)?;
        }
    }
    let facts = fstat(&here).map_err(at(&shown))?;
    if facts.st_uid != owner && facts.st_uid != 0 {
        let what = format!("it belongs to uid {}, and must to uid {owner} or root", facts.st_uid);
        return Err(unsafe_at(&shown, what));
    }
    if facts.st_mode & WRITABLE != 0 && facts.st_mode & STICKY == 0 {
        let what = "others may write in it, so it must be sticky (mode 1733)";
        return Err(unsafe_at(&shown, what.into()));
    }
    if facts.st_mode & SEARCHABLE_BY_OTHERS == 0 {
        return Err(unsafe_at(&shown, "accounts may not look names up in it (mode 0711)".into()));
    }
    Ok(here)
}

/// Checks everything on the way to a file or directory, and not the thing itself: each directory, and each
/// link with what is on the way to where it leads.
///
/// Without root a group may write: it is often the user's own.
///
/// # Errors
/// [`PathProblem`].
pub fn check_above(path: &Path) -> Result<(), PathProblem> {
    let writable = if rustix::process::geteuid().is_root() { WRITABLE } else { WRITABLE_BY_OTHERS };
    walk(path, writable).map(|_| ())
}

/// Checks a program and everything on the way to it: nobody but root and the invoking user may change it, or put
/// another in its place, not as a group either. It need not be readable.
///
/// # Errors
/// [`PathProblem`], which names the step that is wrong.
pub fn check_program(path: &Path) -> Result<(), PathProblem> {
    let end = walk(path, WRITABLE)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let program = openat(&end.directory, Path::new(&end.name), flags, Mode::empty())
        .map_err(at(&end.shown))?;
    let facts = fstat(&program).map_err(at(&end.shown))?;
    let wrong = |what: &str| Err(unsafe_at(&end.shown, what.into()));
    check_owned_here(facts.st_uid, &end.shown)?;
    if !FileType::from_raw_mode(facts.st_mode).is_file() {
        return wrong("it is no regular file");
    }
    if facts.st_mode & WRITABLE != 0 {
        return wrong("its group or everybody may write it");
    }
    if facts.st_mode & EXECUTABLE == 0 {
        return wrong("nobody may execute it");
    }
    Ok(())
}

/// Where a path leads: a name that is no link, or nothing, in an open directory.
struct End {
    directory: OwnedFd,
    name: OsString,
    shown: PathBuf,
}

/// Follows a path, and checks each directory and each link on the way.
fn walk(path: &Path, writable: u32) -> Result<End, PathProblem> {
    if !path.is_absolute() {
        return Err(unsafe_at(path, "it is not absolute".into()));
    }
    let mut rest: Vec<OsString> = parts(path);
    let (mut here, mut shown) = root_directory()?;
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let at_name = shown.join(&name);
        if let Some(target) = link_target(&here, Path::new(&name), &at_name)? {
            links += 1;
            if links > LINKS_MAX {
                return Err(unsafe_at(path, "it leads through too many links".into()));
            }
            if target.is_absolute() {
                (here, shown) = root_directory()?;
            }
            rest.extend(parts(&target));
        } else if rest.is_empty() {
            return Ok(End { directory: here, name, shown: at_name });
        } else {
            here = step(&here, Path::new(&name), &at_name, Missing::Refuse)?;
            if name == ".." {
                shown.pop()
            } else {
                shown = at_name;
                true
            };
            check_writers(&here, &shown, writable)?;
        }
    }
    Ok(End { directory: here, name: ".".into(), shown })
}

/// The names of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// Where a link leads that nobody else can change; `None` is something else, or nothing.
fn link_target(here: &OwnedFd, name: &Path, shown: &Path) -> Result<Option<PathBuf>, PathProblem> {
    let facts = match rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(facts) => facts,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(at(shown)(errno)),
    };
    if !FileType::from_raw_mode(facts.st_mode).is_symlink() {
        return Ok(None);
    }
    check_owned_here(facts.st_uid, shown)?;
    let target = rustix::fs::readlinkat(here, name, Vec::new()).map_err(at(shown))?;
    Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes()))))
}

/// The directory of one account below an open root: made if it is not there, the account's own, 0700.
///
/// The account cannot rename it or put another in its place, since the root is not the account's.
///
/// # Errors
/// [`PathProblem`], also where something else stands under that name.
pub fn account_directory(root: &OwnedFd, name: &str, owner: Owner) -> Result<OwnedFd, PathProblem> {
    let shown = Path::new(name);
    match open_directory(root, shown) {
        Err(rustix::io::Errno::NOENT) => {
            let directory = make(root, shown, shown, 0o700)?;
            give_away(directory, owner, shown)
        }
        Ok(directory) => give_away(directory, owner, shown),
        Err(error) => Err(at(shown)(error)),
    }
}

/// Hands a directory to its owner, if it is one that this process has made and nobody has used: now, or
/// before a start that was cut off. Whoever owns the root may have put another in its place since.
fn give_away(directory: OwnedFd, owner: Owner, shown: &Path) -> Result<OwnedFd, PathProblem> {
    let facts = fstat(&directory).map_err(at(shown))?;
    let entries_none = || is_empty(&directory).unwrap_or(false);
    if facts.st_uid == rustix::process::geteuid().as_raw()
        && facts.st_uid != owner.uid
        && entries_none()
    {
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        fchown(&directory, Some(uid), Some(gid)).map_err(at(shown))?;
    }
    check_owner(&directory, Owner { mode: 0o700, ..owner }, shown)?;
    Ok(directory)
}

/// A directory in one that the same user owns, with a group and mode that are set anew each time.
///
/// Nothing is followed: a link under that name is refused, and what is changed is what was opened.
///
/// # Errors
/// [`PathProblem`], also where something of another user stands under that name.
pub fn shared_directory(above: &OwnedFd, name: &str, owner: Owner) -> Result<(), PathProblem> {
    let shown = Path::new(name);
    let directory = match open_directory(above, shown) {
        Err(rustix::io::Errno::NOENT) => {
            let directory = make(above, shown, shown, 0o700)?;
            fchown(&directory, Some(Uid::from_raw(owner.uid)), None).map_err(at(shown))?;
            directory
        }
        answer => answer.map_err(at(shown))?,
    };
    check_owner(&directory, Owner { mode: 0o777, ..owner }, shown)?;
    fchown(&directory, None, Some(Gid::from_raw(owner.gid))).map_err(at(shown))?;
    fchmod(&directory, Mode::from_raw_mode(owner.mode)).map_err(at(shown))
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The path without links, as far as it exists; the rest must be plain names.
fn real_path(path: &Path) -> Result<PathBuf, PathProblem> {
    if !path.is_absolute() {
        return Err(unsafe_at(path, "it is not absolute".into()));
    }
    let mut rest = Vec::new();
    let mut there = path;
    loop {
        match there.canonicalize() {
            Ok(real) => return Ok(rest.iter().rev().fold(real, |real, name| real.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PathProblem::Io { path: show(there), source }),
        }
        match (there.file_name(), there.parent()) {
            // A link that leads nowhere is there, and is not to be made.
            (Some(name), Some(parent)) if !there.is_symlink() => {
                rest.push(name.to_owned());
                there = parent;
            }
            _ => return Err(unsafe_at(there, "it leads nowhere".into())),
        }
    }
}

fn root_directory() -> Result<(OwnedFd, PathBuf), PathProblem> {
    let shown = PathBuf::from("/");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(at(&shown))?;
    check_on_the_way(&root, &shown)?;
    Ok((root, shown))
}

fn step(
    here: &OwnedFd,
    name: &Path,
    shown: &Path,
    missing: Missing,
) -> Result<OwnedFd, PathProblem> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(here, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) if missing == Missing::Make => {
            make(here, name, shown, MODE_ON_THE_WAY)
        }
        answer => answer.map_err(at(shown)),
    }
}

fn open_directory(here: &OwnedFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(here, name, flags, Mode::empty())
}

fn make(here: &OwnedFd, name: &Path, shown: &Path, mode: u32) -> Result<OwnedFd, PathProblem> {
    mkdirat(here, name, Mode::from_raw_mode(mode)).map_err(at(shown))?;
    open_directory(here, name).map_err(at(shown))
}

fn check_on_the_way(directory: &OwnedFd, shown: &Path) -> Result<(), PathProblem> {
    check_writers(directory, shown, WRITABLE)
}

/// It is root's or the invoking user's.
fn check_owned_here(uid: u32, shown: &Path) -> Result<(), PathProblem> {
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(unsafe_at(shown, format!("it belongs to uid {uid}, who could put another in its place")))
}

fn check_writers(directory: &OwnedFd, shown: &Path, writable: u32) -> Result<(), PathProblem> {
    let facts = fstat(directory).map_err(at(shown))?;
    check_owned_here(facts.st_uid, shown)?;
    if facts.st_mode & writable != 0 && facts.st_mode & STICKY == 0 {
        return Err(unsafe_at(shown, "its group or everybody may write in it".into()));
    }
    Ok(())
}

fn check_owner(directory: &OwnedFd, owner: Owner, shown: &Path) -> Result<(), PathProblem> {
    let facts = fstat(directory).map_err(at(shown))?;
    if !FileType::from_raw_mode(facts.st_mode).is_dir() {
        return Err(unsafe_at(shown, "it is no directory".into()));
    }
    if facts.st_uid != owner.uid {
        let what = format!("it belongs to uid {}, and must to uid {}", facts.st_uid, owner.uid);
        return Err(unsafe_at(shown, what));
    }
    // A stricter mode is as good where only the owner enters; wider never is.
    let wide = facts.st_mode & 0o777 & !owner.mode;
    if wide != 0 {
        let what =
            format!("its mode is {:04o}, and must be {:04o}", facts.st_mode & 0o7777, owner.mode);
        return Err(unsafe_at(shown, what));
    }
    Ok(())
}

fn at(path: &Path) -> impl Fn(rustix::io::Errno) -> PathProblem {
    let path = show(path);
    move |errno| PathProblem::Io { path: path.clone(), source: errno.into() }
}

fn unsafe_at(path: &Path, what: String) -> PathProblem {
    PathProblem::Unsafe { path: show(path), what }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
