//! What is asked, and what counts as an answer?

use std::time::{Duration, Instant};

use bytes::Bytes;
use cephwire_codec::{EntityType, MessageType};
use cephwire_protocol::Event;

use crate::live::call::Call;
use crate::live::cause::Cause;
use crate::live::payload;

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// From the question on.
    pub(super) time: Duration,
    pub(super) what: What,
}

/// What came.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// `MPing` with this payload.
    Ping(Bytes),
    /// KEEPALIVE2_ACK.
    Keepalive2Ack,
}

impl Answer {
    /// The text in a monitor's answer.
    pub(super) fn text(&self) -> Option<String> {
        match &self.what {
            What::Ping(front) => payload::ping_text(front.clone()),
            What::Keepalive2Ack => None,
        }
    }
}

/// Asks once; nothing if there is no answer in time. A monitor must answer the message.
pub(super) fn exchange(call: &mut Call, tid: u64, timeout: Duration) -> Result<Option<Answer>, Cause> {
    let is_monitor = call.session().peer().kind == EntityType::MON;
    call.send(payload::ping(tid));
    let stamp = (!is_monitor).then(|| call.keepalive());
    let asked = Instant::now();
    let what = call.until(asked + timeout, |event, session| match event {
        Some(Event::Message(received)) if received.message.header.kind == MessageType::PING && is_monitor => {
            Some(What::Ping(received.message.front.into_bytes()))
        }
        _ => (stamp.is_some() && session.last_keepalive_ack() == stamp).then_some(What::Keepalive2Ack),
    })?;
    let time = asked.elapsed();
    Ok(what.map(|what| Answer { time, what }))
}
