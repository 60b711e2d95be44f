//! Which fields does a frame have, by name?
//!
//! Both forms of output take them from here. Numbers that are not counts (features, cookies, signatures)
//! are in hex, as Ceph prints them.

use cephwire_codec::{EntityType, Features, Header, Message, v1, v2};
use serde_json::{Value, json};

use super::record::{What, Why};

/// The fields of one kind of record, in the order in which they are printed.
pub(super) type Fields = Vec<(&'static str, Value)>;

/// The fields of a record.
pub(super) fn of(what: &What) -> Fields {
    match what {
        What::V1(frame, footprint) => of_v1(frame, footprint),
        What::V2(frame, footprint) => of_v2(frame, footprint),
        What::Cut(how) => vec![("how", end(*how).into())],
        What::Foreign(banner) => vec![("banner", banner.map_or(Value::Null, |banner| banner.name().into()))],
        What::Undecodable(Why::Malformed(error)) => vec![("error", error.to_string().into())],
        What::Undecodable(Why::Unsynchronized(why)) => vec![("error", (*why).into())],
        What::Missing => vec![("error", "not in the capture".into())],
        What::Encrypted => Vec::new(),
    }
}

fn of_v1(frame: &v1::Frame, footprint: &v1::Footprint) -> Fields {
    use v1::Frame;
    match frame {
        Frame::Address(addr) => vec![("address", addr.to_string().into()), ("nonce", addr.nonce.into())],
        Frame::Connect(connect) => vec![
            ("features", hex(connect.features.0)),
            ("host_type", connect.host_type.into()),
            (
                "host_type_name",
                u8::try_from(connect.host_type).ok().map(EntityType).map(|kind| kind.to_string()).into(),
            ),
            ("global_seq", connect.global_seq.into()),
            ("connect_seq", connect.connect_seq.into()),
            ("protocol_version", connect.protocol_version.into()),
            ("authorizer_protocol", connect.authorizer_protocol.into()),
            ("authorizer_protocol_name", v2::method::name(connect.authorizer_protocol).into()),
            ("flags", connect.flags.into()),
            ("authorizer_len", connect.authorizer.len().into()),
            ("authorizer", bytes(&connect.authorizer)),
        ],
        Frame::Reply(reply) => vec![
            ("tag", (reply.tag as u8).into()),
            ("tag_name", reply.tag.name().into()),
            ("features", hex(reply.features.0)),
            ("global_seq", reply.global_seq.into()),
            ("connect_seq", reply.connect_seq.into()),
            ("protocol_version", reply.protocol_version.into()),
            ("flags", reply.flags.into()),
            ("authorizer_len", reply.authorizer.len().into()),
            ("authorizer", bytes(&reply.authorizer)),
        ],
        Frame::Seq(seq) | Frame::Ack(seq) | Frame::Aborted { seq } => vec![("seq", (*seq).into())],
        Frame::Keepalive2(stamp) | Frame::Keepalive2Ack(stamp) => vec![("stamp", stamp.to_string().into())],
        Frame::Message(frame) => {
            let signed = &footprint.signed;
            let crc = match (footprint.bad_crc, footprint.unchecked) {
                (true, _) => "bad",
                (false, true) => "off",
                (false, false) => "ok",
            };
            let mut fields = message(frame.seq, &frame.message);
            fields.extend([
                ("front_crc", signed.front_crc.into()),
                ("middle_crc", signed.middle_crc.into()),
                ("data_crc", signed.data_crc.into()),
                ("crc", crc.into()),
                ("header_crc", signed.header_crc.into()),
                ("src_name", frame.src.to_string().into()),
                ("flags", frame.flags.0.into()),
                ("signature", hex(frame.signature)),
            ]);
            fields
        }
        _ => Vec::new(),
    }
}

fn of_v2(frame: &v2::Frame, footprint: &v2::Footprint) -> Fields {
    let mut fields = of_v2_frame(frame, footprint);
    if footprint.bad_crc && !matches!(frame, v2::Frame::Message(_)) {
        fields.push(("crc", "bad".into()));
    }
    fields
}

fn of_v2_frame(frame: &v2::Frame, footprint: &v2::Footprint) -> Fields {
    use v2::Frame;
    match frame {
        Frame::Banner(banner) => {
            vec![("supported", hex(banner.supported.0)), ("required", hex(banner.required.0))]
        }
        Frame::Hello(hello) => vec![
            ("entity_type", hello.entity_type.0.into()),
            ("entity_type_name", hello.entity_type.to_string().into()),
            ("peer_addr", hello.peer_addr.to_string().into()),
        ],
        Frame::AuthRequest(request) => vec![
            ("method", request.method.into()),
            ("method_name", v2::method::name(request.method).into()),
            ("preferred_modes", modes(&request.preferred_modes)),
            ("payload_len", request.payload.len().into()),
            ("payload", bytes(&request.payload)),
        ],
        Frame::AuthBadMethod(refusal) => vec![
            ("method", refusal.method.into()),
            ("method_name", v2::method::name(refusal.method).into()),
            ("result", refusal.result.into()),
            ("allowed_methods", names(&refusal.allowed_methods, v2::method::name)),
            ("allowed_modes", modes(&refusal.allowed_modes)),
        ],
        Frame::AuthReplyMore(payload) | Frame::AuthRequestMore(payload) => {
            vec![("payload_len", payload.len().into()), ("payload", bytes(payload))]
        }
        Frame::AuthDone(done) => vec![
            ("global_id", done.global_id.into()),
            ("mode", done.mode.into()),
            ("mode_name", v2::mode::name(done.mode).into()),
            ("payload_len", done.payload.len().into()),
            ("payload", bytes(&done.payload)),
        ],
        Frame::AuthSignature(signature) => vec![("signature", bytes(signature))],
        Frame::ClientIdent(ident) => {
            let mut fields = vec![
                ("addrs", ident.addrs.to_string().into()),
                ("target", ident.target.to_string().into()),
                ("gid", ident.gid.into()),
                ("global_seq", ident.global_seq.into()),
            ];
            fields.extend(identity(
                ident.features_supported,
                ident.features_required,
                ident.flags,
                ident.cookie,
            ));
            fields
        }
        Frame::ServerIdent(ident) => {
            let mut fields = vec![
                ("addrs", ident.addrs.to_string().into()),
                ("gid", ident.gid.into()),
                ("global_seq", ident.global_seq.into()),
            ];
            fields.extend(identity(
                ident.features_supported,
                ident.features_required,
                ident.flags,
                ident.cookie,
            ));
            fields
        }
        Frame::IdentMissingFeatures(features) => vec![("features", hex(features.0))],
        Frame::SessionReconnect(claim) => vec![
            ("addrs", claim.addrs.to_string().into()),
            ("client_cookie", hex(claim.client_cookie)),
            ("server_cookie", hex(claim.server_cookie)),
            ("global_seq", claim.global_seq.into()),
            ("connect_seq", claim.connect_seq.into()),
            ("msg_seq", claim.msg_seq.into()),
        ],
        Frame::SessionReset { full } => vec![("full", (*full).into())],
        Frame::SessionRetry(seq) => vec![("connect_seq", (*seq).into())],
        Frame::SessionRetryGlobal(seq) => vec![("global_seq", (*seq).into())],
        Frame::SessionReconnectOk(seq) => vec![("msg_seq", (*seq).into())],
        Frame::Keepalive2(stamp) | Frame::Keepalive2Ack(stamp) => vec![("stamp", stamp.to_string().into())],
        Frame::Ack(seq) => vec![("seq", (*seq).into())],
        Frame::CompressionRequest(request) => {
            let methods: Vec<String> = request.methods.iter().map(ToString::to_string).collect();
            vec![("compress", request.compress.into()), ("methods", methods.into())]
        }
        Frame::CompressionDone(done) => {
            vec![("compress", done.compress.into()), ("method", done.method.to_string().into())]
        }
        Frame::Message(frame) => {
            let [header_crc, front_crc, middle_crc, data_crc] = footprint.crcs;
            let mut fields = message(frame.seq, &frame.message);
            fields.extend([
                ("front_crc", front_crc.into()),
                ("middle_crc", middle_crc.into()),
                ("data_crc", data_crc.into()),
                ("crc", if footprint.bad_crc { "bad" } else { "ok" }.into()),
                ("header_crc", header_crc.into()),
                ("ack_seq", frame.ack_seq.into()),
                ("flags", frame.flags.0.into()),
            ]);
            if footprint.preamble.is_compressed() {
                let [header, front, middle, data] = footprint.preamble.lengths;
                fields.push((
                    "compressed",
                    json!({ "header": header, "front": front, "middle": middle, "data": data }),
                ));
            }
            fields
        }
        Frame::Aborted(tag) => vec![("tag", tag.name().into())],
        _ => Vec::new(),
    }
}

fn message(seq: u64, message: &Message) -> Fields {
    let Header { tid, kind, priority, version, compat_version, data_off } = message.header;
    vec![
        ("seq", seq.into()),
        ("tid", tid.into()),
        ("type", kind.0.into()),
        ("type_name", kind.name().map_or_else(|| kind.to_string(), str::to_owned).into()),
        ("priority", priority.into()),
        ("version", version.into()),
        ("compat_version", compat_version.into()),
        ("data_off", data_off.into()),
        ("front", message.front.len().into()),
        ("middle", message.middle.len().into()),
        ("data", message.data.len().into()),
    ]
}

fn identity(supported: Features, required: Features, flags: u64, cookie: u64) -> Fields {
    vec![
        ("features_supported", hex(supported.0)),
        ("features_required", hex(required.0)),
        ("flags", flags.into()),
        ("lossy", (flags & v2::ClientIdent::LOSSY != 0).into()),
        ("cookie", hex(cookie)),
    ]
}

fn modes(modes: &[u32]) -> Value {
    names(modes, v2::mode::name)
}

/// Names, or numbers where there is no name.
pub(super) fn names(values: &[u32], name: impl Fn(u32) -> Option<&'static str>) -> Value {
    values.iter().map(|value| name(*value).map_or_else(|| Value::from(*value), Value::from)).collect()
}

pub(super) fn hex(number: u64) -> Value {
    format!("{number:#x}").into()
}

pub(super) fn bytes(bytes: &[u8]) -> Value {
    use std::fmt::Write as _;
    let text = bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    text.into()
}

fn end(how: crate::capture::End) -> &'static str {
    use crate::capture::End;
    match how {
        End::Fin => "fin",
        End::Reset => "reset",
        End::Replaced => "replaced",
        End::Evicted => "evicted",
        End::EndOfCapture => "end_of_capture",
    }
}
