//! Fills `corpus/` with inputs made of `../testdata`: the same ones every time.
//!
//! | target | seeds |
//! |---|---|
//! | `v1_decode`, `v2_decode` | frames of the vectors, beginnings of the captures' streams |
//! | `v2_secure_decode` | fields of one frame of each kind |
//! | `addr_text` | addresses of the vectors, as text and as bytes |
//! | `capture` | beginnings of the captures: pcap, pcapng, gzip |
//! | `splits` | the seeds of the decoders behind a few ways to arrive |
//! | `round_trip` | pseudo-random bytes |
//! | `cephx_client`, `cephx_server` | pseudo-random bytes |
//! | `keyring` | a keyring with all it may have, and one key |
//! | `session_ops`, `handshake_v1`, `handshake_v2` | two sides of each kind whose sessions open; pseudo-random bytes behind that |

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::{fs, io};

use cephwire_cli::capture::{Event, Streams};
use cephwire_codec::arbitrary::{Delivery, decode};
use cephwire_fuzz::{HEAD, PARTIES, SettingsV1};

/// The bytes of a stream, and of a capture, that go into a seed.
const STREAM: usize = 6 << 10;
const CAPTURE: usize = 12 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut corpus = Corpus { root: here.join("corpus"), count: BTreeMap::new() };
    let testdata = here.join("../testdata");
    vectors_v1(&table(&testdata, "frames-v1.txt")?, &mut corpus)?;
    for name in ["frames-v2.txt", "aborted-frames.txt"] {
        vectors_v2(&table(&testdata, name)?, &mut corpus)?;
    }
    for line in table(&testdata, "addresses.txt")? {
        if let [_, bytes, text] = &line[..] {
            corpus.add("addr_text", text.as_bytes())?;
            corpus.add("addr_text", &hex(bytes))?;
        }
    }
    let mut captures: Vec<PathBuf> = fs::read_dir(testdata.join("captures"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    captures.sort();
    for path in captures.iter().filter(|path| path.to_string_lossy().contains(".pcap")) {
        capture(&fs::read(path)?, &mut corpus)?;
    }
    sessions(&mut corpus)?;
    for n in 0..64 {
        let bytes = noise(n, 64 << (n % 6));
        corpus.add("round_trip", &bytes)?;
        corpus.add("splits", &[&[3 + n as u8 % 2], &noise(n + 64, 31)[..], &bytes].concat())?;
    }
    for n in 0..64 {
        corpus.add("cephx_client", &noise(n + 128, 64 << (n % 4)))?;
        corpus.add("cephx_server", &noise(n + 192, 64 << (n % 4)))?;
    }
    let key = "AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==";
    let keyring = format!(
        "# all\n[client.admin]\n\tkey = {key}\n\tauid = 0\n\tcaps mon = \"allow *\"\n\tcaps_osd = allow \\\n rw\n[mon.]\nkey = {key} ; one\npending key = {key}\n"
    );
    corpus.add("keyring", keyring.as_bytes())?;
    corpus.add("keyring", key.as_bytes())?;
    fields(&mut corpus)?;
    for (target, count) in corpus.count {
        println!("{target}: {count}");
    }
    Ok(())
}

struct Corpus {
    root: PathBuf,
    count: BTreeMap<&'static str, usize>,
}

impl Corpus {
    fn add(&mut self, target: &'static str, input: &[u8]) -> io::Result<()> {
        let count = self.count.entry(target).or_default();
        let directory = self.root.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{count:04}")), input)?;
        *count += 1;
        let mode = match target {
            "v1_decode" => 0,
            "v2_decode" => 1,
            "v2_secure_decode" => 2,
            _ => return Ok(()),
        };
        // A few of them: arriving by single bytes, and by whatever noise says.
        let seed = *count as u64;
        if seed % 4 == 1 {
            self.add("splits", &[&[mode], &[0; 31][..], input].concat())?;
            self.add("splits", &[&[mode], &noise(seed, 31)[..], input].concat())?;
        }
        Ok(())
    }
}

/// Two sides of each kind, each revision, each mode, with compression, throttles and each policy, that open; then,
/// whatever noise says.
fn sessions(corpus: &mut Corpus) -> io::Result<()> {
    let talk = |side: u8| [0, side, 5, 0x42].into_iter().chain([1, 0, 1, 1]).chain([2, 0, 2, 1].repeat(12));
    // Messages, a cut, messages.
    let honest: Vec<u8> = talk(0).chain(talk(1)).chain([4, 0]).chain(talk(0)).chain([4, 2]).collect();
    let mut n = 0u8;
    for version in [0, 1, 3, 5] {
        for who in [0, 1, 2, 3, 4, 5, 64 + 1] {
            for what in [0, 1, 4, 5 + 8, 16, 32 + 64] {
                n = n.wrapping_add(1);
                let parties: [u8; PARTIES] = [version | n << 3, who, what, n % 7, n / 7 % 7];
                let bytes = noise(n.into(), 32 << (n % 4));
                corpus.add("session_ops", &[&parties[..], &honest].concat())?;
                if n.is_multiple_of(2) {
                    corpus
                        .add("session_ops", &[&parties[..], &talk(0).collect::<Vec<_>>(), &bytes].concat())?;
                }
                let target = if version == 0 { "handshake_v1" } else { "handshake_v2" };
                corpus.add(target, &[&parties[..], &[n & 63, n / 5], &bytes].concat())?;
            }
        }
    }
    Ok(())
}

/// The columns of a table of vectors.
fn table(testdata: &Path, name: &str) -> io::Result<Vec<Vec<String>>> {
    let text = fs::read_to_string(testdata.join("vectors").join(name))?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    Ok(lines.map(|line| line.splitn(3, ' ').map(str::to_owned).collect()).collect())
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    digits
        .iter()
        .filter_map(|[a, b]| u8::from_str_radix(&format!("{}{}", *a as char, *b as char), 16).ok())
        .collect()
}

fn vectors_v1(lines: &[Vec<String>], corpus: &mut Corpus) -> io::Result<()> {
    for line in lines {
        let [name, kind, bytes] = &line[..] else { continue };
        let (flags, order): (u8, &[u8]) = match kind.as_str() {
            "hello-server" => (0, &[1, 2, 2]),
            "hello-client" => (0, &[1, 2]),
            "connect" => (0, &[3]),
            "reply" => (0, &[4]),
            "seq" => (0, &[5]),
            "item-footer13" => (1, &[]),
            "item" | "v1-footer21" => (0, &[]),
            _ => continue,
        };
        let _ = name;
        for flags in [flags, flags | 0x0e] {
            corpus.add("v1_decode", &[&head_v1(flags, order)[..], &hex(bytes)].concat())?;
        }
    }
    Ok(())
}

fn head_v1(flags: u8, order: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let [first, rest @ ..] = &mut head;
    *first = flags;
    rest.iter_mut().zip(order).for_each(|(to, from)| *to = *from);
    head
}

fn vectors_v2(lines: &[Vec<String>], corpus: &mut Corpus) -> io::Result<()> {
    for line in lines {
        let [name, mode, bytes] = &line[..] else { continue };
        let method = if name.contains("snappy") { 2 } else { 0 };
        let flags = match mode.as_str() {
            "rev0-crc" => 0b1001,
            "rev1-crc" => 0b1000,
            "banner" => 0,
            "v1-footer21" => {
                corpus.add("v1_decode", &[&head_v1(0, &[])[..], &hex(bytes)].concat())?;
                continue;
            }
            _ => continue,
        };
        for flags in [flags, flags | 0b10] {
            corpus.add("v2_decode", &[&head_v2(flags, method)[..], &hex(bytes)].concat())?;
        }
    }
    Ok(())
}

fn head_v2(flags: u8, method: u8) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    (head[0], head[1]) = (flags, method);
    head
}

