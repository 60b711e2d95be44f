//! Which bytes does the capture hold once it is uncompressed?
//!
//! [`Window`] shows a stretch of them at a time; it knows neither pcap nor pcapng.

use std::io::{self, Chain, Cursor, ErrorKind, Read};

use flate2::read::MultiGzDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How much the window grows at a time: large enough for few reads, small enough that a record that only
/// claims to be long costs no memory.
const STEP: usize = 256 * 1024;

/// A stretch of the uncompressed bytes, from the first one that is not consumed yet.
pub(super) struct Window<R: Read> {
    source: Source<R>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    position: u64,
    finished: bool,
    cut: bool,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        let source = Source::new(input)?;
        Ok(Self { source, buffer: Vec::new(), start: 0, end: 0, position: 0, finished: false, cut: false })
    }

    /// Reads until `wanted` bytes are visible, or as many as there are: the result is how many are visible.
    pub(super) fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        while self.visible().len() < wanted && !self.finished {
            self.make_room();
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => self.finished = true,
                Ok(count) => self.end = self.end.saturating_add(count).min(self.buffer.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // This is how a compressed file that lacks its end shows.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.finished = true;
                    self.cut = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.visible().len())
    }

    fn make_room(&mut self) {
        if self.end < self.buffer.len() {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() + STEP.max(self.buffer.len()), 0);
        }
    }

    pub(super) fn visible(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.position += count as u64;
    }

    /// How many bytes were consumed.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the compressed input ended before its end.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// How many bytes of the input itself, compressed or not, were read.
    pub(super) fn bytes_read(&self) -> u64 {
        match &self.source {
            Source::Plain(input) => input.get_ref().1.count,
            Source::Gzip(decoder) => decoder.get_ref().get_ref().1.count,
        }
    }
}

/// The input with its first bytes, which had to be looked at, put back in front.
type Whole<R> = Chain<Cursor<Vec<u8>>, Counting<R>>;

enum Source<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
}

impl<R: Read> Source<R> {
    fn new(input: R) -> io::Result<Self> {
        let mut input = Counting { input, count: 0 };
        let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
        input.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic)?;
        let compressed = magic == GZIP_MAGIC;
        let whole = Cursor::new(magic).chain(input);
        if compressed { Ok(Self::Gzip(Box::new(MultiGzDecoder::new(whole)))) } else { Ok(Self::Plain(whole)) }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

struct Counting<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Hands out one byte at a time, as a slow pipe may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer.get_mut(..1).unwrap_or_default())
        }
    }

    #[test]
    fn shows_what_was_not_consumed() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut window = Window::new(Trickle(&bytes)).unwrap();
        assert_eq!(window.fill(4).unwrap(), 4);
        window.consume(3);
        assert_eq!(window.fill(200).unwrap(), 200);
        assert_eq!(window.visible(), bytes.get(3..203).unwrap());
        window.consume(200);
        assert_eq!(window.position(), 203);
        assert_eq!(window.fill(200).unwrap(), 53);
        assert_eq!(window.bytes_read(), 256);
        assert!(!window.is_cut());
    }

    #[test]
    fn moves_what_is_left_to_the_front_when_the_buffer_is_full() {
        let bytes: Vec<u8> = (0..3 * STEP).map(|at| at.to_le_bytes().first().copied().unwrap()).collect();
        let mut window = Window::new(bytes.as_slice()).unwrap();
        window.fill(STEP).unwrap();
        window.consume(STEP - 10);
        assert_eq!(window.fill(STEP).unwrap(), STEP);
        assert_eq!(window.buffer.len(), STEP);
        assert_eq!(window.visible(), bytes.get(STEP - 10..2 * STEP - 10).unwrap());
    }
}
