//! Who is let in? Everybody, and each gets a number.
//!
//! The method "none", as a monitor does it: the client's global_id is the one it says it has, else a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Buf;
use cephwire::auth::{AllowAll, Answer, Auth, Client, Peer, Request, Server};
use cephwire::codec::{EntityName, EntityType};

/// The first number, as a new cluster gives it.
const FIRST: u64 = 4100;

/// Lets everybody in.
#[derive(Clone, Debug)]
pub(super) struct Greeter {
    everybody: AllowAll,
    next: Arc<AtomicU64>,
}

impl Default for Greeter {
    fn default() -> Self {
        // It never dials: the name does not matter.
        let everybody = AllowAll { name: EntityName::new(EntityType::CLIENT, -1) };
        Self { everybody, next: Arc::new(AtomicU64::new(FIRST)) }
    }
}

impl Auth for Greeter {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        self.everybody.client(peer)
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        Box::new(Counting { inner: self.everybody.server(peer), next: Arc::clone(&self.next) })
    }
}

/// Lets one in.
struct Counting {
    inner: Box<dyn Server>,
    next: Arc<AtomicU64>,
}

impl Server for Counting {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        let mut answer = self.inner.request(request);
        if let Answer::Done { global_id, .. } = &mut answer {
            *global_id = match self::global_id(request.payload) {
                Some(said) if said != 0 => said,
                _ => self.next.fetch_add(1, Ordering::Relaxed),
            };
        }
        answer
    }

    fn methods(&self) -> Vec<u32> {
        self.inner.methods()
    }
}

/// The last field of the payload: mode, entity type, id, global_id.
fn global_id(mut payload: &[u8]) -> Option<u64> {
    payload.try_get_u8().ok()?;
    payload.try_get_u32_le().ok()?;
    let len = payload.try_get_u32_le().ok()? as usize;
    payload.get(len..)?.try_get_u64_le().ok()
}

#[cfg(test)]
mod tests {
    use cephwire::Version;
    use cephwire::codec::Timestamp;
    use cephwire::codec::v2::{method, mode};

    use super::*;

    #[test]
    fn the_number_of_a_payload_is_found_within_its_bounds() {
        let payload = b"\x0a\x08\0\0\0\x05\0\0\0admin\x07\x10\0\0\0\0\0\0";
        assert_eq!(global_id(payload), Some(0x1007));
        for len in 0..payload.len() {
            assert_eq!(payload.get(..len).and_then(global_id), None, "{len}");
        }
        assert_eq!(global_id(b"\x0a\x08\0\0\0\xff\xff\xff\xffadmin"), None);
    }

    #[test]
    fn numbers_are_given_once_and_kept() {
        let greeter = Greeter::default();
        let ask = |method: u32, payload: &[u8]| {
            let (own, kind) = (EntityType::MON, EntityType::CLIENT);
            let (version, now) = (Version::V2, Timestamp::default());
            let peer = Peer { own, kind, global_id: 0, version, now };
            let request = Request { method, mode: mode::CRC, can_be_challenged: true, payload };
            match greeter.server(&peer).request(&request) {
                Answer::Done { global_id, .. } => Some(global_id),
                _ => None,
            }
        };
        assert_eq!((ask(method::NONE, b""), ask(method::NONE, b"")), (Some(FIRST), Some(FIRST + 1)));
        assert_eq!(ask(method::NONE, b"\x0a\x08\0\0\0\0\0\0\0\x07\x10\0\0\0\0\0\0"), Some(0x1007));
        assert_eq!(ask(method::CEPHX, b""), None);
    }
}
