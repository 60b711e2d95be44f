//! Where can a scenario stop a connection, and what happens to it there?

use cephwire_protocol::Version;

/// A frame, by the name that the suites of v2 use. In v1, a connect with connect_seq 0 stands for CLIENT_IDENT, one
/// with a higher connect_seq for SESSION_RECONNECT, and the final SEQ or READY for what answers those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tag {
    /// No frame: the TCP connection.
    Socket,
    Banner,
    /// v2: the rest of the banner. v1: an address.
    Payload,
    Hello,
    AuthRequest,
    AuthDone,
    AuthSignature,
    ClientIdent,
    ServerIdent,
    Reconnect,
    ReconnectOk,
    /// An answer to a claim: come again with a higher connect_seq.
    RetrySession,
    /// Another answer to a claim.
    Refusal,
    Message,
    Ack,
    Keepalive2,
    Keepalive2Ack,
    /// What no scenario asks for.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// Just before Test hands it to the network.
    Write,
    /// It has reached Test and was not looked at.
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Point(pub(crate) Tag, pub(crate) Direction);

pub(crate) const CONNECTING: Point = Point(Tag::Socket, Direction::Write);

pub(crate) const fn write(tag: Tag) -> Point {
    Point(tag, Direction::Write)
}

pub(crate) const fn read(tag: Tag) -> Point {
    Point(tag, Direction::Read)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The transport fails.
    Fault,
    /// The connection stands still until it is unblocked.
    Block,
    /// The same, and the transport is dead by then: the peer sees it end at once.
    Stall,
}

/// What happens at a point, when it is reached for the n-th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) point: Point,
    pub(crate) round: u32,
    pub(crate) what: What,
}

pub(crate) const fn fault(point: Point) -> Break {
    Break { point, round: 1, what: What::Fault }
}

pub(crate) const fn block(point: Point, round: u32) -> Break {
    Break { point, round, what: What::Block }
}

pub(crate) const fn stall(point: Point) -> Break {
    Break { point, round: 1, what: What::Stall }
}

/// What the client of a handshake passes before it claims a session.
pub(crate) fn client_points(version: Version) -> Vec<Point> {
    use Tag::*;
    match version {
        Version::V1 => vec![write(Banner), read(Banner), read(Payload), write(Payload)],
        Version::V2 => vec![
            write(Banner),
            read(Banner),
            read(Payload),
            write(Hello),
            read(Hello),
            write(AuthRequest),
            read(AuthDone),
            write(AuthSignature),
            read(AuthSignature),
        ],
    }
}

/// What the server of a handshake passes before the client claims a session.
pub(crate) fn server_points(version: Version) -> Vec<Point> {
    use Tag::*;
    match version {
        Version::V1 => vec![write(Banner), write(Payload), read(Banner), read(Payload)],
        Version::V2 => vec![
            write(Banner),
            read(Banner),
            read(Payload),
            write(Hello),
            read(Hello),
            read(AuthRequest),
            write(AuthDone),
            write(AuthSignature),
            read(AuthSignature),
        ],
    }
}
