//! What the processes say to each other. Each type is one channel's one direction.
//!
//! A request carries an id that its answer repeats; an unasked message has id 0. Nothing here is
//! proof of anything: the receiver parses what it got again into types of its own.

use std::net::IpAddr;

use crate::wire::{Blob, fields, variants};

fields! {
    /// A credential as the gatekeeper has verified it, or none.
    pub struct Claim {
        /// The caller's subject as `dn::SubjectDn::to_bytes` writes it; `None` is anonymous.
        subject: Option<Blob>,
        /// The issuer of the end-entity certificate, in the same form.
        issuer: Option<Blob>,
        /// What was presented: 0 no proxy certificate, 1 a full one, 2 a limited, 3 an independent.
        proxy: u32,
        /// The account asked for, where the caller has several; `None` is his first.
        account: Option<String>,
        /// The level to which the service lowers this caller.
        lowered: Option<String>,
    }
}

fields! {
    /// The result of judging a caller, good until the rules change.
    pub struct GrantRecord {
        /// What the gatekeeper names it by.
        id: u64,
        /// The local account.
        account: String,
        /// The level's name.
        level: String,
        /// `policy::Limits::to_bytes`.
        limits: Blob,
        /// The generation of the rules it was judged by.
        generation: u64,
        /// Whether it is for reading alone: no session is sealed for it.
        reads_only: bool,
        /// Which rule decided, for audit and `explain`; never for strangers.
        rule: String,
    }
}

fields! {
    /// The monitor's proof that a session was granted to an account.
    pub struct Seal {
        /// The account's name when it was sealed.
        account: String,
        /// Its uid then; name and uid must still agree when it is used.
        uid: u32,
        /// The level's name.
        level: String,
        /// `policy::Limits::to_bytes`.
        limits: Blob,
        /// HMAC-SHA-256 over the session and all of the above.
        mac: Blob,
    }
}

fields! {
    /// What the monitor learned of an account when its jobmanager started.
    pub struct AccountFacts {
        /// Its name.
        name: String,
        /// Its uid.
        uid: u32,
        /// Its primary gid.
        gid: u32,
        /// Its home directory.
        home: String,
        /// Absolute path of its directory of sandboxes.
        sandboxes: String,
    }
}

variants! {
    /// Whose leaf it is to be.
    pub enum LeafOwner {
        /// The account of a current grant (service workers).
        1 => Grant {
            /// The grant.
            grant: u64,
        },
        /// The account of a sealed session (jobs).
        2 => Session {
            /// The session.
            session: String,
            /// Its seal.
            seal: Seal,
        },
    }
}

variants! {
    /// Why the monitor refused. The text may be logged, and never goes to a stranger.
    pub enum Refusal {
        /// No level takes this caller, or the level has no account.
        1 => NoLevel {
            /// What was looked for and not found.
            text: String,
        },
        /// The account may not be used: root, under the floor, own service user, unknown, locked, expired.
        2 => BadAccount {
            /// Which rule, and the account.
            text: String,
        },
        /// The grant is not known or the rules have changed since: judge again.
        3 => StaleGrant {},
        /// The seal is not ours, or name and uid no longer agree.
        4 => BadSeal {
            /// What does not agree.
            text: String,
        },
        /// The name service, exec or another system call failed or took too long.
        5 => System {
            /// What failed.
            text: String,
        },
        /// Too many of something: children, leaves, grants.
        6 => Busy {
            /// Which bound.
            text: String,
        },
        /// The request is none that this process may make, or its fields are wrong.
        7 => BadRequest {
            /// What is wrong.
            text: String,
        },
    }
}

