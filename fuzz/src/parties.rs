//! Who are the two sides? A few bytes of the input choose.
//!
//! ```text
//! 0           1          2          3                   4        5
//! │ version  │ who, key │ options  │ policies of the two sides │ operations
//! ```

use std::sync::Arc;

use cephwire_protocol::auth::cephx::{
    ClientAuth, Entity, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, Service, ServiceAuth,
    ServiceOptions, Wallet, WalletOptions,
};
use cephwire_protocol::auth::{AllowAll, Auth, Modes};
use cephwire_protocol::codec::v2::{Method, Revision, mode};
use cephwire_protocol::codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{Local, Options, Policies, Policy, Version};

use crate::cephx::{NOW, key, log_in};

const OSD: EntityType = EntityType::OSD;
const MON: EntityType = EntityType::MON;
const CLIENT: EntityType = EntityType::CLIENT;

/// The bytes of an input that say who the sides are.
pub const PARTIES: usize = 5;

/// Both sides, and what is between them.
pub(crate) struct Parties {
    pub(crate) version: Version,
    /// The revision of v2 that both speak.
    pub(crate) revision: Revision,
    pub(crate) locals: [Arc<Local>; 2],
    /// The policies' throttles.
    pub(crate) throttles: [Vec<Arc<Throttle>>; 2],
    /// The first side is a client, whom nobody can dial.
    pub(crate) one_way: bool,
    /// Their options let them agree.
    pub(crate) agree: bool,
}

impl Parties {
    /// Two sides; `version` is the input's choice if nothing.
    pub(crate) fn new([how, who, what, a, b]: [u8; PARTIES], version: Option<Version>) -> Self {
        let v2 = how & 1 > 0;
        let version = version.unwrap_or(if v2 { Version::V2 } else { Version::V1 });
        // Both speak 2.1, neither does, or one.
        let revision_1 = [how & 2 == 0, how & 4 == 0];
        let revision = if revision_1 == [true, true] { Revision::V2_1 } else { Revision::V2_0 };
        let (kinds, cephx) = match who % 6 {
            0 => ([OSD, OSD], false),
            1 => ([OSD, OSD], true),
            2 => ([CLIENT, MON], true),
            3 => ([CLIENT, OSD], true),
            4 => ([MON, MON], true),
            _ => ([CLIENT, MON], false),
        };
        let modes = match what & 3 {
            0 => vec![mode::CRC],
            1 => vec![mode::SECURE],
            2 => vec![mode::CRC, mode::SECURE],
            _ => vec![mode::SECURE, mode::CRC],
        };
        let one_way = kinds[0] == CLIENT;
        let policies = [policy(a), policy(b)];
        // Without a secret nothing can be secure; v1 has no modes. Who serves clients must not dial them.
        let agree = (version == Version::V1 || cephx || modes[0] == mode::CRC)
            && (!one_way || (!policies[0].server && policies[1].server));
        let names = [EntityName::new(kinds[0], 0), EntityName::new(kinds[1], 1)];
        let auths = if cephx {
            cephx_auths(names, if who & 64 == 0 { KeyType::Aes } else { KeyType::Aes256k })
        } else {
            names.map(|name| Arc::new(AllowAll { name }) as Arc<dyn Auth>)
        };
        let mut compression: Vec<Method> =
            Method::SUPPORTED.iter().copied().filter(|method| *method != Method::NONE).collect();
        let known = compression.len();
        compression.rotate_left(usize::from(how >> 4) % known);
        compression.truncate(if what & 4 > 0 { 2 } else { 0 });
        let mut throttles = [Vec::new(), Vec::new()];
        let mut n = 0;
        let locals = auths.map(|auth| {
            let addr = addr(n, version);
            let addrs: AddrVec = if n == 0 && one_way { AddrVec::default() } else { addr.into() };
            let messages = (what & 16 > 0).then(|| Throttle::new(2));
            let bytes = (what & 32 > 0).then(|| Throttle::new(2000));
            throttles[n] = messages.iter().chain(&bytes).cloned().collect();
            let policy = policies[n].clone().throttled(bytes, messages);
            let options = Options::default().with(|options| {
                options.modes = Modes::all(&modes);
                options.revision_1 = revision_1[n];
                options.compression = compression.clone();
                options.compress_peers = vec![OSD, MON, CLIENT];
                options.compress_min_size = if how & 8 > 0 { 0 } else { 64 };
                options.compress_secure = what & 8 > 0;
                options.dispatch_throttle_bytes = if what & 64 > 0 { 3000 } else { 100 << 20 };
            });
            let local =
                Local::new(names[n], addrs, addr.nonce, n as u64, Policies::all(policy), auth, options);
            local.set_wall_clock(NOW);
            n += 1;
            local
        });
        Self { version, revision, locals, throttles, one_way, agree }
    }
}

/// How each side proves who it is: all have their tickets, but for a client of the monitor.
fn cephx_auths(names: [EntityName; 2], kind: KeyType) -> [Arc<dyn Auth>; 2] {
    let entity = |name: EntityName| {
        Entity::new(name.kind, if name.kind == CLIENT { "admin".to_owned() } else { name.num.to_string() })
    };
    let mut keyring = Keyring::default().with(Entity::monitors(), key(3, kind));
    for (n, name) in names.into_iter().enumerate() {
        keyring = keyring.with(entity(name), key(n as u8, kind));
    }
    let options = KeyServerOptions { service_key_type: kind, ..KeyServerOptions::default() };
    let server = KeyServer::new(keyring, options, [4; 32]);
    let wallet = |n: usize| {
        let seed = [6 + n as u8; 32];
        Wallet::new(entity(names[n]), key(n as u8, kind), WalletOptions::default(), seed).expect("a wallet")
    };
    [0, 1].map(|n| match names[n].kind {
        MON => Arc::new(MonitorAuth(Arc::clone(&server))) as Arc<dyn Auth>,
        OSD => {
            let wallet = wallet(n);
            log_in(&server, &wallet);
            let service = Service::new(OSD, ServiceOptions::default(), [8 + n as u8; 32]);
            service.set_secrets(server.rotating_secrets(OSD, NOW));
            Arc::new(ServiceAuth { wallet, service })
        }
        _ => {
            let wallet = wallet(n);
            if names[1].kind == OSD {
                log_in(&server, &wallet);
            }
            Arc::new(ClientAuth(wallet))
        }
    })
}

fn policy(which: u8) -> Policy {
    match which % 7 {
        0 => Policy::lossless_peer(),
        1 => Policy::lossless_client(),
        2 => Policy::stateful_server(),
        3 => Policy::lossless_peer_reuse(),
        4 => Policy::lossy_client(),
        5 => Policy::stateless_server(),
        _ => Policy::stateless_registered_server(),
    }
}

/// Where a side listens.
pub(crate) fn addr(n: usize, version: Version) -> EntityAddr {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    EntityAddr::new(kind, ([127, 0, 0, 1], 6800 + n as u16).into(), 7 + n as u32)
}
