//! What does a session of v2 do when its connection fails: every policy in every place where that may happen?
//!
//! Session2 spec §7, the table of its rules. Numbers, timers and races are in `handshake_v2_faults.rs`.

mod script;

use std::sync::Arc;

use cephwire_protocol::codec::v2::{CompressionRequest, Frame, Method, method, mode};
use cephwire_protocol::codec::{EntityType, Features};
use cephwire_protocol::{Options, Policy};
use script::auth::Stepwise;
use script::outcome::{After, PRESETS, after, dial};
use script::v2::{SIGNATURE, auth_done, auth_request, banner, hello, ident, server_ident};
use script::{Host, Setup, V2};

/// Where the fault comes, and the peer whose connection breaks (if there is one by then).
type Place = (&'static str, fn(&Host, bool), fn(&Policy, bool) -> After);

/// Rules 6, 7 and 9: what happens to an attempt that failed.
fn attempt_failed(policy: &Policy, queued: bool) -> After {
    match policy {
        _ if policy.standby && !queued => After::Standby,
        _ if policy.server => After::Standby,
        _ => After::Backoff(200),
    }
}

/// Rules 2, 6, 7 and 8: what happens to an open session.
fn broken(policy: &Policy, queued: bool) -> After {
    match policy {
        _ if policy.lossy => After::Reset,
        _ if policy.server || policy.standby && !queued => After::Standby,
        _ => After::Dials,
    }
}

const PLACES: &[Place] = &[
    (
        "START_CONNECT",
        |host, queued| {
            dial(host, queued);
            host.refuse(std::io::ErrorKind::TimedOut);
        },
        attempt_failed,
    ),
    (
        "BANNER_CONNECTING",
        |host, queued| {
            dial(host, queued);
            host.dialed::<V2>().close();
        },
        attempt_failed,
    ),
    (
        "AUTH_CONNECTING",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            peer.greet(EntityType::OSD);
            peer.close();
        },
        attempt_failed,
    ),
    (
        "HELLO_CONNECTING",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            peer.send(&banner(1));
            peer.close();
        },
        attempt_failed,
    ),
    (
        "AUTH_CONNECTING_SIGN",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            peer.greet(EntityType::OSD);
            peer.send(&auth_done(mode::CRC));
            assert_eq!(peer.names(), ["AUTH_REQUEST", "AUTH_SIGNATURE"]);
            peer.close();
        },
        attempt_failed,
    ),
    (
        "COMPRESSION_CONNECTING",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            peer.send(&banner(3));
            peer.send(&hello(EntityType::OSD));
            peer.send(&auth_done(mode::CRC));
            peer.send(&SIGNATURE);
            assert_eq!(peer.names().last(), Some(&"COMPRESSION_REQUEST"));
            peer.close();
        },
        attempt_failed,
    ),
    (
        "SESSION_RECONNECTING",
        |host, _| {
            dial(host, true);
            let mut peer = host.dialed::<V2>();
            let lossy = peer.admit_new().flags != 0;
            peer.send(&Frame::ServerIdent(server_ident(9, lossy)));
            peer.close();
            if !host.dials().is_empty() {
                let mut peer = host.dialed::<V2>();
                peer.admit_resumed();
                peer.close();
            }
        },
        // Lossy sessions and servers do not come so far. There is always something to send: why else reconnect?
        |policy, _| match policy {
            _ if policy.lossy => After::Reset,
            _ if policy.server => After::Standby,
            _ => After::Backoff(200),
        },
    ),
    (
        "SESSION_CONNECTING",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            peer.admit_new();
            peer.send(&Frame::IdentMissingFeatures(Features(1)));
        },
        attempt_failed,
    ),
    (
        "WAIT",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            peer.admit_new();
            peer.send(&Frame::Wait);
            peer.expect_closed();
        },
        |policy, _| match policy {
            _ if policy.lossy => After::Reset,
            _ if policy.server => After::Standby,
            _ => After::Backoff(15_000),
        },
    ),
    (
        "READY, dialed",
        |host, queued| {
            dial(host, queued);
            let mut peer = host.dialed::<V2>();
            let lossy = peer.admit_new().flags != 0;
            peer.send(&Frame::ServerIdent(server_ident(9, lossy)));
            peer.close();
        },
        broken,
    ),
    (
        "READY, dialed, everything acknowledged",
        |host, _| {
            dial(host, true);
            let mut peer = host.dialed::<V2>();
            let lossy = peer.admit_new().flags != 0;
            peer.send(&Frame::ServerIdent(server_ident(9, lossy)));
            peer.send(&Frame::Ack(1));
            peer.close();
        },
        |policy, _| broken(policy, false),
    ),
    (
        "READY, accepted",
        |host, queued| {
            let mut peer = host.accept::<V2>();
            peer.enter();
            peer.open(ident(7, 1));
            if queued {
                host.send(0, 1);
            }
            peer.close();
        },
        broken,
    ),
    (
        "READY, a violation",
        |host, queued| {
            let mut peer = host.accept::<V2>();
            peer.enter();
            peer.open(ident(7, 1));
            if queued {
                host.send(0, 1);
            }
            peer.send(&Frame::Wait);
        },
        broken,
    ),
    (
        "SESSION_ACCEPTING",
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.enter();
            peer.close();
        },
        |_, _| After::Gone,
    ),
    ("BANNER_ACCEPTING", |host, _| host.accept::<V2>().close(), |_, _| After::Gone),
    (
        "HELLO_ACCEPTING",
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.send(&banner(1));
            peer.close();
        },
        |_, _| After::Gone,
    ),
    (
        "AUTH_ACCEPTING",
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.greet(EntityType::OSD);
            peer.close();
        },
        |_, _| After::Gone,
    ),
    (
        MORE,
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.greet(EntityType::OSD);
            peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
            assert_eq!(peer.names(), ["AUTH_REPLY_MORE"]);
            peer.close();
        },
        |_, _| After::Gone,
    ),
    (
        "AUTH_ACCEPTING_SIGN",
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.greet(EntityType::OSD);
            peer.send(&auth_request(method::NONE, &[mode::CRC]));
            assert_eq!(peer.names(), ["AUTH_DONE", "AUTH_SIGNATURE"]);
            peer.close();
        },
        |_, _| After::Gone,
    ),
    (
        "SESSION_ACCEPTING, behind compression",
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.send(&banner(3));
            peer.send(&hello(EntityType::OSD));
            peer.send(&auth_request(method::NONE, &[mode::CRC]));
            peer.send(&SIGNATURE);
            peer.send(&Frame::CompressionRequest(CompressionRequest { compress: false, methods: vec![] }));
            assert_eq!(peer.names().last(), Some(&"COMPRESSION_DONE"));
            peer.close();
        },
        |_, _| After::Gone,
    ),
    (
        "COMPRESSION_ACCEPTING",
        |host, _| {
            let mut peer = host.accept::<V2>();
            peer.send(&banner(3));
            peer.send(&hello(EntityType::OSD));
            peer.send(&auth_request(method::NONE, &[mode::CRC]));
            peer.send(&SIGNATURE);
            peer.close();
        },
        |_, _| After::Gone,
    ),
];

/// Needs a method of several steps.
const MORE: &str = "AUTH_ACCEPTING_MORE";

/// §7: every place, every policy, with and without something to send.
#[test]
fn faults() {
    for (place, happen, expected) in PLACES {
        for (preset, policy) in PRESETS {
            for queued in [false, true] {
                let options = Options::default().with(|options| options.compression = vec![Method::SNAPPY]);
                let mut setup = Setup { options, ..Setup::policy(policy()) };
                if *place == MORE {
                    setup.options.modes = vec![mode::CRC].into();
                    setup.auth = Arc::new(Stepwise::default());
                }
                let host = Host::new(setup);
                happen(&host, queued);
                let expected = expected(&policy(), queued);
                assert_eq!(after(&host, 0), expected, "{place}, {preset}, queued: {queued}");
            }
        }
    }
}
