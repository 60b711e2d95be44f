//! What is in the messages that a small client of a cluster sends and reads?
//!
//! Payload spec §1–§5. What comes from a real Ceph must be read to its last byte; a test that finds more, or less,
//! fails.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cephwire::codec::{AddrVec, Features, Header, Message, MessageType, Timestamp, priority};

/// The cluster's identity.
pub(crate) type Fsid = [u8; 16];

/// `u64 version 0, i16 session mon −1, u64 session tid 0`: what clients put before a request to the monitors' services.
fn put_paxos(out: &mut BytesMut) {
    out.put_u64_le(0);
    out.put_i16_le(-1);
    out.put_u64_le(0);
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

/// A versioned struct: version, compat version, length, contents.
fn put_versioned(out: &mut BytesMut, version: u8, compat: u8, contents: &[u8]) {
    out.put_u8(version);
    out.put_u8(compat);
    out.put_u32_le(contents.len() as u32);
    out.put_slice(contents);
}

fn take_bytes(from: &mut Bytes) -> Bytes {
    let len = from.get_u32_le() as usize;
    from.split_to(len)
}

fn take_string(from: &mut Bytes) -> String {
    String::from_utf8(take_bytes(from).to_vec()).unwrap()
}

fn message(kind: MessageType, version: u16, compat_version: u16, front: BytesMut) -> Message {
    let header = Header { kind, version, compat_version, priority: priority::DEFAULT, ..Header::default() };
    Message { header, front: front.freeze().into(), ..Message::default() }
}

fn front(message: &Message, kind: MessageType) -> Bytes {
    assert_eq!(message.header.kind, kind);
    message.front.clone().into_bytes()
}

// Monitors (§2, §3).

pub(crate) fn get_map() -> Message {
    message(MessageType::MON_GET_MAP, 1, 1, BytesMut::new())
}

/// Wants these from their first epochs on: all that follow, or (`once`) only what is there.
pub(crate) fn subscribe(what: &[(&str, u64, bool)]) -> Message {
    let mut front = BytesMut::new();
    front.put_u32_le(what.len() as u32);
    for (name, start, once) in what {
        put_string(&mut front, name);
        front.put_u64_le(*start);
        front.put_u8((*once).into());
    }
    put_string(&mut front, "localhost");
    message(MessageType::MON_SUBSCRIBE, 3, 1, front)
}

/// The fsid and the epoch in an MMonMap, and its monitors' names.
pub(crate) fn mon_map(received: &Message) -> (Fsid, u32, Vec<String>) {
    let mut front = front(received, MessageType::MON_MAP);
    let mut map = take_bytes(&mut front);
    assert!(front.is_empty());
    assert!(map.get_u8() >= 6, "a map for peers that know addresses of both versions");
    map.get_u8();
    assert_eq!(map.get_u32_le() as usize, map.len());
    let mut fsid = [0; 16];
    map.copy_to_slice(&mut fsid);
    let epoch = map.get_u32_le();
    map.advance(2 * 8); // last changed, created
    for _ in 0..2 {
        // Features: persistent, optional.
        map.advance(2);
        take_bytes(&mut map);
    }
    let mut names = Vec::new();
    for _ in 0..map.get_u32_le() {
        names.push(take_string(&mut map));
        map.advance(2);
        take_bytes(&mut map);
    }
    (fsid, epoch, names)
}

/// An MMonCommand; its answer has the same tid.
pub(crate) fn mon_command(fsid: &Fsid, json: &str) -> Message {
    let mut front = BytesMut::new();
    put_paxos(&mut front);
    front.put_slice(fsid);
    front.put_u32_le(1);
    put_string(&mut front, json);
    message(MessageType::MON_COMMAND, 1, 1, front)
}

/// What a monitor says to a command.
#[derive(Debug)]
pub(crate) struct CommandAck {
    pub(crate) result: i32,
    pub(crate) status: String,
    pub(crate) output: Bytes,
}

pub(crate) fn command_ack(received: &Message) -> CommandAck {
    let mut front = front(received, MessageType::MON_COMMAND_ACK);
    front.advance(18);
    let result = front.get_i32_le();
    let status = take_string(&mut front);
    for _ in 0..front.get_u32_le() {
        take_string(&mut front);
    }
    assert!(front.is_empty());
    CommandAck { result, status, output: received.data.clone().into_bytes() }
}

/// The cluster's identity, and the first and the last epoch in an MOSDMap.
pub(crate) fn osd_map(received: &Message) -> (Fsid, u32, u32) {
    let mut front = front(received, MessageType::OSD_MAP);
    let mut fsid = [0; 16];
    front.copy_to_slice(&mut fsid);
    let mut epochs = Vec::new();
    for _ in ["incremental", "full"] {
        for _ in 0..front.get_u32_le() {
            epochs.push(front.get_u32_le());
            assert!(!take_bytes(&mut front).is_empty());
        }
    }
    front.advance(2 * 4); // the oldest and the newest that the monitor has
    if received.header.version >= 4 {
        assert_eq!(front.get_u32_le(), 0);
    }
    assert!(front.is_empty());
    (fsid, *epochs.iter().min().unwrap(), *epochs.iter().max().unwrap())
}

// What a monitor says (§2, §3).

/// An MMonMap of version 9 with one monitor, `a`, at these addresses.
pub(crate) fn mon_map_of(fsid: &Fsid, addrs: &AddrVec, now: Timestamp) -> Message {
    let mut info = BytesMut::new();
    put_string(&mut info, "a");
    addrs.encode(&mut info);
    info.put_bytes(0, 2 + 2 + 4); // priority, weight, crush location
    let mut map = BytesMut::new();
    map.put_slice(fsid);
    map.put_u32_le(1);
    map.put_slice(&now.to_bytes());
    map.put_slice(&now.to_bytes());
    for features in [0xff_u64, 0] {
        put_versioned(&mut map, 1, 1, &features.to_le_bytes());
    }
    map.put_u32_le(1);
    put_string(&mut map, "a");
    put_versioned(&mut map, 5, 1, &info);
    map.put_u32_le(1);
    put_string(&mut map, "a"); // rank 0
    map.put_u8(16); // Pacific
    map.put_u32_le(0); // removed ranks
    map.put_u8(1); // the classic strategy
    map.put_bytes(0, 4 + 1 + 4 + 4); // disallowed leaders; stretch mode, its tiebreaker, who is down
    let mut whole = BytesMut::new();
    put_versioned(&mut whole, 9, 6, &map);
    let mut front = BytesMut::new();
    front.put_u32_le(whole.len() as u32);
    front.put(whole);
    message(MessageType::MON_MAP, 1, 1, front)
}

/// An MConfig that sets nothing.
pub(crate) fn no_config() -> Message {
    message(MessageType::CONFIG, 1, 1, BytesMut::from(&[0; 4][..]))
}

/// What a client subscribes to.
pub(crate) fn subscriptions(received: &Message) -> Vec<String> {
    let mut front = front(received, MessageType::MON_SUBSCRIBE);
    let mut names = Vec::new();
    for _ in 0..front.get_u32_le() {
        names.push(take_string(&mut front));
        front.advance(9);
    }
    names
}

/// The commands in an MMonCommand.
pub(crate) fn commands(received: &Message) -> Vec<String> {
    let mut front = front(received, MessageType::MON_COMMAND);
    front.advance(18 + 16);
    (0..front.get_u32_le()).map(|_| take_string(&mut front)).collect()
}

/// The answer to a command: that it was done, and this output.
pub(crate) fn command_done(received: &Message, output: &str) -> Message {
    let mut reply = BytesMut::new();
    put_paxos(&mut reply);
    reply.put_i32_le(0);
    put_string(&mut reply, "");
    reply.put(front(received, MessageType::MON_COMMAND).slice(18 + 16..));
    let mut message = message(MessageType::MON_COMMAND_ACK, 1, 1, reply);
    message.header.tid = received.header.tid;
    message.data = output.as_bytes().to_vec().into();
    message
}

/// The answer to MMonGetVersion: this one, and there is no other.
pub(crate) fn version(received: &Message, epoch: u64) -> Message {
    let mut reply = BytesMut::new();
    reply.put_u64_le(front(received, MessageType::MON_GET_VERSION).get_u64_le());
    reply.put_u64_le(epoch);
    reply.put_u64_le(epoch);
    let mut message = message(MessageType::MON_GET_VERSION_REPLY, 2, 2, reply);
    message.header.tid = received.header.tid;
    message
}

// File systems.

/// An MClientSession: `u32 op, u64 seq, utime stamp, u32 max_caps, u32 max_leases`; from version 2 on with
/// `map<string,string> metadata`. Ceph: `src/messages/MClientSession.h`.
pub(crate) fn client_session(op: u32, seq: u64, now: Timestamp) -> Message {
    let mut front = BytesMut::new();
    front.put_u32_le(op);
    front.put_u64_le(seq);
    front.put_slice(&now.to_bytes());
    front.put_bytes(0, 4 + 4);
    if op == session::REQUEST_OPEN {
        front.put_u32_le(2);
        for (name, value) in [("hostname", "localhost"), ("entity_id", "admin")] {
            put_string(&mut front, name);
            put_string(&mut front, value);
        }
        return message(MessageType::CLIENT_SESSION, 2, 1, front);
    }
    message(MessageType::CLIENT_SESSION, 1, 1, front)
}

/// The `op` and the `seq` in one.
pub(crate) fn session_said(received: &Message) -> (u32, u64) {
    let mut front = front(received, MessageType::CLIENT_SESSION);
    (front.get_u32_le(), front.get_u64_le())
}

/// What an MClientSession is about.
pub(crate) mod session {
    pub(crate) const REQUEST_OPEN: u32 = 0;
    pub(crate) const OPEN: u32 = 1;
    pub(crate) const REQUEST_CLOSE: u32 = 2;
    pub(crate) const CLOSE: u32 = 3;
    pub(crate) const REQUEST_RENEWCAPS: u32 = 4;
    pub(crate) const RENEWCAPS: u32 = 5;
}

// Objects (§5).

/// Where an object is: what the monitors' command `osd map` says.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) pool: i64,
    /// The whole hash of the name.
    pub(crate) hash: u32,
    /// The placement group in the pool.
    pub(crate) group: u32,
    pub(crate) epoch: u32,
    pub(crate) primary: i64,
}

