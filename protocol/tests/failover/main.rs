//! Do sessions survive, or end, at every point of a connection as Ceph's do?
//!
//! The failover suites of crimson (`src/test/crimson/test_messenger.cc`, Ceph 16.2) for both versions. Crimson runs
//! them over v2; over v1 the expected numbers follow from the classic implementation, and differ where the test says
//! so. `CEPHWIRE_RIG_TRACE=1` prints every step.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

#[path = "../rig/mod.rs"]
mod rig;

mod crossing;
mod lossless;
mod lossy;
mod markdown;
mod peers;
mod races;
mod stale;
mod sweep;
