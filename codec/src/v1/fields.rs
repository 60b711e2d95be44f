//! How are the structures laid out? Each as a pair of `read` and `write`.

use bytes::{BufMut, Bytes};
use nom::Parser;

use super::frame::{Connect, ConnectReply, MessageFrame, Tag};
use super::{Framing, MESSAGE_HEADER_LEN};
use crate::error::Flaw;
use crate::features::Features;
use crate::message::{Flags, Header, Message};
use crate::message_type::MessageType;
use crate::name::{EntityName, EntityType};
use crate::parse::{self, Parsed, fail, take};

/// connect without its authorizer, and the authorizer's length.
pub(super) fn connect(input: &[u8]) -> Parsed<'_, (Connect, u32)> {
    (
        parse::u64("features"),
        parse::u32("host_type"),
        parse::u32("global_seq"),
        parse::u32("connect_seq"),
        parse::u32("protocol_version"),
        parse::u32("authorizer_protocol"),
        parse::u32("authorizer_len"),
        parse::u8("flags"),
    )
        .map(
            |(
                features,
                host_type,
                global_seq,
                connect_seq,
                protocol_version,
                authorizer_protocol,
                len,
                flags,
            )| {
                let connect = Connect {
                    features: Features(features),
                    host_type,
                    global_seq,
                    connect_seq,
                    protocol_version,
                    authorizer_protocol,
                    flags,
                    authorizer: Bytes::new(),
                };
                (connect, len)
            },
        )
        .parse(input)
}

pub(super) fn put_connect(connect: &Connect, out: &mut impl BufMut) {
    out.put_u64_le(connect.features.0);
    out.put_u32_le(connect.host_type);
    out.put_u32_le(connect.global_seq);
    out.put_u32_le(connect.connect_seq);
    out.put_u32_le(connect.protocol_version);
    out.put_u32_le(connect.authorizer_protocol);
    out.put_u32_le(connect.authorizer.len() as u32);
    out.put_u8(connect.flags);
}

/// connect_reply without its authorizer, and the authorizer's length.
pub(super) fn reply(input: &[u8]) -> Parsed<'_, (ConnectReply, u32)> {
    let (rest, number) = parse::u8("tag")(input)?;
    // Ceph's async client takes an unknown tag for READY; Pipe and the kernel refuse it, as we do.
    let Some(tag) = Tag::from_number(number).filter(|tag| tag.is_reply()) else {
        return fail(input, "tag", Flaw::Unknown { found: number.into() });
    };
    (
        parse::u64("features"),
        parse::u32("global_seq"),
        parse::u32("connect_seq"),
        parse::u32("protocol_version"),
        parse::u32("authorizer_len"),
        parse::u8("flags"),
    )
        .map(|(features, global_seq, connect_seq, protocol_version, len, flags)| {
            let features = Features(features);
            let authorizer = Bytes::new();
            (
                ConnectReply { tag, features, global_seq, connect_seq, protocol_version, flags, authorizer },
                len,
            )
        })
        .parse(rest)
}

pub(super) fn put_reply(reply: &ConnectReply, out: &mut impl BufMut) {
    out.put_u8(reply.tag as u8);
    out.put_u64_le(reply.features.0);
    out.put_u32_le(reply.global_seq);
    out.put_u32_le(reply.connect_seq);
    out.put_u32_le(reply.protocol_version);
    out.put_u32_le(reply.authorizer.len() as u32);
    out.put_u8(reply.flags);
}

/// A message's header: the frame without its parts, their lengths, and the header's crc.
#[inline(always)]
pub(super) fn message_header(input: &[u8]) -> Parsed<'_, (MessageFrame, [u32; 3], u32)> {
    let (rest, (seq, tid, kind, priority, version)) = (
        parse::u64("seq"),
        parse::u64("tid"),
        parse::u16("type"),
        parse::u16("priority"),
        parse::u16("version"),
    )
        .parse(input)?;
    let (rest, lengths) =
        (parse::u32("front_len"), parse::u32("middle_len"), parse::u32("data_len")).parse(rest)?;
    let (rest, (data_off, src_type, src_num, compat_version, reserved, crc)) = (
        parse::u16("data_off"),
        parse::u8("src.type"),
        parse::i64("src.num"),
        parse::u16("compat_version"),
        parse::u16("reserved"),
        parse::u32("crc"),
    )
        .parse(rest)?;
    let header = Header { tid, kind: MessageType(kind), priority, version, compat_version, data_off };
    let frame = MessageFrame {
        seq,
        src: EntityName::new(EntityType(src_type), src_num),
        reserved,
        message: Message { header, ..Message::default() },
        ..MessageFrame::default()
    };
    Ok((rest, (frame, lengths.into(), crc)))
}

/// The header up to its crc.
#[inline(always)]
pub(super) fn message_header_bytes(frame: &MessageFrame, lengths: [u32; 3]) -> [u8; MESSAGE_HEADER_LEN - 4] {
    let mut bytes = [0; MESSAGE_HEADER_LEN - 4];
    let header = &frame.message.header;
    let mut out = &mut bytes[..];
    out.put_u64_le(frame.seq);
    out.put_u64_le(header.tid);
    out.put_u16_le(header.kind.0);
    out.put_u16_le(header.priority);
    out.put_u16_le(header.version);
    lengths.iter().for_each(|len| out.put_u32_le(*len));
    out.put_u16_le(header.data_off);
    out.put_u8(frame.src.kind.0);
    out.put_i64_le(frame.src.num);
    out.put_u16_le(header.compat_version);
    out.put_u16_le(frame.reserved);
    bytes
}

/// The footer: crcs of front, middle and data, signature (0 in the old one), flags.
#[inline(always)]
pub(super) fn footer(framing: Framing) -> impl Fn(&[u8]) -> Parsed<'_, ([u32; 3], u64, Flags)> {
    move |input| {
        let (rest, crcs) =
            (parse::u32("front_crc"), parse::u32("middle_crc"), parse::u32("data_crc")).parse(input)?;
        let (rest, signature) = if framing.signature {
            parse::u64("signature")(rest)?
        } else {
            take("", 0).map(|_| 0).parse(rest)?
        };
        let (rest, flags) = parse::u8("flags")(rest)?;
        Ok((rest, (crcs.into(), signature, Flags(flags))))
    }
}