variants! {
    /// Gatekeeper to monitor. The whole of what the network process may ask of root.
    pub enum ToMonitor {
        /// I serve: sent once, after the registry is loaded.
        1 => Ready {},
        /// Who is this, and what may he? Answered `Judged` or `Refused`.
        2 => Judge {
            /// The credential.
            claim: Claim,
            /// Where he calls from.
            address: IpAddr,
        },
        /// A channel on which jobs and workers may be started. Answered `Jobmanager` or `Refused`.
        3 => Start {
            /// A current grant.
            grant: u64,
        },
        /// A session is admitted: seal it. Only after `Start` of the same grant. Answered `Sealed`.
        4 => Admit {
            /// A current grant.
            grant: u64,
            /// 32 hex digits.
            session: String,
        },
        /// A channel on which a sealed session may be tended, never started. Answered `Jobmanager`.
        5 => Tend {
            /// The session.
            session: String,
            /// Its seal.
            seal: Seal,
        },
        /// A channel to the services account, for discovery alone. Answered `Jobmanager`.
        6 => Discover {},
        /// Make a cgroup leaf. Answered `Leaf` with descriptors, or `NoLeaf`.
        7 => LeafMake {
            /// Whose processes may enter it.
            owner: LeafOwner,
            /// Up to 32 characters of a-z, 0-9 and `-`, first letter `j` (job) or `w` (worker).
            name: String,
        },
        /// CPU use of leaves, in bulk. Answered `LeafUsage`, one item for each name in order.
        8 => LeafRead {
            /// The leaves.
            names: Vec<String>,
        },
        /// Kill all in the leaf, and remove it once empty. Answered `LeafUsage` of one item; ask again while populated.
        9 => LeafKill {
            /// The leaf.
            name: String,
        },
        /// All leaves there are. Answered `LeafNames`.
        10 => LeafList {},
        /// The answer to a `RestartService`, `CheckService`, `ServiceLog` or `Status` with the same ticket.
        11 => ControlDone {
            /// The ticket.
            ticket: u32,
            /// Whether it was done.
            ok: bool,
            /// For the one who asked: at most 1 KiB, cut beyond.
            text: String,
        },
        /// The lease is given up and no new work is taken: a successor may start.
        12 => Released {},
        /// The audit log is on the disk up to here. Not answered.
        13 => AuditHead {
            /// How many lines it has.
            lines: u64,
            /// How many bytes.
            bytes: u64,
            /// SHA-256 of the last line, its newline not counted.
            hash: Blob,
        },
        /// All is ready that can be without the lease. Answered `TakeOver`, once nobody else holds it.
        14 => Prepared {},
        /// I cannot serve, and end now. Not answered.
        15 => Unfit {
            /// Why: at most 1 KiB, cut beyond.
            text: String,
        },
    }
}