/// Fields of a frame of each tag, alone and all in a row, sealed and in the clear.
fn fields(corpus: &mut Corpus) -> io::Result<()> {
    for flags in [0b1_0000, 0b1_0001, 0b1_1000, 0b11_1001] {
        let mut all = Vec::new();
        for tag in 1..=22u8 {
            let message = tag == 17;
            // The length that each payload has at least; what is in it is noise.
            let len = [0, 36, 60, 60, 20, 20, 60, 32, 160, 120, 8, 120, 1, 8, 8, 8, 0, 41, 8, 8, 8, 20, 5]
                [usize::from(tag)];
            let mut one =
                vec![if message { 200 } else { tag }, if message { 3 } else { 0 }, 0x40, 0, 0, 0, len, 0];
            one.extend(if len > 0 { noise(tag.into(), len.into()) } else { Vec::new() });
            if message {
                for (n, len) in [20u8, 0, 200].into_iter().enumerate() {
                    one.extend([len, 0]);
                    one.extend(noise(n as u64, len.into()));
                }
            }
            for method in [0, 2, 3, 4, 5].into_iter().take(if message { 5 } else { 1 }) {
                if method > 0 {
                    one[4] = 0x81;
                }
                let input = [&head_v2(flags, method)[..], &one].concat();
                corpus.add("v2_secure_decode", &input)?;
                corpus.add("v2_decode", &input)?;
            }
            one[4] = 0;
            all.extend(one);
        }
        corpus.add("v2_secure_decode", &[&head_v2(flags, 0)[..], &all].concat())?;
    }
    Ok(())
}

