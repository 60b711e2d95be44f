//! Which session is this?
//!
//! ```text
//!                ┌ own address ─────────────► Loopback
//!   connect(to) ─┼ registered ──────────────► that session        table: peer's addresses ─► session
//!                └ else ────────────────────► a new one           anonymous: in no table, each for itself
//!   accepted socket ─► accepting ─► place ──► table or anonymous
//! ```
//!
//! `H` is whatever handle the driver uses for a session. Nothing here locks, and nothing calls the sessions but
//! what the driver passes in. Ceph: `src/msg/async/AsyncMessenger.cc`; rules in the messenger spec §4.

use std::collections::HashMap;

use cephwire_codec::{AddrType, AddrVec};

use crate::local::Local;
use crate::stats::Stats;

/// Sessions by the peer's whole address vector, and those that are in no table.
#[derive(Debug)]
pub struct Messenger<H> {
    table: HashMap<AddrVec, H>,
    /// Sessions of accepted sockets that are not placed yet. Sockets beyond its capacity are to be closed at once.
    pub accepting: Bag<H>,
    /// Sessions that are never found: those of clients of a stateless server, and those connected as anonymous.
    pub anonymous: Bag<H>,
}

/// How to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// A session of its own, never shared and never found by a peer that connects.
    pub anonymous: bool,
    /// Not the loopback, even if the address is the own one.
    pub not_local: bool,
}

/// Which session a connect leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connect<H> {
    /// The messenger's [`Loopback`](crate::Loopback).
    Loopback,
    /// This one, whatever it does at the moment.
    Existing(H),
    /// A new one with the peer at these addresses ([`Session::outgoing`](crate::Session::outgoing)), to be
    /// [inserted](Messenger::insert) under them.
    New(AddrVec),
    /// A new one, to be put into [`Messenger::anonymous`].
    Anonymous(AddrVec),
}

/// The state of a messenger in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Sessions made so far, loopback included. Ceph: `msgr_created_connections`.
    #[cfg_attr(feature = "serde", serde(rename = "msgr_created_connections"))]
    pub created_connections: u64,
    /// Sessions registered, anonymous and accepting. Ceph: `msgr_active_connections`.
    #[cfg_attr(feature = "serde", serde(rename = "msgr_active_connections"))]
    pub active_connections: u64,
    /// The sums over those and all that have ended.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub sums: Stats,
}

impl<H> Default for Messenger<H> {
    fn default() -> Self {
        Self { table: HashMap::new(), accepting: Bag::new(ACCEPTING), anonymous: Bag::new(usize::MAX) }
    }
}

impl<H: Clone + PartialEq> Messenger<H> {
    /// An empty table; up to 1,024 sockets may be in the handshake, and any number anonymous.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with other capacities.
    #[must_use]
    pub fn with_capacities(accepting: usize, anonymous: usize) -> Self {
        Self { table: HashMap::new(), accepting: Bag::new(accepting), anonymous: Bag::new(anonymous) }
    }

    /// Where to find the peer at `to`: the rules of Ceph's `connect_to`, in its order.
    ///
    /// `is_closed` says of a registered session whether it has ended; such a one is taken out of the table.
    pub fn connect(
        &mut self,
        local: &Local,
        to: &AddrVec,
        manner: Manner,
        is_closed: impl FnOnce(&H) -> bool,
    ) -> Connect<H> {
        let own = local.addrs();
        if !manner.not_local && is_own(&own, to) {
            return Connect::Loopback;
        }
        let mut to = to.clone();
        if local.is_bound() && own.first_of(AddrType::MSGR2).is_none() {
            // Who listens for v1 only is known to peers by that.
            to.0.retain(|addr| addr.kind != AddrType::MSGR2);
        }
        if manner.anonymous {
            return Connect::Anonymous(to);
        }
        match self.table.get(&to) {
            Some(found) if !is_closed(found) => return Connect::Existing(found.clone()),
            Some(_) => drop(self.table.remove(&to)),
            None => {}
        }
        Connect::New(to)
    }

    /// The session with this peer.
    #[must_use]
    pub fn find(&self, key: &AddrVec) -> Option<H> {
        self.table.get(key).cloned()
    }

    /// Registers a session; the one that was there is returned.
    pub fn insert(&mut self, key: AddrVec, handle: H) -> Option<H> {
        self.table.insert(key, handle)
    }

    /// Removes a session, only if it is that very one which is registered.
    pub fn remove(&mut self, key: &AddrVec, handle: &H) -> bool {
        let there = self.table.get(key).is_some_and(|found| found == handle);
        if there {
            self.table.remove(key);
        }
        there
    }

    /// Takes the session with this peer out of the table, to be [closed](crate::Session::close).
    pub fn mark_down(&mut self, key: &AddrVec) -> Option<H> {
        self.table.remove(key)
    }

    /// Takes out all sessions, to be [closed](crate::Session::close). (The loopback stays.)
    #[must_use = "the sessions are to be closed"]
    pub fn mark_down_all(&mut self) -> Vec<H> {
        let mut all = self.accepting.clear();
        all.extend(self.table.drain().map(|(_, handle)| handle));
        all.extend(self.anonymous.clear());
        all
    }

    /// The registered sessions.
    pub fn iter(&self) -> impl Iterator<Item = (&AddrVec, &H)> {
        self.table.iter()
    }

    /// All sessions: registered, anonymous and accepting.
    pub fn all(&self) -> impl Iterator<Item = &H> {
        self.table.values().chain(self.anonymous.iter()).chain(self.accepting.iter())
    }

    /// How many sessions are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The counters of the whole messenger; `stats` gives those of a session, nothing if it has ended (then
    /// `local` has them).
    #[must_use]
    pub fn totals(&self, local: &Local, stats: impl FnMut(&H) -> Option<Stats>) -> Totals {
        Totals {
            created_connections: local.created_sessions(),
            active_connections: self.all().count() as u64,
            sums: self.all().filter_map(stats).sum::<Stats>() + local.ended_stats(),
        }
    }
}

/// Whether `to` is this side: the own addresses, or one of them.
fn is_own(own: &AddrVec, to: &AddrVec) -> bool {
    match to.0.as_slice() {
        [] => false,
        [one] => own.0.contains(one),
        _ => own == to,
    }
}

/// A place in a [`Bag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat(u64);

/// Handles without a name, up to a number.
#[derive(Debug)]
pub struct Bag<H> {
    handles: HashMap<u64, H>,
    next: u64,
    capacity: usize,
}

impl<H> Bag<H> {
    /// An empty bag.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { handles: HashMap::new(), next: 0, capacity }
    }

    /// Whether another one is refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.handles.len() >= self.capacity
    }

    /// Puts a handle in.
    ///
    /// # Errors
    /// The bag is full, and gives it back.
    pub fn insert(&mut self, handle: H) -> Result<Seat, H> {
        if self.is_full() {
            return Err(handle);
        }
        let seat = self.next;
        self.next += 1;
        self.handles.insert(seat, handle);
        Ok(Seat(seat))
    }

    /// Takes it out, unless that has been done.
    pub fn remove(&mut self, seat: Seat) -> Option<H> {
        self.handles.remove(&seat.0)
    }

    /// Takes out all.
    #[must_use = "the sessions are to be closed"]
    pub fn clear(&mut self) -> Vec<H> {
        self.handles.drain().map(|(_, handle)| handle).collect()
    }

    /// All handles.
    pub fn iter(&self) -> impl Iterator<Item = &H> {
        self.handles.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

/// How many sockets may be in the handshake at once. (Ceph has no limit.)
const ACCEPTING: usize = 1024;
