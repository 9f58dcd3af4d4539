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
