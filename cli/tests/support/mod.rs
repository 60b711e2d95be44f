//! The captures of `testdata/`, decoded: what every test here starts from.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot read its data must fail"
)]
#![allow(dead_code, reason = "each test file uses a part, or all of it")]

pub(crate) mod packets;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::LazyLock;

use cephwire_cli::capture::{Event, Streams};
use cephwire_cli::decode::{Dissector, Keys, Record};
use cephwire_codec::Side;

/// A capture with everything in it.
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) records: Vec<Record>,
    /// All bytes of each side of each connection; holes are zeros.
    pub(crate) bytes: HashMap<(u64, Side), Vec<u8>>,
}

impl Capture {
    /// The bytes of a record.
    pub(crate) fn bytes_of(&self, record: &Record) -> &[u8] {
        let start = record.offset as usize;
        self.bytes
            .get(&(record.connection, record.from))
            .unwrap()
            .get(start..start + record.len as usize)
            .unwrap()
    }
}

/// The directory `testdata/`.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// The captures' files, sorted by name; there must be some.
pub(crate) fn files() -> Vec<PathBuf> {
    let is_capture = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".pcap") || name.ends_with(".pcap.gz")
    };
    let directory = fs::read_dir(testdata().join("captures")).unwrap();
    let mut files: Vec<_> = directory.map(|entry| entry.unwrap().path()).filter(is_capture).collect();
    files.sort();
    assert!(files.len() >= 30, "only {} captures", files.len());
    files
}

/// A capture's name, without what its file's name ends with.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned()
}

/// All captures, decoded once.
pub(crate) fn captures() -> &'static [Capture] {
    static CAPTURES: LazyLock<Vec<Capture>> =
        LazyLock::new(|| files().iter().map(|path| decode(path)).collect());
    &CAPTURES
}

/// All captures, decoded once with the keys of their clusters.
pub(crate) fn opened() -> &'static [Capture] {
    static CAPTURES: LazyLock<Vec<Capture>> = LazyLock::new(|| {
        let open = |path: &PathBuf| decode_opened(name(path), &fs::read(path).unwrap(), &keys(&name(path)));
        files().iter().map(open).collect()
    });
    &CAPTURES
}

/// The text beside a capture: scenario, keys, objects.
pub(crate) fn sidecar(capture: &str) -> String {
    fs::read_to_string(testdata().join(format!("captures/{capture}.toml"))).unwrap()
}

/// The pairs `"NAME" = VALUE` of a section of a sidecar.
pub(crate) fn section(sidecar: &str, section: &str) -> Vec<(String, String)> {
    let lines = sidecar.lines().skip_while(|line| line.trim() != format!("[{section}]")).skip(1);
    let pairs = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    pairs.map(|(name, value)| (name.trim_matches('"').to_owned(), value.to_owned())).collect()
}

/// The keyring of a capture's cluster. (Not the keys with which clients came that were refused.)
pub(crate) fn keyring(capture: &str) -> String {
    let keys = section(&sidecar(capture), "keys").into_iter().filter(|(name, _)| !name.starts_with("wrong "));
    keys.map(|(name, key)| format!("[{name}]\n\tkey = {}\n", key.trim_matches('"'))).collect()
}

/// The keys of a capture's cluster.
pub(crate) fn keys(capture: &str) -> Shared {
    keys_of(&keyring(capture), "")
}

/// Keys that several dissectors have.
pub(crate) type Shared = Rc<RefCell<Keys>>;

/// The keys of this keyring and this secrets file.
pub(crate) fn keys_of(keyring: &str, secrets: &str) -> Shared {
    let mut keys = Keys::new(true);
    keys.add_keyring(keyring).unwrap();
    keys.add_secrets(secrets).unwrap();
    Rc::new(RefCell::new(keys))
}

/// The file of a capture, without gzip.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = files().into_iter().find(|path| self::name(path) == name).unwrap();
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    } else {
        bytes = fs::read(path).unwrap();
    }
    bytes
}

/// Decodes a capture.
pub(crate) fn decode(path: &Path) -> Capture {
    decode_bytes(name(path), &fs::read(path).unwrap())
}

/// Decodes a capture that is in memory.
pub(crate) fn decode_bytes(name: String, file: &[u8]) -> Capture {
    decode_by(Dissector::new(), name, file)
}

/// Decodes a capture with keys: once to look for more of them, and once more.
pub(crate) fn decode_opened(name: String, file: &[u8], keys: &Shared) -> Capture {
    decode_by_looking(file, keys);
    decode_by(Dissector::with_keys(Rc::clone(keys)), name, file)
}

/// Looks for keys in a capture.
pub(crate) fn decode_by_looking(file: &[u8], keys: &Shared) {
    let mut dissector = Dissector::looking_for(Rc::clone(keys));
    let mut streams = Streams::new(file).unwrap();
    while let Some(event) = streams.next_event().unwrap() {
        dissector.event(event, &mut Vec::new());
    }
}

/// Decodes a capture with this dissector.
pub(crate) fn decode_by(mut dissector: Dissector, name: String, file: &[u8]) -> Capture {
    let mut streams = Streams::new(file).unwrap();
    let (mut records, mut bytes) = (Vec::new(), HashMap::new());
    while let Some(event) = streams.next_event().unwrap() {
        let mut put = |connection, from, offset: u64, piece: &[u8]| {
            let stream: &mut Vec<u8> = bytes.entry((connection, from)).or_default();
            assert_eq!(stream.len() as u64, offset);
            stream.extend_from_slice(piece);
        };
        match &event {
            Event::Data { connection, from, offset, bytes, .. } => put(*connection, *from, *offset, bytes),
            Event::Missing { connection, from, offset, len, .. } => {
                put(*connection, *from, *offset, &vec![0; *len as usize]);
            }
            Event::Opened { .. } | Event::Ended { .. } => {}
        }
        dissector.event(event, &mut records);
    }
    Capture { name, records, bytes }
}

/// The log that belongs to a capture.
pub(crate) fn log(capture: &str) -> String {
    gunzip(&testdata().join(format!("captures/{capture}.log.gz")))
}

/// The text of a file that is gzipped.
fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}
