//! Do throttles, counters, injected faults and addresses do what Ceph's messenger does? Does its dump read the same?

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod counters;
#[cfg(feature = "serde")]
mod dump;
mod injected;
mod pair;
mod table;
mod throttles;
