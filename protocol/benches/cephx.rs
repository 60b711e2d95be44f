//! What does cephx cost? `cargo bench -p cephwire-protocol --bench cephx`; `cargo test` tries each once.
//!
//! A signature of a v1 message, and what each side does in an authentication: with a monitor (challenge, proof, five
//! tickets), with a service (authorizer, challenge, reply). The codec and the sockets are not in it. Of many short
//! batches the best counts, so that a busy machine tells nearly the same as an idle one.
#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cephwire_protocol::Version;
use cephwire_protocol::auth::cephx::{
    ClientAuth, CryptoKey, KeyServer, KeyServerOptions, KeyType, Keyring, MessageSigner, MonitorAuth, Random,
    Service, ServiceAuth, ServiceOptions, Wallet, WalletOptions,
};
use cephwire_protocol::auth::{Answer, Auth, Peer, Request};
use cephwire_protocol::codec::v1::{Signed, Signer};
use cephwire_protocol::codec::v2::{method, mode};
use cephwire_protocol::codec::{EntityType, Features, Timestamp};

const NOW: Timestamp = Timestamp { sec: 1_700_000_000, nsec: 0 };

fn main() {
    // `cargo bench` says so; `cargo test` runs benches too, and only wants to know whether they work.
    let measures = std::env::args().any(|arg| arg == "--bench");
    for kind in [KeyType::Aes, KeyType::Aes256k] {
        for (form, features) in [("new", Features::CEPHX_V2), ("old", Features(0))] {
            let signer = MessageSigner::new(&key(1, kind), features);
            let mut signed = Signed { front_len: 100, data_len: 4096, ..Signed::default() };
            let (batches, count) = if measures { (5_000, 500) } else { (1, 1) };
            let mut best = Duration::MAX;
            for _ in 0..batches {
                let start = Instant::now();
                for seq in 0..count {
                    signed.seq = seq;
                    black_box(signer.sign(black_box(&signed)));
                }
                best = best.min(start.elapsed());
            }
            report(&format!("{kind}: signature, {form} form"), best, count);
        }
        handshakes(kind, if measures { 5_000 } else { 1 });
    }
}

fn key(n: u8, kind: KeyType) -> CryptoKey {
    CryptoKey::generate(kind, NOW, &mut Random::new([n; 32]))
}

fn report(what: &str, time: Duration, count: u64) {
    let each = time.as_secs_f64() / count as f64;
    println!("{what:40} {:10.0} ns {:10.0} /s", each * 1e9, 1.0 / each);
}

fn handshakes(kind: KeyType, count: u64) {
    let admin = "client.admin".parse().unwrap();
    let osd = "osd.0".parse().unwrap();
    let keyring = Keyring::default().with(admin, key(1, kind)).with(osd, key(2, kind));
    let options = KeyServerOptions { service_key_type: kind, ..KeyServerOptions::default() };
    let server = KeyServer::new(keyring, options, [3; 32]);
    let wallet = |name: &str, n| {
        Wallet::new(name.parse().unwrap(), key(n, kind), WalletOptions::default(), [n; 32]).unwrap()
    };
    let client_wallet = wallet("client.admin", 1);
    let client = ClientAuth(Arc::clone(&client_wallet));
    let monitor = MonitorAuth(Arc::clone(&server));
    run(&format!("{kind}: monitor, secure"), &client, &monitor, EntityType::MON, count);
    let service = Service::new(EntityType::OSD, ServiceOptions::default(), [4; 32]);
    service.set_secrets(server.rotating_secrets(EntityType::OSD, NOW));
    let osd = ServiceAuth { wallet: wallet("osd.0", 2), service };
    run(&format!("{kind}: osd, secure"), &client, &osd, EntityType::OSD, count);
}

/// Both sides' steps, each timed by itself.
fn run(what: &str, dialer: &dyn Auth, acceptor: &dyn Auth, kind: EntityType, count: u64) {
    let (mut best_client, mut best_server) = (Duration::MAX, Duration::MAX);
    let peer = |own, kind| Peer { own, kind, global_id: 0, version: Version::V2, now: NOW };
    for _ in 0..count {
        let (mut client_time, mut server_time) = (Duration::ZERO, Duration::ZERO);
        let start = Instant::now();
        let mut client = dialer.client(&peer(EntityType::CLIENT, kind));
        let mut payload = client.open(&[]).unwrap().unwrap().payload;
        client_time += start.elapsed();
        let start = Instant::now();
        let mut server = acceptor.server(&peer(kind, EntityType::CLIENT));
        server_time += start.elapsed();
        loop {
            let start = Instant::now();
            let request = Request {
                method: method::CEPHX,
                mode: mode::SECURE,
                can_be_challenged: true,
                payload: &payload,
            };
            let answer = server.request(&request);
            server_time += start.elapsed();
            let start = Instant::now();
            match answer {
                Answer::More(challenge) => payload = client.more(&challenge).unwrap(),
                Answer::Done { global_id, payload, .. } => {
                    black_box(client.done(global_id, mode::SECURE, &payload).unwrap());
                    client_time += start.elapsed();
                    break;
                }
                Answer::Bad(reason) => panic!("{reason}"),
            }
            client_time += start.elapsed();
        }
        (best_client, best_server) = (best_client.min(client_time), best_server.min(server_time));
    }
    report(&format!("{what}, client"), best_client, 1);
    report(&format!("{what}, server"), best_server, 1);
}
