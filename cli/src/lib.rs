//! The `cephwire` command as a library, so that its parts can be tested and fuzzed: by `cli/tests` and `fuzz/`, for
//! whom alone it is. It is no API and may change at any time; what others want is in the `cephwire` library.

pub mod bench;
pub mod capture;
pub mod config;
pub mod decode;
mod live;
pub mod ping;
pub mod probe;
pub mod serve;
