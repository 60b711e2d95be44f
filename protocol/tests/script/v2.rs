//! What a scripted peer of v2 says to get anywhere, as client and as server.

use bytes::Bytes;
use cephwire_protocol::codec::v2::{
    AuthBadMethod, AuthDone, AuthRequest, Banner, ClientIdent, CompressionDone, CompressionRequest, Frame,
    Hello, Keys, MessageFrame, Method, ServerIdent, SessionReconnect, method, mode,
};
use cephwire_protocol::codec::{EntityType, Features, MsgrFeatures, Side, Timestamp};

use super::{Script, V2, addr, addrs, message};

/// The script's address, as a server and as a bound client.
pub(crate) const PEER: &str = "v2:10.0.0.2:6800/2";
/// The host's address in [`super::Setup::default`].
pub(crate) const HOST: &str = "v2:10.0.0.1:6800/1";

pub(crate) fn banner(supported: u64) -> Frame {
    Frame::Banner(Banner { supported: MsgrFeatures(supported), required: MsgrFeatures(0) })
}

pub(crate) fn hello(entity_type: EntityType) -> Frame {
    Frame::Hello(Hello { entity_type, peer_addr: addr("v2:10.0.0.1:40000/0") })
}

pub(crate) fn auth_request(method: u32, modes: &[u32]) -> Frame {
    Frame::AuthRequest(AuthRequest { method, preferred_modes: modes.to_vec(), payload: Bytes::new() })
}

pub(crate) fn auth_done(mode: u32) -> Frame {
    Frame::AuthDone(AuthDone { global_id: 0, mode, payload: Bytes::new() })
}

pub(crate) const SIGNATURE: Frame = Frame::AuthSignature([0; 32]);

/// CLIENT_IDENT from [`PEER`] to [`HOST`].
pub(crate) fn ident(cookie: u64, global_seq: u64) -> ClientIdent {
    ClientIdent {
        addrs: addrs(PEER),
        target: addr(HOST),
        gid: 2,
        global_seq,
        features_supported: Features::ALL_PACIFIC,
        features_required: Features::MSG_ADDR2,
        flags: 0,
        cookie,
    }
}

pub(crate) fn reconnect(cookies: (u64, u64), gs: u64, cs: u64, ms: u64) -> Frame {
    Frame::SessionReconnect(SessionReconnect {
        addrs: addrs(PEER),
        client_cookie: cookies.0,
        server_cookie: cookies.1,
        global_seq: gs,
        connect_seq: cs,
        msg_seq: ms,
    })
}

/// SERVER_IDENT from [`PEER`].
pub(crate) fn server_ident(cookie: u64, lossy: bool) -> ServerIdent {
    ServerIdent {
        addrs: addrs(PEER),
        gid: 2,
        global_seq: 1,
        features_supported: Features::ALL_PACIFIC,
        features_required: Features::MSG_ADDR2,
        flags: u64::from(lossy),
        cookie,
    }
}

/// [`message`] number `tid` in its frame.
pub(crate) fn message_frame(seq: u64, ack_seq: u64, tid: u64) -> Frame {
    Frame::Message(MessageFrame { seq, ack_seq, message: message(tid), ..MessageFrame::default() })
}

/// The variant's name.
pub(crate) fn name(frame: &Frame) -> &'static str {
    frame.tag().map_or("banner", |tag| tag.name())
}

/// One frame of each kind.
pub(crate) fn frames() -> Vec<Frame> {
    let stamp = Timestamp::default();
    vec![
        hello(EntityType::OSD),
        auth_request(method::NONE, &[mode::CRC]),
        Frame::AuthBadMethod(AuthBadMethod {
            method: 1,
            result: -95,
            allowed_methods: vec![],
            allowed_modes: vec![],
        }),
        Frame::AuthReplyMore(Bytes::new()),
        Frame::AuthRequestMore(Bytes::new()),
        auth_done(mode::CRC),
        SIGNATURE,
        Frame::ClientIdent(ident(7, 10)),
        Frame::ServerIdent(server_ident(7, false)),
        Frame::IdentMissingFeatures(Features(1)),
        reconnect((1, 2), 3, 4, 5),
        Frame::SessionReset { full: true },
        Frame::SessionRetry(1),
        Frame::SessionRetryGlobal(1),
        Frame::SessionReconnectOk(1),
        Frame::Wait,
        message_frame(1, 0, 1),
        Frame::Keepalive2(stamp),
        Frame::Keepalive2Ack(stamp),
        Frame::Ack(1),
        Frame::CompressionRequest(CompressionRequest { compress: false, methods: vec![] }),
        Frame::CompressionDone(CompressionDone { compress: false, method: Method::NONE }),
    ]
}

