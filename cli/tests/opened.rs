//! What do keys open in a capture, what do wrong ones, and what becomes of a capture that somebody altered?
//!
//! That the right keys open everything is in `captures.rs`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use cephwire_cli::decode::{Dissector, Record, Signature, Summary, What, Why};
use cephwire_codec::v2::{self, AuthBadMethod, AuthRequest, Banner, Frame, Hello, method, mode};
use cephwire_codec::{Chunks, EntityAddr, EntityType, Flaw, MsgrFeatures, Side};
use proptest::prelude::*;
use serde_json::Value;
use support::packets::{self, Packet, Talk};
use support::{Capture, Shared, decode_by, decode_opened, file, keyring, keys, keys_of};

const SECURE: &str = "pacific-v2secure-cephx-renew-alpha";
const PEERS: &str = "reef-lz4-v2secure-cephx-peers-alpha";
const CRC: &str = "pacific-v2crc-cephx-osd-pause-alpha";
const V1: &str = "pacific-v1-cephx-renew-alpha";

fn opened(name: &str, packets: &[Packet], keys: &Shared) -> Capture {
    decode_opened(name.to_owned(), &packets::write(packets), keys)
}

fn summary(capture: &Capture) -> Summary {
    let mut summary = Summary::default();
    capture.records.iter().for_each(|record| summary.record(record));
    summary
}

/// What a field of a record's cephx payload says.
fn says<'a>(record: &'a Record, name: &str) -> Option<&'a Value> {
    let inside = record.findings.inside.as_ref()?;
    inside.says.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn is(record: &Record, kind: &str) -> bool {
    says(record, "is").is_some_and(|is| is == kind)
}

/// The keyring with the last letters of one entity's secret changed.
fn with_wrong_key(keyring: &str, entity: &str) -> String {
    let (before, section) = keyring.split_once(&format!("[{entity}]")).unwrap();
    let (key, rest) = section.split_once("==\n").unwrap();
    let (kept, changed) = key.split_at(key.len() - 4);
    let other = if changed == "AAAA" { "BBBB" } else { "AAAA" };
    // (The last digit of base64 has bits that must be zero.)
    format!("{before}[{entity}]{kept}{}A==\n{rest}", &other[..3])
}

fn without_key(keyring: &str, entity: &str) -> String {
    let (before, section) = keyring.split_once(&format!("[{entity}]")).unwrap();
    let (_, rest) = section.split_once("==\n").unwrap();
    format!("{before}{rest}")
}

#[test]
fn a_ticket_may_come_after_the_connection_that_it_opens() {
    let (monitor, mut late) = by_monitor(packets::read(&file(SECURE)));
    assert!(!monitor.is_empty() && !late.is_empty());
    late.extend(monitor);
    let keys = keys(SECURE);
    // Read once, as from a pipe, there is no ticket yet for the first connections,
    let once = decode_by(Dissector::with_keys(Rc::clone(&keys)), SECURE.to_owned(), &packets::write(&late));
    let Summary { encrypted_bytes, errors, .. } = summary(&once);
    assert!(encrypted_bytes > 10_000 && errors == 0, "{encrypted_bytes} bytes, {errors} errors");
    // and twice there is.
    let twice = opened(SECURE, &late, &keys);
    let Summary { encrypted_bytes, errors, messages, .. } = summary(&twice);
    assert_eq!((encrypted_bytes, errors, messages), (0, 0, 134));
}

/// Whether the monitor of [`SECURE`] is one of the two.
fn is_monitor(src: SocketAddr, dst: SocketAddr) -> bool {
    let addresses = support::section(&support::sidecar(SECURE), "addresses");
    let (_, monitor) = addresses.iter().find(|(name, _)| name == "mon_v2").unwrap();
    let monitor = monitor.trim_matches('"').parse().unwrap();
    src == monitor || dst == monitor
}

/// The packets of connections with the monitor, and the others.
fn by_monitor(packets: Vec<Packet>) -> (Vec<Packet>, Vec<Packet>) {
    packets.into_iter().partition(|packet| {
        let layout = packet.layout();
        is_monitor(layout.src, layout.dst)
    })
}

