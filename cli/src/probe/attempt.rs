//! What came of one address and one version?

use std::time::Instant;

use cephwire_codec::v2::method;
use cephwire_codec::{EntityType, MessageType};
use cephwire_protocol::auth::cephx::message::AuthReply;
use cephwire_protocol::{Event, Facts, Version};

use crate::live::Target;
use crate::live::call::Call;
use crate::live::cause::Cause;
use crate::live::identity::Identity;
use crate::live::look::Look;
use crate::live::{payload, tickets};

/// What is known afterwards.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) target: Target,
    pub(super) look: Look,
    /// What the session negotiated; nothing if it was not worth trying.
    pub(super) facts: Option<Facts>,
    /// What the peer is.
    pub(super) kind: Option<EntityType>,
    /// The methods that it allows, if that could be found out.
    pub(super) methods: Option<Vec<u32>>,
    /// A method that it did not take, where it does not say which it would.
    pub(super) refused: Option<u32>,
    /// Why no session opened.
    pub(super) cause: Option<Cause>,
}

impl Attempt {
    /// Looks, then opens a session.
    pub(super) fn at(target: Target, identity: &Identity) -> Self {
        let (look, looked) = Look::at(&target, identity);
        let (kind, methods) = (look.kind, look.methods.clone());
        let cause = looked.err();
        let mut this = Self { target, look, facts: None, kind, methods, refused: None, cause };
        // An authentication that could not be asked about may still work.
        if this.cause.is_none() || this.kind.is_some() {
            this.open(identity);
        }
        this
    }

    fn open(&mut self, identity: &Identity) {
        // A v1 server tells its nonce, but not what it is: a monitor, unless its version says otherwise.
        let target = match self.look.own {
            Some(own) if self.target.addr.nonce == 0 => self.target.with_nonce(own.nonce),
            _ => self.target,
        };
        let mut kind = self.kind.unwrap_or(EntityType::MON);
        if let Err(cause) = self.fetch_ticket(kind, identity) {
            self.cause = Some(cause);
            return;
        }
        let (mut call, mut outcome) = Call::open(&identity.local(), kind, target, identity.timeout);
        if let Some(found) = call.found_kind() {
            kind = found;
            if let Err(cause) = self.fetch_ticket(kind, identity) {
                (self.kind, self.facts, self.cause) = (Some(kind), Some(call.facts()), Some(cause));
                return;
            }
            (call, outcome) = Call::open(&identity.local(), kind, target, identity.timeout);
        }
        if self.target.version == Version::V1 {
            match &outcome {
                Ok(()) if kind == EntityType::MON => {
                    self.methods = ask_v1_monitor(&mut call, target, identity);
                }
                Ok(()) => self.methods = call.facts().method.map(|method| vec![method]),
                // It does not say which methods it would take.
                Err(cause) if cause.name == "denied" => self.refused = call.facts().method,
                Err(_) => {}
            }
            if outcome.is_ok() || self.refused.is_some() {
                self.kind = Some(kind);
            }
        }
        self.facts = Some(call.facts());
        self.cause = outcome.err();
    }

    /// Services want a ticket, unless they take clients without any.
    fn fetch_ticket(&self, kind: EntityType, identity: &Identity) -> Result<(), Cause> {
        let allows = |method| self.methods.as_ref().is_none_or(|methods| methods.contains(&method));
        match tickets::fetch(identity, kind) {
            Err(cause) if allows(method::CEPHX) && !(self.methods.is_some() && allows(method::NONE)) => {
                Err(cause)
            }
            _ => Ok(()),
        }
    }

    /// Whether the peer is Ceph, of this version.
    pub(super) fn is_spoken(&self) -> bool {
        self.look.banner.is_some() || self.look.own.is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.times.open.is_some()) && self.cause.is_none()
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.cause.as_ref().is_some_and(Cause::is_unreachable)
    }
}

/// v1: monitors authenticate by messages in the open session. Asks for each method alone, each in a session of its
/// own, the first in this one.
fn ask_v1_monitor(first: &mut Call, target: Target, identity: &Identity) -> Option<Vec<u32>> {
    let ask = |call: &mut Call, method: u32| {
        call.send(payload::auth_request(method, &identity.entity));
        let reply = call.until(Instant::now() + identity.timeout, |event, _| match event? {
            Event::Message(received) if received.message.header.kind == MessageType::AUTH_REPLY => {
                AuthReply::decode(&received.message.front.into_bytes()).ok()
            }
            _ => None,
        });
        let reply = reply.ok()??;
        Some(reply.protocol == method && reply.result == 0)
    };
    let mut allowed = Vec::new();
    let none = ask(first, method::NONE)?;
    let (mut second, opened) = Call::open(&identity.local(), EntityType::MON, target, identity.timeout);
    opened.ok()?;
    let cephx = ask(&mut second, method::CEPHX)?;
    for (method, is_allowed) in [(method::NONE, none), (method::CEPHX, cephx)] {
        if is_allowed {
            allowed.push(method);
        }
    }
    Some(allowed)
}
