//! Who may have which number in the cluster?

use std::sync::Arc;

use cephwire_protocol::Version;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::monitor::{Authenticate, Introduction, Request as MonRequest};
use cephwire_protocol::auth::cephx::{KeyServerOptions, KeyType, TicketBlob};
use cephwire_protocol::codec::EntityType;

use super::cheat::{Step, cheating, logged_in, refused_by_acceptor};
use super::cluster::{Cluster, client};
use super::pair::Pair;

/// CVE-2021-20288: a number is kept only by the ticket that proves it.
#[test]
fn a_claimed_global_id() {
    let cluster = Cluster::new(KeyType::Aes);
    // Clusters are all alike: what one gives to its second client, the others can read.
    let (_, other) = (logged_in(&cluster), cluster.wallet("client.b"));
    cluster.log_in(Version::V2, &other);
    let foreign = other.ticket(EntityType::AUTH).unwrap().blob;
    let claim = |id| {
        move |payload: Vec<u8>| {
            Introduction { global_id: id, ..Introduction::decode(&payload).unwrap() }.encode()
        }
    };
    let with = |change: fn(&mut Authenticate, TicketBlob)| {
        let foreign = foreign.clone();
        move |payload: Vec<u8>| {
            let Ok(MonRequest::Authenticate(mut request)) = MonRequest::decode(&payload) else { panic!() };
            change(&mut request, foreign.clone());
            MonRequest::Authenticate(request).encode()
        }
    };
    let none = |claimed| Reason::GlobalId { claimed, proven: None };
    type Change = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;
    let rows: [(Change, Change, Reason); 5] = [
        // Somebody else's number, with the own ticket; any number without a ticket; with a broken one.
        (
            Arc::new(claim(4101)),
            Arc::new(|payload| payload),
            Reason::GlobalId { claimed: 4101, proven: Some(4100) },
        ),
        (
            Arc::new(|payload| payload),
            Arc::new(with(|request, _| request.old_ticket = Default::default())),
            none(4100),
        ),
        (
            Arc::new(|payload| payload),
            Arc::new(with(|request, _| request.old_ticket.secret_id = 99)),
            none(4100),
        ),
        // Somebody else's ticket, with the own number.
        (
            Arc::new(|payload| payload),
            Arc::new(with(|request, foreign| request.old_ticket = foreign)),
            Reason::GlobalId { claimed: 4100, proven: Some(4101) },
        ),
        // A ticket, but no number.
        (Arc::new(claim(0)), Arc::new(|payload| payload), Reason::SuperfluousTicket),
    ];
    for (opening, answer, expected) in rows {
        let edit = move |step, payload| if step == Step::Open { opening(payload) } else { answer(payload) };
        let cluster = Cluster::new(KeyType::Aes);
        let wallet = logged_in(&cluster);
        let pair = Pair::new(Version::V2, &cheating(client(&wallet), edit), &cluster.monitor());
        refused_by_acceptor(&pair, &expected);
        // It was for the ticket that it showed, as far as the client knows: it begins anew, and may try again.
        assert!(wallet.global_id().is_none() && !pair.dialer.error.as_ref().unwrap().is_final());
        cluster.log_in(Version::V2, &wallet);
        assert_eq!(wallet.global_id(), Some(4101));
    }
}

/// Old clients, who do not know the rule, only where the configuration says so.
#[test]
fn a_claimed_global_id_of_old() {
    for allowed in [false, true] {
        let options =
            KeyServerOptions { allow_insecure_global_id_reclaim: allowed, ..KeyServerOptions::default() };
        for version in [2, 3] {
            let cluster = Cluster::mixed(KeyType::Aes, options);
            let wallet = logged_in(&cluster);
            let edit = move |step, payload: Vec<u8>| match MonRequest::decode(&payload) {
                Ok(MonRequest::Authenticate(request)) if step == Step::Answer => {
                    let old_ticket = Default::default();
                    MonRequest::Authenticate(Authenticate { version, old_ticket, ..request }).encode()
                }
                _ => payload,
            };
            let pair = Pair::new(Version::V2, &cheating(client(&wallet), edit), &cluster.monitor());
            assert_eq!(pair.is_open(), allowed && version == 2);
        }
    }
}