variants! {
    /// Monitor to gatekeeper.
    pub enum FromMonitor {
        /// The first message. Descriptors: HTTPS listener, HTTP listener, server certificate, its key.
        1 => Welcome {
            /// The text of nesssi.toml, to be parsed again.
            config_text: String,
            /// Its path, for messages alone.
            config_path: String,
            /// Whether NESSSI was started as root.
            root: bool,
            /// Whether the monitor can make cgroup leaves.
            leaves: bool,
            /// The invoking user's name: the one account there is without root.
            user: String,
            /// The kernel's boot id.
            boot_id: String,
            /// The generation of the rules.
            generation: u64,
        },
        /// Gridmap, levels or accounts have changed: cached grants are void.
        2 => Generation {
            /// The new generation.
            generation: u64,
            /// The text of nesssi.toml, if that has changed.
            config_text: Option<String>,
        },
        /// Finish what is under way, take nothing new, say `Released`, then exit.
        3 => Drain {
            /// Seconds until it is killed.
            seconds_max: u32,
        },
        /// A developer asks for a service's restart.
        4 => RestartService {
            /// To be repeated in `ControlDone`.
            ticket: u32,
            /// The service.
            name: String,
        },
        /// To `Judge`.
        5 => Judged {
            /// The grant.
            grant: GrantRecord,
        },
        /// To `Start`, `Tend`, `Discover`. Descriptor: the channel.
        6 => Jobmanager {
            /// The account.
            account: AccountFacts,
            /// The jobmanager's pid, to tell one from its successor.
            pid: u32,
        },
        /// To `Admit`.
        7 => Sealed {
            /// The seal.
            seal: Seal,
        },
        /// To `LeafMake`. Descriptors: door, cpu.stat, cgroup.kill, cgroup.events.
        8 => Leaf {},
        /// To `LeafMake` where there is no cgroup v2 or no root.
        9 => NoLeaf {
            /// Why not.
            text: String,
        },
        /// To `LeafRead` and `LeafKill`: CPU microseconds and whether processes are in it; `None` is no such leaf.
        10 => LeafUsage {
            /// One item for each name asked.
            usage: Vec<Option<LeafFacts>>,
        },
        /// To `LeafList`.
        11 => LeafNames {
            /// The names.
            names: Vec<String>,
        },
        /// To any request that is not granted.
        12 => Refused {
            /// Why.
            refusal: Refusal,
        },
        /// A developer asks for all services' restart or the gatekeeper's health.
        13 => Status {
            /// To be repeated in `ControlDone`.
            ticket: u32,
        },
        /// The server's certificate or key has changed. Descriptors: the certificate chain, its key.
        14 => Certificate {},
        /// A developer asks what is wrong with a service. Descriptor: an empty file in memory, where the findings
        /// (`service::Findings`) are to be written before `ControlDone`.
        15 => CheckService {
            /// To be repeated in `ControlDone`.
            ticket: u32,
            /// The service.
            name: String,
        },
        /// A developer asks where a service's log is: the text of `ControlDone` is its path.
        16 => ServiceLog {
            /// To be repeated in `ControlDone`.
            ticket: u32,
            /// The service.
            name: String,
        },
        /// To `Prepared`: the lease is free. Take it, and serve.
        17 => TakeOver {},
    }
}

fields! {
    /// What a leaf has used and holds.
    pub struct LeafFacts {
        /// CPU microseconds, of all that ever ran in it.
        cpu_usec: u64,
        /// Whether a process is in it.
        populated: bool,
    }
}

variants! {
    /// What a channel to a jobmanager may be used for.
    pub enum ChannelKind {
        /// Everything.
        1 => Start {},
        /// Reads, status, cancel, adoption, removal.
        2 => Tend {},
        /// Discovery alone.
        3 => Discover {},
    }
}

variants! {
    /// Monitor to jobmanager, on the jobmanager's descriptor 3.
    pub enum ToJobmanagerControl {
        /// Serve one more gatekeeper channel. Descriptor: the channel.
        1 => Serve {
            /// What it may be used for.
            kind: ChannelKind,
            /// Whose it is, by the monitor's number. To start gives that gatekeeper's other channels to start, demoted
            /// before, their rights again.
            gatekeeper: u32,
        },
        /// The rules have changed: nothing is started on any channel that is open now, until its gatekeeper was handed
        /// another to start.
        2 => Demote {},
    }
}