/// An operation on an object.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Replaces the object.
    WriteFull(Bytes),
    Write(u64, Bytes),
    Append(Bytes),
    /// From there, so many bytes; 0 = to the end.
    Read(u64, u64),
    Stat,
    Delete,
}

impl Op {
    fn code(&self) -> u16 {
        match self {
            Self::WriteFull(_) => 0x2202,
            Self::Write(..) => 0x2201,
            Self::Append(_) => 0x2206,
            Self::Read(..) => 0x1201,
            Self::Stat => 0x1202,
            Self::Delete => 0x2205,
        }
    }

    fn writes(&self) -> bool {
        self.code() & 0x2000 != 0
    }

    fn extent(&self) -> (u64, u64) {
        match self {
            Self::WriteFull(data) | Self::Append(data) => (0, data.len() as u64),
            Self::Write(at, data) => (*at, data.len() as u64),
            Self::Read(at, len) => (*at, *len),
            Self::Stat | Self::Delete => (0, 0),
        }
    }

    fn data(&self) -> Bytes {
        match self {
            Self::WriteFull(data) | Self::Write(_, data) | Self::Append(data) => data.clone(),
            Self::Read(..) | Self::Stat | Self::Delete => Bytes::new(),
        }
    }
}

/// `u8 1, i64 pool, u32 seed, i32 −1`
fn put_group(out: &mut BytesMut, place: &Place) {
    out.put_u8(1);
    out.put_i64_le(place.pool);
    out.put_u32_le(place.group);
    out.put_i32_le(-1);
}