#[test]
fn tickets_of_another_capture_open_too() {
    let (monitor, services) = by_monitor(packets::read(&file(SECURE)));
    let keys = keys(SECURE);
    let first = opened(SECURE, &services, &keys);
    assert!(summary(&first).encrypted_bytes > 0);
    opened(SECURE, &monitor, &keys);
    let second = opened(SECURE, &services, &keys);
    assert_eq!((summary(&second).encrypted_bytes, summary(&second).errors), (0, 0));
}

#[test]
fn renewed_tickets_are_shown_and_their_sessions_open() {
    for name in [SECURE, V1] {
        let capture = support::opened().iter().find(|capture| capture.name == name).unwrap();
        let records: Vec<_> = capture.records.iter().filter(|record| is(record, "session")).collect();
        let renewals =
            records.iter().filter(|record| says(record, "auth_ticket").unwrap()["encrypted"] == true);
        // The lab's AUTH tickets live for 12 s, its service tickets for 6.
        assert!(renewals.count() > 0, "{name}");
        for record in &records {
            let validity = says(record, "auth_ticket").unwrap()["validity"].as_f64().unwrap();
            assert!(validity > 0.0 && validity <= 12.0, "{name}: {validity}");
        }
        let later = capture.records.iter().filter(|record| is(record, "service_tickets"));
        let tickets: Vec<_> =
            later.flat_map(|record| says(record, "tickets").unwrap().as_array().unwrap()).collect();
        assert!(tickets.iter().any(|ticket| ticket["service"] == "osd"), "{name}");
        assert!(tickets.iter().all(|ticket| ticket["validity"].as_f64().unwrap() <= 6.0), "{name}");
    }
}

#[test]
fn daemons_show_who_comes_with_a_ticket() {
    let capture = support::opened().iter().find(|capture| capture.name == PEERS).unwrap();
    let between = capture.records.iter().filter(|record| is(record, "authorizer"));
    let osds: Vec<_> = between.filter_map(|record| says(record, "ticket")).collect();
    assert!(!osds.is_empty());
    for ticket in osds {
        assert!(["osd.0", "osd.1"].contains(&ticket["entity"].as_str().unwrap()), "{ticket}");
        assert_eq!(ticket["caps"], "allow *");
        assert!(ticket["expires"].as_str() > ticket["created"].as_str());
    }
}

#[test]
fn a_wrong_key_is_named_with_what_it_does_not_open() {
    let packets = packets::read(&file(SECURE));
    let wrong = with_wrong_key(&keyring(SECURE), "client.admin");
    let capture = opened(SECURE, &packets, &keys_of(&wrong, ""));
    let problems: Vec<_> = capture.records.iter().filter_map(|record| record.findings.problem()).collect();
    assert!(!problems.is_empty());
    for problem in problems {
        assert_eq!(problem, "the key of client.admin does not open the session key: another one was used");
    }
    let proofs: Vec<_> = capture.records.iter().filter_map(|record| says(record, "proof")).collect();
    assert!(!proofs.is_empty() && proofs.iter().all(|proof| *proof == "wrong"));
    // As without keys, it stays sealed; and who comes with tickets has none that is known.
    let sealed = support::decode_bytes(SECURE.to_owned(), &packets::write(&packets));
    assert_eq!(summary(&capture).encrypted_bytes, summary(&sealed).encrypted_bytes);
    let unread = capture.records.iter().filter(|record| is(record, "authorizer_reply"));
    let unread: Vec<_> = unread.map(|record| says(record, "unread").unwrap().as_str().unwrap()).collect();
    assert!(!unread.is_empty());
    let expected = "there is no key for the ticket for osd, sealed with its secret ";
    assert!(unread.iter().all(|why| why.starts_with(expected)), "{unread:?}");
}

#[test]
fn a_wrong_key_of_a_daemon_costs_its_own_connections_only() {
    let packets = packets::read(&file(PEERS));
    let wrong = with_wrong_key(&keyring(PEERS), "osd.1");
    let capture = opened(PEERS, &packets, &keys_of(&wrong, ""));
    let Summary { errors, encrypted_bytes, .. } = summary(&capture);
    assert!(errors > 0 && encrypted_bytes > 0);
    for record in &capture.records {
        if let Some(problem) = record.findings.problem() {
            assert_eq!(problem, "the key of osd.1 does not open the session key: another one was used");
        }
    }
    // What osd.1 shows to osd.0 is sealed with a secret that osd.0 fetched.
    let shown = capture.records.iter().filter(|record| is(record, "authorizer"));
    assert!(shown.filter_map(|record| says(record, "ticket")).any(|ticket| ticket["entity"] == "osd.1"));
}

