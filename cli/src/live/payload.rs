//! What is in the few messages that these commands send and read?

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cephwire_codec::{EntityType, Header, Message, MessageType, priority};

/// `MPing` as clients send it: empty.
pub(crate) fn ping(tid: u64) -> Message {
    let header = Header {
        tid,
        kind: MessageType::PING,
        priority: priority::DEFAULT,
        version: 1,
        compat_version: 1,
        ..Header::default()
    };
    Message { header, ..Message::default() }
}

/// The text in a monitor's `MPing`: JSON with its health and status. Nothing if there is none.
pub(crate) fn ping_text(front: Bytes) -> Option<String> {
    string(&mut front.clone())
}

/// The first `MAuth` of v1 to a monitor: which of these methods (ascending) does it take?
pub(crate) fn auth_request(methods: &[u32], kind: EntityType, id: &str) -> Message {
    let mut payload = BytesMut::new();
    payload.put_u8(1);
    payload.put_u32_le(methods.len() as u32);
    methods.iter().for_each(|method| payload.put_u32_le(*method));
    payload.put_u32_le(kind.0.into());
    payload.put_u32_le(id.len() as u32);
    payload.put_slice(id.as_bytes());
    payload.put_u64_le(0);
    let mut front = BytesMut::new();
    // Paxos: version, the old session's monitor and tid; then protocol 0 (which one is the question).
    front.put_u64_le(0);
    front.put_i16_le(-1);
    front.put_u64_le(0);
    front.put_u32_le(0);
    front.put_u32_le(payload.len() as u32);
    front.put(payload);
    front.put_u32_le(0);
    let header = Header {
        kind: MessageType::AUTH,
        priority: priority::DEFAULT,
        version: 1,
        compat_version: 1,
        ..Header::default()
    };
    Message { header, front: front.freeze().into(), ..Message::default() }
}

/// The method and the result (0, or a negative errno) in `MAuthReply`.
pub(crate) fn auth_reply(mut front: Bytes) -> Option<(u32, i32)> {
    Some((front.try_get_u32_le().ok()?, front.try_get_i32_le().ok()?))
}

fn string(from: &mut Bytes) -> Option<String> {
    let len = from.try_get_u32_le().ok()? as usize;
    let bytes = (len <= from.len()).then(|| from.split_to(len))?;
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_within_their_bounds() {
        let text = |bytes: &'static [u8]| ping_text(Bytes::from_static(bytes));
        assert_eq!(text(b"\x02\0\0\0{}"), Some("{}".to_owned()));
        assert_eq!(text(b"\x02\0\0\0{}more"), Some("{}".to_owned()));
        assert_eq!(text(b"\x03\0\0\0{}"), None);
        assert_eq!(text(b"\xff\xff\xff\xff{}"), None);
        assert_eq!(text(b"\x01\0\0\0\xff"), None);
        assert_eq!(text(b""), None);
    }
}
