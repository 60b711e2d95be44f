//! How does a tool that has only the packets come to read an encrypted connection?
//!
//! Whoever knows the secrets writes them down, a line each, and who reads a capture looks them up: as with the
//! `SSLKEYLOGFILE` of TLS. Each line names what it is about by something that stands on the wire in the clear, and
//! that both peers and everybody between them see alike:
//!
//! ```text
//! CEPHWIRE_CONNECTION_SECRET <SHA-256 of what the server said> <secret, hex>
//! CEPHWIRE_TICKET            <SHA-256 of the sealed ticket> <session key, base64 as in a keyring>
//! CEPHWIRE_SERVICE_SECRET    <service: auth, mds, osd, mgr> <secret_id> <key, base64 as in a keyring>
//! ```
//!
//! * A *connection secret* opens one connection in secure mode. *What the server said* are all bytes of the accepting
//!   side from the first of its banner to the last of AUTH_DONE: what the client's AUTH_SIGNATURE covers. No two
//!   connections have the same, as AUTH_DONE holds what was sealed for this one alone.
//! * A *ticket*'s session key opens every connection for which that ticket is shown, and verifies the signatures on
//!   them (in v1, those of messages); that of an AUTH ticket opens the monitor connection that gave it, and with it
//!   the tickets for services. *The sealed ticket* is the blob in `CephXTicketBlob`, without its secret_id.
//! * A *service secret* (rotating key) opens every ticket that is sealed with it.
//!
//! Empty lines and those that begin with `#` say nothing. What such a file opens is as secret as the keys: nothing is
//! ever written unless [`Options::key_log`](crate::Options::key_log) says where.

use std::fmt;

use cephwire_codec::EntityType;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::auth::Reason;
use crate::auth::cephx::{CryptoKey, TicketBlob};

const CONNECTION_SECRET: &str = "CEPHWIRE_CONNECTION_SECRET";
const TICKET: &str = "CEPHWIRE_TICKET";
const SERVICE_SECRET: &str = "CEPHWIRE_SERVICE_SECRET";
/// The longest connection secret that is read; Ceph's has 64 bytes.
const SECRET_MOST: usize = 256;

/// Takes the lines. Called in the middle of a handshake: it should not block.
pub trait KeyLog: Send + Sync + fmt::Debug {
    /// Takes one line.
    fn log(&self, line: &Line);
}

/// One line. Never printed but by [`to_text`](Self::to_text).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// Of a connection in secure mode.
    ConnectionSecret {
        /// See [`transcript_id`].
        transcript: [u8; 32],
        /// The secret.
        secret: Zeroizing<Vec<u8>>,
    },
    /// Of a ticket.
    Ticket {
        /// See [`ticket_id`].
        ticket: [u8; 32],
        /// What client and service both know.
        session_key: CryptoKey,
    },
    /// Of a service.
    ServiceSecret {
        /// Which one.
        service: EntityType,
        /// Which of its secrets.
        secret_id: u64,
        /// The secret.
        key: CryptoKey,
    },
}

/// What a connection is called: the SHA-256 of `said_by_server`, the bytes from its banner to AUTH_DONE.
#[must_use]
pub fn transcript_id(said_by_server: &[u8]) -> [u8; 32] {
    Sha256::digest(said_by_server).into()
}

/// What a ticket is called: the SHA-256 of its sealed bytes.
#[must_use]
pub fn ticket_id(ticket: &TicketBlob) -> [u8; 32] {
    Sha256::digest(&ticket.blob).into()
}

