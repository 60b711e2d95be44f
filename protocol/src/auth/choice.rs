//! Which methods are used with whom?
//!
//! | this side | peer | option | Ceph's default |
//! |---|---|---|---|
//! | client | any | `auth_client_required` | cephx, none |
//! | daemon | client | `auth_service_required` | cephx |
//! | daemon | daemon | `auth_cluster_required` | cephx |
//!
//! Dialing, the first of the list is tried; if the server refuses it, the next that it allows. Accepting, any of the list is
//! taken. Ceph: `src/auth/AuthRegistry.cc`.

use std::sync::Arc;

use bytes::Bytes;
use cephwire_codec::v2::method;
use cephwire_codec::{EntityType, Features};

use super::modes::{UnknownNames, parse_names};
use super::{Answer, Auth, Client, Opening, Peer, Reason, Request, Secrets, Server};
use crate::error::Denied;

/// The lists of methods, the best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods {
    /// `auth_cluster_required`.
    pub cluster: Vec<u32>,
    /// `auth_service_required`.
    pub service: Vec<u32>,
    /// `auth_client_required`.
    pub client: Vec<u32>,
}

impl Methods {
    /// The same list for everybody.
    #[must_use]
    pub fn all(methods: &[u32]) -> Self {
        Self { cluster: methods.to_vec(), service: methods.to_vec(), client: methods.to_vec() }
    }

    /// What is used with a peer of this type by one of type `own`.
    #[must_use]
    pub fn of(&self, own: EntityType, peer: EntityType) -> &[u32] {
        let daemon =
            |kind| matches!(kind, EntityType::MON | EntityType::MGR | EntityType::OSD | EntityType::MDS);
        match (daemon(own), daemon(peer)) {
            (true, true) => &self.cluster,
            (true, false) => &self.service,
            (false, _) => &self.client,
        }
    }

    /// The methods that an option names: separated by spaces, commas or semicolons. Names that are not known are
    /// skipped.
    ///
    /// # Errors
    /// When none is known.
    pub fn parse(text: &str) -> Result<Vec<u32>, UnknownNames> {
        parse_names(text, |name| (1..=4).find(|known| method::name(*known) == Some(name)))
    }
}

/// As in Ceph.
impl Default for Methods {
    fn default() -> Self {
        let cephx = vec![method::CEPHX];
        Self { cluster: cephx.clone(), service: cephx, client: vec![method::CEPHX, method::NONE] }
    }
}

/// Several methods at once.
#[derive(Clone, Debug)]
pub struct Choice {
    /// With whom which ones are used.
    pub methods: Methods,
    /// How each is done; a method that is not here is not used, whatever the lists say. (A process without a keyring
    /// has no cephx.)
    pub auths: Vec<(u32, Arc<dyn Auth>)>,
}

impl Choice {
    fn list(&self, peer: &Peer) -> impl Iterator<Item = (u32, &Arc<dyn Auth>)> {
        let methods = self.methods.of(peer.own, peer.kind);
        methods.iter().filter_map(|wanted| {
            self.auths.iter().find(|(method, _)| method == wanted).map(|(method, auth)| (*method, auth))
        })
    }
}

impl Auth for Choice {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        let clients = self.list(peer).map(|(method, auth)| (method, auth.client(peer))).collect();
        Box::new(Chooser { clients, at: None })
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        Box::new(Taker(self.list(peer).map(|(method, auth)| (method, auth.server(peer))).collect()))
    }

    fn required_features(&self, peer: EntityType, method: u32) -> Features {
        let auth = self.auths.iter().find(|(known, _)| *known == method);
        auth.map_or(Features(0), |(_, auth)| auth.required_features(peer, method))
    }
}

struct Chooser {
    clients: Vec<(u32, Box<dyn Client>)>,
    /// The one that was tried last.
    at: Option<usize>,
}

impl Chooser {
    fn current(&mut self) -> Result<&mut dyn Client, Denied> {
        match self.at.and_then(|at| self.clients.get_mut(at)) {
            Some((_, client)) => Ok(&mut **client),
            None => Err(Reason::OutOfTurn { what: "a server's answer" }.into()),
        }
    }
}

impl Client for Chooser {
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        let offered_methods: Vec<u32> = self.clients.iter().map(|(method, _)| *method).collect();
        let mut denied = Denied {
            offered_methods,
            allowed_methods: allowed.to_vec(),
            is_final: true,
            ..Denied::default()
        };
        let first = self.at.map_or(0, |at| at + 1);
        for (at, (method, client)) in self.clients.iter_mut().enumerate().skip(first) {
            if !allowed.is_empty() && !allowed.contains(method) {
                continue;
            }
            self.at = Some(at);
            match client.open(allowed) {
                Ok(opening) => return Ok(opening),
                // A method that has nothing to say (cephx without a ticket) leaves room for the next one.
                Err(error) => denied = error,
            }
        }
        Err(denied)
    }

    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied> {
        self.current()?.more(payload)
    }

    fn done(&mut self, global_id: u64, mode: u32, payload: &[u8]) -> Result<Secrets, Denied> {
        self.current()?.done(global_id, mode, payload)
    }

    fn refused(&mut self, result: i32) -> bool {
        self.current().is_ok_and(|client| client.refused(result))
    }
}

struct Taker(Vec<(u32, Box<dyn Server>)>);

impl Server for Taker {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        // 0 is v1's way to send no authorizer: with one method, that method says what it means.
        let found = match &mut self.0[..] {
            [(_, server)] if request.method == method::UNKNOWN => Some(server),
            servers => {
                servers.iter_mut().find(|(method, _)| *method == request.method).map(|(_, server)| server)
            }
        };
        match found {
            Some(server) => server.request(request),
            None => Answer::Bad(Reason::Method { found: request.method }),
        }
    }

    fn methods(&self) -> Vec<u32> {
        self.0.iter().map(|(method, _)| *method).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pairing_has_its_list() {
        let methods = Methods { cluster: vec![10], service: vec![11], client: vec![12] };
        for (own, peer, list) in [
            (EntityType::CLIENT, EntityType::MON, 12),
            (EntityType::CLIENT, EntityType::OSD, 12),
            (EntityType::OSD, EntityType::CLIENT, 11),
            (EntityType::MON, EntityType::CLIENT, 11),
            (EntityType::OSD, EntityType::OSD, 10),
            (EntityType::MGR, EntityType::MON, 10),
        ] {
            assert_eq!(methods.of(own, peer), [list], "{own} {peer}");
        }
        assert_eq!(Methods::default().of(EntityType::CLIENT, EntityType::MON), [2, 1]);
        assert_eq!(Methods::parse("cephx, none"), Ok(vec![2, 1]));
        assert_eq!(Methods::parse("kerberos gss"), Ok(vec![4]));
        assert!(Methods::parse("kerberos").is_err());
    }
}
