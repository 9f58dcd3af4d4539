//! The crowd is everybody who is connected: bounded in total, and for each address, so that one
//! stranger cannot keep everybody else out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Crowd {
    connections_max: u32,
    per_address_max: u32,
    counts: Mutex<Counts>,
    empty: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Counts {
    total: u32,
    addresses: HashMap<IpAddr, u32>,
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    /// What it is counted for, besides the total.
    address: Option<IpAddr>,
}

impl Crowd {
    pub(crate) fn new(connections_max: u32, per_address_max: u32) -> Arc<Self> {
        let counts = Mutex::default();
        Arc::new(Self {
            connections_max,
            per_address_max,
            counts,
            empty: tokio::sync::Notify::new(),
        })
    }

    /// A place for a connection from `address`, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut place = self.enter_unknown()?;
        place.count_for(address).then_some(place)
    }

    /// A place for a connection that is not yet known to be anybody's.
    pub(crate) fn enter_unknown(self: &Arc<Self>) -> Option<Place> {
        let mut counts = self.lock();
        if counts.total >= self.connections_max {
            return None;
        }
        counts.total += 1;
        Some(Place { crowd: Arc::clone(self), address: None })
    }

    /// Returns once nobody is connected.
    pub(crate) async fn gone(&self) {
        loop {
            let empty = self.empty.notified();
            if self.lock().total == 0 {
                return;
            }
            empty.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts it for `address`, if that has not its share already.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> bool {
        self.count_for_nobody();
        let address = counted_as(address);
        let mut counts = self.crowd.lock();
        let here = counts.addresses.entry(address).or_insert(0);
        let has_room = *here < self.crowd.per_address_max;
        if has_room {
            *here += 1;
            self.address = Some(address);
        }
        has_room
    }

    /// Counts it in the total alone: it is a front's, and serves many.
    pub(crate) fn count_for_nobody(&mut self) {
        if let Some(address) = self.address.take() {
            self.crowd.lock().leave(address);
        }
    }
}

impl Counts {
    fn leave(&mut self, address: IpAddr) {
        if let Some(here) = self.addresses.get_mut(&address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.addresses.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(address) = self.address {
            counts.leave(address);
        }
        if counts.total == 0 {
            self.crowd.empty.notify_waiters();
        }
    }
}

/// What an address is counted as: whoever has one address of an IPv6 network usually has the
/// network's 2^64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests;
