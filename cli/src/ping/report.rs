//! What is printed, and how?

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use cephwire_codec::EntityAddr;
use cephwire_codec::v2::{method, mode};
use cephwire_protocol::{Facts, Version};
use serde_json::{Map, Value, json};

use super::Answer;
use super::exchange::What;
use crate::live::cause::Cause;
use crate::live::output::Output;
use crate::live::show::{self, Format, Phases, revision_name};
use crate::live::version_name;

const TITLE: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints what happens with one entity, as it happens.
pub(super) struct Report<'a> {
    format: Format,
    verbose: bool,
    /// It is no daemon of any cluster, but our own.
    stand_in: bool,
    out: &'a mut Output,
}

/// How it went in the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) received: u64,
    least: Duration,
    most: Duration,
    sum: Duration,
}

impl Tally {
    pub(super) fn answered(&mut self, time: Duration) {
        self.least = if self.received == 0 { time } else { self.least.min(time) };
        self.most = self.most.max(time);
        self.sum += time;
        self.received += 1;
    }

    fn average(&self) -> Duration {
        Duration::from_secs_f64(self.sum.as_secs_f64() / self.received.max(1) as f64)
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(format: Format, verbose: bool, stand_in: bool, out: &'a mut Output) -> Self {
        Self { format, verbose, stand_in, out }
    }

    /// Nobody reads it any more.
    pub(super) const fn is_unread(&self) -> bool {
        self.out.is_unread()
    }

    /// A session is open.
    pub(super) fn open(&mut self, addr: &EntityAddr, facts: &Facts) -> io::Result<()> {
        let phases = Phases::of(facts);
        if self.format != Format::Plain {
            let open = json!({
                "peer": facts.peer.to_string(),
                "version": version_name(facts.version),
                "revision": facts.revision().map(revision_name),
                "method": facts.method.map(method::name),
                "mode": facts.mode.map(mode::name),
                "times_us": phases.to_json(),
            });
            return self.object(addr, json!({ "open": open }));
        }
        let spoken = match (facts.version, facts.revision()) {
            (Version::V2, Some(revision)) => format!("msgr {}", revision_name(revision)),
            _ => "msgr 1".to_owned(),
        };
        let mode = facts.mode.and_then(mode::name).map(|mode| format!(", {mode}")).unwrap_or_default();
        if self.stand_in {
            let why = "neither -m nor ceph.conf names a monitor";
            writeln!(
                self.out,
                "{BAD}stand-in{BAD:#}: {why}; what answers is a stand-in of our own, no cluster"
            )?;
        }
        writeln!(self.out, "PING {TITLE}{}{TITLE:#} at {addr}: {spoken}{mode}", facts.peer)?;
        let times: Vec<String> =
            phases.named().map(|(name, time)| format!("{name} {}", show::time(time))).collect();
        writeln!(self.out, "open: {}", times.join(", "))?;
        self.out.flush()
    }

    /// No session, or it broke.
    pub(super) fn failure(&mut self, addr: &dyn Display, cause: &Cause) -> io::Result<()> {
        if self.format != Format::Plain {
            let error = json!({ "cause": cause.name, "phase": cause.phase, "text": cause.text });
            return self.object(addr, json!({ "error": error }));
        }
        writeln!(self.out, "{addr}: {BAD}{}{BAD:#}: {}", cause.name, cause.text)?;
        self.out.flush()
    }

    /// An answer came.
    pub(super) fn answer(&mut self, addr: &EntityAddr, seq: u64, answer: &Answer) -> io::Result<()> {
        let (name, len) = match &answer.what {
            What::Ping(front) => ("ping", front.len()),
            What::Keepalive2Ack => ("keepalive2_ack", 0),
        };
        let text = answer.text();
        let parsed = text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        if self.format != Format::Plain {
            let fields = json!({
                "seq": seq,
                "answer": name,
                "bytes": len,
                "time_us": show::micros(answer.time),
                // What is no JSON comes as text.
                "text": parsed.or_else(|| text.map(Value::from)),
            });
            return self.object(addr, fields);
        }
        write!(self.out, "{seq}: {name} in {}", show::time(answer.time))?;
        match parsed.as_ref().map(summary) {
            Some(summary) if !summary.is_empty() => write!(self.out, ", {summary}")?,
            _ if len > 0 => write!(self.out, ", {len} bytes")?,
            _ => {}
        }
        // Who looks for the health alone shall see it too.
        writeln!(self.out, "{}", if self.stand_in { " (stand-in)" } else { "" })?;
        if let (true, Some(text)) = (self.verbose, text) {
            let pretty = parsed.and_then(|value| serde_json::to_string_pretty(&value).ok());
            writeln!(self.out, "{}", pretty.unwrap_or(text))?;
        }
        self.out.flush()
    }

    /// No answer came.
    pub(super) fn lost(&mut self, addr: &EntityAddr, seq: u64, timeout: Duration) -> io::Result<()> {
        if self.format != Format::Plain {
            return self.object(addr, json!({ "seq": seq, "answer": null }));
        }
        writeln!(self.out, "{seq}: {BAD}no answer{BAD:#} in {}", show::time(timeout))?;
        self.out.flush()
    }

    /// The end.
    pub(super) fn tally(&mut self, addr: &EntityAddr, tally: &Tally) -> io::Result<()> {
        let Tally { sent, received, least, most, .. } = *tally;
        if self.format != Format::Plain {
            let mut summary = json!({ "sent": sent, "received": received });
            if received > 0 {
                let times = [("min_us", least), ("avg_us", tally.average()), ("max_us", most)];
                times.into_iter().for_each(|(name, time)| {
                    if let Some(object) = summary.as_object_mut() {
                        object.insert(name.to_owned(), show::micros(time));
                    }
                });
            }
            return self.object(addr, json!({ "summary": summary }));
        }
        if sent > 1 {
            write!(self.out, "{received} of {sent} answered")?;
            if received > 0 {
                let times = [least, tally.average(), most].map(show::time);
                write!(self.out, "; least, average, most: {}", times.join(", "))?;
            }
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    /// These fields, behind those that every object has.
    fn object(&mut self, addr: &dyn Display, fields: Value) -> io::Result<()> {
        let mut object = Map::new();
        object.insert("address".to_owned(), addr.to_string().into());
        if self.stand_in {
            object.insert("stand_in".to_owned(), true.into());
        }
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        self.format.object(&object.into(), &mut self.out)?;
        self.out.flush()
    }
}

/// The few words of a monitor's answer that one wants to see first.
fn summary(answer: &Value) -> String {
    let text = |path: &str| answer.pointer(path).and_then(Value::as_str);
    let mut parts = Vec::new();
    if let Some(health) = text("/health/status") {
        parts.push(health.to_owned());
    }
    if let (Some(name), Some(state)) = (text("/mon_status/name"), text("/mon_status/state")) {
        parts.push(format!("mon.{name} is {state}"));
    }
    if let Some(quorum) = answer.pointer("/mon_status/quorum").and_then(Value::as_array) {
        parts.push(format!("quorum of {}", quorum.len()));
    }
    parts.join(", ")
}