impl Script<V2> {
    /// Names of all frames that the host has sent.
    pub(crate) fn names(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.next()).map(|frame| name(&frame)).collect()
    }

    /// Banner and HELLO, as whoever dialed or was dialed.
    #[track_caller]
    pub(crate) fn greet(&mut self, kind: EntityType) {
        self.send(&banner(1));
        assert_eq!(self.names(), ["banner", "HELLO"]);
        self.send(&hello(kind));
    }

    /// As a client, up to where a session is claimed.
    #[track_caller]
    pub(crate) fn enter_as(&mut self, kind: EntityType) {
        self.greet(kind);
        self.send(&auth_request(method::NONE, &[mode::CRC]));
        assert_eq!(self.names(), ["AUTH_DONE", "AUTH_SIGNATURE"]);
        self.send(&SIGNATURE);
        self.expect_quiet();
    }

    /// The same, as an OSD.
    #[track_caller]
    pub(crate) fn enter(&mut self) {
        self.enter_as(EntityType::OSD);
    }

    /// As a client: claims a new session and gets it.
    #[track_caller]
    pub(crate) fn open(&mut self, ident: ClientIdent) -> ServerIdent {
        self.send(&Frame::ClientIdent(ident));
        match self.expect() {
            Frame::ServerIdent(ident) => ident,
            other => panic!("SERVER_IDENT expected, {other:?}"),
        }
    }

    /// As a server of type OSD, up to the client's claim.
    #[track_caller]
    pub(crate) fn admit(&mut self) -> Frame {
        self.greet(EntityType::OSD);
        assert_eq!(self.names(), ["AUTH_REQUEST"]);
        self.send(&auth_done(mode::CRC));
        assert_eq!(self.names(), ["AUTH_SIGNATURE"]);
        self.send(&SIGNATURE);
        self.expect()
    }

    /// The host's AUTH_SIGNATURE, sealed with the keys of [`Stepwise`](super::auth::Stepwise) or not.
    #[track_caller]
    pub(crate) fn expect_any_signature(&mut self, secure: bool) -> Frame {
        if secure {
            self.seal(Side::Client);
        }
        self.expect()
    }

    /// Everything is sealed from here on, with the secret of [`Stepwise`](super::auth::Stepwise); the script is on
    /// this side.
    pub(crate) fn seal(&mut self, side: Side) {
        let keys = Keys::from_secret(&[9; 64]).expect("long enough");
        self.wire.encoder.set_keys(keys.clone(), side).expect("the first");
        self.wire.decoder.set_keys(keys, side.peer()).expect("the first");
    }

    /// As a server: up to the client's claim of a new session.
    #[track_caller]
    pub(crate) fn admit_new(&mut self) -> ClientIdent {
        match self.admit() {
            Frame::ClientIdent(ident) => ident,
            other => panic!("CLIENT_IDENT expected, {other:?}"),
        }
    }

    /// As a server: up to the client's claim of an earlier session.
    #[track_caller]
    pub(crate) fn admit_resumed(&mut self) -> SessionReconnect {
        match self.admit() {
            Frame::SessionReconnect(claim) => claim,
            other => panic!("SESSION_RECONNECT expected, {other:?}"),
        }
    }

    /// A frame that must be a claim of an earlier session.
    #[track_caller]
    pub(crate) fn expect_reconnect(&mut self) -> SessionReconnect {
        match self.expect() {
            Frame::SessionReconnect(claim) => claim,
            other => panic!("SESSION_RECONNECT expected, {other:?}"),
        }
    }

    /// A frame that must be a message; its seq, ack_seq and tid.
    #[track_caller]
    pub(crate) fn expect_message(&mut self) -> (u64, u64, u64) {
        match self.expect() {
            Frame::Message(frame) => (frame.seq, frame.ack_seq, frame.message.header.tid),
            other => panic!("MESSAGE expected, {other:?}"),
        }
    }
}
