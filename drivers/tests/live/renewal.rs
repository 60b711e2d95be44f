//! What becomes of sessions when tickets end?
//!
//! These tests take a lab whose tickets last for seconds: `auth_service_ticket_ttl` 6, `auth_mon_ticket_ttl` 8, and
//! daemons that look for new rotating secrets every second.

use std::thread::sleep;
use std::time::Duration;

use bytes::Bytes;
use cephwire::Error;
use cephwire::auth::Reason;
use cephwire::auth::cephx::Wallet;
use cephwire::codec::EntityType;

use super::client::{Client, Dialect, now};
use super::lab::Lab;
use super::payload::Op;
use super::rig::Driver;

/// Between looks at the clock: time has to pass here.
const PAUSE: Duration = Duration::from_millis(200);

fn goes_on_v1<D: Driver>() {
    goes_on_over_lifetimes::<D>(Dialect::V1);
}

fn goes_on_v2<D: Driver>() {
    goes_on_over_lifetimes::<D>(Dialect::V21);
}

fn expired_v1<D: Driver>() {
    an_expired_ticket_is_not_shown::<D>(Dialect::V1);
}

fn expired_v2<D: Driver>() {
    an_expired_ticket_is_not_shown::<D>(Dialect::V21);
}

fn away_v1<D: Driver>() {
    away_for_long::<D>(Dialect::V1);
}

fn away_v2<D: Driver>() {
    away_for_long::<D>(Dialect::V21);
}

on_each_driver! {
    #[ignore = "needs a Ceph lab with short tickets"] goes_on_v1
    #[ignore = "needs a Ceph lab with short tickets"] goes_on_v2
    #[ignore = "needs a Ceph lab with short tickets"] expired_v1
    #[ignore = "needs a Ceph lab with short tickets"] expired_v2
    #[ignore = "needs a Ceph lab with short tickets"] away_v1
    #[ignore = "needs a Ceph lab with short tickets"] away_v2
}

/// The session keys of the tickets that were held, each once: no two tickets have the same.
struct Held {
    service: EntityType,
    tickets: Vec<cephwire::auth::cephx::Ticket>,
}

impl Held {
    fn new(service: EntityType) -> Self {
        Self { service, tickets: Vec::new() }
    }

    /// Says whether there is another one than before.
    fn look(&mut self, wallet: &Wallet) -> bool {
        let ticket = wallet.ticket(self.service).unwrap();
        let is_new = self.tickets.last().is_none_or(|last| last.blob != ticket.blob);
        if is_new {
            self.tickets.push(ticket);
        }
        is_new
    }
}

fn is_over<D: Driver>(client: &Client<D>, service: EntityType) -> bool {
    client.wallet.as_ref().unwrap().expires(service).unwrap() <= now()
}

fn goes_on_over_lifetimes<D: Driver>(dialect: Dialect) {
    let (lab, object) = (Lab::given(), format!("renewal-{dialect:?}-{}", D::NUMBER));
    let client = Client::<D>::log_in(&lab, dialect);
    let wallet = client.wallet.clone().unwrap();
    let number = wallet.global_id();
    let data = Bytes::from_static(b"as long as it lives");
    client.put(&object, data.clone());
    let (place, osd) = client.locate(&object);
    let began = [&client.monitor, &osd].map(|session| session.facts().unwrap().global_seq);
    let (mut auth, mut service) = (Held::new(EntityType::AUTH), Held::new(EntityType::OSD));
    // Three renewals of the one, which are more than two lifetimes; more of the other.
    while auth.tickets.len() < 4 || service.tickets.len() < 6 {
        client.renew();
        for service in [EntityType::AUTH, EntityType::OSD, EntityType::MON] {
            assert!(!is_over(&client, service), "{service} was not renewed in time");
        }
        auth.look(&wallet);
        let read = [Op::Read(0, 0)];
        if service.look(&wallet) {
            let reply = client.operate_anew(&osd.peer_addrs(), &place, &object, &read);
            assert_eq!(reply.outputs[0].1, data);
        }
        let reply = client.operate_at(&osd, &place, &object, &read);
        assert_eq!(reply.outputs[0].1, data);
        assert_eq!(client.mon_map().0, client.fsid);
        sleep(PAUSE);
    }
    // Who is at the other end was settled when they began: these sessions need no new tickets.
    let now_on = [&client.monitor, &osd].map(|session| session.facts().unwrap().global_seq);
    assert_eq!((now_on, wallet.global_id()), (began, number));
    assert_eq!(client.operate(&object, &[Op::Delete]).result, 0);
    client.messenger.end(Duration::ZERO);
}

fn an_expired_ticket_is_not_shown<D: Driver>(dialect: Dialect) {
    let lab = Lab::given();
    let client = Client::<D>::log_in(&lab, dialect);
    let (place, osd) = client.locate("nothing");
    while !is_over(&client, EntityType::OSD) {
        sleep(PAUSE);
    }
    osd.mark_down();
    let late = client.osd(place.primary);
    let error = client.wait_failure(&late);
    let Error::Denied { source: denied, .. } = &error else { panic!("{error:?}") };
    let reason = denied.reason.as_deref();
    let osds = u32::from(EntityType::OSD.0);
    assert!(matches!(reason, Some(Reason::Expired { service, .. }) if *service == osds), "{error:?}");
    assert!(client.renew(), "it has to be asked for");
    // One of v2 has gone on trying.
    assert_eq!(late.is_closed(), dialect == Dialect::V1);
    client.patient.set(true);
    assert_eq!(client.operate("nothing", &[Op::Stat]).result, -2);
    client.messenger.end(Duration::ZERO);
}

/// A monitor no longer knows with what it sealed the AUTH ticket: it gives another number than the one that the client
/// claims but cannot prove.
fn away_for_long<D: Driver>(dialect: Dialect) {
    let lab = Lab::given();
    let mut client = Client::<D>::log_in(&lab, dialect);
    let wallet = client.wallet.clone().unwrap();
    let before = wallet.global_id().unwrap();
    // Not that long: the number is kept, proved by the ticket.
    client.dial_again();
    assert_eq!(client.authenticate(), Ok(before));
    let sealed_with = wallet.ticket(EntityType::AUTH).unwrap().blob.secret_id;
    // Another client sees how far the secrets are. Three of them are known: the last, the current, and the next.
    loop {
        let other = Client::<D>::log_in(&lab, dialect);
        let newest = other.wallet.as_ref().unwrap().ticket(EntityType::AUTH).unwrap().blob.secret_id;
        other.messenger.end(Duration::ZERO);
        if newest > sealed_with + 2 {
            break;
        }
        sleep(Duration::from_secs(1));
    }
    client.dial_again();
    client.patient.set(true);
    let after = client.authenticate().or_else(|refused| {
        assert_eq!((dialect, refused), (Dialect::V1, Reason::Refused { result: -13 }));
        // On this session the monitor listens to no other introduction.
        client.dial_again();
        client.authenticate()
    });
    assert!(after.unwrap() > before);
    assert_eq!(client.operate("nothing", &[Op::Stat]).result, -2);
    client.messenger.end(Duration::ZERO);
}
