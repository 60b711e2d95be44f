//! Do throttles, counters, injected faults and addresses do what Ceph's messenger does? Does data land where
//! it is wanted, and does the dump read the same?

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
mod forever;
mod injected;
mod memory;
mod pair;
mod table;
mod throttles;
