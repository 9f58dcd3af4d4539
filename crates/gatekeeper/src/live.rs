//! The live connections are those of callers who showed a certificate and are still there: they are judged again when
//! what they were judged by has changed, and end when the judgement is another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nesssi_identity::{Peer, Presented};
use rustls_pki_types::CertificateDer;

use crate::drive::Recall;
use crate::trust::Trust;

/// All live connections.
#[derive(Debug, Default)]
pub(crate) struct Live {
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    by_number: HashMap<u64, Arc<Member>>,
}

/// One live connection, as far as judging it needs.
#[derive(Debug)]
struct Member {
    presented: Arc<Presented>,
    peer: Arc<Peer>,
    /// What it was found to be since, if that is something else.
    found: OnceLock<Arc<Peer>>,
    recall: Recall,
}

/// The place of one connection among the live ones, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    live: Arc<Live>,
    number: u64,
    member: Arc<Member>,
}

impl Live {
    /// A connection whose chain was judged to be `peer`, by a trust directory of this generation or a later one.
    pub(crate) fn enter(
        self: &Arc<Self>,
        presented: Arc<Presented>,
        peer: Arc<Peer>,
        trust: &Trust,
        generation: u64,
    ) -> Membership {
        let (found, recall) = (OnceLock::new(), Recall::default());
        let member = Arc::new(Member { presented, peer, found, recall });
        let mut members = self.lock();
        let number = members.next;
        members.next += 1;
        members.by_number.insert(number, Arc::clone(&member));
        drop(members);
        // Whoever replaced the directory meanwhile may have looked through the members before this one entered.
        if trust.generation() != generation {
            member.hold_against(trust.judge(Some(&member.presented)));
        }
        Membership { live: Arc::clone(self), number, member }
    }

    /// Judges everybody again; blocks for as long as that takes, one signature or two for each chain.
    pub(crate) fn judge_again(&self, trust: &Trust) {
        let members: Vec<_> = self.lock().by_number.values().cloned().collect();
        let mut judged: HashMap<&[CertificateDer<'static>], Peer> = HashMap::new();
        for member in members.iter().filter(|member| member.found.get().is_none()) {
            // Many connections of one caller show one chain.
            let peer = judged.entry(member.presented.chain());
            let peer = peer.or_insert_with(|| trust.judge(Some(&member.presented)));
            member.hold_against(peer.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Ends the connection if it is no longer what it was.
    fn hold_against(&self, now: Peer) {
        if is_same(&self.peer, &now) {
            return;
        }
        if let Peer::Refused(refusal) = &now {
            tracing::info!(%refusal, "a connection ends: its credential counts no longer");
        }
        if self.found.set(Arc::new(now)).is_ok() {
            self.recall.now();
        }
    }
}

/// Whether two judgements give a caller the same rights. That one refusal has another text than the other, and the
/// end of a credential, which is seen to on its own, make no difference.
fn is_same(one: &Peer, other: &Peer) -> bool {
    match (one, other) {
        (Peer::Certified(one), Peer::Certified(other)) => {
            one.subject == other.subject && one.issuer == other.issuer && one.proxy == other.proxy
        }
        (Peer::Anonymous(_), Peer::Anonymous(_)) | (Peer::Refused(_), Peer::Refused(_)) => true,
        (Peer::Certified(_) | Peer::Anonymous(_) | Peer::Refused(_), _) => false,
    }
}

impl Membership {
    /// What the connection is now.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        self.member.found.get().unwrap_or(&self.member.peer)
    }

    /// What tells the connection to end.
    pub(crate) fn recall(&self) -> &Recall {
        &self.member.recall
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.live.lock().by_number.remove(&self.number);
    }
}
