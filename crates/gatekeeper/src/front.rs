//! A *front* is a proxy of the site's own that alone faces the network (a centre's httpd). What it says of its callers counts
//! for something only if the front itself has been proven: by its address and its own certificate, or in the case of passed TLS
//! by its address and the caller's handshake.
//!
//! Nothing that a front may say is ever seen from anybody else: the headers are taken out of every request, those
//! with `_` for `-` too, which many programs take for the same.

mod certificate;
mod guard;
pub(crate) mod proxy_protocol;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use nesssi_config::{Front, FrontHeader, FrontWay};
use nesssi_identity::{NoCertificate, Peer, Presented, Refusal};

use crate::clock::now_unix;
use crate::front::certificate::Written;
use crate::front::guard::Guard;
use crate::trust::Trust;

/// How many callers of a front are remembered with what they were judged to be: whoever calls again within
/// [`JUDGED_FOR`] costs no signature.
const JUDGED_MAX: usize = 512;
/// How long a judgement of a front's caller is used again. What ends by the clock ends so much later at most.
const JUDGED_FOR: Duration = Duration::from_secs(5);

/// The site's front, if it has one.
#[derive(Debug)]
pub(crate) struct Fronts {
    front: Option<Front>,
    guard: Guard,
    judged: Mutex<HashMap<Vec<u8>, Judged>>,
}

/// A caller as he was judged, by the bytes that his front sent.
#[derive(Debug, Clone)]
struct Judged {
    presented: Arc<Presented>,
    peer: Arc<Peer>,
    at: Instant,
    generation: u64,
}

/// For whom a front makes a request.
#[derive(Debug)]
pub(crate) struct OnBehalf {
    pub(crate) peer: Arc<Peer>,
    pub(crate) presented: Option<Arc<Presented>>,
    pub(crate) address: IpAddr,
    /// Whether he was judged just now, and not a moment ago.
    pub(crate) fresh: bool,
}

/// A header of the front that cannot be its.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    header: String,
    rule: String,
}

impl Fronts {
    pub(crate) fn new(front: Option<Front>) -> Self {
        let header = front.as_ref().and_then(|front| match &front.way {
            FrontWay::Header(header) => Some(header),
            FrontWay::ProxyProtocol => None,
        });
        let guard = Guard::new(header);
        Self { guard, front, judged: Mutex::default() }
    }

    /// Whether a connection from this address begins with a header of the PROXY protocol.
    pub(crate) fn passes_tls_on(&self, address: IpAddr) -> bool {
        self.front.as_ref().is_some_and(|front| {
            front.way == FrontWay::ProxyProtocol
                && front.peers.iter().any(|net| net.contains(&address))
        })
    }

    /// Whether a connection is the front's: it comes from its address, and holds the front's own certificate.
    pub(crate) fn is_front(&self, address: IpAddr, peer: &Peer) -> bool {
        let Some(front) = &self.front else { return false };
        let is_proxy = matches!(peer, Peer::Certified(identity) if identity.proxy.is_some());
        front.peers.iter().any(|net| net.contains(&address)) && self.has_its_name(peer) && !is_proxy
    }

    /// The front's certificate proves a front and nobody else: as a caller's it is refused.
    pub(crate) fn as_caller(&self, peer: Peer) -> Peer {
        if !self.has_its_name(&peer) {
            return peer;
        }
        let certificate = match &peer {
            Peer::Certified(identity) => identity.subject.to_oneline(),
            Peer::Anonymous(_) | Peer::Refused(_) => String::new(),
        };
        let rule = "it is a front's, and no caller's".to_owned();
        Peer::Refused(Refusal { certificate, rule, at: now_unix() })
    }

    fn header(&self) -> Option<&FrontHeader> {
        match &self.front.as_ref()?.way {
            FrontWay::Header(header) => Some(header),
            FrontWay::ProxyProtocol => None,
        }
    }

    /// Whoever has the front's name, or a proxy of it.
    fn has_its_name(&self, peer: &Peer) -> bool {
        let (Some(header), Peer::Certified(identity)) = (self.header(), peer) else { return false };
        header.subjects.iter().any(|subject| subject.matches(&identity.subject))
    }

    /// For whom the front makes this request; its own address is `from`. What cannot be told is refused, with the reason.
    pub(crate) fn on_behalf(&self, headers: &HeaderMap, from: IpAddr, trust: &Trust) -> OnBehalf {
        let Some(header) = self.header() else { return OnBehalf::of(anonymous(), from) };
        let address = match &header.address {
            None => Ok(from),
            Some(name) => certificate::address(headers, name),
        };
        let address = match address {
            Ok(address) => address,
            Err(wrong) => return OnBehalf::of(wrong.refused(), from),
        };
        let judged = match certificate::read(header, headers) {
            Ok(None) => return OnBehalf::of(anonymous(), address),
            Ok(Some(written)) => self.judge(&written, trust),
            Err(wrong) => Err(wrong),
        };
        match judged {
            Ok((Judged { presented, peer, .. }, fresh)) => {
                OnBehalf { peer, presented: Some(presented), address, fresh }
            }
            Err(wrong) => OnBehalf::of(wrong.refused(), address),
        }
    }

    /// Takes out of a request what only a front may say; it has been read, or does not count.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        self.guard.strip(headers);
    }

    /// The judgement, and whether it is a new one.
    fn judge(&self, written: &Written<'_>, trust: &Trust) -> Result<(Judged, bool), Wrong> {
        let key = written.key();
        let (now, generation) = (Instant::now(), trust.generation());
        let lock = || self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).cloned();
        if let Some(known) = known.filter(|known| known.holds(now, generation)) {
            return Ok((known, false));
        }
        let presented = Arc::new(written.decode()?);
        let peer = Arc::new(self.as_caller(trust.judge(Some(&presented))));
        let judged = Judged { presented, peer, at: now, generation };
        let mut all = lock();
        if all.len() >= JUDGED_MAX {
            all.retain(|_, judged| judged.holds(now, generation));
        }
        // Full of those who still hold: whoever comes now is judged at each of his calls.
        if all.len() < JUDGED_MAX {
            all.insert(key, judged.clone());
        }
        Ok((judged, true))
    }
}

impl OnBehalf {
    /// Of somebody who shows no certificate, or none that can be read.
    fn of(peer: Arc<Peer>, address: IpAddr) -> Self {
        Self { peer, presented: None, address, fresh: true }
    }
}

impl Judged {
    fn holds(&self, now: Instant, generation: u64) -> bool {
        let ended = match &*self.peer {
            Peer::Certified(identity) => identity.not_after < now_unix(),
            Peer::Anonymous(_) | Peer::Refused(_) => false,
        };
        !ended && self.generation == generation && now.duration_since(self.at) < JUDGED_FOR
    }
}

impl Wrong {
    fn new(header: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { header: header.into(), rule: rule.into() }
    }

    fn refused(self) -> Arc<Peer> {
        let certificate = format!("from the front's header {}", self.header);
        Arc::new(Peer::Refused(Refusal { certificate, rule: self.rule, at: now_unix() }))
    }
}

fn anonymous() -> Arc<Peer> {
    Arc::new(Peer::Anonymous(NoCertificate::NotOffered))
}