variants! {
    /// Gatekeeper to jobmanager.
    pub enum ToJobmanager {
        /// Make the sandbox of a session. Start channels only. Answered `Prepared` or `Failed`.
        1 => Prepare {
            /// 32 hex digits.
            session: String,
            /// The umask where neither GECOS nor login.defs gives one, as a number (0o077 is 63).
            umask_default: u32,
        },
        /// Start a job's shepherd. Start channels only. Descriptors: the leaf's four, or none. Answered `Started` or `Failed`.
        2 => StartJob {
            /// The session, prepared before.
            session: String,
            /// The tag.
            tag: String,
            /// Program and arguments; the program by absolute path or searched in the job's PATH.
            argv: Vec<Blob>,
            /// The whole environment.
            environment: Vec<(String, String)>,
            /// CPU seconds over the whole process tree.
            cpu_seconds_max: u64,
            /// Wall seconds.
            wall_seconds_max: u64,
            /// Bytes that the sandbox may hold; 0 is no limit.
            sandbox_bytes_max: u64,
            /// As in `Prepare`.
            umask_default: u32,
        },
        /// Watch a shepherd that another jobmanager started. Answered `Adopted`, or `Ended` if it has ended, or `Gone` if it
        /// left no record. With pid 0 nobody knows the shepherd: the start guard in the sandbox says which it is.
        3 => Adopt {
            /// The session.
            session: String,
            /// The tag, by which what is left of its tree is found.
            tag: String,
            /// The shepherd.
            shepherd: ShepherdId,
        },
        /// End the job: terminate, then kill. Answered `Cancelling` or `Failed`; `Ended` follows unasked when nothing is left.
        4 => CancelJob {
            /// The session.
            session: String,
        },
        /// Open a file or directory of a sandbox for reading. Answered `Opened` with a descriptor, or `Failed`.
        5 => Open {
            /// The session.
            session: String,
            /// Relative path, `/` between names, empty for the sandbox itself. Bytes, as in `Entry`.
            path: Blob,
        },
        /// Names in a directory of a sandbox. Answered `Listing` or `Failed`.
        6 => List {
            /// The session.
            session: String,
            /// As in `Open`.
            path: Blob,
            /// How many names at most.
            entries_max: u32,
        },
        /// Tell when an open file grows or shrinks: `Grew` follows, unasked, at most ten a second. Answered `Watching` or `Failed`.
        7 => Follow {
            /// The session.
            session: String,
            /// As in `Open`.
            path: Blob,
        },
        /// No more of it. Not answered.
        8 => Unfollow {
            /// The watch.
            watch: u64,
        },
        /// Remove a sandbox with all in it. Answered `Removed` when it is gone, or `Failed` with what could not be.
        9 => Remove {
            /// The session.
            session: String,
        },
        /// Start a service worker. Start channels only. Descriptors: the leaf's four, or none. Answered `WorkerStarted` with the socket, or `Failed`.
        10 => StartWorker {
            /// The gatekeeper's name for it.
            worker: u64,
            /// Program and arguments; the worker protocol is spoken on descriptor 3.
            argv: Vec<String>,
            /// The whole environment.
            environment: Vec<(String, String)>,
            /// Working directory: the service's folder.
            directory: String,
            /// Append standard output and error to this descriptor's place: the service's log, passed last if `true`.
            has_log: bool,
            /// The version of the service's modules, `service::Modules`, is passed before the log: the worker's descriptor 4.
            has_modules: bool,
        },
        /// Kill a worker with its descendants. Answered `WorkerEnded`.
        11 => KillWorker {
            /// The worker.
            worker: u64,
        },
        /// Walk the tree of services. Discover channels only. Answered by `ServiceFound` for each folder, then `DiscoverDone`.
        12 => Scan {
            /// Root of the tree.
            root: String,
            /// Python, by absolute path, and its arguments up to the worker's `describe` mode; the folder is appended.
            describe_argv: Vec<String>,
            /// Environment of the throwaway workers.
            environment: Vec<(String, String)>,
            /// Only this service; empty is all.
            only: String,
            /// Deadline of one throwaway worker, in milliseconds.
            describe_ms_max: u32,
            /// Ask the code of a service whose access list or manifest has mistakes too: for who wants to see all that is wrong.
            thorough: bool,
            /// How long a worker that has said that it is ready must live, in milliseconds; 0 tries none.
            trial_ms: u32,
        },
        /// The record that the job's shepherd left, if any. Answered `Ended`, or `Gone`.
        13 => ReadRecord {
            /// The session.
            session: String,
        },
        /// Read a file as text, bounded, for status. Answered `Text` or `Failed`.
        14 => Files {
            /// The session: every served file, recursively, bounded by `entries_max`. Answered `Listing`.
            session: String,
            /// How many at most.
            entries_max: u32,
        },
        /// CPU use of running jobs by their shepherds' process trees, in bulk. Answered `Usage`, one item for each in order.
        15 => Usage {
            /// The sessions.
            sessions: Vec<String>,
        },
        /// Read the access lists in the tree of services, and run no code. Discover channels only. Answered by `AccessFound` for
        /// each service and for each other folder with a list, then `DiscoverDone`.
        16 => ScanAccess {
            /// Root of the tree.
            root: String,
        },
        /// What a file or directory of a sandbox is. Answered `Stated` or `Failed`.
        17 => Stat {
            /// The session.
            session: String,
            /// As in `Open`.
            path: Blob,
        },
        /// Served names at any depth below a directory of a sandbox. Answered by `Found` for some at a time, then `FindDone`,
        /// or `Failed`.
        18 => Find {
            /// The session.
            session: String,
            /// The directory, as in `Open`.
            path: Blob,
            /// What the last name is to match, `session::Glob`.
            pattern: Blob,
            /// How many at most.
            entries_max: u32,
        },
        /// Make a directory in a sandbox. Start channels only. Answered `Made` or `Failed`.
        19 => MakeDirectory {
            /// The session.
            session: String,
            /// As in `Open`: what is not there yet, in a directory that is.
            path: Blob,
            /// As in `Prepare`.
            umask_default: u32,
        },
        /// Begin to write a file of a sandbox, beside the place that it is to have. Start channels only. Answered
        /// `WriteBegun` with a descriptor to write to, or `Failed`. What is not committed is discarded when the channel ends
        /// or nothing is written for long.
        20 => BeginWrite {
            /// The session.
            session: String,
            /// As in `Open`: the place that the file is to have.
            path: Blob,
            /// Bytes that the file may have when it is committed.
            bytes_max: u64,
            /// Bytes that the whole sandbox may hold then; 0 is no limit.
            sandbox_bytes_max: u64,
            /// As in `Prepare`.
            umask_default: u32,
        },
        /// The file is whole: make it durable and give it its place. Start channels only. Answered `Written` or `Failed`;
        /// either ends the ticket.
        21 => CommitWrite {
            /// The ticket, of this channel.
            ticket: u64,
            /// Whether a file that stands there is replaced; else that is a failure.
            replace: bool,
        },
        /// The file is not wanted any more. Start channels only. Answered `Discarded`, if the ticket has ended already too.
        22 => DiscardWrite {
            /// The ticket, of this channel.
            ticket: u64,
        },
        /// Give a file or directory of a sandbox another name in it. Start channels only. Answered `Renamed` or `Failed`.
        23 => Rename {
            /// The session.
            session: String,
            /// What there is, as in `Open`.
            from: Blob,
            /// What it is to be, as in `Open`. Nothing that stands there is replaced.
            to: Blob,
        },
        /// Remove a file or directory of a sandbox. Answered `Removed` or `Failed` with what could not be removed.
        24 => RemovePath {
            /// The session.
            session: String,
            /// As in `Open`, but not the sandbox itself: that is `Remove`.
            path: Blob,
            /// Whether a directory is removed with all in it; else only an empty one.
            recursive: bool,
        },
        /// Open a file or directory of a tree for reading. Start channels only, as all that is asked of trees. Answered
        /// `Opened` with a descriptor, or `Failed`.
        25 => TreeOpen {
            /// The tree's name in the configuration.
            tree: String,
            /// Relative path, `/` between names, empty for the tree itself. Bytes, as in `Entry`.
            path: Blob,
        },
        /// Names in a directory of a tree. Answered `Listing` or `Failed`.
        26 => TreeList {
            /// The tree.
            tree: String,
            /// As in `TreeOpen`.
            path: Blob,
            /// How many names at most.
            entries_max: u32,
        },
        /// What a file or directory of a tree is. Answered `Stated` or `Failed`.
        27 => TreeStat {
            /// The tree.
            tree: String,
            /// As in `TreeOpen`.
            path: Blob,
        },
        /// Served names at any depth below a directory of a tree. Answered as `Find`.
        28 => TreeFind {
            /// The tree.
            tree: String,
            /// The directory, as in `TreeOpen`.
            path: Blob,
            /// As in `Find`.
            pattern: Blob,
            /// How many at most.
            entries_max: u32,
        },
        /// Give a job to a batch system. Start channels only; the sandbox was prepared before. Answered `Submitted` or
        /// `NotSubmitted`, or `Failed` if no command was run: `EALREADY` where the guard stands or a submission of the
        /// session is under way.
        29 => SubmitBatch {
            /// The session.
            session: String,
            /// The tag.
            tag: String,
            /// The batch system's name in the configuration.
            batch: String,
            /// Program and arguments, as in `StartJob`.
            argv: Vec<Blob>,
            /// The payload's whole environment.
            environment: Vec<(String, String)>,
            /// CPU seconds over the whole process tree.
            cpu_seconds_max: u64,
            /// Wall seconds.
            wall_seconds_max: u64,
            /// Bytes that the sandbox may hold; 0 is no limit.
            sandbox_bytes_max: u64,
            /// CPUs on one node.
            cpus: u32,
            /// Memory in bytes; 0 leaves it to the site.
            memory_bytes: u64,
            /// `key=value`, each a `job::batch::Directive`.
            directives: Vec<String>,
            /// As in `Prepare`.
            umask_default: u32,
        },
        /// End a job of a batch system. Answered `BatchCancelled`, or `Failed` if no command was run.
        30 => CancelBatch {
            /// The batch system.
            batch: String,
            /// The batch id.
            id: String,
            /// The tag.
            tag: String,
        },
        /// What a batch system knows of NESSSI's jobs. Answered by any number of `Sightings`, then `ListDone`; or
        /// `NotListed`, or `Failed` if no command was run.
        31 => ListBatch {
            /// The batch system.
            batch: String,
            /// Batch ids, at most `job::batch::LISTED_IDS_MAX`; none is all jobs.
            ids: Vec<String>,
            /// Whether the accounts are asked instead, which tell of ended jobs.
            accounts: bool,
        },
        /// CPU seconds of running jobs. Answered `BatchUsage` or `NotListed`, or `Failed` if no command was run.
        32 => UsageBatch {
            /// The batch system.
            batch: String,
            /// Batch ids, as in `ListBatch`; at least one.
            ids: Vec<String>,
        },
        /// What the sandbox says of a batch job. Answered `Guard` or `Failed`.
        33 => ReadGuard {
            /// The session.
            session: String,
        },
        /// Tell when the sandbox holds the job's record: answered `RecordSeen` at once or `RecordAwaited`, and then by
        /// `RecordSeen` unasked. Forgotten when the channel ends or the session is removed.
        34 => WatchRecord {
            /// The session.
            session: String,
        },
    }
}

