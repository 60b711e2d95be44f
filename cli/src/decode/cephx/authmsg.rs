//! What is in MAuth and MAuthReply, the messages that carry authentication in v1, and renewals in both versions?
//!
//! ```text
//! MAuth       paxos(18)  u32 protocol  blob payload  [u32 monmap_epoch]
//! MAuthReply  u32 protocol  i32 result  u64 global_id  blob payload  string result_msg
//! ```
//! Ceph: `src/messages/MAuth.h`, `MAuthReply.h`.

use bytes::{Buf, Bytes, TryGetError};
use cephwire_codec::v2::method;
use cephwire_codec::{Message, MessageType};

use super::{Exchange, Findings, Inside, With};

/// What messages to and from a monitor's services begin with: a version, and what nobody uses any more.
const PAXOS: usize = 18;
/// The length of a monitor's challenge. Of what else it answers, refusals have 6 bytes, everything else more.
const CHALLENGE: usize = 9;
/// Longer ones are not looked into.
const FRONT_MOST: usize = 256 << 10;

impl Exchange {
    /// Takes note of a message.
    pub(super) fn message(&mut self, message: &Message) -> Findings {
        let kind = message.header.kind;
        if !matches!(kind, MessageType::AUTH | MessageType::AUTH_REPLY) || message.front.len() > FRONT_MOST {
            return Findings::default();
        }
        let front = message.front.clone().into_bytes();
        let inside = if kind == MessageType::AUTH { self.auth(front) } else { self.auth_reply(front) };
        match inside {
            Ok(Some(inside)) => inside.into(),
            Ok(None) => Findings::default(),
            Err(cut) => {
                let left = cut.available;
                let missing = format!("a field of {} bytes, and only {left} are left", cut.requested);
                Inside::of("auth").wrong(&missing).into()
            }
        }
    }

    fn auth(&mut self, mut front: Bytes) -> Result<Option<Inside>, TryGetError> {
        take(&mut front, PAXOS)?;
        let protocol = front.try_get_u32_le()?;
        let payload = blob(&mut front)?;
        self.with = With::Monitor;
        Ok(match protocol {
            method::UNKNOWN => Some(self.introduction(&payload)),
            method::CEPHX => Some(self.request(&payload)),
            _ => None,
        })
    }

    fn auth_reply(&mut self, mut front: Bytes) -> Result<Option<Inside>, TryGetError> {
        let protocol = front.try_get_u32_le()?;
        let result = front.try_get_i32_le()?;
        let global_id = front.try_get_u64_le()?;
        let payload = blob(&mut front)?;
        let mut inside = match (protocol, &payload[..]) {
            (method::CEPHX, [1, ..]) if payload.len() == CHALLENGE => self.server_challenge(&payload),
            (method::CEPHX, [_, ..]) => self.reply(&payload),
            _ => Inside::of("answer"),
        };
        inside.say("global_id", global_id);
        if result != 0 {
            inside.say("result", result);
        }
        Ok(Some(inside))
    }
}

fn take(front: &mut Bytes, len: usize) -> Result<Bytes, TryGetError> {
    if len > front.len() {
        return Err(TryGetError { requested: len, available: front.len() });
    }
    Ok(front.split_to(len))
}

fn blob(front: &mut Bytes) -> Result<Bytes, TryGetError> {
    let len = front.try_get_u32_le()?;
    take(front, len as usize)
}
