//! How are a frame's fields laid out in its segments?
//!
//! Every structure is written once, as a pair of `read` and `write` next to each other.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;

use super::frame::{
    AuthBadMethod, AuthDone, AuthRequest, Banner, ClientIdent, CompressionDone, CompressionRequest, Frame,
    Hello, MessageFrame, ServerIdent, SessionReconnect, Tag,
};
use super::{MESSAGE_HEADER_LEN, Method};
use crate::addr;
use crate::chunks::Fields;
use crate::error::Malformed;
use crate::features::{Features, MsgrFeatures};
use crate::message::{Flags, Header, Message};
use crate::message_type::MessageType;
use crate::name::EntityType;
use crate::parse::{self, Parsed};

/// Reads the payload of a control frame, its only segment, that begins at stream offset `offset`.
/// Bytes behind the known fields are ignored: newer peers may append some.
pub(super) fn read(tag: Tag, payload: &Bytes, offset: u64) -> Result<Frame, Malformed> {
    let own = |slice: &[u8]| payload.slice_ref(slice);
    parse::structure(tag.name(), offset, payload, |input| match tag {
        Tag::Hello => hello.map(Frame::Hello).parse(input),
        Tag::AuthRequest => auth_request(input, own),
        Tag::AuthBadMethod => auth_bad_method.map(Frame::AuthBadMethod).parse(input),
        Tag::AuthReplyMore => parse::blob("payload").map(|blob| Frame::AuthReplyMore(own(blob))).parse(input),
        Tag::AuthRequestMore => {
            parse::blob("payload").map(|blob| Frame::AuthRequestMore(own(blob))).parse(input)
        }
        Tag::AuthDone => auth_done(input, own),
        Tag::AuthSignature => parse::array("signature").map(Frame::AuthSignature).parse(input),
        Tag::ClientIdent => client_ident.map(Frame::ClientIdent).parse(input),
        Tag::ServerIdent => server_ident.map(Frame::ServerIdent).parse(input),
        Tag::IdentMissingFeatures => {
            parse::u64("features").map(|bits| Frame::IdentMissingFeatures(Features(bits))).parse(input)
        }
        Tag::SessionReconnect => session_reconnect.map(Frame::SessionReconnect).parse(input),
        Tag::SessionReset => parse::boolean("full").map(|full| Frame::SessionReset { full }).parse(input),
        Tag::SessionRetry => parse::u64("connect_seq").map(Frame::SessionRetry).parse(input),
        Tag::SessionRetryGlobal => parse::u64("global_seq").map(Frame::SessionRetryGlobal).parse(input),
        Tag::SessionReconnectOk => parse::u64("msg_seq").map(Frame::SessionReconnectOk).parse(input),
        Tag::Wait => Ok((input, Frame::Wait)),
        Tag::Message => message_header.map(Frame::Message).parse(input),
        Tag::Keepalive2 => parse::timestamp("stamp").map(Frame::Keepalive2).parse(input),
        Tag::Keepalive2Ack => parse::timestamp("stamp").map(Frame::Keepalive2Ack).parse(input),
        Tag::Ack => parse::u64("seq").map(Frame::Ack).parse(input),
        Tag::CompressionRequest => compression_request.map(Frame::CompressionRequest).parse(input),
        Tag::CompressionDone => compression_done.map(Frame::CompressionDone).parse(input),
    })
}