/// The beginning of a capture, in three forms, and of the streams in it.
fn capture(file: &[u8], corpus: &mut Corpus) -> Result<(), Box<dyn Error>> {
    let mut streams = Streams::new(file)?;
    let mut sides: BTreeMap<(u64, bool), Vec<u8>> = BTreeMap::new();
    while let Some(event) = streams.next_event()? {
        if let Event::Data { connection, from, bytes, .. } = event
            && connection < 4
        {
            sides
                .entry((connection, from == cephwire_cli::capture::Side::Client))
                .or_default()
                .extend(&bytes[..]);
        }
    }
    for ((_, client), mut bytes) in sides {
        bytes.truncate(STREAM);
        if bytes.starts_with(b"ceph v2\n") {
            corpus.add("v2_decode", &[&head_v2(0, 0)[..], &bytes].concat())?;
        } else {
            let input = [&best_order(client, &bytes)[..], &bytes].concat();
            corpus.add("v1_decode", &input)?;
        }
    }
    let mut pcap = Vec::new();
    if file.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(file).take(CAPTURE as u64).read_to_end(&mut pcap)?;
    } else {
        pcap.extend_from_slice(&file[..CAPTURE.min(file.len())]);
    }
    corpus.add("capture", &pcap)?;
    if corpus.count["capture"] % 8 == 1 {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&pcap)?;
        corpus.add("capture", &gzip.finish()?)?;
        corpus.add("capture", &pcapng(&pcap))?;
    }
    Ok(())
}

/// The order of a handshake, which depends on how often the client connects: the one that gives the most frames.
fn best_order(client: bool, bytes: &[u8]) -> [u8; HEAD] {
    let orders: [&[u8]; 4] = if client {
        [&[1, 2, 3], &[1, 2, 3, 3], &[1, 2, 3, 5], &[1, 2, 3, 3, 5]]
    } else {
        [&[1, 2, 2, 4], &[1, 2, 2, 4, 4], &[1, 2, 2, 4, 5], &[1, 2, 2, 4, 4, 5]]
    };
    let frames = |order: &&[u8]| {
        let head = head_v1(0, order);
        SettingsV1::split(&head)
            .map_or(0, |(settings, _)| decode(&settings, bytes, &Delivery::whole()).frames.len())
    };
    head_v1(0, orders.into_iter().max_by_key(frames).unwrap_or_default())
}

/// A pcap (of this machine's byte order, microseconds) as pcapng.
fn pcapng(pcap: &[u8]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let len = (padded as u32 + 12).to_le_bytes();
        let mut block = [&kind.to_le_bytes()[..], &len, body].concat();
        block.resize(8 + padded, 0);
        block.extend(len);
        block
    };
    let mut out = block(0x0a0d_0d0a, &[&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[255; 8]].concat());
    out.extend(block(1, &[1, 0, 0, 0, 0, 0, 4, 0]));
    let mut rest = pcap.get(24..).unwrap_or_default();
    while let Some((record, after)) = rest.split_first_chunk::<16>() {
        let field =
            |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let time = u64::from(field(0)) * 1_000_000 + u64::from(field(4));
        let Some((packet, after)) = after.split_at_checked(field(8) as usize) else { break };
        let (high, low) = ((time >> 32) as u32, time as u32);
        let body = [0, high, low, field(8), field(12)].map(u32::to_le_bytes).concat();
        out.extend(block(6, &[&body[..], packet].concat()));
        rest = after;
    }
    out
}

/// Reproducible bytes.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(step).collect()
}
