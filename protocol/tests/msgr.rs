//! Does everything go as in Ceph's own messenger tests?
//!
//! The cases of `src/test/msgr/test_msgr.cc` (16.2.x and newer) and the basic ones of crimson's
//! `src/test/crimson/test_messenger.cc`, for both versions, on a made-up network and in a made-up time.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod fixture;

#[path = "msgr/cases.rs"]
mod cases;
#[path = "msgr/dispatch.rs"]
mod dispatch;
#[path = "msgr/races.rs"]
mod races;
#[path = "msgr/synthetic.rs"]
mod synthetic;