#[test]
fn without_a_key_it_is_nobodys_fault() {
    let packets = packets::read(&file(SECURE));
    let less = without_key(&keyring(SECURE), "client.admin");
    let capture = opened(SECURE, &packets, &keys_of(&less, ""));
    let sealed = support::decode_bytes(SECURE.to_owned(), &packets::write(&packets));
    let Summary { errors, encrypted_bytes, bytes, .. } = summary(&capture);
    assert_eq!((errors, encrypted_bytes), (0, summary(&sealed).encrypted_bytes));
    assert!(encrypted_bytes > bytes / 2);
    let unread = capture.records.iter().find(|record| is(record, "session")).unwrap();
    assert_eq!(says(unread, "unread").unwrap(), "there is no key of client.admin for the session key");
}

/// The lines of a secrets file that the findings of a capture give, of one kind.
fn secrets(capture: &Capture, kind: &str) -> String {
    let mut lines = vec!["# made by a test".to_owned()];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for record in &capture.records {
        if let (Some(transcript), Some(secret)) =
            (says(record, "transcript"), says(record, "connection_secret"))
        {
            lines.push(format!("CEPHWIRE_CONNECTION_SECRET {} {}", text(transcript), text(secret)));
        }
        let many = |name| says(record, name).and_then(Value::as_array).into_iter().flatten();
        for ticket in says(record, "auth_ticket").into_iter().chain(many("tickets")) {
            lines.push(format!(
                "CEPHWIRE_TICKET {} {}",
                text(&ticket["ticket"]),
                text(&ticket["session_key"])
            ));
        }
        for secret in many("secrets") {
            let service = text(says(record, "service").unwrap());
            let (id, key) = (&secret["secret_id"], text(&secret["key"]));
            lines.push(format!("CEPHWIRE_SERVICE_SECRET {service} {id} {key}"));
        }
    }
    lines.retain(|line| line.starts_with(kind));
    lines.join("\n")
}

#[test]
fn each_kind_of_line_in_a_secrets_file_opens_its_share() {
    for name in [SECURE, PEERS] {
        let packets = packets::read(&file(name));
        let whole = support::opened().iter().find(|capture| capture.name == name).unwrap();
        let frames = summary(whole).frames;
        // The secrets of its connections open all of it, but verify nothing.
        let capture = opened(name, &packets, &keys_of("", &secrets(whole, "CEPHWIRE_CONNECTION")));
        let Summary { encrypted_bytes, errors, signatures, .. } = summary(&capture);
        assert_eq!(
            (encrypted_bytes, errors, signatures, summary(&capture).frames),
            (0, 0, 0, frames),
            "{name}"
        );
        // The session keys of tickets do both.
        let capture = opened(name, &packets, &keys_of("", &secrets(whole, "CEPHWIRE_TICKET")));
        let Summary { encrypted_bytes, errors, signatures, .. } = summary(&capture);
        assert_eq!((encrypted_bytes, errors, summary(&capture).frames), (0, 0, frames), "{name}");
        assert_eq!(signatures, summary(whole).signatures, "{name}");
    }
    // The secrets of the OSDs open what is between them, and not what is between them and the monitor.
    let whole = support::opened().iter().find(|capture| capture.name == PEERS).unwrap();
    let lines = secrets(whole, "CEPHWIRE_SERVICE");
    let capture = opened(PEERS, &packets::read(&file(PEERS)), &keys_of("", &lines));
    let sealed = |record: &&Record| record.name() == "encrypted";
    let monitor = |record: &Record| record.src.port() == 30900 || record.dst.port() == 30900;
    assert!(capture.records.iter().any(|record| sealed(&record)));
    assert!(capture.records.iter().filter(sealed).all(monitor));
    assert!(capture.records.iter().any(|record| !monitor(record) && record.name() == "message"));
    assert_eq!(summary(&capture).errors, 0);
}

