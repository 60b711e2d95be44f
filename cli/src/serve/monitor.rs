//! What does a monitor answer?
//!
//! Enough for Ceph's clients to get through: a map with itself in it, an empty configuration, authentication by the
//! method "none" (which v1 does by messages), and a refusal of every command. (Payload spec §1–§3.)

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cephwire::auth::cephx::message::{Auth, AuthReply};
use cephwire::codec::v2::method;
use cephwire::codec::{AddrVec, Header, Message, MessageType, priority};

use crate::live::identity::wall_clock;

/// The release that the map names: 16, Pacific.
const RELEASE: u8 = 16;
/// Not supported.
const EOPNOTSUPP: i32 = -95;
/// `version 0, session mon −1, session tid 0`: the prefix of all messages to and from the monitors' services.
const PAXOS: usize = 18;
/// What clients and daemons ask for may fill so many items.
const MOST_ITEMS: u32 = 1000;

/// One monitor, alone.
#[derive(Clone, Debug)]
pub(super) struct Monitor {
    name: String,
    fsid: [u8; 16],
}

impl Monitor {
    /// With a cluster's number of its own.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let mut fsid = [0; 16];
        getrandom::fill(&mut fsid).map_err(io::Error::other)?;
        // As the version 4 UUID that it is.
        fsid[6] = fsid[6] & 0x0f | 0x40;
        fsid[8] = fsid[8] & 0x3f | 0x80;
        Ok(Self { name: name.to_owned(), fsid })
    }

    /// The answers to a message; `None` if it is none of a monitor's business. `global_id` is the client's.
    pub(super) fn answers(&self, message: &Message, own: &AddrVec, global_id: u64) -> Option<Vec<Message>> {
        let front = || message.front.clone().into_bytes();
        let tid = message.header.tid;
        Some(match message.header.kind {
            MessageType::PING => vec![self.ping(tid)],
            MessageType::MON_GET_MAP => vec![self.map(own)],
            MessageType::MON_SUBSCRIBE => {
                let wanted = subscriptions(front()).unwrap_or_default();
                let map = wanted.iter().any(|what| what == "monmap").then(|| self.map(own));
                let config = wanted.iter().any(|what| what == "config").then(config);
                config.into_iter().chain(map).collect()
            }
            MessageType::MON_GET_VERSION => get_version(front(), tid).into_iter().collect(),
            MessageType::AUTH => auth(&front(), global_id).into_iter().collect(),
            MessageType::MON_COMMAND => command(front(), tid).into_iter().collect(),
            _ => return None,
        })
    }

    /// `MPing` with health and status, in the shape of Ceph's.
    fn ping(&self, tid: u64) -> Message {
        let text = serde_json::json!({
            "health": { "status": "HEALTH_OK", "checks": {} },
            "mon_status": { "name": self.name, "rank": 0, "state": "leader", "quorum": [0], "version": "cephwire" },
        });
        let mut front = BytesMut::new();
        put_string(&mut front, &text.to_string());
        // Ceph's has a compat_version of 0 here.
        answer(MessageType::PING, 1, 0, tid, front)
    }

    /// `MMonMap`: a map of version 9.
    fn map(&self, own: &AddrVec) -> Message {
        let mut info = BytesMut::new();
        put_string(&mut info, &self.name);
        own.encode(&mut info);
        info.put_u16_le(0); // priority
        info.put_u16_le(0); // weight
        info.put_u32_le(0); // crush location
        let mut map = BytesMut::new();
        map.put_slice(&self.fsid);
        map.put_u32_le(1); // epoch
        let now = wall_clock().to_bytes();
        map.put_slice(&now); // last changed
        map.put_slice(&now); // created
        for features in [0xff_u64, 0] {
            // persistent, optional
            let mut bits = BytesMut::new();
            bits.put_u64_le(features);
            put_versioned(&mut map, 1, 1, &bits);
        }
        map.put_u32_le(1);
        put_string(&mut map, &self.name);
        put_versioned(&mut map, 5, 1, &info);
        map.put_u32_le(1);
        put_string(&mut map, &self.name); // rank 0
        map.put_u8(RELEASE);
        map.put_u32_le(0); // removed ranks
        map.put_u8(1); // strategy: classic
        map.put_u32_le(0); // disallowed leaders
        map.put_u8(0); // stretch mode
        put_string(&mut map, ""); // its tiebreaker
        map.put_u32_le(0); // its monitors that are down
        let mut front = BytesMut::new();
        let mut whole = BytesMut::new();
        put_versioned(&mut whole, 9, 6, &map);
        front.put_u32_le(whole.len() as u32);
        front.put(whole);
        answer(MessageType::MON_MAP, 1, 1, 0, front)
    }
}

/// `MConfig`: no option is set.
fn config() -> Message {
    let mut front = BytesMut::new();
    front.put_u32_le(0);
    answer(MessageType::CONFIG, 1, 1, 0, front)
}

/// `MMonGetVersionReply`: whatever it is, its first version is its last.
fn get_version(mut front: Bytes, tid: u64) -> Option<Message> {
    let handle = front.try_get_u64_le().ok()?;
    let mut reply = BytesMut::new();
    reply.put_u64_le(handle);
    reply.put_u64_le(1);
    reply.put_u64_le(1);
    Some(answer(MessageType::MON_GET_VERSION_REPLY, 2, 2, tid, reply))
}

/// `MAuthReply` (v1): the method "none" is chosen, and that is all.
fn auth(front: &[u8], global_id: u64) -> Option<Message> {
    let asked = Auth::decode(front).ok()?.protocol;
    let result = if matches!(asked, method::UNKNOWN | method::NONE) { 0 } else { EOPNOTSUPP };
    let (payload, text) = (Bytes::new(), String::new());
    Some(AuthReply { protocol: method::NONE, result, global_id, payload, text }.message())
}

/// `MMonCommandAck`: not supported. It repeats the command.
fn command(mut front: Bytes, tid: u64) -> Option<Message> {
    front.try_advance_by(PAXOS + 16)?;
    let command = front;
    let mut reply = BytesMut::new();
    reply.put_u64_le(0);
    reply.put_i16_le(-1);
    reply.put_u64_le(0);
    reply.put_i32_le(EOPNOTSUPP);
    put_string(&mut reply, "cephwire serve has no cluster behind it");
    reply.put(command);
    Some(answer(MessageType::MON_COMMAND_ACK, 1, 1, tid, reply))
}

/// The names in `MMonSubscribe`.
fn subscriptions(mut front: Bytes) -> Option<Vec<String>> {
    let count = front.try_get_u32_le().ok()?.min(MOST_ITEMS);
    let mut names = Vec::new();
    for _ in 0..count {
        let len = front.try_get_u32_le().ok()? as usize;
        let name = (len <= front.len()).then(|| front.split_to(len))?;
        names.push(String::from_utf8_lossy(&name).into_owned());
        front.try_get_u64_le().ok()?; // start
        front.try_get_u8().ok()?; // flags
    }
    Some(names)
}

fn answer(kind: MessageType, version: u16, compat_version: u16, tid: u64, front: BytesMut) -> Message {
    let header = Header { tid, kind, priority: priority::HIGH, version, compat_version, ..Header::default() };
    Message { header, front: front.freeze().into(), ..Message::default() }
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

/// Skipping within bounds.
trait TryAdvance {
    fn try_advance_by(&mut self, len: usize) -> Option<()>;
}

impl TryAdvance for Bytes {
    fn try_advance_by(&mut self, len: usize) -> Option<()> {
        (len <= self.len()).then(|| self.advance(len))
    }
}
