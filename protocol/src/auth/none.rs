//! The method "none": everybody is who they say.

use bytes::{BufMut, Bytes, BytesMut};
use cephwire_codec::v2::method;
use cephwire_codec::{EntityName, EntityType};

use super::{Answer, Auth, Client, Entity, Opening, Peer, Reason, Request, Secrets, Server};
use crate::error::Denied;

/// Authenticates everybody, without secrets. Ceph: `src/auth/none/`.
#[derive(Clone, Debug)]
pub struct AllowAll {
    /// What the payload says of this side.
    pub name: EntityName,
}

impl Auth for AllowAll {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        // Ceph: `AUTH_MODE_MON` where a monitor is to open a session, `AUTH_MODE_AUTHORIZER` elsewhere.
        let to_monitor = peer.kind == EntityType::MON && peer.own != EntityType::MON;
        // Services tell the sessions of clients apart by the number; a monitor gives one to who has none.
        let (mode, global_id) = (if to_monitor { 10 } else { 1 }, peer.global_id);
        Box::new(Opener { name: self.name, mode, global_id })
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        Box::new(Acceptor)
    }
}

struct Opener {
    name: EntityName,
    mode: u8,
    global_id: u64,
}

impl Client for Opener {
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        if !allowed.is_empty() && !allowed.contains(&method::NONE) {
            let allowed_methods = allowed.to_vec();
            let offered_methods = vec![method::NONE];
            return Err(Denied { offered_methods, allowed_methods, is_final: true, ..Denied::default() });
        }
        // The mode, then the entity's name (type, id) and its global_id.
        let Entity { kind, id } = self.name.into();
        let mut payload = BytesMut::new();
        payload.put_u8(self.mode);
        payload.put_u32_le(kind.0.into());
        payload.put_u32_le(id.len() as u32);
        payload.put_slice(id.as_bytes());
        payload.put_u64_le(self.global_id);
        Ok(Some(Opening { method: method::NONE, payload: payload.freeze() }))
    }

    fn more(&mut self, _payload: &[u8]) -> Result<Bytes, Denied> {
        Err(Denied { offered_methods: vec![method::NONE], ..Denied::default() })
    }

    fn done(&mut self, _global_id: u64, _mode: u32, _payload: &[u8]) -> Result<Secrets, Denied> {
        Ok(no_secrets())
    }
}

struct Acceptor;

impl Server for Acceptor {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        // 0 is v1's way to send no authorizer.
        if matches!(request.method, method::NONE | method::UNKNOWN) {
            Answer::Done {
                name: None,
                global_id: 0,
                caps: Bytes::new(),
                payload: Bytes::new(),
                secrets: no_secrets(),
            }
        } else {
            Answer::Bad(Reason::Method { found: request.method })
        }
    }

    fn methods(&self) -> Vec<u32> {
        vec![method::NONE]
    }
}

fn no_secrets() -> Secrets {
    Secrets { connection_secret: Default::default(), sign_transcript: Box::new(|_| [0; 32]), signer: None }
}
