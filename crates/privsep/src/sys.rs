//! The system calls that need `unsafe`, each behind a function that is safe to call.
//!
//! Everything else in this room, and every other room, is safe code above these.
#![allow(unsafe_code, reason = "the one place with system calls that Rust cannot check")]

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use libc::c_int;

/// Largest answer of the name service that is read, in bytes: a group of a few thousand members.
const NAME_SERVICE_BYTES_MAX: usize = 1 << 20;
/// First buffer for it.
const NAME_SERVICE_BYTES_FIRST: usize = 4096;
/// Most groups an account may be in; Linux's own limit.
const GROUPS_MAX: c_int = 65_536;
/// Exit code of a forked child whose closure panicked.
const PANICKED: c_int = 101;

/// Makes a copy of this process that runs `work` and ends with the code it returns.
///
/// The copy has the calling thread alone; it never returns to the caller's code, runs no exit
/// handlers and flushes nothing. Answers the child's pid.
///
/// # Errors
/// The system's, when processes run out.
pub fn fork(work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: fork has no memory preconditions. The child runs `work` and leaves by `_exit`, so no
    // frame of the caller is ever unwound or returned to twice.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
            // SAFETY: `_exit` takes any number and does not return.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}

/// Replaces this process by a program. Returns only if that failed.
#[must_use]
pub fn exec(program: &CStr, argv: &[CString], environment: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let environment = pointers(environment);
    // SAFETY: both arrays hold pointers to NUL-ended strings that outlive the call, and end in NULL.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// A descriptor that this process was started with, made close-on-exec. Each can be taken once.
///
/// # Errors
/// `EBADF` if it is not open; `EBUSY` if it was taken before or is over 63 or under 3.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let bit = u32::try_from(number)
        .ok()
        .filter(|_| number >= 3)
        .and_then(|n| 1_u64.checked_shl(n))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
    // SAFETY: F_GETFD and F_SETFD look at a number and own nothing.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    if TAKEN.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: it is open (fcntl has just answered), was inherited, and the bit set above makes sure
    // that nobody else is given ownership of it here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes `target` a copy of `source`, open across exec unless `cloexec`; answers `target`.
///
/// For a process that is about to exec: whatever `target` was is closed under its owner.
pub(crate) fn dup_onto(
    source: BorrowedFd<'_>,
    target: RawFd,
    cloexec: bool,
) -> io::Result<BorrowedFd<'static>> {
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: dup3 works on numbers; the caller is a child that uses no other owner of `target`.
    check(unsafe { libc::dup3(source.as_raw_fd(), target, flags) })?;
    // SAFETY: it is open now, and this child closes it by exec or exit alone.
    Ok(unsafe { BorrowedFd::borrow_raw(target) })
}

/// A descriptor that stays open as long as this process.
pub(crate) fn leak(descriptor: OwnedFd) -> BorrowedFd<'static> {
    let number = descriptor.into_raw_fd();
    // SAFETY: it has no owner any more, so nothing closes it.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Closes every descriptor from `first` to `last`, both included.
///
/// For a forked child: owners of those descriptors must not be dropped after it.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    let none: libc::c_uint = 0;
    // SAFETY: close_range works on numbers; the caller is a child that leaves by exec or `_exit`.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, none) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes the kernel refuse a peer of this Unix socket, or of one accepted from it, who sends
/// descriptors (`SO_PASSRIGHTS`, Linux 6.16). Answers whether this kernel can.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<bool> {
    /// `asm-generic/socket.h`; the libc crate has no name for it.
    const SO_PASSRIGHTS: c_int = 83;
    let off: c_int = 0;
    let length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(4);
    // SAFETY: pointer and length are of one live number.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            length,
        )
    };
    match check(answer) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Sets the supplementary groups of all threads.
pub(crate) fn setgroups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and length are of one slice.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })
}

/// Sets real, effective and saved gid of all threads; `u32::MAX` leaves one as it is.
pub(crate) fn setresgid(real: u32, effective: u32, saved: u32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::setresgid(real, effective, saved) })
}

/// Sets real, effective and saved uid of all threads; `u32::MAX` leaves one as it is.
pub(crate) fn setresuid(real: u32, effective: u32, saved: u32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::setresuid(real, effective, saved) })
}

/// Real, effective and saved uid.
pub(crate) fn getresuid() -> io::Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0; 3];
    // SAFETY: three pointers to live numbers.
    check(unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    Ok([real, effective, saved])
}

/// Real, effective and saved gid.
pub(crate) fn getresgid() -> io::Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0; 3];
    // SAFETY: three pointers to live numbers.
    check(unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    Ok([real, effective, saved])
}

/// One line of the password database.
#[derive(Debug, Clone)]
pub(crate) struct PasswordLine {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) gecos: OsString,
    pub(crate) home: OsString,
    pub(crate) shell: OsString,
}

/// One line of the shadow database, as far as it says whether an account may be used.
#[derive(Debug, Clone)]
pub(crate) struct ShadowLine {
    pub(crate) password: Vec<u8>,
    /// Days after 1970 when the account ends; negative is never.
    pub(crate) expires_day: i64,
}

