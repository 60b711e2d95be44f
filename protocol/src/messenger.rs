//! Which session is this?
//!
//! The table of sessions by the peer's addresses. `H` is whatever handle the driver uses for a session.

use std::collections::HashMap;

use cephwire_codec::AddrVec;

/// Sessions by the peer's whole address vector.
#[derive(Debug)]
pub struct Messenger<H> {
    table: HashMap<AddrVec, H>,
}

impl<H> Default for Messenger<H> {
    fn default() -> Self {
        Self { table: HashMap::new() }
    }
}

impl<H: Clone + PartialEq> Messenger<H> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = (&AddrVec, &H)> {
        self.table.iter()
    }
}