/// Writes the payload of a control frame; nothing for banner and messages, which are framed otherwise.
pub(super) fn write(frame: &Frame, out: &mut BytesMut) {
    match frame {
        Frame::Banner(_) | Frame::Message(_) | Frame::Wait | Frame::Aborted(_) => {}
        Frame::Hello(hello) => {
            out.put_u8(hello.entity_type.0);
            hello.peer_addr.encode(out);
        }
        Frame::AuthRequest(request) => {
            out.put_u32_le(request.method);
            out.put_list(&request.preferred_modes);
            out.put_blob(&request.payload);
        }
        Frame::AuthBadMethod(refusal) => {
            out.put_u32_le(refusal.method);
            out.put_i32_le(refusal.result);
            out.put_list(&refusal.allowed_methods);
            out.put_list(&refusal.allowed_modes);
        }
        Frame::AuthReplyMore(payload) | Frame::AuthRequestMore(payload) => out.put_blob(payload),
        Frame::AuthDone(done) => {
            out.put_u64_le(done.global_id);
            out.put_u32_le(done.mode);
            out.put_blob(&done.payload);
        }
        Frame::AuthSignature(signature) => out.put_slice(signature),
        Frame::ClientIdent(ident) => {
            ident.addrs.encode(out);
            ident.target.encode(out);
            out.put_i64_le(ident.gid);
            let features = [ident.features_supported.0, ident.features_required.0];
            put_u64s(out, &[ident.global_seq, features[0], features[1], ident.flags, ident.cookie]);
        }
        Frame::ServerIdent(ident) => {
            ident.addrs.encode(out);
            out.put_i64_le(ident.gid);
            let features = [ident.features_supported.0, ident.features_required.0];
            put_u64s(out, &[ident.global_seq, features[0], features[1], ident.flags, ident.cookie]);
        }
        Frame::SessionReconnect(claim) => {
            claim.addrs.encode(out);
            let cookies = [claim.client_cookie, claim.server_cookie];
            put_u64s(out, &[cookies[0], cookies[1], claim.global_seq, claim.connect_seq, claim.msg_seq]);
        }
        Frame::SessionReset { full } => out.put_u8(u8::from(*full)),
        Frame::IdentMissingFeatures(features) => out.put_u64_le(features.0),
        Frame::SessionRetry(seq)
        | Frame::SessionRetryGlobal(seq)
        | Frame::SessionReconnectOk(seq)
        | Frame::Ack(seq) => out.put_u64_le(*seq),
        Frame::Keepalive2(stamp) | Frame::Keepalive2Ack(stamp) => out.put_slice(&stamp.to_bytes()),
        Frame::CompressionRequest(request) => {
            out.put_u8(u8::from(request.compress));
            let methods: Vec<u32> = request.methods.iter().map(|method| method.0).collect();
            out.put_list(&methods);
        }
        Frame::CompressionDone(done) => {
            out.put_u8(u8::from(done.compress));
            out.put_u32_le(done.method.0);
        }
    }
}

fn put_u64s(out: &mut BytesMut, values: &[u64]) {
    values.iter().for_each(|value| out.put_u64_le(*value));
}

pub(super) fn banner(input: &[u8]) -> Parsed<'_, Banner> {
    let fields = (parse::u64("supported"), parse::u64("required"));
    let banner = |(supported, required)| Banner {
        supported: MsgrFeatures(supported),
        required: MsgrFeatures(required),
    };
    fields.map(banner).parse(input)
}

fn hello(input: &[u8]) -> Parsed<'_, Hello> {
    (parse::u8("entity_type"), addr::any)
        .map(|(kind, peer_addr)| Hello { entity_type: EntityType(kind), peer_addr })
        .parse(input)
}

fn auth_request<'a>(input: &'a [u8], own: impl Fn(&[u8]) -> Bytes) -> Parsed<'a, Frame> {
    let modes = parse::list("preferred_modes", 4, parse::u32("preferred_modes"));
    (parse::u32("method"), modes, parse::blob("payload"))
        .map(|(method, preferred_modes, payload)| {
            Frame::AuthRequest(AuthRequest { method, preferred_modes, payload: own(payload) })
        })
        .parse(input)
}

fn auth_bad_method(input: &[u8]) -> Parsed<'_, AuthBadMethod> {
    let list = |name| parse::list(name, 4, parse::u32(name));
    (parse::u32("method"), parse::i32("result"), list("allowed_methods"), list("allowed_modes"))
        .map(|(method, result, allowed_methods, allowed_modes)| AuthBadMethod {
            method,
            result,
            allowed_methods,
            allowed_modes,
        })
        .parse(input)
}

fn auth_done<'a>(input: &'a [u8], own: impl Fn(&[u8]) -> Bytes) -> Parsed<'a, Frame> {
    (parse::u64("global_id"), parse::u32("mode"), parse::blob("payload"))
        .map(|(global_id, mode, payload)| {
            Frame::AuthDone(AuthDone { global_id, mode, payload: own(payload) })
        })
        .parse(input)
}