/// The account of a name, by every source the name service has. May block.
pub(crate) fn password_by_name(name: &CStr) -> io::Result<Option<PasswordLine>> {
    password(|entry, buffer, found| {
        // SAFETY: all pointers are to live memory of the stated length.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), found) }
    })
}

/// The account of a uid. May block.
pub(crate) fn password_by_uid(uid: u32) -> io::Result<Option<PasswordLine>> {
    password(|entry, buffer, found| {
        // SAFETY: all pointers are to live memory of the stated length.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), found) }
    })
}

fn password(
    ask: impl Fn(*mut libc::passwd, &mut [libc::c_char], *mut *mut libc::passwd) -> c_int,
) -> io::Result<Option<PasswordLine>> {
    // SAFETY: a passwd of zero bytes is a value: numbers and null pointers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    with_buffer(|buffer| {
        let mut found = std::ptr::null_mut();
        match ask(&raw mut entry, buffer, &raw mut found) {
            0 if found.is_null() => Ok(None),
            0 => Ok(Some(PasswordLine {
                name: text(entry.pw_name).to_string_lossy().into_owned(),
                uid: entry.pw_uid,
                gid: entry.pw_gid,
                gecos: text(entry.pw_gecos),
                home: text(entry.pw_dir),
                shell: text(entry.pw_shell),
            })),
            error => Err(error),
        }
    })
}

/// The shadow line of a name. Needs root. May block.
pub(crate) fn shadow(name: &CStr) -> io::Result<Option<ShadowLine>> {
    // SAFETY: an spwd of zero bytes is a value: numbers and null pointers.
    let mut entry: libc::spwd = unsafe { std::mem::zeroed() };
    with_buffer(|buffer| {
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to live memory of the stated length.
        let answer = unsafe {
            libc::getspnam_r(
                name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match answer {
            0 if found.is_null() => Ok(None),
            0 => Ok(Some(ShadowLine {
                password: text(entry.sp_pwdp).into_vec(),
                expires_day: entry.sp_expire,
            })),
            error => Err(error),
        }
    })
}

/// The gid of a group's name. May block.
pub(crate) fn group(name: &CStr) -> io::Result<Option<u32>> {
    // SAFETY: a group of zero bytes is a value: numbers and null pointers.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    with_buffer(|buffer| {
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to live memory of the stated length.
        let answer = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match answer {
            0 if found.is_null() => Ok(None),
            0 => Ok(Some(entry.gr_gid)),
            error => Err(error),
        }
    })
}

/// Calls with ever larger buffers while the answer is `ERANGE`.
fn with_buffer<T>(
    mut ask: impl FnMut(&mut [libc::c_char]) -> Result<Option<T>, c_int>,
) -> io::Result<Option<T>> {
    let mut size = NAME_SERVICE_BYTES_FIRST;
    loop {
        match ask(&mut vec![0; size]) {
            Ok(answer) => return Ok(answer),
            Err(libc::ERANGE) if size < NAME_SERVICE_BYTES_MAX => size *= 2,
            Err(libc::EINTR) => {}
            // What glibc answers where a source has no such name.
            Err(libc::ENOENT | libc::ESRCH) => return Ok(None),
            Err(error) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All groups of an account, its primary one included. May block.
pub(crate) fn group_list(name: &CStr, primary: u32) -> io::Result<Vec<u32>> {
    let mut room: c_int = 64;
    loop {
        let mut groups = vec![0_u32; usize::try_from(room).unwrap_or_default()];
        let mut count = room;
        // SAFETY: `count` says how many numbers `groups` has room for.
        let answer = unsafe {
            libc::getgrouplist(name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count)
        };
        if answer >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or_default());
            return Ok(groups);
        }
        if room >= GROUPS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ERANGE));
        }
        room = count.max(room.saturating_mul(2)).min(GROUPS_MAX);
    }
}

fn text(from: *const libc::c_char) -> OsString {
    if from.is_null() {
        return OsString::new();
    }
    // SAFETY: the name service's strings are NUL-ended and live as long as its buffer, which the
    // caller still holds.
    OsString::from_vec(unsafe { CStr::from_ptr(from) }.to_bytes().to_vec())
}

/// Blocks signals in this thread and gives a non-blocking descriptor on which they are read.
pub(crate) fn signal_descriptor(signals: &[c_int]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: `set` is a signal set; the old mask is not wanted.
    let answer =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if answer != 0 {
        return Err(io::Error::from_raw_os_error(answer));
    }
    // SAFETY: `set` is a signal set, and -1 asks for a new descriptor.
    let descriptor =
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(descriptor)?;
    // SAFETY: the system has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sets every signal to its default and blocks none: what a program expects at its start.
pub(crate) fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: the default action holds no pointer. The two signals that glibc keeps for itself
        // answer an error that does not matter.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let set = signal_set(&[]);
    // SAFETY: `set` is a signal set; the old mask is not wanted.
    let answer =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(answer)) }
}

fn signal_set(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: a signal set of zero bytes is a value, and is then initialised as the manual asks.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is live.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: `set` was initialised; a wrong number is refused.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn check(answer: c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
