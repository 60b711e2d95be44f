//! Does every kind of frame read as its dump in `testdata/golden/` says, and encode to the same bytes?
//!
//! A golden file has a comment (what it is, how it was made), `how:` (how to decode it), `bytes:` in hex and
//! `dump:`, what is decoded. `UPDATE_GOLDEN=1 cargo test` writes the dumps anew.

#![expect(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cephwire_codec::{Chunks, v1, v2};

#[test]
fn every_file_decodes_to_its_dump_and_back() {
    let mut kinds = BTreeSet::new();
    for path in files() {
        let golden = Golden::read(&path);
        let (dump, encoded) = decode(&golden);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            golden.write(&path, &dump);
        } else {
            assert_eq!(dump.trim_end(), golden.dump.trim_end(), "{}", path.display());
        }
        if let Some(encoded) = encoded {
            assert_eq!(encoded, golden.bytes, "{}", path.display());
        }
        kinds.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    let missing: Vec<_> = expected_kinds().into_iter().filter(|kind| !kinds.contains(kind)).collect();
    assert!(missing.is_empty(), "no golden file for {missing:?}");
}

/// A file for each: all frames of v2, and everything that can stand on a v1 stream.
fn expected_kinds() -> Vec<String> {
    let v1 = [
        "banner",
        "address",
        "seq",
        "message",
        "message-unsigned",
        "message-nocrc",
        "aborted",
        "ack",
        "keepalive",
        "keepalive2",
        "keepalive2_ack",
        "close",
        "connect",
    ];
    let replies =
        v1::Tag::ALL.iter().filter(|(tag, _)| tag.is_reply()).map(|(_, name)| format!("reply-{name}"));
    let v1 =
        v1.into_iter().map(str::to_owned).chain(replies).map(|kind| format!("v1-{}", kind.to_lowercase()));
    let v2 = v2::Tag::ALL.iter().map(|(_, name)| name.to_lowercase());
    let more = ["banner", "aborted", "message-snappy", "message-zlib", "message-zstd"].map(str::to_owned);
    v1.chain(v2.chain(more).map(|kind| format!("v2-{kind}"))).collect()
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/golden");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

struct Golden {
    comment: String,
    how: String,
    bytes: Vec<u8>,
    dump: String,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let broken = || panic!("{}: not a golden file", path.display());
        let (head, rest) = text.split_once("bytes:\n").unwrap_or_else(broken);
        let (hex, dump) = rest.split_once("dump:\n").unwrap_or_else(broken);
        let (comment, how) = head.split_once("how: ").unwrap_or_else(broken);
        Self {
            comment: comment.to_owned(),
            how: how.trim().to_owned(),
            bytes: bytes(hex),
            dump: dump.to_owned(),
        }
    }

    fn write(&self, path: &Path, dump: &str) {
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<&str> =
            hex.as_bytes().chunks(96).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let Self { comment, how, .. } = self;
        fs::write(path, format!("{comment}how: {how}\nbytes:\n{}\ndump:\n{dump}\n", lines.join("\n")))
            .unwrap();
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The dump of what `golden` decodes to, and what that encodes to (not for compressed and aborted frames).
fn decode(golden: &Golden) -> (String, Option<Vec<u8>>) {
    let words: Vec<&str> = golden.how.split(' ').collect();
    match words.as_slice() {
        ["v1", what] => decode_v1(&golden.bytes, what),
        ["v2", rest @ ..] => decode_v2(&golden.bytes, rest),
        _ => panic!("how: {}", golden.how),
    }
}

fn decode_v1(bytes: &[u8], what: &str) -> (String, Option<Vec<u8>>) {
    let framing = v1::Framing { signature: what != "open13", ..v1::Framing::default() };
    let mut decoder = v1::Decoder::new();
    decoder.set_framing(framing);
    decoder.expect(match what {
        "banner" => v1::Expect::Banner,
        "address" => v1::Expect::Address,
        "connect" => v1::Expect::Connect,
        "reply" => v1::Expect::Reply,
        "seq" => v1::Expect::Seq,
        "open21" | "open13" => v1::Expect::Open,
        _ => panic!("how: v1 {what}"),
    });
    decoder.feed(bytes);
    let frame = decoder.next_frame().unwrap().expect("a whole frame");
    assert_eq!((decoder.last().len, decoder.partial_len()), (bytes.len() as u64, 0));
    let mut encoder = v1::Encoder::new();
    encoder.set_framing(framing);
    let mut out = Chunks::new();
    encoder.encode(&frame, &mut out).unwrap();
    let exact = !matches!(frame, v1::Frame::Aborted { .. });
    (format!("{frame:#?}"), exact.then(|| out.take_pieces().concat()))
}

fn decode_v2(bytes: &[u8], how: &[&str]) -> (String, Option<Vec<u8>>) {
    let mut decoder = match how {
        ["banner"] => v2::Decoder::new(),
        _ => v2::Decoder::mid_stream(v2::Revision::V2_1, 0),
    };
    let method = how.get(1).map(|name| {
        let all = [v2::Method::SNAPPY, v2::Method::ZLIB, v2::Method::ZSTD, v2::Method::LZ4];
        all.into_iter().find(|method| method.name() == Some(*name)).expect("a method")
    });
    if method.is_some_and(|method| !method.is_supported()) {
        // Built without it: then the frame must be refused, and the dump cannot be compared.
        decoder.set_compression(method);
        decoder.feed(bytes);
        assert!(decoder.next_frame().is_err());
        panic!("golden files need all compression methods: run with --all-features");
    }
    decoder.set_compression(method);
    decoder.feed(bytes);
    let frame = decoder.next_frame().unwrap().expect("a whole frame");
    assert_eq!((decoder.last().len, decoder.partial_len()), (bytes.len() as u64, 0));
    let mut out = Chunks::new();
    v2::Encoder::new().encode(&frame, &mut out).unwrap();
    let exact = method.is_none() && !matches!(frame, v2::Frame::Aborted(_));
    (format!("{frame:#?}"), exact.then(|| out.take_pieces().concat()))
}
