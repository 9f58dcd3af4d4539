//! Tests of the messages' codec: what is written is read, and nothing else is.

use proptest::prelude::*;

use super::*;
use crate::channel::{ChannelError, decode, encode};
use crate::wire::Field;

fn blob() -> impl Strategy<Value = Blob> {
    proptest::collection::vec(any::<u8>(), 0..64).prop_map(Blob)
}

fn seal() -> impl Strategy<Value = Seal> {
    (".{0,40}", any::<u32>(), ".{0,40}", blob(), blob())
        .prop_map(|(account, uid, level, limits, mac)| Seal { account, uid, level, limits, mac })
}

fn owner() -> impl Strategy<Value = LeafOwner> {
    prop_oneof![
        any::<u64>().prop_map(|grant| LeafOwner::Grant { grant }),
        (".{0,40}", seal()).prop_map(|(session, seal)| LeafOwner::Session { session, seal }),
    ]
}

fn to_monitor() -> impl Strategy<Value = ToMonitor> {
    let names = proptest::collection::vec(".{0,40}", 0..10);
    let name = || proptest::option::of(blob());
    let word = || proptest::option::of(".{0,40}");
    let claim = (name(), name(), any::<u32>(), word(), word()).prop_map(
        |(subject, issuer, proxy, account, lowered)| Claim {
            subject,
            issuer,
            proxy,
            account,
            lowered,
        },
    );
    prop_oneof![
        Just(ToMonitor::Ready {}),
        (claim, any::<IpAddr>()).prop_map(|(claim, address)| ToMonitor::Judge { claim, address }),
        any::<u64>().prop_map(|grant| ToMonitor::Start { grant }),
        (any::<u64>(), ".{0,40}").prop_map(|(grant, session)| ToMonitor::Admit { grant, session }),
        (".{0,40}", seal()).prop_map(|(session, seal)| ToMonitor::Tend { session, seal }),
        Just(ToMonitor::Discover {}),
        (owner(), ".{0,40}").prop_map(|(owner, name)| ToMonitor::LeafMake { owner, name }),
        names.prop_map(|names| ToMonitor::LeafRead { names }),
        ".{0,40}".prop_map(|name| ToMonitor::LeafKill { name }),
        Just(ToMonitor::LeafList {}),
        (any::<u32>(), any::<bool>(), ".{0,40}")
            .prop_map(|(ticket, ok, text)| ToMonitor::ControlDone { ticket, ok, text }),
        Just(ToMonitor::Released {}),
        (any::<u64>(), any::<u64>(), blob())
            .prop_map(|(lines, bytes, hash)| ToMonitor::AuditHead { lines, bytes, hash }),
    ]
}

/// What is asked of a jobmanager about files.
fn to_jobmanager() -> impl Strategy<Value = ToJobmanager> {
    let session = || "[0-9a-f]{32}";
    let tree = || "[a-z0-9_-]{1,20}";
    let path = blob;
    let number = any::<u32>;
    prop_oneof![
        (session(), path()).prop_map(|(session, path)| ToJobmanager::Stat { session, path }),
        (session(), path(), blob(), number()).prop_map(|(session, path, pattern, entries_max)| {
            ToJobmanager::Find { session, path, pattern, entries_max }
        }),
        (session(), path(), number()).prop_map(|(session, path, umask_default)| {
            ToJobmanager::MakeDirectory { session, path, umask_default }
        }),
        (session(), path(), any::<u64>(), any::<u64>(), number()).prop_map(
            |(session, path, bytes_max, sandbox_bytes_max, umask_default)| {
                ToJobmanager::BeginWrite {
                    session,
                    path,
                    bytes_max,
                    sandbox_bytes_max,
                    umask_default,
                }
            }
        ),
        (any::<u64>(), any::<bool>())
            .prop_map(|(ticket, replace)| ToJobmanager::CommitWrite { ticket, replace }),
        any::<u64>().prop_map(|ticket| ToJobmanager::DiscardWrite { ticket }),
        (session(), path(), path()).prop_map(|(session, from, to)| ToJobmanager::Rename {
            session,
            from,
            to
        }),
        (session(), path(), any::<bool>()).prop_map(|(session, path, recursive)| {
            ToJobmanager::RemovePath { session, path, recursive }
        }),
        (tree(), path()).prop_map(|(tree, path)| ToJobmanager::TreeOpen { tree, path }),
        (tree(), path(), number()).prop_map(|(tree, path, entries_max)| {
            ToJobmanager::TreeList { tree, path, entries_max }
        }),
        (tree(), path()).prop_map(|(tree, path)| ToJobmanager::TreeStat { tree, path }),
        (tree(), path(), blob(), number()).prop_map(|(tree, path, pattern, entries_max)| {
            ToJobmanager::TreeFind { tree, path, pattern, entries_max }
        }),
    ]
}

