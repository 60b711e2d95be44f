//! What was in all captures together?

use serde_json::{Value, json};

use super::cephx::Signature;
use super::record::{Record, What};
use crate::capture::Counters;

/// The counts of the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// TCP connections.
    pub connections: u64,
    /// Frames decoded.
    pub frames: u64,
    /// Messages among them.
    pub messages: u64,
    /// Bytes of all connections.
    pub bytes: u64,
    /// Undecodable and missing stretches, frames with a bad crc or a bad signature, payloads that do not open, and
    /// captures that cannot be read.
    pub errors: u64,
    /// Bytes sealed with keys that we do not have.
    pub encrypted_bytes: u64,
    /// Bytes of frames whose connection was closed before their end.
    pub cut_bytes: u64,
    /// Bytes of other protocols.
    pub foreign_bytes: u64,
    /// Bytes that cannot be decoded.
    pub undecodable_bytes: u64,
    /// Bytes that the captures lack.
    pub missing_bytes: u64,
    /// Signatures that hold.
    pub signatures: u64,
    /// Packets read.
    pub packets: u64,
}

impl Summary {
    /// Counts a record.
    pub fn record(&mut self, record: &Record) {
        self.errors += u64::from(record.is_error());
        self.signatures += u64::from(record.findings.signature == Some(Signature::Holds));
        if matches!(record.what, What::Missing) {
            self.missing_bytes += record.len;
            return;
        }
        self.bytes += record.len;
        match &record.what {
            What::V1(..) | What::V2(..) => {
                self.frames += 1;
                self.messages += u64::from(record.name() == "message");
            }
            What::Encrypted => self.encrypted_bytes += record.len,
            What::Cut(_) => self.cut_bytes += record.len,
            What::Foreign(_) => self.foreign_bytes += record.len,
            What::Undecodable(_) => self.undecodable_bytes += record.len,
            What::Missing => {}
        }
    }

    /// Counts a whole capture.
    pub fn capture(&mut self, connections: u64, counters: &Counters) {
        self.connections += connections;
        self.packets += counters.packets;
    }

    /// The object of the last line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut summary = json!({
            "connections": self.connections,
            "frames": self.frames,
            "messages": self.messages,
            "bytes": self.bytes,
            "errors": self.errors,
            "encrypted_bytes": self.encrypted_bytes,
            "cut_bytes": self.cut_bytes,
            "foreign_bytes": self.foreign_bytes,
            "undecodable_bytes": self.undecodable_bytes,
            "missing_bytes": self.missing_bytes,
            "packets": self.packets,
        });
        // Without keys there is nothing to say about them.
        if let (1.., Some(summary)) = (self.signatures, summary.as_object_mut()) {
            summary.insert("signatures".to_owned(), self.signatures.into());
        }
        json!({ "summary": summary })
    }
}
