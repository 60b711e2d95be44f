//! The `cephwire` command as a library, so that its parts can be tested and fuzzed.

pub mod bench;
pub mod capture;
pub mod config;
pub mod decode;
mod live;
pub mod ping;
pub mod probe;
pub mod serve;