/// What a jobmanager answers about files.
fn from_jobmanager() -> impl Strategy<Value = FromJobmanager> {
    let entry = (blob(), any::<bool>(), any::<u64>(), any::<i64>())
        .prop_map(|(name, directory, size, modified)| Entry { name, directory, size, modified });
    let end =
        prop_oneof![Just(FindEnd::Whole {}), Just(FindEnd::Entries {}), Just(FindEnd::Effort {})];
    prop_oneof![
        (any::<bool>(), any::<u64>(), any::<i64>(), any::<u32>(), any::<u64>()).prop_map(
            |(directory, size, modified, modified_nanos, inode)| FromJobmanager::Stated {
                directory,
                size,
                modified,
                modified_nanos,
                inode,
            }
        ),
        proptest::collection::vec(entry, 0..10)
            .prop_map(|entries| FromJobmanager::Found { entries }),
        end.prop_map(|end| FromJobmanager::FindDone { end }),
        Just(FromJobmanager::Made {}),
        any::<u64>().prop_map(|ticket| FromJobmanager::WriteBegun { ticket }),
        (any::<u64>(), any::<i64>(), any::<bool>()).prop_map(|(size, modified, replaced)| {
            FromJobmanager::Written { size, modified, replaced }
        }),
        Just(FromJobmanager::Discarded {}),
        Just(FromJobmanager::Renamed {}),
    ]
}

/// What is asked of a jobmanager about batch systems.
fn to_batch() -> impl Strategy<Value = ToJobmanager> {
    let session = || "[0-9a-f]{32}";
    let name = || "[a-z0-9_-]{1,20}";
    let ids = || proptest::collection::vec("[0-9]{1,9}(\\.[a-z]{1,9})?", 0..10);
    let limits = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>());
    let words =
        (proptest::collection::vec(blob(), 0..5), proptest::collection::vec(".{0,20}", 0..5));
    prop_oneof![
        (session(), name(), name(), words, limits, any::<u32>()).prop_map(
            |(session, tag, batch, (argv, directives), limits, umask_default)| {
                let (cpu_seconds_max, wall_seconds_max, sandbox_bytes_max, cpus, memory_bytes) =
                    limits;
                ToJobmanager::SubmitBatch {
                    session,
                    tag,
                    batch,
                    argv,
                    environment: vec![("A".into(), "b".into())],
                    cpu_seconds_max,
                    wall_seconds_max,
                    sandbox_bytes_max,
                    cpus,
                    memory_bytes,
                    directives,
                    umask_default,
                }
            }
        ),
        (name(), ids(), any::<bool>()).prop_map(|(batch, ids, accounts)| ToJobmanager::ListBatch {
            batch,
            ids,
            accounts
        }),
        (name(), ids()).prop_map(|(batch, ids)| ToJobmanager::UsageBatch { batch, ids }),
        (name(), name(), name()).prop_map(|(batch, id, tag)| ToJobmanager::CancelBatch {
            batch,
            id,
            tag
        }),
        session().prop_map(|session| ToJobmanager::ReadGuard { session }),
        session().prop_map(|session| ToJobmanager::WatchRecord { session }),
    ]
}