fields! {
    /// One job as a batch system shows it: `job::batch::Sighting`, its parts by the names of `job::batch::names`.
    pub struct SightingFacts {
        /// Batch id.
        id: String,
        /// The name that the batch system has for it.
        name: String,
        /// The account that submitted it; empty if that is not said.
        owner: String,
        /// What it does: queued, held, running, exiting, ended, unknown.
        state: String,
        /// How it ended, of those that have.
        end: Option<BatchEndFacts>,
        /// CPU seconds used.
        cpu_seconds: Option<u64>,
        /// Wall seconds used.
        wall_seconds: Option<u64>,
        /// Why it waits or how it went, in the batch system's words.
        comment: String,
    }
}

fields! {
    /// How a batch job ended, as the batch system says.
    pub struct BatchEndFacts {
        /// `exited`, `signalled`, `over_cpu`, `over_wall`, `over_memory`, `over_limit`, `cancelled`, `start_failed`,
        /// `node_failed`, `unsaid`.
        kind: String,
        /// Exit code or signal of the first two, else 0.
        number: i32,
    }
}

fields! {
    /// A shepherd, so named that a pid used again is not taken for it.
    pub struct ShepherdId {
        /// Its pid.
        pid: u32,
        /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
        start_ticks: u64,
        /// `/proc/sys/kernel/random/boot_id` when it started.
        boot_id: String,
    }
}

