//! How does one session run over one TCP stream, in one thread?
//!
//! The smallest driver there is: it dials once, writes what the session has to say, waits for bytes or the session's
//! timer, and hands out events. What it reads first is kept, as it tells what a peer is that does not speak Ceph's
//! protocol.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use cephwire_codec::{Chunks, EntityType, Message, Timestamp};
use cephwire_protocol::{Action, Error, Event, Facts, Incompatible, LinkId, Local, Session};

use super::Target;
use super::cause::{Cause, FIRST_BYTES};

/// Slices of one write.
const SLICES: usize = 32;

/// What [`Call::next`] waited for.
#[derive(Debug)]
pub(crate) enum Happened {
    /// The session says something.
    Event(Box<Event>),
    /// Bytes came that are no event: there may be news in what the session knows.
    Bytes,
    /// The time has come.
    Nothing,
}

/// A session and its stream.
#[derive(Debug)]
pub(crate) struct Call {
    session: Session,
    local: Arc<Local>,
    target: Target,
    stream: Option<(LinkId, TcpStream)>,
    /// The first bytes that came.
    first: Vec<u8>,
    timeout: Duration,
}

impl Call {
    /// Dials; returns when the session is open, or cannot be.
    pub(crate) fn open(
        local: &Arc<Local>,
        kind: EntityType,
        target: Target,
        timeout: Duration,
    ) -> (Self, Result<(), Cause>) {
        let now = Instant::now();
        let session = Session::outgoing(Arc::clone(local), kind, target.addr.into(), now);
        let local = Arc::clone(local);
        let mut this = Self { session, local, target, stream: None, first: Vec::new(), timeout };
        let outcome = loop {
            match this.next(now + timeout) {
                Ok(Happened::Event(event)) if matches!(*event, Event::Open { .. }) => break Ok(()),
                Ok(Happened::Event(_) | Happened::Bytes) => {}
                Ok(Happened::Nothing) => {
                    let phase = this.facts().phase;
                    break Err(this.cause(&Error::TimedOut { phase }));
                }
                Err(cause) => break Err(cause),
            }
        };
        (this, outcome)
    }

    /// What is known of the connection.
    pub(crate) fn facts(&self) -> Facts {
        self.session.facts()
    }

    /// Queues a message; it is written by the next call of [`next`](Self::next).
    pub(crate) fn send(&mut self, message: Message) {
        // A session that has ended says so in its next event.
        let _ = self.session.send(message);
    }

    /// Asks for a sign of life; returns the stamp that the answer will repeat.
    pub(crate) fn keepalive(&mut self) -> Timestamp {
        let stamp = super::identity::wall_clock();
        self.local.set_wall_clock(stamp);
        self.session.keepalive();
        stamp
    }

