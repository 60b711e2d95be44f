//! How is a record written for people?
//!
//! In the style of Ceph's log at `debug_ms = 1`, as the receiver would log it, so that both can be read side
//! by side:
//!
//! ```text
//! TIME -- RECEIVER <== SENDER SEQ ==== TYPE vVERSION ==== FRONT+MIDDLE+DATA (crc FRONT MIDDLE DATA) con N
//! ```

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use cephwire_codec::{Message, v1, v2};
use jiff::Timestamp;

use super::cephx::{Findings, Signature};
use super::fields;
use super::record::{Record, What};
use super::summary::Summary;

const TIME: Style = Style::new().dimmed();
const MESSAGE: Style = Style::new().bold();
const CONTROL: Style = AnsiColor::Cyan.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();
const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Longer values (payloads in hex) are cut in this form.
const VALUE_MOST: usize = 64;

/// One line.
pub(super) fn record(record: &Record, out: &mut impl Write) -> io::Result<()> {
    let style = match &record.what {
        _ if record.is_error() => ERROR,
        What::V1(..) | What::V2(..) if record.name() == "message" => MESSAGE,
        What::V1(..) | What::V2(..) => CONTROL,
        _ => NOTE,
    };
    let (receiver, sender) = (&record.receiver, &record.sender);
    write!(out, "{TIME}{}{TIME:#} -- {receiver} <== {sender} ", time(record.time))?;
    match &record.what {
        What::V1(frame, footprint) if matches!(**frame, v1::Frame::Message(_)) => {
            let v1::Frame::Message(frame) = &**frame else { return Ok(()) };
            let signed = &footprint.signed;
            let word = if footprint.unchecked { "crc off" } else { "crc" };
            let crcs = [signed.front_crc, signed.middle_crc, signed.data_crc];
            message(
                frame.seq,
                &frame.message,
                if footprint.bad_crc { "BAD CRC" } else { word },
                crcs,
                style,
                out,
            )?;
        }
        What::V2(frame, footprint) if matches!(**frame, v2::Frame::Message(_)) => {
            let v2::Frame::Message(frame) = &**frame else { return Ok(()) };
            let [_, crcs @ ..] = footprint.crcs;
            message(
                frame.seq,
                &frame.message,
                if footprint.bad_crc { "BAD CRC" } else { "crc" },
                crcs,
                style,
                out,
            )?;
            if footprint.preamble.is_compressed() {
                write!(out, " compressed {}", footprint.len)?;
            }
        }
        what => {
            write!(out, "{style}{}{style:#}", record.name())?;
            if !matches!(what, What::V1(..) | What::V2(..)) {
                write!(out, " {} bytes at {}", record.len, record.offset)?;
            }
            for (name, value) in fields::of(what) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match text.char_indices().nth(VALUE_MOST) {
                    // An error's text is what one wants to read.
                    Some((cut, _)) if name != "error" => {
                        write!(out, " {name} {}…", text.get(..cut).unwrap_or_default())?;
                    }
                    _ => write!(out, " {name} {text}")?,
                }
            }
        }
    }
    findings(&record.findings, out)?;
    writeln!(out, " con {}", record.connection)
}

fn findings(findings: &Findings, out: &mut impl Write) -> io::Result<()> {
    match findings.signature {
        Some(Signature::Holds) => write!(out, " signature ok")?,
        Some(signature) => write!(out, " {ERROR}signature {}{ERROR:#}", signature.name())?,
        None => {}
    }
    let Some(inside) = &findings.inside else { return Ok(()) };
    write!(out, " cephx {}", inside.to_json())?;
    match &inside.problem {
        Some(problem) => write!(out, " {ERROR}error {problem}{ERROR:#}"),
        None => Ok(()),
    }
}

fn message(
    seq: u64,
    message: &Message,
    word: &str,
    crcs: [u32; 3],
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let (kind, version) = (message.header.kind, message.header.version);
    let name = kind.log_name().map_or_else(|| kind.to_string(), str::to_owned);
    let (front, middle, data) = (message.front.len(), message.middle.len(), message.data.len());
    let [front_crc, middle_crc, data_crc] = crcs;
    write!(out, "{seq} ==== {style}{name}{style:#} v{version} ==== {front}+{middle}+{data} ")?;
    write!(out, "({word} {front_crc} {middle_crc} {data_crc}) tid {}", message.header.tid)
}

/// The last line.
pub(super) fn summary(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let Summary { connections, frames, messages, bytes, errors, .. } = summary;
    write!(out, "{connections} connections, {frames} frames, {messages} messages, {bytes} bytes")?;
    let parts = [
        ("encrypted", summary.encrypted_bytes),
        ("cut off", summary.cut_bytes),
        ("foreign", summary.foreign_bytes),
        ("undecodable", summary.undecodable_bytes),
        ("missing", summary.missing_bytes),
    ];
    if summary.signatures > 0 {
        write!(out, ", {} signatures hold", summary.signatures)?;
    }
    for (name, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
        write!(out, ", {count} {name}")?;
    }
    let style = if *errors > 0 { ERROR } else { Style::new() };
    writeln!(out, ", {style}{errors} errors{style:#}")
}

/// As in Ceph's logs, in UTC.
fn time(nanoseconds: u64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string(),
        Err(_) => nanoseconds.to_string(),
    }
}
