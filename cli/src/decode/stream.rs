//! What is known of one side's bytes?

use std::collections::VecDeque;

use bytes::Bytes;
use cephwire_codec::{LEGACY_LEN, v1, v2};

use super::record::{Protocol, Why};
use crate::capture::End;

/// A decoder is given so many bytes at a time.
const PORTION: usize = 4 << 10;
/// So many bytes may be given to decoders in vain for each byte of the stream,
const WASTE_RATIO: u64 = 8;
/// and so many in any case.
const WASTE_LEAST: u64 = 1 << 20;

/// The bytes of one side, from the first that no record accounts for.
#[derive(Debug)]
pub(super) struct Stream {
    /// What these bytes are.
    pub state: State,
    /// The side's offset up to which records account for everything.
    pub at: u64,
    /// Bytes from `at` on that were looked at and let go: an open stretch of a long record.
    pub passed: u64,
    /// Bytes behind those that a decoder has as well: kept to look for the next frame after an error.
    given: VecDeque<Bytes>,
    /// Bytes behind those that no decoder has.
    waiting: VecDeque<Bytes>,
    /// Bytes in both.
    held_len: u64,
    /// Bytes that were given to decoders in vain.
    wasted: u64,
    /// When bytes came: up to which offset, and the time. From the first that is not passed over.
    arrivals: VecDeque<(u64, u64)>,
    /// When the last byte came that was accounted for or passed over.
    time: u64,
    /// Why the side sends no more.
    pub ended: Option<End>,
}

