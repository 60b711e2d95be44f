//! Do both roles of cephx convince each other through real sessions, in both versions and modes, with both key types,
//! and does nobody else get in?
//!
//! A small cluster without a network: a monitor with everybody's key, daemons with their rotating secrets, clients
//! with a wallet. `good` is what must work, `refused` and `global_id` the table of what must not, `middle` what somebody between
//! both can try.
#![cfg(feature = "cephx")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "cephx_sessions/cheat.rs"]
mod cheat;
#[path = "cephx_sessions/cluster.rs"]
mod cluster;
#[path = "cephx_sessions/global_id.rs"]
mod global_id;
#[path = "cephx_sessions/good.rs"]
mod good;
#[path = "cephx_sessions/kinds.rs"]
mod kinds;
#[path = "cephx_sessions/middle.rs"]
mod middle;
#[path = "cephx_sessions/pair.rs"]
mod pair;
#[path = "cephx_sessions/refused.rs"]
mod refused;
#[path = "cephx_sessions/steps.rs"]
mod steps;
