//! `cephwire decode`: what did Ceph's daemons and clients say to each other in this capture?
//!
//! ```text
//!  capture::Streams ──► Dissector ──► Record ──► plain | json ──► standard output
//!     bytes per side     frames        one line
//! ```

mod conversation;
mod dissector;
mod fields;
mod json;
mod output;
mod plain;
mod record;
mod resync;
mod stream;
mod summary;
mod v1;
mod v2;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

pub use self::dissector::Dissector;
use self::output::Output;
pub use self::record::{Protocol, Record, What};
pub use self::summary::Summary;
use crate::capture::{CaptureError, Streams};

/// Files shorter than this are decoded before a progress bar would be seen.
const PROGRESS_FROM: u64 = 32 << 20;

/// How long a line of the help is at most.
const HELP_WIDTH: usize = 78;

/// Decodes captures of Ceph traffic: one line per frame.
///
/// Reads pcap and pcapng, gzipped or not. Messenger v1 and v2 are found by their
/// banners, whatever the port. The last line sums up.
///
/// Exit status: 0 if every byte is accounted for and every crc holds, 1 if
/// something is wrong, 2 if the command line is.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment, after_long_help = frame_list())]
pub struct Arguments {
    /// Captures, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// Print only these frames, with commas in between; all are counted
    #[arg(
        long,
        value_name = "FRAME",
        value_delimiter = ',',
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(record::names())
    )]
    only: Vec<String>,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines in the style of Ceph's logs at `debug_ms = 1`
    Plain,
    /// One JSON object per line
    Json,
}

/// The names for `--only`, in lines of a readable length.
fn frame_list() -> String {
    let mut lines = vec![String::from("Frames:")];
    for (title, names) in record::NAMES {
        lines.push(format!("  {title}:"));
        let mut line = String::from("   ");
        for name in names {
            if line.len() + name.len() > HELP_WIDTH {
                lines.push(std::mem::replace(&mut line, String::from("   ")));
            }
            line = line + " " + name;
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Decodes the captures, prints, and says how it went.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut summary = Summary::default();
    let mut output = Output::new(arguments.format, &arguments.only);
    let printed = arguments
        .files
        .iter()
        .try_for_each(|path| decode(path, &mut output, &mut summary))
        .and_then(|()| output.summary(&summary));
    match printed {
        Ok(()) if summary.errors == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
        // Whoever read our output has seen enough; that is no mistake of the capture's.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(u8::from(summary.errors > 0))
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "cephwire: standard output: {error}");
            ExitCode::from(1)
        }
    }
}

/// Decodes one capture. What is wrong with it is printed and counted; the error is standard output's.
fn decode(path: &Path, output: &mut Output, summary: &mut Summary) -> io::Result<()> {
    let name = path.display().to_string();
    match open(path) {
        Ok((input, len)) => decode_input(&name, input, len, output, summary),
        Err(error) => {
            summary.errors += 1;
            output.file_error(&name, &format!("{error:#}"))
        }
    }
}

fn decode_input(
    name: &str,
    input: Box<dyn Read>,
    len: Option<u64>,
    output: &mut Output,
    summary: &mut Summary,
) -> io::Result<()> {
    let progress = progress_bar(name, len);
    let mut dissector = Dissector::new();
    let mut streams = match Streams::new(input) {
        Ok(streams) => streams,
        Err(error) => return capture_error(name, &error, output, summary),
    };
    let mut records = Vec::new();
    loop {
        match streams.next_event() {
            Ok(Some(event)) => dissector.event(event, &mut records),
            Ok(None) => break,
            Err(error) => capture_error(name, &error, output, summary)?,
        }
        for record in records.drain(..) {
            summary.record(&record);
            output.record(name, &record)?;
        }
        progress.set_position(streams.bytes_read());
    }
    summary.capture(dissector.connections(), &streams.counters());
    Ok(())
}

fn capture_error(
    name: &str,
    error: &CaptureError,
    output: &mut Output,
    summary: &mut Summary,
) -> io::Result<()> {
    summary.errors += 1;
    output.file_error(name, &error.to_string())
}

/// The input and, if it is a file, its length.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).context("cannot open")?;
    let meta = file.metadata().context("cannot read")?;
    anyhow::ensure!(!meta.is_dir(), "is a directory");
    Ok((Box::new(file), Some(meta.len())))
}

/// A bar on a terminal, for captures that take a while; else nothing.
fn progress_bar(name: &str, len: Option<u64>) -> ProgressBar {
    // With frames scrolling by on the same terminal there is progress to be seen already.
    let shown = io::stderr().is_terminal() && !io::stdout().is_terminal();
    match len {
        Some(len) if shown && len >= PROGRESS_FROM => {
            let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(len)
                .with_style(style)
                .with_prefix(name.to_owned())
                .with_finish(ProgressFinish::AndClear);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        }
        _ => ProgressBar::hidden(),
    }
}