/// The keyring and the secrets file beside a capture, with which a reader may begin.
#[test]
fn the_files_beside_a_capture_open_it() {
    let beside = |kind: &str| {
        std::fs::read_to_string(support::testdata().join(format!("captures/{SECURE}.{kind}"))).unwrap()
    };
    assert_eq!(beside("keyring"), keyring(SECURE));
    let packets = packets::read(&file(SECURE));
    for keys in [keys_of(&beside("keyring"), ""), keys_of("", &beside("secrets"))] {
        let Summary { encrypted_bytes, errors, messages, .. } = summary(&opened(SECURE, &packets, &keys));
        assert_eq!((encrypted_bytes, errors, messages), (0, 0, 134));
    }
}

/// A wrong byte in a sealed frame: everything before it is as it was, the error names the place, and the other side
/// stays readable.
#[test]
fn a_wrong_byte_in_a_sealed_stream_is_an_error_at_its_place() {
    let original = packets::read(&file(SECURE));
    let whole = support::opened().iter().find(|capture| capture.name == SECURE).unwrap();
    let sealed: Vec<_> = whole
        .records
        .iter()
        .filter(|record| matches!(&record.what, What::V2(_, footprint) if footprint.secure))
        .collect();
    for (n, record) in sealed.iter().enumerate().step_by(sealed.len() / 40) {
        let mut packets = original.clone();
        let at = record.offset + n as u64 * 7 % record.len;
        packets::flip(&mut packets, record.src, record.dst, at, 1 << (n % 8));
        let capture = opened(SECURE, &packets, &keys(SECURE));
        let error = capture.records.iter().find(|record| record.is_error()).unwrap();
        let What::Undecodable(Why::Malformed(why)) = &error.what else { panic!("{error:?}") };
        assert_eq!(
            (error.offset, error.src, error.dst),
            (record.offset, record.src, record.dst),
            "{error:?}"
        );
        assert_eq!(why.flaw, Flaw::Seal);
        // The error is at the tag of the part that has the byte.
        assert!(
            why.offset + v2::TAG_LEN as u64 > at && why.offset < record.offset + record.len,
            "{why}, {at}"
        );
        assert_eq!(capture.records.iter().filter(|record| record.is_error()).count(), 1);
        let others = |capture: &Capture| {
            let other =
                capture.records.iter().filter(|other| (other.src, other.dst) != (record.src, record.dst));
            other.map(|record| format!("{:?}", record.what)).collect::<Vec<_>>()
        };
        // What a renewal on this side would have given may be missing elsewhere.
        if !is_monitor(record.src, record.dst) {
            assert_eq!(others(&capture), others(whole));
        }
    }
}

/// AUTH_SIGNATURE covers what no crc does: the banners.
#[test]
fn an_altered_banner_shows_in_the_peers_signature() {
    let original = packets::read(&file(CRC));
    let whole = support::opened().iter().find(|capture| capture.name == CRC).unwrap();
    let signed = |connection, from| {
        move |record: &&Record| {
            record.name() == "auth_signature" && record.connection == connection && record.from == from
        }
    };
    for side in [Side::Client, Side::Server] {
        let banners = whole.records.iter().filter(|record| record.name() == "banner" && record.from == side);
        for banner in banners {
            let mut packets = original.clone();
            // A feature that nobody knows.
            packets::flip(&mut packets, banner.src, banner.dst, 10 + 5, 4);
            let capture = opened(CRC, &packets, &keys(CRC));
            for (from, expected) in [(side, Signature::Holds), (side.peer(), Signature::Wrong)] {
                let record = capture.records.iter().find(signed(banner.connection, from)).unwrap();
                assert_eq!(record.findings.signature, Some(expected), "{record:?}");
                assert_eq!(record.is_error(), expected == Signature::Wrong);
            }
            assert_eq!(capture.records.iter().filter(|record| record.is_error()).count(), 1);
        }
    }
}

