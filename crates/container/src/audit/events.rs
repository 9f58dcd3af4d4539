//! What is told of connections and files, and to the monitor.

use std::net::IpAddr;
use std::time::Duration;

use nesssi_identity::{Peer, ProxyKind};
use tokio::sync::watch;

use super::{Audit, OnDisk};
use crate::link::Monitor;

/// How long the monitor is left in peace after it was told a head.
const BETWEEN_HEADS: Duration = Duration::from_millis(100);

/// As many digits of a session's id as may be told: whoever has all of them may read.
const SESSION_DIGITS: usize = 8;

/// A file that was asked for over plain HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The session's id, as it was asked for; no more than its beginning is written.
    pub session: &'a str,
    /// The path inside of it.
    pub path: &'a [u8],
    /// From where.
    pub address: IpAddr,
    /// The request's id.
    pub request_id: &'a str,
    /// The answer's HTTP status.
    pub status: u16,
    /// The bytes that are sent, where they are known beforehand.
    pub bytes: Option<u64>,
}

/// Records a credential that was taken or refused; who offers none is told of by his calls alone.
pub(crate) fn connected(audit: &Audit, peer: &Peer, address: IpAddr) {
    match peer {
        Peer::Anonymous(_) => {}
        Peer::Certified(identity) => audit
            .line("authentication")
            .text("by", "certificate")
            .text("subject", &identity.subject)
            .text("issuer", &identity.issuer)
            .maybe("proxy", identity.proxy.map(proxy_word))
            .number("not_after", identity.not_after)
            .text("address", address)
            .write(),
        Peer::Refused(refusal) => audit
            .line("authentication")
            .text("by", "certificate")
            .text("refused", &refusal.rule)
            .text("certificate", &refusal.certificate)
            .text("address", address)
            .write(),
    }
}

/// Records a file that was served, or was not.
pub(crate) fn served(audit: &Audit, served: &Served<'_>) {
    let session = served.session.chars().take(SESSION_DIGITS).collect::<String>();
    let line = audit
        .line("file")
        .text("request", served.request_id)
        .text("session", session)
        .text("path", String::from_utf8_lossy(served.path))
        .text("address", served.address)
        .number("status", served.status);
    match served.bytes {
        Some(bytes) => line.count("bytes", bytes).write(),
        None => line.write(),
    }
}

/// The word for a kind of proxy.
pub(crate) fn proxy_word(kind: ProxyKind) -> &'static str {
    match kind {
        ProxyKind::Full => "full",
        ProxyKind::Limited => "limited",
        ProxyKind::Independent => "independent",
    }
}

/// Tells the monitor how far the audit is on the disk, as often as it may hear it, until either ends.
pub(crate) async fn tell_heads(mut heads: watch::Receiver<OnDisk>, monitor: Monitor) {
    loop {
        let on_disk = *heads.borrow_and_update();
        if let Err(error) = monitor.audit_head(on_disk).await {
            tracing::debug!(%error, "the monitor hears no more of the audit log");
            return;
        }
        tokio::time::sleep(BETWEEN_HEADS).await;
        if heads.changed().await.is_err() {
            return;
        }
    }
}
