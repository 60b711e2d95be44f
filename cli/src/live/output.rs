//! Is there still somebody who reads what is printed?

use std::io::{self, Write};

use anstream::AutoStream;

/// Standard output, in colour if it is a terminal. A reader that has seen enough (`| head`) is no error: what is
/// printed after that is nobody's, and the exit status says the same as if it were read.
pub(crate) struct Output {
    out: AutoStream<io::Stdout>,
    unread: bool,
}

impl Output {
    /// That of this process.
    pub(crate) fn standard() -> Self {
        Self { out: AutoStream::auto(io::stdout()), unread: false }
    }

    /// Whether the reader has gone.
    pub(crate) const fn is_unread(&self) -> bool {
        self.unread
    }

    fn read<T>(&mut self, outcome: io::Result<T>, unread: T) -> io::Result<T> {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread = true;
                Ok(unread)
            }
            outcome => outcome,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.read(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.read(flushed, ())
    }
}