impl Line {
    /// Reads a line; nothing if it says nothing.
    ///
    /// # Errors
    /// When it begins with no word that is known, or is not what should follow that word.
    pub fn parse(text: &str) -> Result<Option<Self>, Reason> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let wrong = |field, expected| Reason::Text { what: "secrets line", field, expected };
        let id = |text| {
            let id = unhex(text).and_then(|bytes| <[u8; 32]>::try_from(&**bytes).ok());
            id.ok_or_else(|| wrong("id", "64 hex digits"))
        };
        let line = match words[..] {
            [CONNECTION_SECRET, transcript, secret] => {
                let secret = unhex(secret).filter(|secret| secret.len() <= SECRET_MOST);
                let secret = secret.ok_or_else(|| wrong("secret", "hex digits"))?;
                Self::ConnectionSecret { transcript: id(transcript)?, secret }
            }
            [TICKET, ticket, key] => Self::Ticket { ticket: id(ticket)?, session_key: key.parse()? },
            [SERVICE_SECRET, service, secret_id, key] => Self::ServiceSecret {
                service: service.parse().map_err(|_| wrong("service", "a type of entity"))?,
                secret_id: secret_id.parse().map_err(|_| wrong("secret_id", "a number"))?,
                key: key.parse()?,
            },
            _ => {
                let expected =
                    "CEPHWIRE_CONNECTION_SECRET, _TICKET or _SERVICE_SECRET with their two or three values";
                return Err(wrong("text", expected));
            }
        };
        Ok(Some(line))
    }

    /// Writes it, without an end of line.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Self::ConnectionSecret { transcript, secret } => {
                format!("{CONNECTION_SECRET} {} {}", *hex(transcript), *hex(secret))
            }
            Self::Ticket { ticket, session_key } => {
                format!("{TICKET} {} {}", *hex(ticket), *session_key.to_base64())
            }
            Self::ServiceSecret { service, secret_id, key } => {
                format!("{SERVICE_SECRET} {service} {secret_id} {}", *key.to_base64())
            }
        })
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionSecret { .. } => "ConnectionSecret(..)",
            Self::Ticket { .. } => "Ticket(..)",
            Self::ServiceSecret { .. } => "ServiceSecret(..)",
        })
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    for [high, low] in pairs {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(*high)? << 4 | digit(*low)?) as u8);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const KEY: &str = "AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==";

    #[test]
    fn lines_are_read_as_they_are_written() {
        let key: CryptoKey = KEY.parse().unwrap();
        let lines = [
            Line::ConnectionSecret {
                transcript: transcript_id(b"ceph v2\n"),
                secret: Zeroizing::new((0..64).collect()),
            },
            Line::Ticket {
                ticket: ticket_id(&TicketBlob { secret_id: 3, blob: vec![1, 2].into() }),
                session_key: key.clone(),
            },
            Line::ServiceSecret { service: EntityType::OSD, secret_id: 3, key },
        ];
        for line in lines {
            let text = line.to_text();
            assert_eq!(Line::parse(&format!("  {} ", *text)).unwrap(), Some(line.clone()));
            // Not a digit of it in what may be logged.
            let secret = text.rsplit(' ').next().unwrap();
            assert!(!format!("{line:?}").contains(secret));
        }
    }

    #[test]
    fn the_format_is_what_is_documented() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let secret = Zeroizing::new(vec![0x0f, 0xf0]);
        let line = Line::ConnectionSecret { transcript: transcript_id(b"abc"), secret };
        assert_eq!(*line.to_text(), format!("CEPHWIRE_CONNECTION_SECRET {abc} 0ff0"));
        let blob = TicketBlob { secret_id: 7, blob: b"abc".as_slice().into() };
        let line = Line::Ticket { ticket: ticket_id(&blob), session_key: KEY.parse().unwrap() };
        assert_eq!(*line.to_text(), format!("CEPHWIRE_TICKET {abc} {KEY}"));
        let line = Line::ServiceSecret { service: EntityType::MDS, secret_id: 9, key: KEY.parse().unwrap() };
        assert_eq!(*line.to_text(), format!("CEPHWIRE_SERVICE_SECRET mds 9 {KEY}"));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        assert_eq!(Line::parse(" # a remark"), Ok(None));
        assert_eq!(Line::parse(""), Ok(None));
        let id = "00".repeat(32);
        for text in [
            "CLIENT_RANDOM 00 00".to_owned(),
            format!("CEPHWIRE_TICKET {id}"),
            format!("CEPHWIRE_TICKET {id} {KEY} more"),
            format!("CEPHWIRE_TICKET {} {KEY}", "00".repeat(31)),
            format!("CEPHWIRE_TICKET {id} {}", KEY.replace('A', "!")),
            format!("CEPHWIRE_CONNECTION_SECRET {id} 0"),
            format!("CEPHWIRE_CONNECTION_SECRET {id} 0g"),
            format!("CEPHWIRE_CONNECTION_SECRET {id} {}", "00".repeat(257)),
            format!("CEPHWIRE_SERVICE_SECRET nobody 1 {KEY}"),
            format!("CEPHWIRE_SERVICE_SECRET osd one {KEY}"),
        ] {
            assert!(Line::parse(&text).is_err(), "{text}");
        }
    }
}