fn client_ident(input: &[u8]) -> Parsed<'_, ClientIdent> {
    let (rest, (addrs, target, gid, global_seq)) =
        (addr::vector, addr::any, parse::i64("gid"), parse::u64("global_seq")).parse(input)?;
    let (rest, (features_supported, features_required)) = features(rest)?;
    let (rest, (flags, cookie)) = (parse::u64("flags"), parse::u64("cookie")).parse(rest)?;
    let ident =
        ClientIdent { addrs, target, gid, global_seq, features_supported, features_required, flags, cookie };
    Ok((rest, ident))
}

fn server_ident(input: &[u8]) -> Parsed<'_, ServerIdent> {
    let (rest, (addrs, gid, global_seq)) =
        (addr::vector, parse::i64("gid"), parse::u64("global_seq")).parse(input)?;
    let (rest, (features_supported, features_required)) = features(rest)?;
    let (rest, (flags, cookie)) = (parse::u64("flags"), parse::u64("cookie")).parse(rest)?;
    Ok((rest, ServerIdent { addrs, gid, global_seq, features_supported, features_required, flags, cookie }))
}

fn features(input: &[u8]) -> Parsed<'_, (Features, Features)> {
    (parse::u64("features_supported").map(Features), parse::u64("features_required").map(Features))
        .parse(input)
}

fn session_reconnect(input: &[u8]) -> Parsed<'_, SessionReconnect> {
    let cookies = (parse::u64("client_cookie"), parse::u64("server_cookie"));
    let seqs = (parse::u64("global_seq"), parse::u64("connect_seq"), parse::u64("msg_seq"));
    (addr::vector, cookies, seqs)
        .map(|(addrs, (client_cookie, server_cookie), (global_seq, connect_seq, msg_seq))| SessionReconnect {
            addrs,
            client_cookie,
            server_cookie,
            global_seq,
            connect_seq,
            msg_seq,
        })
        .parse(input)
}

fn compression_request(input: &[u8]) -> Parsed<'_, CompressionRequest> {
    (parse::boolean("compress"), parse::list("methods", 4, parse::u32("methods")))
        .map(|(compress, methods)| CompressionRequest {
            compress,
            methods: methods.into_iter().map(Method).collect(),
        })
        .parse(input)
}

fn compression_done(input: &[u8]) -> Parsed<'_, CompressionDone> {
    (parse::boolean("compress"), parse::u32("method").map(Method))
        .map(|(compress, method)| CompressionDone { compress, method })
        .parse(input)
}

/// A message's header; the parts are not in it.
#[inline(always)]
pub(super) fn message_header(input: &[u8]) -> Parsed<'_, MessageFrame> {
    let (rest, (seq, tid, kind, priority, version, pre_padding)) = (
        parse::u64("seq"),
        parse::u64("tid"),
        parse::u16("type"),
        parse::u16("priority"),
        parse::u16("version"),
        parse::u32("data_pre_padding_len"),
    )
        .parse(input)?;
    let (rest, (data_off, ack_seq, flags, compat_version, reserved)) = (
        parse::u16("data_off"),
        parse::u64("ack_seq"),
        parse::u8("flags"),
        parse::u16("compat_version"),
        parse::u16("reserved"),
    )
        .parse(rest)?;
    let header = Header { tid, kind: MessageType(kind), priority, version, compat_version, data_off };
    let message = Message { header, ..Message::default() };
    Ok((rest, MessageFrame { seq, ack_seq, flags: Flags(flags), pre_padding, reserved, message }))
}

#[inline(always)]
pub(super) fn write_message_header(frame: &MessageFrame) -> [u8; MESSAGE_HEADER_LEN] {
    let mut bytes = [0; MESSAGE_HEADER_LEN];
    let header = &frame.message.header;
    let mut out = &mut bytes[..];
    out.put_u64_le(frame.seq);
    out.put_u64_le(header.tid);
    out.put_u16_le(header.kind.0);
    out.put_u16_le(header.priority);
    out.put_u16_le(header.version);
    out.put_u32_le(frame.pre_padding);
    out.put_u16_le(header.data_off);
    out.put_u64_le(frame.ack_seq);
    out.put_u8(frame.flags.0);
    out.put_u16_le(header.compat_version);
    out.put_u16_le(frame.reserved);
    bytes
}
