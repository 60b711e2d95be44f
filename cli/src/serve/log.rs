//! What is printed of what happens?
//!
//! ```text
//! TIME -- OWN <== PEER ADDR SEQ ==== TYPE vVERSION ==== FRONT+MIDDLE+DATA (crc FRONT MIDDLE DATA) tid TID con N
//! TIME -- OWN --> PEER ADDR -- TYPE vVERSION -- FRONT+MIDDLE+DATA tid TID con N
//! ```

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use cephwire::auth::Entity;
use cephwire::codec::v2::mode;
use cephwire::codec::{AddrVec, Message};
use cephwire::{Facts, Handle, Received, Version};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::live::show::Format;
use crate::live::version_name;

const TIME: Style = Style::new().dimmed();
const MESSAGE: Style = Style::new().bold();
const CONTROL: Style = AnsiColor::Cyan.on_default();

/// Where the lines go.
pub(crate) struct Log {
    format: Format,
    out: Option<Mutex<AutoStream<io::Stdout>>>,
}

impl Log {
    /// To standard output.
    pub(super) fn new(format: Format) -> Self {
        Self { format, out: Some(Mutex::new(AutoStream::auto(io::stdout()))) }
    }

    /// Nowhere.
    pub(crate) const fn silent() -> Self {
        Self { format: Format::Plain, out: None }
    }

    /// It listens.
    pub(super) fn listening(&self, own: &AddrVec, name: &str) {
        let addresses: Vec<String> = own.0.iter().map(ToString::to_string).collect();
        self.line(
            || json!({ "event": "listening", "name": name, "addresses": addresses }),
            || format!("{own} {CONTROL}listening{CONTROL:#} as {name}"),
        );
    }

    /// Something happened to a session.
    pub(super) fn event(&self, own: &AddrVec, session: &Handle, event: &str, error: Option<String>) {
        let facts = session.facts();
        let entity = facts.as_ref().filter(|_| event == "accepted").and_then(authenticated);
        let why = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        self.line(
            || {
                let mut object = about(session, event);
                if let Some((entity, mode)) = &entity {
                    object.insert("entity".to_owned(), entity.as_str().into());
                    object.insert("mode".to_owned(), (*mode).into());
                }
                if let Some(error) = &error {
                    object.insert("error".to_owned(), error.as_str().into());
                }
                object.into()
            },
            || {
                let (peer, id) = (peer(session), session.id());
                let who = entity.as_ref().map(|(entity, mode)| match mode {
                    Some(mode) => format!(" as {entity}, {mode}"),
                    None => format!(" as {entity}"),
                });
                let who = who.unwrap_or_default();
                format!("{own} == {peer} {CONTROL}{event}{CONTROL:#}{who}{why} con {id}")
            },
        );
    }

    /// A client of v1 has proved who it is, in messages.
    pub(super) fn authenticated(&self, own: &AddrVec, session: &Handle, entity: &Entity) {
        self.line(
            || {
                let mut object = about(session, "authenticated");
                object.insert("entity".to_owned(), entity.to_string().into());
                object.into()
            },
            || {
                let (peer, id) = (peer(session), session.id());
                format!("{own} == {peer} {CONTROL}authenticated{CONTROL:#} as {entity} con {id}")
            },
        );
    }

    /// A message came.
    pub(super) fn received(&self, own: &AddrVec, session: &Handle, received: &Received) {
        let message = &received.message;
        self.line(
            || {
                let mut object = about(session, "received");
                object.insert("seq".to_owned(), received.seq.into());
                describe(&mut object, message);
                object.into()
            },
            || {
                // Both protocols' own: each part alone, from 0 in v1, from all ones in v2.
                let seed = if session.version() == Some(Version::V1) { 0 } else { u32::MAX };
                let [front, middle, data] =
                    [&message.front, &message.middle, &message.data].map(|part| part.crc32c(seed));
                let (what, lengths) = (what(message), lengths(message));
                let (peer, seq, id) = (peer(session), received.seq, session.id());
                let tid = message.header.tid;
                format!(
                    "{own} <== {peer} {seq} ==== {what} ==== {lengths} (crc {front} {middle} {data}) tid {tid} con {id}"
                )
            },
        );
    }

    /// A message is to go.
    pub(super) fn sent(&self, own: &AddrVec, session: &Handle, message: &Message) {
        self.line(
            || {
                let mut object = about(session, "sent");
                describe(&mut object, message);
                object.into()
            },
            || {
                let (what, lengths, peer) = (what(message), lengths(message), peer(session));
                let (tid, id) = (message.header.tid, session.id());
                format!("{own} --> {peer} -- {what} -- {lengths} tid {tid} con {id}")
            },
        );
    }

    fn line(&self, json: impl Fn() -> Value, plain: impl Fn() -> String) {
        let Some(out) = &self.out else { return };
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+0000");
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = match self.format {
            Format::Plain => writeln!(out, "{TIME}{now}{TIME:#} -- {}", plain()),
            format => {
                let mut object = json();
                if let Some(object) = object.as_object_mut() {
                    object.shift_insert(0, "time".to_owned(), now.to_string().into());
                }
                format.object(&object, &mut *out)
            }
        };
        // Whoever read our output has seen enough; who is served need not know.
        let _ = printed.and_then(|()| out.flush());
    }
}

/// Who a session authenticated in its handshake, and in which mode it runs.
fn authenticated(facts: &Facts) -> Option<(String, Option<&'static str>)> {
    let entity = facts.authenticated.as_ref()?;
    Some((entity.to_string(), facts.mode.and_then(mode::name)))
}

fn about(session: &Handle, event: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("event".to_owned(), event.into());
    object.insert("con".to_owned(), session.id().into());
    object.insert("version".to_owned(), session.version().map(version_name).into());
    object.insert("peer".to_owned(), session.peer().to_string().into());
    object.insert("peer_addrs".to_owned(), session.peer_addrs().to_string().into());
    object
}

fn describe(object: &mut Map<String, Value>, message: &Message) {
    let header = message.header;
    object.insert("tid".to_owned(), header.tid.into());
    object.insert("type".to_owned(), header.kind.0.into());
    object.insert("type_name".to_owned(), name(message).into());
    object.insert("priority".to_owned(), header.priority.into());
    object.insert("message_version".to_owned(), header.version.into());
    object.insert("front".to_owned(), message.front.len().into());
    object.insert("middle".to_owned(), message.middle.len().into());
    object.insert("data".to_owned(), message.data.len().into());
}

fn peer(session: &Handle) -> String {
    format!("{} {}", session.peer(), session.peer_addrs())
}

fn name(message: &Message) -> String {
    let kind = message.header.kind;
    kind.log_name().map_or_else(|| kind.to_string(), str::to_owned)
}

fn what(message: &Message) -> String {
    format!("{MESSAGE}{}{MESSAGE:#} v{}", name(message), message.header.version)
}

fn lengths(message: &Message) -> String {
    format!("{}+{}+{}", message.front.len(), message.middle.len(), message.data.len())
}