    /// What the peer turned out to be, if that is another type than was dialed: v2 says it, in v1 the protocol's
    /// version does.
    pub(crate) fn found_kind(&self) -> Option<EntityType> {
        match self.session.last_failure()?.error {
            Error::Incompatible { source: Incompatible::EntityType { found, .. }, .. } => Some(found),
            Error::Incompatible { source: Incompatible::ProtocolVersion { theirs, .. }, .. } => {
                match theirs {
                    15 => Some(EntityType::MON),
                    24 => Some(EntityType::OSD),
                    32 => Some(EntityType::MDS),
                    // Managers and clients have none; only the former listen.
                    0 => Some(EntityType::MGR),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The session itself, for what it knows.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Runs until something has happened, or the time has come.
    pub(crate) fn next(&mut self, until: Instant) -> Result<Happened, Cause> {
        let mut read = false;
        loop {
            self.transmit();
            self.act(until);
            if let Some(event) = self.session.poll_event() {
                return match event {
                    // One attempt is enough: whoever waits wants to know why it failed.
                    Event::Reset(Some(error)) | Event::Rejected(error) | Event::Trouble(error) => {
                        Err(self.cause(&error))
                    }
                    Event::Reset(None) => Err(self.cause(&Error::Closed { phase: "open" })),
                    event => Ok(Happened::Event(Box::new(event))),
                };
            }
            if read {
                return Ok(Happened::Bytes);
            }
            let now = Instant::now();
            if now >= until {
                return Ok(Happened::Nothing);
            }
            let wake = self.session.poll_timeout().map_or(until, |at| at.min(until));
            read = self.read(wake.saturating_duration_since(now));
            self.session.handle_timeout(Instant::now());
        }
    }

    /// Runs until `seen` finds what it looks for, in an event or in the session, or the time has come.
    pub(crate) fn until<T>(
        &mut self,
        until: Instant,
        mut seen: impl FnMut(Option<Event>, &Session) -> Option<T>,
    ) -> Result<Option<T>, Cause> {
        loop {
            let event = match self.next(until)? {
                Happened::Nothing => return Ok(None),
                Happened::Bytes => None,
                Happened::Event(event) => Some(*event),
            };
            if let Some(found) = seen(event, &self.session) {
                return Ok(Some(found));
            }
        }
    }

    fn transmit(&mut self) {
        let Some((link, stream)) = &mut self.stream else { return };
        let mut out = Chunks::new();
        while self.session.poll_transmit(Instant::now(), *link, &mut out).is_ok() && out.has_remaining() {
            // If this fails, reading does too, and says it better.
            if write(stream, &mut out).is_err() {
                return;
            }
        }
    }

    fn act(&mut self, until: Instant) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Dial { link, to, .. } => {
                    let left = until.saturating_duration_since(Instant::now()).min(self.timeout);
                    let dialed = to.socket.ok_or(io::ErrorKind::AddrNotAvailable).and_then(|socket| {
                        let left = left.max(Duration::from_millis(1));
                        TcpStream::connect_timeout(&socket, left).map_err(|error| error.kind())
                    });
                    let outcome = dialed.map(|stream| {
                        let _ = stream.set_nodelay(true);
                        self.stream = Some((link, stream));
                    });
                    let _ = self.session.handle_dialed(Instant::now(), link, outcome);
                    self.transmit();
                }
                Action::HangUp(link) => {
                    if let Some((_, stream)) = self.stream.take_if(|(own, _)| *own == link) {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
                Action::Arriving(_) => {}
            }
        }
    }

    /// Waits for bytes, at most so long. Says whether any came.
    fn read(&mut self, wait: Duration) -> bool {
        let wait = wait.max(Duration::from_millis(1));
        let Some((link, stream)) = &mut self.stream else {
            std::thread::sleep(wait);
            return false;
        };
        let link = *link;
        let Ok(Some(mut buf)) = self.session.recv_buf(link) else {
            std::thread::sleep(wait);
            return false;
        };
        let _ = stream.set_read_timeout(Some(wait));
        buf.resize(buf.capacity(), 0);
        let outcome = stream.read(&mut buf);
        buf.truncate(*outcome.as_ref().unwrap_or(&0));
        if let Some(room) = FIRST_BYTES.checked_sub(self.first.len()) {
            self.first.extend(buf.iter().take(room));
        }
        let (now, read) = (Instant::now(), !buf.is_empty());
        let _ = match outcome {
            Ok(0) => self.session.handle_eof(now, link),
            Ok(_) => self.session.handle_recv(now, link, buf),
            Err(error) if is_transient(&error) => self.session.handle_recv(now, link, buf),
            Err(_) => self.session.handle_eof(now, link),
        };
        read
    }

    /// The session's error, in words that help.
    fn cause(&self, error: &Error) -> Cause {
        let failed = self.session.last_failure();
        let facts = failed.map_or_else(|| self.facts(), |failure| failure.facts.clone());
        Cause::of(error, &facts, &self.first, &self.target)
    }
}

/// Writes all of it.
pub(crate) fn write(stream: &mut TcpStream, out: &mut Chunks) -> io::Result<()> {
    while out.has_remaining() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = out.io_slices(&mut slices);
        let written = stream.write_vectored(slices.get(..count).unwrap_or_default())?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        out.advance(written);
    }
    Ok(())
}

/// Whether a read only took too long, or was interrupted.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
