//! Do the golden files that say they come from a capture really stand in it?
//!
//! `UPDATE_GOLDEN=1 cargo test` takes the first frame of each kind that has no golden file yet. (Their dumps
//! are written and compared by the codec's own test.)

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;

use cephwire_cli::decode::{Record, What};
use cephwire_codec::{Flags, v1, v2};
use support::Capture;

/// Frames longer than this are no use to a reader.
const LONGEST: u64 = 4096;

#[test]
fn every_golden_file_from_a_capture_is_in_it() {
    let directory = support::testdata().join("golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut found = BTreeMap::new();
    for capture in support::captures() {
        for record in capture.records.iter().filter(|record| record.len <= LONGEST) {
            let Some((kind, how)) = kind(capture, record) else { continue };
            found
                .entry(kind)
                .or_insert_with(|| (how, origin(capture, record), capture.bytes_of(record).to_vec()));
        }
    }
    assert!(found.len() > 30, "only {} kinds", found.len());
    for (kind, (how, origin, bytes)) in found {
        let path = directory.join(format!("{kind}.txt"));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if update && !path.exists() {
            fs::write(&path, format!("# {kind}, from {origin}\nhow: {how}\nbytes:\n{hex}\ndump:\n")).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let (head, body) = text.split_once("bytes:\n").unwrap();
        assert!(head.contains(&origin), "{kind}: expected to come from {origin}");
        let written: String = body.split("dump:").next().unwrap().split_whitespace().collect();
        assert_eq!(written, hex, "{kind}");
    }
}

fn origin(capture: &Capture, record: &Record) -> String {
    let Record { connection, from, offset, .. } = record;
    format!("captures/{}, connection {connection}, {from:?}, offset {offset}", capture.name)
}

/// The golden file that a record can be the first example of, and how it is decoded.
fn kind(capture: &Capture, record: &Record) -> Option<(String, String)> {
    match &record.what {
        What::V1(frame, footprint) => {
            let how = match &**frame {
                v1::Frame::Banner => "banner",
                v1::Frame::Address(_) => "address",
                v1::Frame::Connect(connect) if connect.authorizer.is_empty() => return None,
                v1::Frame::Connect(_) => "connect",
                v1::Frame::Reply(_) => "reply",
                v1::Frame::Seq(_) => "seq",
                _ => "open21",
            };
            let kind = match &**frame {
                v1::Frame::Reply(reply) => format!("reply-{}", reply.tag.name().to_lowercase()),
                v1::Frame::Message(message) if message.flags.contains(Flags::SIGNED) => "message".to_owned(),
                v1::Frame::Message(_) if footprint.unchecked => "message-nocrc".to_owned(),
                v1::Frame::Message(_) => "message-unsigned".to_owned(),
                _ => record.name().to_owned(),
            };
            Some((format!("v1-{kind}"), format!("v1 {how}")))
        }
        What::V2(frame, footprint) => {
            let name = record.name();
            if matches!(**frame, v2::Frame::Banner(_)) {
                return Some((format!("v2-{name}"), "v2 banner".to_owned()));
            }
            if !footprint.preamble.is_compressed() {
                return Some((format!("v2-{name}"), "v2 2.1".to_owned()));
            }
            let method =
                ["snappy", "zlib", "zstd"].into_iter().find(|method| capture.name.contains(method))?;
            Some((format!("v2-{name}-{method}"), format!("v2 2.1 {method}")))
        }
        _ => None,
    }
}