/// An MOSDOp; its answer has the same tid.
pub(crate) fn osd_op(place: &Place, object: &str, now: Timestamp, ops: &[Op]) -> Message {
    let writes = ops.iter().any(Op::writes);
    let mut group = BytesMut::new();
    put_group(&mut group, place);
    group.put_i8(-1); // no shard
    let mut front = BytesMut::new();
    put_versioned(&mut front, 1, 1, &group);
    front.put_u32_le(place.hash);
    front.put_u32_le(place.epoch);
    // ONDISK, KNOWN_REDIR; WRITE or READ
    front.put_u32_le(0x0040_0004 | if writes { 0x20 } else { 0x10 });
    put_versioned(&mut front, 2, 2, &[0; 21]); // reqid: the OSD knows it from session and tid
    front.put_bytes(0, 24); // trace
    front.put_u32_le(0); // incarnation
    front.put_slice(&if writes { now.to_bytes() } else { [0; 8] });
    let mut locator = BytesMut::new();
    locator.put_i64_le(place.pool);
    locator.put_i32_le(-1);
    put_string(&mut locator, ""); // key
    put_string(&mut locator, ""); // namespace
    locator.put_i64_le(-1);
    put_versioned(&mut front, 6, 3, &locator);
    put_string(&mut front, object);
    front.put_u16_le(ops.len() as u16);
    for op in ops {
        let (at, len) = op.extent();
        front.put_u16_le(op.code());
        front.put_u32_le(0); // flags
        front.put_u64_le(at);
        front.put_u64_le(len);
        front.put_bytes(0, 12); // truncation
        front.put_u32_le(op.data().len() as u32);
    }
    front.put_u64_le(u64::MAX - 1); // the head, no snapshot
    front.put_u64_le(0);
    front.put_u32_le(0);
    front.put_i32_le(0); // the first attempt
    front.put_u64_le(Features::ALL_PACIFIC.0);
    let data = ops.iter().map(Op::data).filter(|data| !data.is_empty()).collect::<Vec<_>>().into();
    let header = Header {
        kind: MessageType::OSD_OP,
        version: 8,
        compat_version: 3,
        priority: 63,
        ..Header::default()
    };
    Message { header, front: front.freeze().into(), data, ..Message::default() }
}

