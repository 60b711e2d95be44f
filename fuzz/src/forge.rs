//! How does a fuzzer get behind checksums and seals? By frames of its own fields whose crcs, tags and nonces are right.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes128Gcm, KeyInit as _};
use arbitrary::{Result, Unstructured};
use cephwire_codec::Side;
use cephwire_codec::arbitrary::SECRET;
use cephwire_codec::crc::crc32c;
use cephwire_codec::v2::{MESSAGE_HEADER_LEN, Preamble, Revision, Tag};

/// Segments of this length are read into their own memory.
const LARGE: u32 = 33_000;
const SEED: u32 = u32::MAX;

/// Frames until the input ends.
pub(crate) fn frames(input: &[u8], revision: Revision, sealed: Option<Side>, banner: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if banner {
        out.extend_from_slice(b"ceph v2\n\x10\0");
        out.extend_from_slice(&[0; 16]);
    }
    let mut seal = sealed.map(|from| Seal::new(from, revision));
    let mut u = Unstructured::new(input);
    while !u.is_empty() {
        let Ok(forged) = Forged::new(&mut u) else { break };
        match &mut seal {
            None => forged.plain(revision, &mut out),
            Some(seal) => forged.sealed(revision, seal, &mut out),
        }
    }
    out
}

/// A frame whose preamble need not make sense.
struct Forged {
    preamble: Preamble,
    segments: Vec<Vec<u8>>,
    late: u8,
    /// What the second crc or tag is off by.
    off: u8,
}

impl Forged {
    fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let [kind, shape, late, off, flags, reserved]: [u8; 6] = u.arbitrary()?;
        // Half of them are messages: those have more to get wrong.
        let tag = if kind >= 128 { Tag::Message as u8 } else { kind % 26 };
        let several = if tag == Tag::Message as u8 || shape & 0x40 > 0 { shape % 4 } else { 0 };
        let mut preamble = Preamble { tag, num_segments: 1 + several, flags: 0, ..Preamble::default() };
        preamble.flags = if flags >= 128 { flags & 3 } else { 0 };
        preamble.reserved = reserved;
        let mut segments = Vec::new();
        let count = usize::from(preamble.num_segments);
        for (n, len) in preamble.lengths.iter_mut().enumerate().take(count) {
            let size: u16 = u.arbitrary()?;
            *len = match size >> 12 {
                15 => LARGE + u32::from(size & 0xff),
                // Announced without end: what follows belongs to it.
                14 if size & 0xff == 0 => 1 << 26,
                _ => u32::from(size % 300),
            };
            if n == 0 && tag == Tag::Message as u8 && preamble.flags & 1 == 0 && size & 0x800 == 0 {
                *len = MESSAGE_HEADER_LEN as u32;
            }
            let bytes = u.bytes((*len as usize).min(u.len()).min(300))?;
            let mut segment = bytes.to_vec();
            segment.resize((*len).min(LARGE + 0xff) as usize, 0);
            segments.push(segment);
        }
        if shape & 0x80 > 0 && off > 200 {
            preamble.num_segments = off;
        }
        let late = if late >= 64 { 0x0e } else { late };
        Ok(Self { preamble, segments, late, off: if off > 250 { off } else { 0 } })
    }

    fn plain(&self, revision: Revision, out: &mut Vec<u8>) {
        let crc =
            |n: usize| self.segments.get(n).map_or(0, |segment| crc32c(SEED, segment) ^ u32::from(self.off));
        out.extend_from_slice(&self.preamble.to_bytes());
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        match revision {
            Revision::V2_0 => {
                self.segments.iter().for_each(|segment| put(segment));
                put(&[if self.late == 0x0e { 0 } else { self.late }]);
                (0..4).for_each(|n| put(&crc(n).to_le_bytes()));
            }
            Revision::V2_1 => {
                for (n, segment) in self.segments.iter().enumerate() {
                    put(segment);
                    if n == 0 && !segment.is_empty() {
                        put(&crc32c(SEED, segment).to_le_bytes());
                    }
                }
                if self.segments.len() > 1 {
                    put(&[self.late]);
                    (1..4).for_each(|n| put(&crc(n).to_le_bytes()));
                }
            }
        }
    }

    fn sealed(&self, revision: Revision, seal: &mut Seal, out: &mut Vec<u8>) {
        let padded = |segment: &Vec<u8>| {
            let mut segment = segment.clone();
            segment.resize(segment.len().next_multiple_of(16), 0);
            segment
        };
        let segments: Vec<_> = self.segments.iter().map(padded).collect();
        let mut text = self.preamble.to_bytes().to_vec();
        let mut epilogue = [0; 16];
        epilogue[0] = self.late;
        match revision {
            Revision::V2_0 => {
                epilogue[0] = if self.late == 0x0e { 0 } else { self.late };
                text.extend(segments.concat());
                text.extend(epilogue);
                seal.put(text, self.off, out);
            }
            Revision::V2_1 => {
                let [first, rest @ ..] = &segments[..] else { return };
                let (inline, more) = first.split_at(first.len().min(48));
                text.extend(inline);
                text.resize(80, 0);
                seal.put(text, 0, out);
                if !more.is_empty() {
                    seal.put(more.to_vec(), 0, out);
                }
                if !rest.is_empty() {
                    let mut text = rest.concat();
                    text.extend(epilogue);
                    seal.put(text, self.off, out);
                }
            }
        }
    }
}

/// The cipher of one direction, written anew: the codec's own is what is tested.
struct Seal {
    cipher: Aes128Gcm,
    nonce: [u8; 12],
    revision: Revision,
}

impl Seal {
    fn new(from: Side, revision: Revision) -> Self {
        let (key, nonces) = SECRET.split_first_chunk::<16>().expect("a key");
        let (server, client) = nonces.split_first_chunk::<12>().expect("a nonce");
        let nonce = if from == Side::Server { *server } else { *client.first_chunk().expect("a nonce") };
        Self { cipher: Aes128Gcm::new(key.into()), nonce, revision }
    }

    fn put(&mut self, mut text: Vec<u8>, off: u8, out: &mut Vec<u8>) {
        let nonce = self.nonce.into();
        let mut tag: [u8; 16] = self
            .cipher
            .encrypt_inout_detached(&nonce, &[], text.as_mut_slice().into())
            .expect("short")
            .into();
        tag[0] ^= off;
        out.extend_from_slice(&text);
        out.extend_from_slice(&tag);
        // Neither counter of the secret is near its end.
        let counter =
            if self.revision == Revision::V2_0 { &mut self.nonce[..4] } else { &mut self.nonce[4..] };
        for byte in counter {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
    }
}
