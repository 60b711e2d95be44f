//! A monitor, daemons and clients.

use std::sync::Arc;

use cephwire_protocol::auth::cephx::message::{Auth as AuthMessage, AuthReply};
use cephwire_protocol::auth::cephx::{
    ClientAuth, CryptoKey, Entity, Entry, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth,
    MonitorTalk, Progress, Random, Service, ServiceAuth, ServiceOptions, Wallet, WalletOptions,
};
use cephwire_protocol::auth::{Auth, Reason};
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::codec::{EntityType, Timestamp};
use cephwire_protocol::{Error, Version};

use super::pair::{NOW, Node, Pair};

pub(crate) const OSD: EntityType = EntityType::OSD;
pub(crate) const KINDS: [KeyType; 2] = [KeyType::Aes, KeyType::Aes256k];

/// Everybody has a key of one type; the rotating secrets have one too.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) keyring: Keyring,
    pub(crate) server: Arc<KeyServer>,
}

/// A key that depends on the name alone.
pub(crate) fn key(name: &str, kind: KeyType) -> CryptoKey {
    let mut seed = [kind as u8; 32];
    seed.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to ^= from);
    CryptoKey::generate(kind, NOW, &mut Random::new(seed))
}

pub(crate) fn entity(name: &str) -> Entity {
    name.parse().unwrap()
}

impl Cluster {
    pub(crate) fn new(kind: KeyType) -> Self {
        Self::mixed(kind, KeyServerOptions { service_key_type: kind, ..KeyServerOptions::default() })
    }

    pub(crate) fn mixed(kind: KeyType, options: KeyServerOptions) -> Self {
        let mut keyring = Keyring::default();
        for name in ["mon.", "client.admin", "client.b", "osd.0", "osd.1", "mds.a", "mgr.x"] {
            let mut entry = Entry::of(key(name, kind));
            entry.caps.insert("osd".to_owned(), format!("allow {name}"));
            entry.caps.insert("mon".to_owned(), "allow *".to_owned());
            keyring.entries.insert(entity(name), entry);
        }
        Self { server: KeyServer::new(keyring.clone(), options, [1; 32]), keyring }
    }

    pub(crate) fn wallet(&self, name: &str) -> Arc<Wallet> {
        self.wallet_with(name, WalletOptions::default())
    }

    pub(crate) fn wallet_with(&self, name: &str, options: WalletOptions) -> Arc<Wallet> {
        let key = self.keyring.key(&entity(name)).unwrap().clone();
        Wallet::new(entity(name), key, options, [name.len() as u8; 32]).unwrap()
    }

    pub(crate) fn monitor(&self) -> Node {
        Node::new("mon.0", Arc::new(MonitorAuth(Arc::clone(&self.server))))
    }

    /// osd.0, with its rotating secrets.
    pub(crate) fn osd(&self) -> Node {
        Node::new("osd.0", self.osd_auth(ServiceOptions::default()))
    }

    pub(crate) fn osd_auth(&self, options: ServiceOptions) -> Arc<dyn Auth> {
        let service = Service::new(OSD, options, [2; 32]);
        service.set_secrets(self.server.rotating_secrets(OSD, NOW));
        Arc::new(ServiceAuth { wallet: self.wallet("osd.0"), service })
    }

    /// Fills a wallet, as that version does it.
    #[track_caller]
    pub(crate) fn log_in(&self, version: Version, wallet: &Arc<Wallet>) -> Pair {
        let mut pair = Pair::new(version, &client(wallet), &self.monitor());
        pair.expect_open();
        if version == Version::V1 {
            let outcome = authenticate(&mut pair, wallet, &mut self.server.talk(), NOW);
            assert_eq!(outcome, (Ok(()), Ok(())));
        }
        pair
    }
}

/// A client that dials with this wallet.
pub(crate) fn client(wallet: &Arc<Wallet>) -> Node {
    let kind = wallet.name().kind;
    Node::new(&format!("{kind}.?"), Arc::new(ClientAuth(Arc::clone(wallet))))
}

/// What came of a talk: for the client, and for the monitor.
pub(crate) type Talked = (Result<(), Reason>, Result<(), Reason>);

/// v1: authenticates in messages on an open session.
pub(crate) fn authenticate(
    pair: &mut Pair,
    wallet: &Wallet,
    talk: &mut MonitorTalk,
    now: Timestamp,
) -> Talked {
    exchange(pair, wallet, talk, now, wallet.hello(&[method::CEPHX]))
}

/// Sends a message of the client, and all that follow from it.
pub(crate) fn exchange(
    pair: &mut Pair,
    wallet: &Wallet,
    talk: &mut MonitorTalk,
    now: Timestamp,
    mut next: AuthMessage,
) -> Talked {
    loop {
        let [received] = &pair.send(true, next.message())[..] else { panic!("no MAuth arrived") };
        let (reply, outcome) = talk
            .handle_auth(now, &AuthMessage::decode(&received.message.front.clone().into_bytes()).unwrap());
        let [received] = &pair.send(false, reply.message())[..] else { panic!("no MAuthReply arrived") };
        let decoded = AuthReply::decode(&received.message.front.clone().into_bytes()).unwrap();
        assert_eq!(decoded, reply);
        match wallet.handle_auth_reply(now, &decoded) {
            Ok(Progress::Send(message)) => next = message,
            Ok(Progress::Ready | Progress::Rotating(_)) => return (Ok(()), outcome),
            Err(reason) => return (Err(reason), outcome),
        }
    }
}

/// Why an end did not believe the other one.
#[track_caller]
pub(crate) fn reason(error: &Option<Error>) -> Reason {
    match error {
        Some(Error::Denied { source: denied, .. }) => {
            denied.reason.as_deref().cloned().unwrap_or(Reason::Refused { result: denied.result })
        }
        other => panic!("{other:?}"),
    }
}