#[test]
fn altered_messages_of_v1_have_wrong_signatures() {
    let original = packets::read(&file(V1));
    let whole = support::opened().iter().find(|capture| capture.name == V1).unwrap();
    let signed: Vec<_> =
        whole.records.iter().filter(|record| record.findings.signature == Some(Signature::Holds)).collect();
    assert!(signed.len() > 50, "only {}", signed.len());
    let mut stripped = 0;
    for (n, record) in signed.iter().enumerate() {
        // Footer: three crcs, signature, flags.
        let end = record.offset + record.len;
        let mut packets = original.clone();
        packets::flip(&mut packets, record.src, record.dst, end - 9 + n as u64 % 8, 1 << (n % 8));
        let capture = opened(V1, &packets, &keys(V1));
        let errors: Vec<_> = capture.records.iter().filter(|record| record.is_error()).collect();
        let [error] = errors[..] else { panic!("{errors:?}") };
        assert_eq!(
            (error.offset, error.src, error.findings.signature),
            (record.offset, record.src, Some(Signature::Wrong))
        );
        // Without the flag SIGNED it is missing, unless the side never signed before.
        let mut packets = original.clone();
        packets::flip(&mut packets, record.src, record.dst, end - 1, 4);
        let capture = opened(V1, &packets, &keys(V1));
        let found =
            capture.records.iter().filter(|record| record.is_error()).map(|record| record.findings.signature);
        let first = !signed[..n]
            .iter()
            .any(|before| (before.connection, before.from) == (record.connection, record.from));
        let expected = if first { vec![] } else { vec![Some(Signature::Missing)] };
        assert_eq!(found.collect::<Vec<_>>(), expected);
        stripped += expected.len();
    }
    assert!(stripped > 40, "only {stripped}");
}

/// A connection that is refused right after its first payload.
fn refused(payload: &'static [u8]) -> Capture {
    let hello = |kind| Frame::Hello(Hello { entity_type: kind, peer_addr: EntityAddr::default() });
    let request = AuthRequest {
        method: method::CEPHX,
        preferred_modes: vec![mode::CRC],
        payload: Bytes::from_static(payload),
    };
    let (allowed_methods, allowed_modes) = (vec![method::CEPHX], vec![mode::CRC]);
    let refusal = AuthBadMethod { method: method::CEPHX, result: -13, allowed_methods, allowed_modes };
    let mut talk = Talk::new();
    let mut encoders = [v2::Encoder::new(), v2::Encoder::new()];
    for (side, frame) in [
        (Side::Client, Frame::Banner(Banner { supported: MsgrFeatures(1), required: MsgrFeatures(0) })),
        (Side::Server, Frame::Banner(Banner { supported: MsgrFeatures(1), required: MsgrFeatures(0) })),
        (Side::Client, hello(EntityType::CLIENT)),
        (Side::Server, hello(EntityType::OSD)),
        (Side::Client, Frame::AuthRequest(request)),
        (Side::Server, Frame::AuthBadMethod(refusal)),
    ] {
        let mut out = Chunks::new();
        encoders[usize::from(side == Side::Server)].encode(&frame, &mut out).unwrap();
        talk.say(side, &out.take_pieces().concat());
    }
    talk.close();
    let capture = opened("refused", &talk.packets, &keys(SECURE));
    assert_eq!(capture.records.len(), 6);
    capture
}

#[test]
fn a_payload_that_is_none_is_an_error_and_none_at_all_is_not() {
    assert_eq!(summary(&refused(b"")).errors, 0);
    let capture = refused(b"\x01\x05");
    let problems: Vec<_> = capture.records.iter().filter_map(|record| record.findings.problem()).collect();
    assert_eq!(problems, ["authorizer: global_id needs 8 bytes, 1 are left"]);
    let capture = refused(b"\x0a\x08\0\0\0\xff\xff\xff\xff");
    let problems: Vec<_> = capture.records.iter().filter_map(|record| record.findings.problem()).collect();
    assert_eq!(problems, ["first payload: entity id of 4294967295, the limit is 256"]);
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index, u8)> {
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..=u8::MAX)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a capture, with keys too: no panic, every byte accounted for, an error wherever one is due.
    #[test]
    fn any_damage_is_reported(
        which in prop::sample::select(vec![SECURE, PEERS, CRC, V1]),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut packets = packets::read(&file(which));
        for (packet, byte, bits) in damages {
            let n = packet.index(packets.len());
            if bits == 0 {
                packets.remove(n);
            } else {
                let bytes = &mut packets[n].bytes;
                let at = byte.index(bytes.len());
                bytes[at] ^= bits;
            }
        }
        let capture = opened("damaged", &packets, &keys(which));
        let summary = summary(&capture);
        let bytes = capture.bytes.values().map(|bytes| bytes.len() as u64).sum::<u64>();
        prop_assert_eq!(summary.bytes + summary.missing_bytes, bytes);
        prop_assert!(summary.errors > 0 || summary.undecodable_bytes + summary.missing_bytes == 0);
    }
}
