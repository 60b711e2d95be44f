//! Does Ceph serve us as it serves its own clients?
//!
//! Everything that is written by one of them is read by the other.

use std::time::Duration;

use bytes::Bytes;
use cephwire::auth::cephx::WalletOptions;
use cephwire::codec::v2::{Revision, method};
use cephwire::codec::{Features, MessageType};
use cephwire::{Handle, Policy};
use serde_json::json;

use super::client::{Client, Dialect, now};
use super::lab::{Lab, POOL};
use super::payload::{self, Op, stat_size};
use super::rig::Driver;

fn v1<D: Driver>() {
    serves_us::<D>(Dialect::V1);
}

fn v2_0<D: Driver>() {
    serves_us::<D>(Dialect::V20);
}

fn v2_1<D: Driver>() {
    serves_us::<D>(Dialect::V21);
}

fn both<D: Driver>() {
    serves_us::<D>(Dialect::Both);
}

mod served {
    use super::{both, v1, v2_0, v2_1};

    on_each_driver! {
        #[ignore = "needs a Ceph lab"] v1
        #[ignore = "needs a Ceph lab"] v2_0
        #[ignore = "needs a Ceph lab"] v2_1
        #[ignore = "needs a Ceph lab"] both
    }
}

/// These need a lab with cephx.
mod keys {
    use super::unsigned_messages_are_refused;

    on_each_driver! {
        #[ignore = "needs a Ceph lab with keys"] unsigned_messages_are_refused
    }
}

fn serves_us<D: Driver>(dialect: Dialect) {
    let lab = Lab::given();
    let client = Client::<D>::log_in(&lab, dialect);
    the_monitor(&lab, &client);
    let prefix = format!("{dialect:?}-{}", D::NUMBER);
    for len in [0, 1, 75, 4096, 65_536, 1_000_003, (5 << 20) + 1] {
        one_object(&client, &format!("{prefix}-{len}"), len);
    }
    shared_object(&lab, &client, &format!("{prefix}-small"), 75);
    shared_object(&lab, &client, &format!("{prefix}-large"), (5 << 20) + 1);
    several_operations(&client, &format!("{prefix}-several"));
    let (_, osd) = client.locate("any");
    for session in [&client.monitor, &osd] {
        what_was_negotiated(&lab, dialect, &client, session);
    }
    // However often it was connected to.
    assert!(client.messenger.sessions().len() <= 1 + lab.osds());
    assert_eq!(client.messenger.end(Duration::from_secs(10)), []);
}

fn the_monitor<D: Driver>(lab: &Lab, client: &Client<D>) {
    let (fsid, epoch, names) = client.mon_map();
    assert_eq!((epoch, &names[..]), (1, &["a".to_owned()][..]));
    let hex: String = fsid.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, lab.fsid().replace('-', ""));

    client.subscribe(&[("config", 0, false), ("monmap", 0, false), ("osdmap", 0, true)]);
    client.wait_from(&client.monitor, MessageType::CONFIG, |_| true);
    payload::mon_map(&client.wait_from(&client.monitor, MessageType::MON_MAP, |_| true));
    let map = client.wait_from(&client.monitor, MessageType::OSD_MAP, |_| true);
    let (found, first, last) = payload::osd_map(&map);
    assert!(found == fsid && first <= last && last > 1);
    // All of them, in one message of many pieces.
    client.subscribe(&[("osdmap", 1, true)]);
    let all = payload::osd_map(&client.wait_from(&client.monitor, MessageType::OSD_MAP, |_| true));
    assert_eq!((all.1, all.2 >= last), (1, true));

    let status = client.tell(&json!({"prefix": "status", "format": "json"}));
    assert_eq!(status["fsid"], lab.fsid());
    assert_eq!(status["osdmap"]["num_up_osds"], status["osdmap"]["num_osds"]);
    let unknown = client.command(&json!({"prefix": "no such command"}));
    assert_eq!(unknown.result, -22, "{}", unknown.status);
}

