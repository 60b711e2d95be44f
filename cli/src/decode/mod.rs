//! `cephwire decode`: what did Ceph's daemons and clients say to each other in this capture?
//!
//! ```text
//!  capture::Streams ──► Dissector ──► Record ──► plain | json ──► standard output
//!     bytes per side     frames        one line
//!                          ▲ │
//!                          │ ▼
//!                         Keys
//! ```
//!
//! With keys, captures are read twice: a ticket opens connections that may stand before it, or in another capture.
//! (What comes through a pipe is read once, so there a ticket must come first, as it does in fact.)

mod cephx;
mod conversation;
mod dissector;
mod fields;
mod json;
mod keys;
mod output;
mod plain;
mod record;
mod resync;
mod stream;
mod summary;
mod v1;
mod v2;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ArgGroup;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use zeroize::Zeroizing;

pub use self::cephx::{Findings, Inside, Signature};
pub use self::dissector::Dissector;
pub use self::keys::{BadLine, Keys};
use self::output::Output;
pub use self::record::{Protocol, Record, What, Why};
pub use self::summary::Summary;
use crate::capture::{CaptureError, Streams};
use crate::live::show::Format;

/// Files shorter than this are decoded before a progress bar would be seen.
const PROGRESS_FROM: u64 = 32 << 20;

/// The format of `--secrets`; [`cephwire_protocol::key_log`] has it in full.
const SECRETS_HELP: &str = "\
Secrets files have one secret in a line, and # before remarks:
  CEPHWIRE_CONNECTION_SECRET ID SECRET    one connection in secure mode
      ID: SHA-256 of all bytes that the server sent, from its banner to the last
      byte of AUTH_DONE, in hex. SECRET: in hex.
  CEPHWIRE_TICKET ID KEY                  every connection that shows this ticket
      ID: SHA-256 of the sealed ticket (the blob without its secret_id), in hex.
      KEY: its session key in base64, as in a keyring.
  CEPHWIRE_SERVICE_SECRET TYPE NUMBER KEY    every ticket sealed with it
      TYPE: osd, mds, mgr, auth. NUMBER: its secret_id. KEY: as above.";

/// How long a line of the help is at most.
const HELP_WIDTH: usize = 78;

/// Decodes captures of Ceph traffic: one line per frame.
///
/// Reads pcap and pcapng, gzipped or not. Messenger v1 and v2 are found by their
/// banners, whatever the port. The lines are in the style of Ceph's log at
/// debug_ms = 1; the last one sums up.
///
/// With the keys of clients and daemons (--keyring), or with what peers wrote down
/// (--secrets), connections in secure mode are decrypted, signatures are verified,
/// and the inside of cephx payloads is shown. Monitor connections open with the
/// key of their client; others with the tickets that these gave, with the rotating
/// secrets that daemons fetched, or, between monitors, with the key of mon.
///
/// Exit status: 0 if every byte is accounted for and every crc and signature holds,
/// 1 if something is wrong, 2 if the command line is.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment, after_long_help = long_help())]
#[command(group = ArgGroup::new("keys").args(["keyring", "secrets"]).multiple(true))]
pub struct Arguments {
    /// Captures, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// Files with keys of entities, as Ceph keeps them, with commas in between; may be repeated
    #[arg(short, long, value_name = "FILES", value_delimiter = ',')]
    keyring: Vec<PathBuf>,
    /// Files with secrets of connections, tickets and services, in the same way
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    secrets: Vec<PathBuf>,
    /// Print the secrets that are found (with --keyring or --secrets): session keys, connection secrets
    #[arg(long, requires = "keys")]
    show_secrets: bool,
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

/// What is too long for the summary.
fn long_help() -> String {
    format!("{SECRETS_HELP}\n\n{}", frame_list())
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
    let keys = match keys(arguments) {
        Ok(keys) => keys.map(|keys| Rc::new(RefCell::new(keys))),
        Err(error) => {
            let _ = writeln!(io::stderr(), "cephwire: {error:#}");
            return ExitCode::from(2);
        }
    };
    if let Some(keys) = &keys {
        arguments.files.iter().for_each(|path| look_for_keys(path, keys));
    }
    let mut summary = Summary::default();
    let mut output = Output::new(arguments.format, &arguments.only);
    let printed = arguments
        .files
        .iter()
        .try_for_each(|path| decode(path, keys.as_ref(), &mut output, &mut summary))
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

/// The keys that the command line gives; nothing if it gives none.
fn keys(arguments: &Arguments) -> anyhow::Result<Option<Keys>> {
    if arguments.keyring.is_empty() && arguments.secrets.is_empty() {
        return Ok(None);
    }
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        text.with_context(|| format!("{}: cannot read", path.display()))
    };
    let mut keys = Keys::new(arguments.show_secrets);
    for path in &arguments.keyring {
        keys.add_keyring(&read(path)?).with_context(|| path.display().to_string())?;
    }
    for path in &arguments.secrets {
        keys.add_secrets(&read(path)?).with_context(|| path.display().to_string())?;
    }
    Ok(Some(keys))
}

/// Looks in a capture for tickets and secrets, if it can be read twice. What is wrong with it shows the second time.
fn look_for_keys(path: &Path, keys: &Rc<RefCell<Keys>>) {
    if !std::fs::metadata(path).is_ok_and(|meta| meta.is_file()) {
        return;
    }
    let Ok((input, len)) = open(path) else { return };
    let Ok(mut streams) = Streams::new(input) else { return };
    let progress = progress_bar(&path.display().to_string(), len);
    let mut dissector = Dissector::looking_for(Rc::clone(keys));
    let mut records = Vec::new();
    while let Ok(Some(event)) = streams.next_event() {
        dissector.event(event, &mut records);
        records.clear();
        progress.set_position(streams.bytes_read());
    }
}

/// Decodes one capture. What is wrong with it is printed and counted; the error is standard output's.
fn decode(
    path: &Path,
    keys: Option<&Rc<RefCell<Keys>>>,
    output: &mut Output,
    summary: &mut Summary,
) -> io::Result<()> {
    let name = path.display().to_string();
    match open(path) {
        Ok((input, len)) => decode_input(&name, input, len, keys, output, summary),
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
    keys: Option<&Rc<RefCell<Keys>>>,
    output: &mut Output,
    summary: &mut Summary,
) -> io::Result<()> {
    let progress = progress_bar(name, len);
    let mut dissector = keys.map_or_else(Dissector::new, |keys| Dissector::with_keys(Rc::clone(keys)));
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
