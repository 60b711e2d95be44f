//! Where do the lines go, and in which form?

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};

use anstream::AutoStream;

use super::record::Record;
use super::summary::Summary;
use super::{json, plain};
use crate::live::show::Format;

/// Standard output, in colour if it is a terminal.
pub(super) struct Output {
    format: Format,
    only: HashSet<String>,
    out: BufWriter<AutoStream<io::Stdout>>,
}

impl Output {
    /// Prints the records of these names, or all if there are none.
    pub(super) fn new(format: Format, only: &[String]) -> Self {
        let out = BufWriter::with_capacity(64 << 10, AutoStream::auto(io::stdout()));
        Self { format, only: only.iter().cloned().collect(), out }
    }

    /// Prints a record of the capture `file`.
    pub(super) fn record(&mut self, file: &str, record: &Record) -> io::Result<()> {
        if !self.only.is_empty() && !self.only.contains(record.name()) {
            return Ok(());
        }
        match self.format {
            Format::Plain => plain::record(record, &mut self.out),
            Format::Json | Format::JsonPretty => self.object(&json::record(file, record)),
        }
    }

    /// Prints that a capture cannot be read, or not to its end.
    pub(super) fn file_error(&mut self, file: &str, error: &str) -> io::Result<()> {
        match self.format {
            Format::Plain => {
                self.out.flush()?;
                // If nobody listens there, the exit status tells.
                let _ = writeln!(io::stderr(), "cephwire: {file}: {error}");
                Ok(())
            }
            Format::Json | Format::JsonPretty => {
                self.object(&serde_json::json!({ "file": file, "error": error }))
            }
        }
    }

    /// Prints the last line.
    pub(super) fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        match self.format {
            Format::Plain => plain::summary(summary, &mut self.out)?,
            Format::Json | Format::JsonPretty => self.object(&summary.to_json())?,
        }
        self.out.flush()
    }

    fn object(&mut self, object: &serde_json::Value) -> io::Result<()> {
        self.format.object(object, &mut self.out)
    }
}