/// What an OSD says to an MOSDOp.
#[derive(Debug)]
pub(crate) struct OpReply {
    /// 0, bytes, or a negative errno.
    pub(crate) result: i32,
    /// The same and the output of each operation.
    pub(crate) outputs: Vec<(i32, Bytes)>,
}

pub(crate) fn osd_op_reply(received: &Message, object: &str) -> OpReply {
    assert_eq!(received.header.version, 8);
    let mut front = front(received, MessageType::OSD_OPREPLY);
    assert_eq!(take_string(&mut front), object);
    front.advance(17 + 8); // placement group, flags
    let result = front.get_i32_le();
    front.advance(12 + 4); // bad replay version, epoch
    let count = front.get_u32_le() as usize;
    let mut data = received.data.clone().into_bytes();
    let mut lens = Vec::new();
    for _ in 0..count {
        front.advance(34);
        lens.push(front.get_u32_le() as usize);
    }
    front.advance(4); // attempt
    let outputs = lens.into_iter().map(|len| (front.get_i32_le(), data.split_to(len))).collect();
    front.advance(12 + 8); // versions
    assert_eq!(front.get_u8(), 0, "a redirection");
    front.advance(24); // trace
    assert!(front.is_empty() && data.is_empty());
    OpReply { result, outputs }
}

/// The size that `stat` found.
pub(crate) fn stat_size(output: &Bytes) -> u64 {
    assert_eq!(output.len(), 16);
    output.clone().get_u64_le()
}
