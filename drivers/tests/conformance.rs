//! Do messengers on real sockets do what Ceph's own messenger tests ask for?
//!
//! The scenarios of `src/test/msgr/test_msgr.cc`, each on each driver with each version of the protocol: sessions that
//! live and die ([`cases`]), connections that cross or break at a certain step ([`races`]), dispatchers that mark down
//! ([`markdown`]) or have several messages in hand ([`concurrent`]), and random work under injected faults ([`synthetic`]). And those of its event loop and its network
//! stack, as far as they concern a driver ([`stack`]).

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(unused_macros, reason = "tests here have names of their own")]
mod rig;
mod wire;

/// A test of each of these functions, on each driver with each version; or on each driver alone.
macro_rules! matrix {
    ($($test:ident)*; of any version: $($single:ident)*) => {
        #[cfg(feature = "blocking")]
        mod blocking {
            $(#[test] fn $single() { super::$single::<crate::rig::Blocking>(); })*
        }
        #[cfg(feature = "blocking")]
        mod blocking_v1 {
            $(#[test] fn $test() { super::$test::<crate::rig::Blocking>(cephwire::Version::V1); })*
        }
        #[cfg(feature = "blocking")]
        mod blocking_v2 {
            $(#[test] fn $test() { super::$test::<crate::rig::Blocking>(cephwire::Version::V2); })*
        }
        #[cfg(feature = "tokio")]
        mod tokio {
            $(#[test] fn $single() { super::$single::<crate::rig::Tasks>(); })*
        }
        #[cfg(feature = "tokio")]
        mod tokio_v1 {
            $(#[test] fn $test() { super::$test::<crate::rig::Tasks>(cephwire::Version::V1); })*
        }
        #[cfg(feature = "tokio")]
        mod tokio_v2 {
            $(#[test] fn $test() { super::$test::<crate::rig::Tasks>(cephwire::Version::V2); })*
        }
    };
}

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/concurrent.rs"]
mod concurrent;
#[path = "conformance/markdown.rs"]
mod markdown;
#[path = "conformance/plain.rs"]
mod plain;
#[path = "conformance/races.rs"]
mod races;
#[allow(dead_code, reason = "the simulator uses the rest")]
#[path = "../../protocol/tests/sim/random.rs"]
mod random;
#[path = "conformance/stack.rs"]
mod stack;
#[path = "conformance/synthetic.rs"]
mod synthetic;
