//! How do we get a ticket for a service?
//!
//! From a monitor: in v2 it comes with the handshake, in v1 by messages in the open session.

use std::sync::Arc;
use std::time::Instant;

use cephwire_codec::v2::method;
use cephwire_codec::{EntityType, MessageType};
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::message::AuthReply;
use cephwire_protocol::auth::cephx::{Progress, Wallet};
use cephwire_protocol::key_log::{Line, ticket_id};
use cephwire_protocol::{Event, Version};

use super::Target;
use super::call::Call;
use super::cause::Cause;
use super::identity::{Identity, wall_clock};
use super::key_log::KeyLogFile;

/// Sees to it that there is a ticket for services of this type, if we use tickets at all.
pub(crate) fn fetch(identity: &Identity, kind: EntityType) -> Result<(), Cause> {
    let Some(wallet) = &identity.wallet else { return Ok(()) };
    if kind == EntityType::MON || wallet.ticket(kind).is_some() {
        return Ok(());
    }
    if identity.monitors.is_empty() {
        let text = format!(
            "a {kind} wants a ticket from a monitor, and nobody says where one is (-m, or mon_host in ceph.conf)"
        );
        return Err(Cause::new("denied", "ticket", text));
    }
    let mut last = Cause::new("denied", "ticket", format!("the monitors gave no ticket for a {kind}"));
    for monitor in &identity.monitors {
        let targets = match monitor {
            Ok(addrs) => Target::of(addrs, None),
            Err(unresolved) => {
                last = Cause::unresolved(unresolved);
                continue;
            }
        };
        for target in targets {
            match from(&target, identity, wallet) {
                Ok(()) if wallet.ticket(kind).is_some() => {
                    write_down(wallet);
                    return Ok(());
                }
                Ok(()) => {}
                Err(cause) => last = cause,
            }
        }
    }
    Err(Cause { text: format!("no ticket from the monitors: {}", last.text), ..last })
}

/// What the tickets in the wallet open, for who reads the packets: v1's signatures are made with it.
fn write_down(wallet: &Wallet) {
    let Some(log) = KeyLogFile::of_environment() else { return };
    let kinds = [EntityType::AUTH, EntityType::MON, EntityType::MDS, EntityType::OSD, EntityType::MGR];
    for ticket in kinds.into_iter().filter_map(|kind| wallet.ticket(kind)) {
        log.log(&Line::Ticket { ticket: ticket_id(&ticket.blob), session_key: ticket.session_key });
    }
}

fn from(target: &Target, identity: &Identity, wallet: &Arc<Wallet>) -> Result<(), Cause> {
    let (mut call, outcome) = Call::open(&identity.local(), EntityType::MON, *target, identity.timeout);
    outcome?;
    let denied = |reason: Reason| Cause::new("denied", "MAuth", reason.to_string());
    let mut next = match target.version {
        Version::V1 => Some(wallet.hello(&[method::CEPHX])),
        Version::V2 => wallet.renewal(wall_clock()),
    };
    let until = Instant::now() + identity.timeout;
    while let Some(question) = next.take() {
        call.send(question.message());
        let front = call.until(until, |event, _| match event? {
            Event::Message(received) if received.message.header.kind == MessageType::AUTH_REPLY => {
                Some(received.message.front.into_bytes())
            }
            _ => None,
        })?;
        let Some(front) = front else {
            return Err(Cause::new("timeout", "MAuth", "the monitor does not answer MAuth"));
        };
        let reply = AuthReply::decode(&front).map_err(denied)?;
        if let Progress::Send(question) = wallet.handle_auth_reply(wall_clock(), &reply).map_err(denied)? {
            next = Some(question);
        }
    }
    // What is renewed is renewed on a session of its own.
    wallet.monitor_lost();
    Ok(())
}
