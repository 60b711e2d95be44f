//! Which frames of v2 carry authentication, and does AUTH_SIGNATURE hold?

use cephwire_codec::Side;
use cephwire_codec::v2::{AuthDone, Footprint, Frame, Keys, method, mode};
use cephwire_protocol::auth::cephx::sign_transcript;
use cephwire_protocol::key_log::transcript_id;

use super::super::fields;
use super::{Exchange, Findings, Inside, Signature, With};

/// The most that a side may say before it is signed; more is not kept, and not checked.
const TRANSCRIPT_MOST: usize = 1 << 20;

/// What a side said from its banner to its last frame before the signatures.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    bytes: Vec<u8>,
    /// Nothing is missing, so far.
    whole: bool,
    /// AUTH_DONE came.
    over: bool,
}

impl Transcript {
    fn add(&mut self, frame: &Frame, footprint: &Footprint, bytes: &[u8]) {
        self.whole |= matches!(frame, Frame::Banner(_)) && footprint.offset == 0;
        self.whole &= footprint.offset == self.bytes.len() as u64;
        self.whole &=
            bytes.len() as u64 == footprint.len && self.bytes.len() + bytes.len() <= TRANSCRIPT_MOST;
        if self.whole {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The bytes, if they are all there.
    fn bytes(&self) -> Option<&[u8]> {
        (self.whole && self.over).then_some(&*self.bytes)
    }
}

impl Exchange {
    /// Whether a frame is covered by signatures, so that its bytes are wanted.
    pub(in super::super) fn wants_bytes(&self, frame: &Frame) -> bool {
        use Frame::{AuthBadMethod, AuthDone, AuthReplyMore, AuthRequest, AuthRequestMore, Banner, Hello};
        let covered = matches!(
            frame,
            Banner(_)
                | Hello(_)
                | AuthRequest(_)
                | AuthBadMethod(_)
                | AuthReplyMore(_)
                | AuthRequestMore(_)
                | AuthDone(_)
        );
        covered && !self.said.client.over
    }

    /// Takes note of a frame of `side`; `bytes` are its own, if they were wanted.
    pub(in super::super) fn heard_v2(
        &mut self,
        side: Side,
        frame: &Frame,
        footprint: &Footprint,
        bytes: Option<&[u8]>,
    ) -> Findings {
        if let Some(bytes) = bytes {
            self.said.of_mut(side).add(frame, footprint, bytes);
        }
        match frame {
            Frame::AuthRequest(request) if request.method == method::CEPHX => self.opening(&request.payload),
            Frame::AuthRequest(_) => {
                self.with = With::Nobody;
                Findings::default()
            }
            Frame::AuthReplyMore(payload) => match self.with {
                With::Monitor => self.server_challenge(payload).into(),
                With::Service => self.authorizer_challenge(payload).into(),
                With::Nobody | With::Unknown => Findings::default(),
            },
            Frame::AuthRequestMore(payload) => match self.with {
                With::Monitor => self.request(payload).into(),
                With::Service => self.authorizer(payload).into(),
                With::Nobody | With::Unknown => Findings::default(),
            },
            Frame::AuthDone(done) => self.done(side, done),
            Frame::AuthSignature(signature) => {
                Findings { inside: None, signature: self.check_transcript(side, signature) }
            }
            Frame::Message(frame) => self.message(&frame.message),
            _ => Findings::default(),
        }
    }

    fn done(&mut self, server: Side, done: &AuthDone) -> Findings {
        self.said.client.over = true;
        self.said.server.over = true;
        let inside = match self.with {
            With::Monitor => Some(self.reply(&done.payload)),
            With::Service => Some(self.authorizer_reply(&done.payload)),
            With::Nobody | With::Unknown => None,
        };
        if done.mode != mode::SECURE {
            return inside.map(Findings::from).unwrap_or_default();
        }
        let mut inside = inside.unwrap_or_else(|| Inside::of("done"));
        let keys = self.keys.borrow();
        let id = if keys.has_connections() || keys.show_secrets() {
            self.said.of(server).bytes().map(transcript_id)
        } else {
            None
        };
        if self.connection_secret.is_none() {
            let given = id.as_ref().and_then(|id| keys.of_connection(id));
            self.connection_secret = given.map(|secret| secret.to_vec().into());
        }
        if let (Some(secret), true) = (&self.connection_secret, keys.show_secrets()) {
            inside.say("transcript", id.map(|id| fields::bytes(&id)));
            inside.say("connection_secret", fields::bytes(secret));
        }
        let short = self.connection_secret.as_ref().and_then(|secret| Keys::from_secret(secret).err());
        if let Some(short) = short {
            inside.set_wrong(&short);
        }
        inside.into()
    }

    /// The keys of secure mode, if they are known.
    pub(in super::super) fn connection_keys(&self) -> Option<Keys> {
        Keys::from_secret(self.connection_secret.as_ref()?).ok()
    }

    /// A side signs what it heard of the other.
    fn check_transcript(&self, side: Side, signature: &[u8; 32]) -> Option<Signature> {
        let heard = self.said.of(side.peer()).bytes()?;
        let expected = match (&self.session_key, self.with) {
            (Some(key), _) => sign_transcript(key, heard),
            (None, With::Nobody) => [0; 32],
            (None, _) => return None,
        };
        Some(if expected == *signature { Signature::Holds } else { Signature::Wrong })
    }
}
