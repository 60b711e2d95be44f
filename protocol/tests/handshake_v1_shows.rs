//! What does a client of v1 show of itself? Authorizers, versions and addresses, each to whom it may
//! concern.

mod script;
mod script_v1;

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::codec::v1::{ConnectReply, Tag};
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::codec::{EntityAddr, EntityName, EntityType};
use script::{Host, Setup, V1, addrs};
use script_v1::{Key, LARGER, reply};

const OSD: EntityType = EntityType::OSD;

/// msgr1 §6.1: monitors want no authorizer, but of monitors; and what they reply with is not read.
#[test]
fn who_shows_an_authorizer() {
    use EntityType as T;
    for (own, peer, shows) in [
        (T::OSD, T::MON, false),
        (T::CLIENT, T::MON, false),
        (T::MON, T::MON, true),
        (T::CLIENT, T::MDS, true),
    ] {
        let name = EntityName::new(own, 1);
        let host = Host::new(Setup { name, auth: Arc::new(Key::default()), ..Setup::default() });
        let session = host.dial(peer, LARGER);
        let mut script = host.dialed::<V1>();
        script.serve(LARGER);
        let connect = script.read_connect();
        assert_eq!(connect.host_type, u32::from(own.0));
        assert_eq!(connect.authorizer_protocol, if shows { method::CEPHX } else { method::UNKNOWN });
        assert_eq!(connect.authorizer.is_empty(), !shows);
        if !shows {
            let noise = ConnectReply { authorizer: Bytes::from_static(b"noise"), ..reply(Tag::Seq) };
            script.accept_with(&connect, 0, noise);
            assert!(host.with(session, |session| session.is_open()));
        }
    }
}

/// msgr1 §13: dialing, the peer's type decides, or the cluster's version among equals.
#[test]
fn protocol_versions_per_entity_type() {
    let kinds = [EntityType::MON, EntityType::MDS, OSD, EntityType::CLIENT, EntityType::MGR];
    for own in kinds {
        let host = Host::new(Setup { name: EntityName::new(own, 0), ..Setup::default() });
        host.local().set_cluster_protocol(13);
        for (peer, version) in kinds.into_iter().zip([15, 32, 24, 0, 0]) {
            host.dial(peer, LARGER);
            let mut script = host.dialed::<V1>();
            script.serve(LARGER);
            let expected = if own == peer { 13 } else { version };
            assert_eq!(script.read_connect().protocol_version, expected, "{own} to {peer}");
        }
    }
}

#[test]
fn blank_addresses_are_shown_as_they_are() {
    // A client that does not learn shows no IP, but its nonce: the server fills it in.
    let mut setup = Setup { addrs: addrs(""), nonce: 7, ..Setup::default() };
    setup.options.learn_addr = false;
    let host = Host::new(setup);
    host.dial(OSD, LARGER);
    let shown = host.dialed::<V1>().serve(LARGER);
    assert_eq!(shown, EntityAddr { nonce: 7, ..EntityAddr::default() });
}