/// Bytes that no two objects share.
fn content(name: &str, len: usize) -> Bytes {
    let mut state = name.bytes().fold(0x1234_5678_9abc_def1_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

fn one_object<D: Driver>(client: &Client<D>, name: &str, len: usize) {
    let data = content(name, len);
    client.put(name, data.clone());
    let stat = client.operate(name, &[Op::Stat]);
    assert_eq!((stat.result, stat_size(&stat.outputs[0].1)), (0, len as u64));
    assert!(client.read(name) == data, "{name}: read back");
    if len > 100 {
        let part = client.operate(name, &[Op::Read(17, 64)]);
        assert_eq!(part.outputs[0].1, data.slice(17..81));
    }

    assert_eq!(client.operate(name, &[Op::Delete]).result, 0);
    for op in [Op::Stat, Op::Read(0, 0), Op::Delete] {
        assert_eq!(client.operate(name, &[op]).result, -2, "{name} is gone");
    }
}

/// One of us writes, the other reads.
fn shared_object<D: Driver>(lab: &Lab, client: &Client<D>, name: &str, len: usize) {
    let data = content(name, len);
    client.put(name, data.clone());
    let theirs = lab.ceph(&["rados", "-p", POOL, "get", name, "-"]).stdout;
    assert!(theirs == data, "{name}: Ceph reads what we wrote");

    let copy = format!("{name}-copy");
    let data = content(&copy, len);
    let file = lab.file(&copy);
    std::fs::write(&file, &data).unwrap();
    lab.ceph(&["rados", "-p", POOL, "put", &copy, file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert!(client.read(&copy) == data, "{name}: we read what Ceph wrote");
}

fn several_operations<D: Driver>(client: &Client<D>, name: &str) {
    let (a, b) = (content("a", 10_000), content("b", 3000));
    let write =
        [Op::WriteFull(a.clone()), Op::Append(b.clone()), Op::Write(5, Bytes::from_static(b"within"))];
    assert_eq!(client.operate(name, &write).result, 0);
    let mut whole = [&a[..], &b].concat();
    whole[5..11].copy_from_slice(b"within");
    let reply = client.operate(name, &[Op::Stat, Op::Read(0, 11), Op::Read(9990, 0)]);
    let outputs: Vec<&[u8]> = reply.outputs.iter().map(|(_, output)| &output[..]).collect();
    assert_eq!(stat_size(&reply.outputs[0].1), 13_000);
    assert_eq!(outputs[1..], [&whole[..11], &whole[9990..]]);
    // Many on their way at once; each answer finds its question.
    let (place, osd) = client.locate(name);
    let at: Vec<u64> = (0..200).map(|at| at * 64).collect();
    let reads: Vec<Vec<Op>> = at.iter().map(|at| vec![Op::Read(*at, 64)]).collect();
    let replies = client.operate_many(&osd, &place, name, &reads);
    for (at, reply) in at.iter().zip(replies) {
        let at = *at as usize;
        assert_eq!(reply.outputs[0].1, whole[at..at + 64]);
    }
    assert_eq!(client.operate(name, &[Op::Delete]).result, 0);
}

fn what_was_negotiated<D: Driver>(lab: &Lab, dialect: Dialect, client: &Client<D>, session: &Handle) {
    let facts = session.facts().unwrap();
    let to_monitor = *session == client.monitor;
    assert_eq!(facts.version, dialect.version());
    assert!(facts.features.contains(Features::SERVER_PACIFIC) && facts.lossy);
    let wanted = if lab.has_keys() { method::CEPHX } else { method::NONE };
    let method = facts.method.unwrap();
    match dialect {
        // There, messages do it.
        Dialect::V1 if to_monitor => assert_eq!(method, method::UNKNOWN),
        _ => assert_eq!(method, wanted),
    }
    let revision = match dialect {
        Dialect::V1 => None,
        Dialect::V20 => Some(Revision::V2_0),
        Dialect::V21 | Dialect::Both => Some(Revision::V2_1),
    };
    assert_eq!((facts.revision(), facts.mode), (revision, revision.map(|_| lab.mode())));
}

/// Ceph's OSDs check what clients sign, in v1: who does not is hung up on.
fn unsigned_messages_are_refused<D: Driver>() {
    let lab = Lab::given();
    let options = WalletOptions { sign_messages: false, ..WalletOptions::default() };
    let client = Client::<D>::log_in_with(&lab, Dialect::V1, options, Policy::default());
    let (place, osd) = client.locate("unsigned");
    let request = payload::osd_op(&place, "unsigned", now(), &[Op::Stat]);
    osd.send(request).unwrap();
    client.wait_failure(&osd);
    assert!(osd.is_closed());
    client.messenger.end(Duration::ZERO);

    // The same, signed.
    let client = Client::<D>::log_in(&lab, Dialect::V1);
    assert_eq!(client.operate("unsigned", &[Op::Stat]).result, -2);
    client.messenger.end(Duration::ZERO);
}