fields! {
    /// One name in a sandbox or a tree.
    pub struct Entry {
        /// The name, or in `Files` and `Found` the path from the sandbox or tree. Bytes, since a user may name a file anything.
        name: Blob,
        /// Whether it is a directory (else a regular file: others are not listed).
        directory: bool,
        /// Bytes.
        size: u64,
        /// Modification time, seconds since 1970 UTC.
        modified: i64,
    }
}

variants! {
    /// Why a find ended.
    pub enum FindEnd {
        /// Everything was looked at.
        1 => Whole {},
        /// There are more matches than were asked for.
        2 => Entries {},
        /// There is more than a find looks at: names, or time.
        3 => Effort {},
    }
}

variants! {
    /// Jobmanager to gatekeeper.
    pub enum FromJobmanager {
        /// To `Prepare`.
        1 => Prepared {
            /// Absolute path of the sandbox.
            path: String,
        },
        /// To `StartJob`.
        2 => Started {
            /// The shepherd.
            shepherd: ShepherdId,
        },
        /// To `Adopt`.
        3 => Adopted {
            /// The shepherd, which the one who asked may not have known.
            shepherd: ShepherdId,
        },
        /// To `Adopt` and `ReadRecord`, or unasked: the job has ended and its shepherd is gone.
        4 => Ended {
            /// The session.
            session: String,
            /// The record's text, `job::EndRecord::parse`; empty if the shepherd left none.
            record: String,
        },
        /// To `Adopt` and `ReadRecord`: no such shepherd lives, and there is no record.
        5 => Gone {
            /// Whether the start guard stands in the sandbox: the payload may have run.
            guarded: bool,
        },
        /// To `CancelJob`.
        6 => Cancelling {},
        /// To `Open`. Descriptor: the file.
        7 => Opened {
            /// Whether it is a directory.
            directory: bool,
            /// Bytes now.
            size: u64,
            /// Modification time, seconds since 1970 UTC.
            modified: i64,
            /// And its nanoseconds.
            modified_nanos: u32,
            /// Inode.
            inode: u64,
        },
        /// To `List` and `Files`.
        8 => Listing {
            /// The names, sorted.
            entries: Vec<Entry>,
            /// Whether there were more.
            cut: bool,
        },
        /// To `Follow`.
        9 => Watching {
            /// What `Grew` names.
            watch: u64,
        },
        /// Unasked: a followed file has changed.
        10 => Grew {
            /// The watch.
            watch: u64,
        },
        /// To `Remove` and `RemovePath`.
        11 => Removed {},
        /// To `StartWorker`. Descriptor: the gatekeeper's end of the worker's socket.
        12 => WorkerStarted {
            /// Its pid.
            pid: u32,
        },
        /// To `KillWorker`, or unasked: a worker has ended.
        13 => WorkerEnded {
            /// The worker.
            worker: u64,
            /// How: exit code, or 128 + signal.
            status: i32,
        },
        /// One folder of `Scan`. Descriptor: the version of its modules that was asked, if `has_modules`: a sealed file in memory.
        14 => ServiceFound {
            /// Dotted name.
            name: String,
            /// Absolute path of the folder.
            folder: String,
            /// Text of `.clarens_access`, or why it could not be read.
            access: Option<String>,
            /// Text of `service.toml`, if there is one.
            manifest: Option<String>,
            /// What `describe` answered: one JSON text, `service::protocol`.
            description: Option<String>,
            /// Why it is broken, if it is: for `service.list` and the log.
            problem: Option<String>,
            /// SHA-256 over names and contents of the folder's code.
            digest: Blob,
            /// Whether a version comes along.
            has_modules: bool,
            /// Why none does, though the service is of Python.
            in_place: Option<String>,
        },
        /// The end of `Scan`.
        15 => DiscoverDone {
            /// What could not be walked.
            problems: Vec<String>,
        },
        /// To any request that failed.
        16 => Failed {
            /// The system's error number, 0 if it is not the system's.
            errno: i32,
            /// What failed, for the log.
            text: String,
        },
        /// To a request of a `Start` channel: the rules have changed since it was given. `Start` by a grant of now renews it.
        18 => Stale {},
        /// To `Usage`: CPU microseconds; `None` is no running job.
        17 => Usage {
            /// One item for each session asked.
            cpu_usec: Vec<Option<u64>>,
        },
        /// One folder of `ScanAccess`.
        19 => AccessFound {
            /// Dotted name.
            name: String,
            /// Text of `.clarens_access`; none if there is no such file.
            access: Option<String>,
            /// Why the folder or the file could not be read, if so: for the log.
            problem: Option<String>,
        },
        /// To `Stat` and `TreeStat`.
        20 => Stated {
            /// Whether it is a directory.
            directory: bool,
            /// Bytes now.
            size: u64,
            /// Modification time, seconds since 1970 UTC.
            modified: i64,
            /// And its nanoseconds.
            modified_nanos: u32,
            /// Inode.
            inode: u64,
        },
        /// Some of what `Find` and `TreeFind` have found.
        21 => Found {
            /// The paths, in no order.
            entries: Vec<Entry>,
        },
        /// The end of `Find` and `TreeFind`.
        22 => FindDone {
            /// Why it ended.
            end: FindEnd,
        },
        /// To `MakeDirectory`.
        23 => Made {},
        /// To `BeginWrite`. Descriptor: the file, to write to.
        24 => WriteBegun {
            /// What `CommitWrite` and `DiscardWrite` name.
            ticket: u64,
        },
        /// To `CommitWrite`: the file has its place.
        25 => Written {
            /// Its bytes.
            size: u64,
            /// Modification time, seconds since 1970 UTC.
            modified: i64,
            /// Whether another file stood there.
            replaced: bool,
        },
        /// To `DiscardWrite`.
        26 => Discarded {},
        /// To `Rename`.
        27 => Renamed {},
        /// To `SubmitBatch`: the batch system has the job.
        28 => Submitted {
            /// The batch id.
            id: String,
        },
        /// To `SubmitBatch`: the command was run, and brought no batch id.
        29 => NotSubmitted {
            /// `policy`, `quota`, `syntax`, `unknown_queue`, `down`, `garbage` or `unknown`.
            refusal: String,
            /// Whether it is certain that there is no job.
            certain: bool,
            /// What the batch system said.
            words: String,
        },
        /// To `CancelBatch`.
        30 => BatchCancelled {
            /// `asked`, `gone`, `refused`, `down` or `unknown`.
            answer: String,
            /// What the batch system said.
            words: String,
        },
        /// To `ListBatch`: some of the jobs.
        31 => Sightings {
            /// The jobs.
            sightings: Vec<SightingFacts>,
        },
        /// The end of `ListBatch`.
        32 => ListDone {
            /// Entries that could not be read: where there are any, what was not told of may still be there.
            unread: u64,
            /// How long the commands took.
            duration_ms: u64,
        },
        /// To `ListBatch` and `UsageBatch`: nothing is known of any job.
        33 => NotListed {
            /// `down`, `no_accounts`, `too_long`, `not_understood` or `failed`.
            trouble: String,
            /// What the batch system said.
            words: String,
            /// How long the commands took.
            duration_ms: u64,
        },
        /// To `UsageBatch`.
        34 => BatchUsage {
            /// Batch ids with their CPU seconds.
            used: Vec<(String, u64)>,
        },
        /// To `ReadGuard`. Any job of the account may have written what stands there.
        35 => Guard {
            /// Whether a submit command of the session is under way: it holds the lock.
            submitting: bool,
            /// Whether the start guard stands: the payload may have been started.
            guarded: bool,
            /// The batch id in the guard.
            winner: Option<String>,
            /// The record's text; empty if there is none.
            record: String,
            /// Why the watcher ended the job, if it did: `over_cpu` or `over_wall`.
            why: String,
        },
        /// To `WatchRecord`, or unasked later: the record is there.
        36 => RecordSeen {
            /// The session.
            session: String,
            /// The record's text, `job::EndRecord::parse`.
            record: String,
        },
        /// To `WatchRecord`: it is not there yet.
        37 => RecordAwaited {},
    }
}

#[cfg(test)]
mod tests;
