//! What was found out about a record with keys, and how is it written?

use std::time::Duration;

use cephwire_codec::EntityType;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::CryptoKey;
use cephwire_protocol::auth::cephx::ticket::{AuthTicket, OWN_SECRET, TicketBlob};
use serde_json::{Map, Value, json};

use super::super::fields;
use super::super::keys::Keys;

/// What keys brought to light about a record; nothing without keys.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The inside of its cephx payload.
    pub inside: Option<Box<Inside>>,
    /// Whether its signature holds: of a v1 message, or of AUTH_SIGNATURE. Nothing if it has none, or there is
    /// no key to check it with.
    pub signature: Option<Signature>,
}

/// What became of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It is right.
    Holds,
    /// It is wrong: something was altered.
    Wrong,
    /// There is none, though this side signed its messages before.
    Missing,
}

impl Signature {
    /// `ok`, `wrong` or `missing`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "ok",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
        }
    }
}

/// The inside of a payload.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    /// Its fields, by their names. Secrets only if they may be shown.
    pub says: Vec<(&'static str, Value)>,
    /// What is wrong with it: a key that should open it does not, or it is malformed.
    pub problem: Option<String>,
}

impl Findings {
    /// What is wrong, if something is.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self.signature {
            Some(Signature::Wrong) => Some("the signature is wrong"),
            Some(Signature::Missing) => Some("the signature is missing"),
            Some(Signature::Holds) | None => self.inside.as_ref()?.problem.as_deref(),
        }
    }
}

impl From<Inside> for Findings {
    fn from(inside: Inside) -> Self {
        Self { inside: Some(Box::new(inside)), signature: None }
    }
}

impl Inside {
    /// A payload that says what it is.
    pub(super) fn of(kind: &'static str) -> Self {
        Self { says: vec![("is", kind.into())], problem: None }
    }

    /// A payload that cannot be read as what it should be.
    pub(super) fn malformed(kind: &'static str, reason: &Reason) -> Self {
        Self::of(kind).wrong(reason)
    }

    /// Says more.
    pub(super) fn say(&mut self, name: &'static str, value: impl Into<Value>) {
        self.says.push((name, value.into()));
    }

    /// Says a secret, if that is allowed.
    pub(super) fn say_key(&mut self, name: &'static str, key: &CryptoKey, keys: &Keys) {
        if keys.show_secrets() {
            self.say(name, key.to_base64().as_str());
        }
    }

    /// Says why something in it was not read, where that is nobody's fault.
    pub(super) fn unread(&mut self, why: impl Into<String>) {
        self.say("unread", why.into());
    }

    /// Something is wrong; what was first counts.
    pub(super) fn wrong(mut self, why: &impl ToString) -> Self {
        self.set_wrong(why);
        self
    }

    /// The same.
    pub(super) fn set_wrong(&mut self, why: &impl ToString) {
        self.problem.get_or_insert_with(|| why.to_string());
    }

    /// As an object.
    pub(in super::super) fn to_json(&self) -> Value {
        let fields = self.says.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// A service's name, or its number if it has none.
pub(super) fn service_name(service: u32) -> String {
    let named = u8::try_from(service).ok().and_then(|kind| EntityType(kind).name());
    named.map_or_else(|| service.to_string(), str::to_owned)
}

/// The services of a bit set.
pub(super) fn services(bits: u32) -> Value {
    (0..32).map(|n| 1u32 << n).filter(|bit| bits & bit != 0).map(service_name).collect()
}

/// Which secret of its service a ticket is sealed with.
pub(super) fn secret_id(ticket: &TicketBlob) -> Value {
    if ticket.secret_id == OWN_SECRET { "own key".into() } else { ticket.secret_id.into() }
}

pub(super) fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 { duration.as_secs().into() } else { duration.as_secs_f64().into() }
}

/// Who a client is, as a ticket says.
pub(super) fn ticket_info(ticket: &AuthTicket) -> Value {
    let caps = match (&ticket.caps.allow_all, ticket.caps.text()) {
        (true, _) => json!("all"),
        (false, Some(text)) => json!(text),
        (false, None) => fields::bytes(&ticket.caps.blob),
    };
    json!({
        "entity": ticket.name.to_string(),
        "global_id": ticket.global_id,
        "created": ticket.created.to_string(),
        "expires": ticket.expires.to_string(),
        "caps": caps,
    })
}
