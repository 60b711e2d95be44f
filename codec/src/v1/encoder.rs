//! How do frames become bytes? Payloads are chained by reference between the small pieces around them.

use std::fmt;

use bytes::BufMut;

use super::frame::{Frame, MessageFrame, Signed, Tag};
use super::{BANNER, CONNECT_LEN, Framing, MESSAGE_HEADER_LEN, REPLY_LEN, fields};
use crate::addr::LEGACY_LEN;
use crate::chunks::Chunks;
use crate::crc::crc32c;
use crate::error::Unencodable;
use crate::message::Flags;
use crate::payload::Payload;

/// Signs messages with the session's key; the authentication method has one.
pub trait Signer: Send + Sync {
    /// The signature of a message.
    fn sign(&self, covered: &Signed) -> u64;
}

/// Encodes one direction of a v1 connection.
///
/// ```
/// use cephwire_codec::{Chunks, v1::{Encoder, Frame}};
/// let mut out = Chunks::new();
/// Encoder::new().encode(&Frame::Ack(7), &mut out)?;
/// assert_eq!(out.take_pieces().concat(), [8, 7, 0, 0, 0, 0, 0, 0, 0]);
/// # Ok::<(), cephwire_codec::Unencodable>(())
/// ```
#[derive(Default)]
pub struct Encoder {
    framing: Framing,
    signer: Option<Box<dyn Signer>>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("framing", &self.framing)
            .field("signs", &self.signer.is_some())
            .finish()
    }
}

impl Encoder {
    /// An encoder with the framing that two current peers use, and without a signer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how messages are framed, known from connect and reply.
    pub fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Sets who signs messages from here on. Only footers with a signature field are signed.
    pub fn set_signer(&mut self, signer: Option<Box<dyn Signer>>) {
        self.signer = signer;
    }

    /// Appends a frame. [`Frame::Aborted`] appends nothing.
    ///
    /// # Errors
    /// When a part is too long for its length field; nothing is appended then.
    pub fn encode(&mut self, frame: &Frame, out: &mut Chunks) -> Result<(), Unencodable> {
        match frame {
            Frame::Banner => out.put_slice(&BANNER),
            Frame::Address(addr) => addr.encode_legacy(out.room(LEGACY_LEN)),
            Frame::Connect(connect) => {
                check("connect", "authorizer", connect.authorizer.len())?;
                fields::put_connect(connect, out.room(CONNECT_LEN));
                out.put(&connect.authorizer);
            }
            Frame::Reply(reply) => {
                check("connect_reply", "authorizer", reply.authorizer.len())?;
                fields::put_reply(reply, out.room(REPLY_LEN));
                out.put(&reply.authorizer);
            }
            Frame::Seq(seq) => out.put_slice(&seq.to_le_bytes()),
            Frame::Message(message) => return self.encode_message(message, out),
            Frame::Aborted { .. } => {}
            Frame::Ack(seq) => put_item(Tag::Ack, seq.to_le_bytes(), out),
            Frame::Keepalive => out.put_slice(&[Tag::Keepalive as u8]),
            Frame::Keepalive2(stamp) => put_item(Tag::Keepalive2, stamp.to_bytes(), out),
            Frame::Keepalive2Ack(stamp) => put_item(Tag::Keepalive2Ack, stamp.to_bytes(), out),
            Frame::Close => out.put_slice(&[Tag::Close as u8]),
        }
        Ok(())
    }

    /// Appends a message: [`encode`](Self::encode) without a [`Frame`] around it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline]
    pub fn encode_message(&self, frame: &MessageFrame, out: &mut Chunks) -> Result<(), Unencodable> {
        let mut signed = self.put_header(frame, out)?;
        let message = &frame.message;
        let data_crc = self.framing.data_crc && !frame.flags.contains(Flags::NOCRC);
        signed.front_crc = put_part(&message.front, self.framing.header_crc, out);
        signed.middle_crc = put_part(&message.middle, self.framing.header_crc, out);
        signed.data_crc = put_part(&message.data, data_crc, out);
        let mut flags = if data_crc { frame.flags } else { frame.flags.with(Flags::NOCRC) };
        let mut signature = frame.signature;
        if let Some(signer) = self.signer.as_ref().filter(|_| self.framing.signature) {
            signature = signer.sign(&signed);
            flags = flags.with(Flags::SIGNED);
        }
        self.put_footer(&signed, signature, flags, out);
        Ok(())
    }

    /// Appends a message as its sender leaves it that gave it up after the header: zeros, and a footer
    /// without COMPLETE. The receiver drops it. (Ceph's daemons fault on it, the kernel sends it.)
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_aborted(&self, frame: &MessageFrame, out: &mut Chunks) -> Result<(), Unencodable> {
        self.put_header(frame, out)?;
        let zeros = frame.message.payload_len();
        out.room(zeros).put_bytes(0, zeros);
        self.put_footer(&Signed::default(), 0, Flags(0), out);
        Ok(())
    }

    #[inline]
    fn put_header(&self, frame: &MessageFrame, out: &mut Chunks) -> Result<Signed, Unencodable> {
        let message = &frame.message;
        let lengths = [
            check("MSG", "front", message.front.len())?,
            check("MSG", "middle", message.middle.len())?,
            check("MSG", "data", message.data.len())?,
        ];
        let header = fields::message_header_bytes(frame, lengths);
        let header_crc = if self.framing.header_crc { crc32c(0, &header) } else { 0 };
        let head = out.room(1 + MESSAGE_HEADER_LEN);
        head.put_u8(Tag::Msg as u8);
        head.put_slice(&header);
        head.put_u32_le(header_crc);
        let [front_len, middle_len, data_len] = lengths;
        Ok(Signed { header_crc, front_len, middle_len, data_len, seq: frame.seq, ..Signed::default() })
    }

    #[inline]
    fn put_footer(&self, signed: &Signed, signature: u64, flags: Flags, out: &mut Chunks) {
        let footer = out.room(self.framing.footer_len());
        footer.put_u32_le(signed.front_crc);
        footer.put_u32_le(signed.middle_crc);
        footer.put_u32_le(signed.data_crc);
        if self.framing.signature {
            footer.put_u64_le(signature);
        }
        footer.put_u8(flags.0);
    }
}

fn put_item(tag: Tag, payload: [u8; 8], out: &mut Chunks) {
    let item = out.room(9);
    item.put_u8(tag as u8);
    item.put_slice(&payload);
}

/// Appends a part of a message and returns its crc, or 0 if crcs are off.
#[inline]
fn put_part(part: &Payload, crc: bool, out: &mut Chunks) -> u32 {
    let mut sum = 0;
    for piece in part.pieces() {
        if crc {
            sum = crc32c(sum, piece);
        }
        out.put(piece);
    }
    sum
}

fn check(frame: &'static str, field: &'static str, len: usize) -> Result<u32, Unencodable> {
    let limit = u64::from(u32::MAX);
    u32::try_from(len).map_err(|_| Unencodable::TooLong { frame, field, limit, found: len as u64 })
}
