//! What did a connection negotiate, and how far did it get?
//!
//! For people and tools that look: `ping`, `probe`, dumps, applications that ask for a feature. Each attempt to
//! connect has its own [`Facts`]; they fill as the handshake proceeds, and a failed attempt keeps what it had learned.

use std::time::Instant;

use bytes::Bytes;
use cephwire_codec::v2::{Banner, Method, Revision};
use cephwire_codec::{AddrVec, EntityAddr, EntityName, Features, MsgrFeatures, Side};

use crate::Error;
use crate::auth::{Entity, Reason};
use crate::connection::Version;

/// What is known of a connection and of who is at its other end. What is not known (yet) is `None`, empty or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The protocol.
    pub version: Version,
    /// Who dialed: `Client` if this side did.
    pub side: Side,
    /// What is going on, in Ceph's words for its states; "open" once messages flow. Of an attempt that is over:
    /// what was going on then.
    pub phase: &'static str,
    /// When it got how far.
    pub times: Times,
    /// What was dialed, or where the accepted connection came from.
    pub socket: Option<EntityAddr>,
    /// This side's address as the peer sees it. An accepted connection of v1 does not tell.
    pub seen_as: Option<EntityAddr>,

    /// v2: the banner that this side sent.
    pub own_banner: Option<Banner>,
    /// v2: the peer's.
    pub peer_banner: Option<Banner>,
    /// How it is authenticated ([`codec::v2::method`](cephwire_codec::v2::method)); dialing, the method asked for
    /// last. `UNKNOWN` if v1 sent no authorizer.
    pub method: Option<u32>,
    /// v2: the connection mode ([`codec::v2::mode`](cephwire_codec::v2::mode)); known once authenticated.
    pub mode: Option<u32>,
    /// v2: how frames are compressed, if they are.
    pub compression: Option<Method>,

    /// The peer, as it introduced itself. Its number is −1 while it is not known.
    pub peer: EntityName,
    /// Accepting: who the peer is as authentication has it, where the method says so.
    pub authenticated: Option<Entity>,
    /// Accepting: why authentication did not convince, the last time.
    pub refused: Option<Reason>,
    /// The client's id in the cluster: this side's when it dials v2, the peer's when it accepts.
    pub global_id: Option<u64>,
    /// Accepting: what the peer may do, in the encoding of its type; empty where the method does not say.
    pub caps: Bytes,
    /// The addresses that the peer says are its own.
    pub addrs: AddrVec,
    /// The peer's features.
    pub peer_features: Features,
    /// v2: the features that the peer requires.
    pub peer_required: Features,
    /// The features in effect: both have them.
    pub features: Features,

    /// The session ends with this connection: the server's decision, or the policy before that is known.
    pub lossy: bool,
    /// How often the session was connected.
    pub connect_seq: u64,
    /// The number of this side's attempt among all of its process.
    pub global_seq: u64,
    /// The highest such number that the peer sent.
    pub peer_global_seq: u64,
    /// v2: the session's names, given by the client and by the server; 0 for a lossy one.
    pub client_cookie: u64,
    /// See above.
    pub server_cookie: u64,
}

/// When a connection got how far: the times that the driver passed in, when it told of the last bytes needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// The dial began. Nothing for an accepted connection.
    pub dialed: Option<Instant>,
    /// The transport was there.
    pub connected: Option<Instant>,
    /// The peer's banner was.
    pub banner: Option<Instant>,
    /// Authentication was over; in v1, where an authorizer is part of each claim, the last one that convinced.
    pub authenticated: Option<Instant>,
    /// The session opened.
    pub open: Option<Instant>,
}

/// The failure of a connection, or of an attempt to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// What was known by then.
    pub facts: Facts,
}

impl Facts {
    /// Nothing is known yet but what is meant.
    pub(crate) fn new(version: Version, side: Side) -> Self {
        Self {
            version,
            side,
            phase: "START_CONNECT",
            times: Times::default(),
            socket: None,
            seen_as: None,
            own_banner: None,
            peer_banner: None,
            method: None,
            mode: None,
            compression: None,
            peer: EntityName { num: -1, ..EntityName::default() },
            authenticated: None,
            refused: None,
            global_id: None,
            caps: Bytes::new(),
            addrs: AddrVec::default(),
            peer_features: Features(0),
            peer_required: Features(0),
            features: Features(0),
            lossy: false,
            connect_seq: 0,
            global_seq: 0,
            peer_global_seq: 0,
            client_cookie: 0,
            server_cookie: 0,
        }
    }

    /// v2: what both banners have.
    #[must_use]
    pub fn msgr_features(&self) -> MsgrFeatures {
        match (self.own_banner, self.peer_banner) {
            (Some(own), Some(peer)) => own.supported.intersection(peer.supported),
            _ => MsgrFeatures(0),
        }
    }

    /// v2: which revision of the framing is spoken; nothing before the banners are exchanged.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.peer_banner?;
        let newer = self.msgr_features().contains(MsgrFeatures::REVISION_1);
        Some(if newer { Revision::V2_1 } else { Revision::V2_0 })
    }
}
