//! What does the stand-in do with what it is told?

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use cephwire::codec::{AddrVec, EntityType, Message, MessageType};
use cephwire::{Dispatcher, Error, Handle, Received};

use super::Answer;
use super::keys::{Keys, Talks};
use super::log::Log;
use super::monitor::Monitor;
use crate::config::Name;

/// A daemon that is none.
pub(crate) struct StandIn {
    name: Name,
    answer: Answer,
    /// What answers, if a monitor is played.
    monitor: Option<Monitor>,
    /// A monitor's talks with clients that must authenticate.
    talks: Option<Talks>,
    own: RwLock<AddrVec>,
    log: Arc<Log>,
}

impl StandIn {
    /// It has no address yet.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(name: Name, answer: Answer, keys: Option<&Keys>, log: Arc<Log>) -> io::Result<Self> {
        let monitor = (name.kind == EntityType::MON).then(|| Monitor::new(&name.id)).transpose()?;
        let talks = keys.filter(|_| monitor.is_some()).map(Keys::talks);
        Ok(Self { name, answer, monitor, talks, own: RwLock::default(), log })
    }

    /// Its addresses are known.
    pub(super) fn listens(&self, own: &AddrVec) {
        own.clone_into(&mut self.own.write().unwrap_or_else(PoisonError::into_inner));
        self.log.listening(own, &self.name.to_string());
    }

    fn own(&self) -> AddrVec {
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, own: &AddrVec, to: &Handle, message: Message) {
        self.log.sent(own, to, &message);
        // Who has hung up wants no answer.
        let _ = to.send(message);
    }

    /// What cephx has to say to a message. Nothing if it may be answered as if there were no keys.
    fn authenticate(&self, own: &AddrVec, from: &Handle, message: &Message) -> Option<()> {
        let talks = self.talks.as_ref()?;
        match message.header.kind {
            MessageType::AUTH => match talks.answer(from, &message.front.clone().into_bytes()) {
                Ok(said) => {
                    if let Some(name) = said.proved {
                        self.log.authenticated(own, from, &name);
                    }
                    if let Some(reason) = said.refused {
                        self.log.event(own, from, "refused", Some(reason.to_string()));
                    }
                    self.send(own, from, said.message);
                }
                Err(reason) => self.log.event(own, from, "refused", Some(reason.to_string())),
            },
            // As Ceph's monitors: these are for everybody,
            MessageType::PING | MessageType::MON_GET_MAP => return None,
            _ if talks.knows(from) => return None,
            // and nothing else is.
            _ => self.log.event(own, from, "dropped", Some(String::from("not authenticated"))),
        }
        Some(())
    }

    fn event(&self, session: &Handle, event: &str, error: Option<&Error>) {
        self.log.event(&self.own(), session, event, error.map(ToString::to_string));
    }
}

impl Dispatcher for StandIn {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        let own = self.own();
        self.log.received(&own, from, &received);
        let (message, _permits) = received.into_parts();
        if self.authenticate(&own, from, &message).is_some() {
            return None;
        }
        // v1's clients have no number yet: that of their session will do.
        let number = from.peer().num;
        let global_id = u64::try_from(number).ok().filter(|id| *id > 0).unwrap_or(FIRST_OF_V1 + from.id());
        let answers = self.monitor.as_ref().and_then(|monitor| monitor.answers(&message, &own, global_id));
        match (answers, self.answer) {
            (Some(answers), _) => answers.into_iter().for_each(|answer| self.send(&own, from, answer)),
            (None, Answer::Echo) => self.send(&own, from, message),
            (None, Answer::Ack) => {}
        }
        None
    }

    fn accepted(&self, session: &Handle) {
        self.event(session, "accepted", None);
    }

    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        if let Some(talks) = &self.talks {
            talks.end(session);
        }
        self.event(session, "reset", error);
        true
    }

    fn remote_reset(&self, session: &Handle) {
        self.event(session, "remote_reset", None);
    }

    fn trouble(&self, session: &Handle, error: &Error) {
        self.event(session, "trouble", Some(error));
    }

    fn rejected(&self, session: &Handle, error: &Error) {
        self.event(session, "rejected", Some(error));
    }
}

/// Numbers of clients that come with v1 are apart from the others.
const FIRST_OF_V1: u64 = 100_000;
