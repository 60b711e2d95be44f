//! What do AUTH_SIGNATURE frames cover?

use cephwire_codec::Side;
use cephwire_codec::v2::{Frame, Keys, mode};

use super::Context;
use crate::auth::{Reason, Secrets};
use crate::error::{Denied, Error};
#[cfg(feature = "cephx")]
use crate::key_log::{Line, transcript_id};

/// The most that a handshake may say before it is signed.
const TRANSCRIPT_MOST: usize = 128 << 10;

/// The bytes of both directions, from the banner to the last frame before the signatures.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Transcript {
    /// Sends a frame that the peer will sign.
    pub(super) fn put(&mut self, frame: &Frame, context: &mut Context<'_>) -> Result<(), Error> {
        self.sent.extend_from_slice(&context.put_v2(frame)?);
        self.bound(context)
    }

    /// Takes the bytes of the frames received so far.
    pub(super) fn hear(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        self.received.extend_from_slice(&context.take_record());
        self.bound(context)
    }

    fn bound(&self, context: &Context<'_>) -> Result<(), Error> {
        let len = self.sent.len().max(self.received.len());
        if len <= TRANSCRIPT_MOST {
            return Ok(());
        }
        let (found, expected) = (format_args!("{len} bytes"), format_args!("at most {TRANSCRIPT_MOST}"));
        Err(context.wrong(found, expected))
    }

    /// Authentication is done: switches to the mode, sends the own signature, and returns what the peer's must be.
    /// If it cannot, `known` is what was offered and allowed.
    pub(super) fn sign(
        self,
        secrets: &Secrets,
        connection_mode: u32,
        side: Side,
        known: Denied,
        context: &mut Context<'_>,
    ) -> Result<[u8; 32], Error> {
        context.stop_recording();
        context.facts.mode = Some(connection_mode);
        if connection_mode == mode::SECURE {
            // Without a secret there is no secure mode, whatever was agreed. (Ceph's monitors abort.)
            let keys = Keys::from_secret(&secrets.connection_secret).map_err(|_| {
                let denied = Denied { is_final: true, ..Reason::NoConnectionSecret.into() };
                context.denied(denied.knowing(known))
            })?;
            context.set_keys(keys, side);
            #[cfg(feature = "cephx")]
            self.log(secrets, side, context);
        }
        context.put_v2(&Frame::AuthSignature((secrets.sign_transcript)(&self.received)))?;
        Ok((secrets.sign_transcript)(&self.sent))
    }

    /// Writes the connection secret down, if it is wanted.
    #[cfg(feature = "cephx")]
    fn log(&self, secrets: &Secrets, side: Side, context: &Context<'_>) {
        if let Some(log) = &context.local.options.key_log {
            let said_by_server = if side == Side::Server { &self.sent } else { &self.received };
            log.log(&Line::ConnectionSecret {
                transcript: transcript_id(said_by_server),
                secret: zeroize::Zeroizing::new(secrets.connection_secret.to_vec()),
            });
        }
    }
}
