//! Does our messenger get on with a real Ceph?
//!
//! Every test here needs a cluster that `testdata/lab/ceph-lab` started, whose directory `CEPHWIRE_LAB` names.
//! `testdata/lab/messenger-live` starts them and runs the tests; without it they are only compiled.
//!
//! | module | answers |
//! |---|---|
//! | [`objects`] | is a client of ours served by monitors and OSDs? |
//! | [`file_system`] | does a session without losses survive its connections? |
//! | [`renewal`] | what becomes of its sessions when tickets end? |
//! | [`stand_in`] | do Ceph's clients get on with a monitor that is ours? |

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[macro_use]
#[path = "../rig/mod.rs"]
mod rig;

mod client;
mod file_system;
mod lab;
mod objects;
mod payload;
mod relay;
mod renewal;
mod stand_in;
