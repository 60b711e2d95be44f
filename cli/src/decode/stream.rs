//! What is known of one side's bytes?

use std::collections::VecDeque;

use bytes::Bytes;
use cephwire_codec::{v1, v2};

use super::record::{Protocol, Why};
use crate::capture::End;

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
    /// Why the side sends no more.
    pub ended: Option<End>,
    /// Time of the side's last event.
    pub time: u64,
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
            ended: None,
            time: 0,
        }
    }

    /// Takes the side's next bytes.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        match &self.state {
            State::Encrypted | State::Foreign(_) => self.passed += bytes.len() as u64,
            State::Over => {}
            State::Unknown | State::V1(_) | State::V2(_) | State::Lost(_) => {
                self.held_len += bytes.len() as u64;
                self.waiting.push_back(bytes);
            }
        }
    }

    /// Gives the decoder the next bytes; whether there were any. Little by little, as an error makes the
    /// rest worthless to it.
    pub(crate) fn give(&mut self) -> bool {
        let Some(bytes) = self.waiting.pop_front() else { return false };
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
            self.waiting.push_front(bytes);
        }
    }

    /// Bytes that no record accounts for.
    pub(super) fn unaccounted(&self) -> u64 {
        self.passed + self.held_len
    }

    pub(super) fn held_len(&self) -> u64 {
        self.held_len
    }

    /// Accounts for everything up to `offset`.
    pub(super) fn account(&mut self, offset: u64) {
        let count = offset.saturating_sub(self.at);
        let held = count.saturating_sub(self.passed);
        self.passed = self.passed.saturating_sub(count);
        self.drop_held(held);
        self.at = offset;
    }

    /// Looked at, and of no further use: part of the stretch that one record will account for.
    pub(super) fn pass(&mut self, count: u64) {
        self.drop_held(count);
        self.passed += count;
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
    pub(crate) fn peek(&self, most: usize) -> Vec<u8> {
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
    pub(crate) fn pass_all(&mut self, state: State) {
        self.pass(self.held_len);
        self.state = state;
    }

    /// From here on no frame is known.
    pub(crate) fn lose(&mut self, why: Why) {
        self.take_back();
        self.state = State::Lost(why);
    }

    /// Decodes what is held as messenger v1 from here on.
    pub(crate) fn start_v1(&mut self, mut decoder: v1::Decoder) {
        decoder.set_lenient(true);
        self.take_back();
        self.state = State::V1(Box::new(decoder));
    }

    /// Decodes what is held as messenger v2 from here on.
    pub(crate) fn start_v2(&mut self, mut decoder: v2::Decoder) {
        decoder.set_lenient(true);
        self.take_back();
        self.state = State::V2(Box::new(decoder));
    }

    /// Which banner the side begins with, as far as that can be said.
    pub(super) fn banner(&self) -> Banner {
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
    /// The side never said anything.
    Silent,
    /// A banner of Ceph's.
    Of(Protocol),
    /// None of Ceph's banners.
    Other,
}
