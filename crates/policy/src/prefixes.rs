//! What a DN is looked up by where lists hold beginnings of DNs.

use nesssi_dn::{MatchingKey, SubjectDn};

/// The keys of all beginnings of a DN that end where an RDN ends, itself included; the shortest
/// first. A list of entries by key covers it if it has one of them: as many look-ups as there are
/// RDNs, however long the list.
pub(crate) fn prefix_keys(subject: &SubjectDn) -> Vec<MatchingKey> {
    let rdns = subject.rdns();
    (1..=rdns.len())
        .filter_map(|count| rdns.get(..count))
        .filter_map(|rdns| SubjectDn::from_rdns(rdns.to_vec()).ok())
        .map(|prefix| prefix.matching_key())
        .collect()
}