/// What a side's bytes are.
#[derive(Debug)]
pub(super) enum State {
    /// Not known yet.
    Unknown,
    /// Messenger v1.
    V1(Box<v1::Decoder>),
    /// Messenger v2.
    V2(Box<v2::Decoder>),
    /// Frames whose next boundary must be found.
    Lost(Why),
    /// Sealed.
    Encrypted,
    /// Another protocol; with the banner, if it is one of Ceph's.
    Foreign(Option<Protocol>),
    /// Everything is accounted for.
    Over,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            state: State::Unknown,
            at: 0,
            passed: 0,
            given: VecDeque::new(),
            waiting: VecDeque::new(),
            held_len: 0,
            wasted: 0,
            arrivals: VecDeque::new(),
            time: 0,
            ended: None,
        }
    }

    /// Takes the side's next bytes.
    pub(super) fn push(&mut self, bytes: Bytes, time: u64) {
        let len = bytes.len() as u64;
        self.arrivals.push_back((self.at + self.unaccounted() + len, time));
        match &self.state {
            State::Over => {}
            State::Encrypted | State::Foreign(_) => {
                self.passed += len;
                self.see(self.at + self.passed);
            }
            State::Unknown | State::V1(_) | State::V2(_) | State::Lost(_) => {
                self.held_len += len;
                self.waiting.push_back(bytes);
            }
        }
    }

    /// Takes note that the side's next bytes are not in the capture. Nothing else may be unaccounted for.
    pub(super) fn skip(&mut self, len: u64, time: u64) {
        self.arrivals.push_back((self.at + len, time));
    }

    /// Gives the decoder the next bytes; whether there were any. Little by little, as an error makes the
    /// rest worthless to it.
    pub(super) fn give(&mut self) -> bool {
        let Some(mut bytes) = self.waiting.pop_front() else { return false };
        if bytes.len() > PORTION {
            self.waiting.push_front(bytes.split_off(PORTION));
        }
        match &mut self.state {
            State::V1(decoder) => decoder.feed(&bytes),
            State::V2(decoder) => decoder.feed(&bytes),
            State::Unknown | State::Lost(_) | State::Encrypted | State::Foreign(_) | State::Over => {}
        }
        self.given.push_back(bytes);
        true
    }

    /// Takes back what the decoder was given.
    fn take_back(&mut self) {
        while let Some(bytes) = self.given.pop_back() {
            self.wasted += bytes.len() as u64;
            self.waiting.push_front(bytes);
        }
    }

    /// Whether so much was decoded in vain that it has to stop: else bytes that are made for it, full of
    /// frames that begin well and end badly, would take time that grows with the square of their number.
    pub(super) fn is_wasteful(&self) -> bool {
        self.wasted > WASTE_LEAST + WASTE_RATIO * (self.at + self.unaccounted())
    }

    /// Bytes that no record accounts for.
    pub(super) fn unaccounted(&self) -> u64 {
        self.passed + self.held_len
    }

    pub(super) fn held_len(&self) -> u64 {
        self.held_len
    }

    /// Accounts for everything up to `offset`; when the last byte of that came.
    pub(super) fn account(&mut self, offset: u64) -> u64 {
        let count = offset.saturating_sub(self.at);
        let held = count.saturating_sub(self.passed);
        self.passed = self.passed.saturating_sub(count);
        self.drop_held(held);
        self.at = offset;
        self.see(offset);
        self.time
    }

    /// Looked at, and of no further use: part of the stretch that one record will account for.
    pub(super) fn pass(&mut self, count: u64) {
        let count = count.min(self.held_len);
        self.drop_held(count);
        self.passed += count;
        self.see(self.at + self.passed);
    }

    /// Finds out when the byte before `offset` came, and forgets about those before it.
    fn see(&mut self, offset: u64) {
        while let Some((end, time)) = self.arrivals.front() {
            self.time = *time;
            if *end > offset {
                return;
            }
            let last = *end == offset;
            self.arrivals.pop_front();
            if last {
                return;
            }
        }
    }

    fn drop_held(&mut self, mut count: u64) {
        self.held_len = self.held_len.saturating_sub(count);
        while count > 0 {
            let queue = if self.given.is_empty() { &mut self.waiting } else { &mut self.given };
            let Some(front) = queue.front_mut() else { return };
            if (front.len() as u64) > count {
                drop(front.split_to(count as usize));
                return;
            }
            count -= front.len() as u64;
            queue.pop_front();
        }
    }

    /// The first bytes that are held, at most `most`, in one piece.
    pub(super) fn peek(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(most.min(self.held_len as usize));
        for piece in self.given.iter().chain(&self.waiting) {
            let room = most - bytes.len();
            bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if bytes.len() == most {
                break;
            }
        }
        bytes
    }

    /// Everything held becomes part of one stretch, of which the bytes do not matter.
    pub(super) fn pass_all(&mut self, state: State) {
        self.pass(self.held_len);
        self.state = state;
    }

    /// From here on no frame is known.
    pub(super) fn lose(&mut self, why: Why) {
        self.take_back();
        self.state = State::Lost(why);
    }

    /// Decodes what is held as messenger v1 from here on.
    pub(super) fn start_v1(&mut self, mut decoder: v1::Decoder) {
        decoder.set_lenient(true);
        self.take_back();
        self.state = State::V1(Box::new(decoder));
    }

    /// Decodes what is held as messenger v2 from here on.
    pub(super) fn start_v2(&mut self, mut decoder: v2::Decoder) {
        decoder.set_lenient(true);
        self.take_back();
        self.state = State::V2(Box::new(decoder));
    }

    /// Whether a side that begins with v1's banner speaks as a server, once that can be said: a server has two
    /// addresses, which begin with zeros; a client has one, and the features of its connect.
    pub(super) fn serves_v1(&self) -> Option<bool> {
        let first = self.peek(v1::BANNER.len() + LEGACY_LEN + 4);
        let second = first.get(v1::BANNER.len() + LEGACY_LEN..)?.first_chunk::<4>()?;
        Some(*second == [0; 4])
    }

    /// Which banner the side begins with, as far as that can be said.
    pub(super) fn banner(&self) -> Banner {
        if !matches!(self.state, State::Unknown) {
            return Banner::Silent;
        }
        let first = self.peek(v1::BANNER.len());
        let begins = |banner: &[u8]| first.starts_with(banner);
        let could = |banner: &[u8]| banner.starts_with(&first) && self.ended.is_none();
        if begins(&v1::BANNER) {
            Banner::Of(Protocol::V1)
        } else if begins(&v2::BANNER_PREFIX) {
            Banner::Of(Protocol::V2)
        } else if could(&v1::BANNER) || could(&v2::BANNER_PREFIX) {
            Banner::Unknown
        } else if first.is_empty() {
            Banner::Silent
        } else {
            Banner::Other
        }
    }
}

/// What a side begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Banner {
    /// Too few bytes to say.
    Unknown,
    /// The side never said anything, or its beginning is missing.
    Silent,
    /// A banner of Ceph's.
    Of(Protocol),
    /// None of Ceph's banners.
    Other,
}
