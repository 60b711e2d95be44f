//! What is in the few messages that these commands send and read?

use bytes::{Buf, Bytes};
use cephwire_codec::v2::method;
use cephwire_codec::{Header, Message, MessageType, priority};
use cephwire_protocol::auth::Entity;
use cephwire_protocol::auth::cephx::message::Auth;
use cephwire_protocol::auth::cephx::monitor::Introduction;

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

/// The first `MAuth` of v1 to a monitor: does it take this method?
pub(crate) fn auth_request(method: u32, entity: &Entity) -> Message {
    let introduction = Introduction { methods: Some(vec![method]), name: entity.clone(), global_id: 0 };
    Auth { protocol: method::UNKNOWN, payload: introduction.encode().into(), monmap_epoch: 0 }.message()
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
