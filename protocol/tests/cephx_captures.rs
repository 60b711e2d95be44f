//! Is everything that real Ceph says with cephx understood, step by step, down to the last signature?
//!
//! Captures of Ceph 14 to 18 and of the Linux kernel's client, with all keys of their clusters beside them. From the
//! keys of the entities alone: each payload is decoded and comes out of the encoder again as it was; proofs hold,
//! tickets open, authorizers, challenges and replies belong together; each AUTH_SIGNATURE and each signature of a message is
//! computed anew; secure streams decrypt to their end.
//!
//! ```text
//! keys of the sidecar ─► monitor connections ─► session keys, tickets, rotating secrets ─► service connections
//! ```
#![cfg(feature = "cephx")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "cephx_captures/keys.rs"]
mod keys;
#[path = "cephx_captures/pcap.rs"]
mod pcap;
#[path = "cephx_captures/v1.rs"]
mod v1;
#[path = "cephx_captures/v2.rs"]
mod v2;

use std::path::{Path, PathBuf};

use keys::Keys;
use pcap::Connection;

/// What was seen in a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Connections that ended in an agreement with a monitor, and with another service.
    monitors: usize,
    services: usize,
    /// Refusals: wrong proofs, and authorizers that nobody could take.
    refusals: usize,
    /// Tickets opened with a service's own secret.
    tickets: usize,
    /// AUTH_SIGNATURE frames, and messages of v1, whose signature is right.
    transcripts: usize,
    messages: usize,
    /// Messages of v1 on such connections that are not signed.
    unsigned: usize,
    /// Encrypted frames.
    sealed: usize,
}

fn captures() -> Vec<(String, PathBuf)> {
    // CEPHWIRE_CAPTURES: another directory, with more of them.
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures");
    let directory = std::env::var_os("CEPHWIRE_CAPTURES").map_or_else(own, PathBuf::from);
    let mut names: Vec<(String, PathBuf)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(name, _)| name.contains("cephx") && !name.contains("bad-banner"))
        .collect();
    names.sort();
    names
}

/// Decodes a capture: monitors first, since what they give is needed for the rest.
fn decode(path: &Path) -> Tally {
    let mut keys = Keys::of_sidecar(&std::fs::read_to_string(path).unwrap());
    let mut waiting: Vec<Connection> = pcap::connections(path);
    let mut tally = Tally::default();
    loop {
        let before = waiting.len();
        waiting.retain(|connection| {
            let known = if connection.server.starts_with(b"ceph v2\n") {
                v2::connection(connection, &mut keys, &mut tally)
            } else {
                v1::connection(connection, &mut keys, &mut tally)
            };
            !known
        });
        if waiting.len() == before || waiting.is_empty() {
            assert!(waiting.is_empty(), "{} connections of {path:?} need keys that nobody has", before);
            return tally;
        }
    }
}

/// Each capture has what its name says.
#[test]
fn every_capture() {
    let captures = captures();
    assert!(captures.len() > 20, "{}", captures.len());
    let mut seen = Vec::new();
    for (name, path) in captures {
        let tally = decode(&path);
        println!("{name}: {tally:?}");
        let Tally { monitors, services, refusals, tickets, transcripts, messages, unsigned, sealed } = tally;
        let bad = name.contains("bad-auth") || name.contains("bad-ticket");
        assert!(if bad { refusals > 0 } else { monitors + services > 0 }, "{name}: {tally:?}");
        if name.contains("-v1-") {
            let signs = services > 0 && !name.contains("unsigned");
            assert_eq!((messages > 0, unsigned > 0), (signs, services > 0 && !signs), "{name}: {tally:?}");
            assert_eq!((transcripts, sealed), (0, 0));
        } else {
            assert!(transcripts >= 2 * services, "{name}: {tally:?}");
            assert_eq!(
                sealed > 0,
                (name.contains("v2secure") || name.contains("defaultmodes")) && monitors + services > 0,
                "{name}: {tally:?}"
            );
        }
        // Where daemons fetched their secrets in the capture, all tickets for them open.
        if name.contains("-peers-") || name.contains("-inject-") {
            assert!(tickets > 0, "{name}: {tally:?}");
        }
        seen.push((name, tally));
    }
    let sum = |of: fn(&Tally) -> usize| seen.iter().map(|(_, tally)| of(tally)).sum::<usize>();
    println!(
        "{} captures: {} monitor and {} service connections, {} refusals, {} tickets, {} transcripts, {} messages, {} frames",
        seen.len(),
        sum(|tally| tally.monitors),
        sum(|tally| tally.services),
        sum(|tally| tally.refusals),
        sum(|tally| tally.tickets),
        sum(|tally| tally.transcripts),
        sum(|tally| tally.messages),
        sum(|tally| tally.sealed)
    );
}