/// What a jobmanager answers about batch systems.
fn from_batch() -> impl Strategy<Value = FromJobmanager> {
    let word = || "[a-z_]{1,20}";
    let number = || proptest::option::of(any::<u64>());
    let end = (word(), any::<i32>()).prop_map(|(kind, number)| BatchEndFacts { kind, number });
    let facts =
        (word(), word(), word(), word(), proptest::option::of(end), number(), number(), ".{0,40}");
    let sighting =
        facts.prop_map(|(id, name, owner, state, end, cpu_seconds, wall_seconds, comment)| {
            SightingFacts { id, name, owner, state, end, cpu_seconds, wall_seconds, comment }
        });
    let used = proptest::collection::vec((word(), any::<u64>()), 0..10);
    prop_oneof![
        word().prop_map(|id| FromJobmanager::Submitted { id }),
        (word(), any::<bool>(), ".{0,40}").prop_map(|(refusal, certain, words)| {
            FromJobmanager::NotSubmitted { refusal, certain, words }
        }),
        (word(), ".{0,40}")
            .prop_map(|(answer, words)| FromJobmanager::BatchCancelled { answer, words }),
        proptest::collection::vec(sighting, 0..10)
            .prop_map(|sightings| FromJobmanager::Sightings { sightings }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(unread, duration_ms)| FromJobmanager::ListDone { unread, duration_ms }),
        (word(), ".{0,40}", any::<u64>()).prop_map(|(trouble, words, duration_ms)| {
            FromJobmanager::NotListed { trouble, words, duration_ms }
        }),
        used.prop_map(|used| FromJobmanager::BatchUsage { used }),
        (any::<bool>(), any::<bool>(), proptest::option::of(word()), ".{0,40}", ".{0,20}")
            .prop_map(|(submitting, guarded, winner, record, why)| FromJobmanager::Guard {
                submitting,
                guarded,
                winner,
                record,
                why,
            }),
        ("[0-9a-f]{32}", ".{0,40}")
            .prop_map(|(session, record)| FromJobmanager::RecordSeen { session, record }),
        Just(FromJobmanager::RecordAwaited {}),
    ]
}

/// It comes back as it was, and no part of it does.
fn comes_back<T: Field + PartialEq + std::fmt::Debug>(message: &T) -> Result<(), TestCaseError> {
    let record = encode(7, message).unwrap();
    prop_assert_eq!(&decode::<T>(&record).unwrap().1, message);
    for cut in 0..record.len() {
        prop_assert!(decode::<T>(&record[..cut]).is_err(), "cut at {}", cut);
    }
    let longer = [&record[..], &[0]].concat();
    prop_assert!(matches!(decode::<T>(&longer), Err(ChannelError::Wire(_))));
    Ok(())
}

proptest! {
    #[test]
    fn what_is_asked_about_files_comes_back(message in to_jobmanager()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_is_answered_about_files_comes_back(message in from_jobmanager()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_is_asked_about_batch_systems_comes_back(message in to_batch()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_is_answered_about_batch_systems_comes_back(message in from_batch()) {
        comes_back(&message)?;
    }

    #[test]
    fn a_request_comes_back_and_no_part_of_it_does(id: u32, message in to_monitor()) {
        let record = encode(id, &message).unwrap();
        prop_assert_eq!(decode::<ToMonitor>(&record).unwrap(), (id, message));
        for cut in 0..record.len() {
            prop_assert!(decode::<ToMonitor>(&record[..cut]).is_err(), "cut at {}", cut);
        }
        let longer = [&record[..], &[0]].concat();
        prop_assert!(matches!(decode::<ToMonitor>(&longer), Err(ChannelError::Wire(_))));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        // With a good head, so that the body is reached.
        let record = [&[1, 0, 0, 0, 0], &bytes[..]].concat();
        drop(decode::<ToMonitor>(&record));
        drop(decode::<FromMonitor>(&record));
        drop(decode::<ToJobmanagerControl>(&record));
        drop(decode::<ToJobmanager>(&record));
        drop(decode::<FromJobmanager>(&record));
        drop(decode::<ToMonitor>(&bytes));
        // And one for each kind of request, so that the fields of each are reached.
        for kind in 0..=u8::MAX {
            let record = [&[1, 0, 0, 0, 0, kind], &bytes[..]].concat();
            drop(decode::<ToJobmanager>(&record));
            drop(decode::<FromJobmanager>(&record));
        }
    }

    #[test]
    fn a_changed_byte_never_gives_the_same_message(message in to_monitor(), at: prop::sample::Index, bit in 0_u8..8) {
        let record = encode(7, &message).unwrap();
        let mut changed = record.clone();
        changed[at.index(record.len())] ^= 1 << bit;
        if let Ok(read) = decode::<ToMonitor>(&changed) {
            prop_assert_ne!(read, (7, message));
        }
    }
}

#[test]
fn a_job_s_longest_argument_fits_into_a_record() {
    let message = ToJobmanager::StartJob {
        session: "0".repeat(32),
        tag: "0".repeat(16),
        argv: vec![Blob(vec![b'x'; 128 * 1024])],
        environment: vec![("A".into(), "b".into())],
        cpu_seconds_max: 1,
        wall_seconds_max: 1,
        sandbox_bytes_max: 0,
        umask_default: 0o077,
    };
    let record = encode(1, &message).unwrap();
    assert_eq!(decode::<ToJobmanager>(&record).unwrap().1, message);
}
