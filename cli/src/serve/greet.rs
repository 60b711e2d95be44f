//! Who is let in? Everybody, and each gets a number.
//!
//! The method "none", as a monitor does it: the client's global_id is the one it says it has, else a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use cephwire::auth::{AllowAll, Answer, Auth, Client, Secrets, Server};
use cephwire::codec::v2::method;
use cephwire::codec::{EntityName, EntityType};

/// The first number, as a new cluster gives it.
const FIRST: u64 = 4100;

/// Lets everybody in.
#[derive(Clone, Debug)]
pub(super) struct Greeter {
    next: Arc<AtomicU64>,
}

impl Default for Greeter {
    fn default() -> Self {
        Self { next: Arc::new(AtomicU64::new(FIRST)) }
    }
}

impl Auth for Greeter {
    /// It never dials.
    fn client(&self, peer: EntityType) -> Box<dyn Client> {
        AllowAll { name: EntityName::new(EntityType::CLIENT, -1) }.client(peer)
    }

    fn server(&self, _peer: EntityType) -> Box<dyn Server> {
        Box::new(Self::clone(self))
    }
}

impl Server for Greeter {
    fn request(&mut self, method: u32, payload: &[u8]) -> Answer {
        // 0 is v1's way to send no authorizer.
        if !matches!(method, method::NONE | method::UNKNOWN) {
            return Answer::Bad(-95);
        }
        let global_id = match global_id(payload) {
            Some(global_id) if global_id != 0 => global_id,
            _ => self.next.fetch_add(1, Ordering::Relaxed),
        };
        let secrets = Secrets {
            connection_secret: Box::default(),
            sign_transcript: Box::new(|_| [0; 32]),
            signer: None,
        };
        Answer::Done { name: None, global_id, caps: Bytes::new(), payload: Bytes::new(), secrets }
    }

    fn methods(&self) -> Vec<u32> {
        vec![method::NONE]
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
        let number = |payload: &[u8]| match greeter.server(EntityType::CLIENT).request(method::NONE, payload)
        {
            Answer::Done { global_id, .. } => global_id,
            _ => 0,
        };
        assert_eq!((number(b""), number(b"")), (FIRST, FIRST + 1));
        assert_eq!(number(b"\x0a\x08\0\0\0\0\0\0\0\x07\x10\0\0\0\0\0\0"), 0x1007);
        assert!(matches!(greeter.server(EntityType::CLIENT).request(method::CEPHX, b""), Answer::Bad(-95)));
    }
}
