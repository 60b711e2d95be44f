//! What became of each session of Test?

use std::fmt;

use cephwire_protocol::codec::Side;

use super::points::{Direction, Point, Tag};

/// How a session ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Final {
    /// It is open.
    Established,
    /// It has no connection and waits.
    Standby,
    /// It has ended.
    Closed,
    /// It has ended, and another session has its connection.
    Replaced,
    /// It is none of these yet.
    Pending,
}

/// Not checked.
pub(crate) const ANY: u32 = u32::MAX;

/// A session's state and counters. `C`: TCP connects begun, CLIENT_IDENT and SESSION_RECONNECT written, connect
/// events. `A`: TCP connections accepted, the same frames read, accept events. `R`: resets, remote resets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: Final,
    pub(crate) c: [u32; 4],
    pub(crate) a: [u32; 4],
    pub(crate) r: [u32; 2],
}

impl Outcome {
    pub(crate) const fn new(state: Final) -> Self {
        Self { state, c: [0; 4], a: [0; 4], r: [0; 2] }
    }

    pub(crate) const fn c(self, dials: u32, idents: u32, reconnects: u32, events: u32) -> Self {
        Self { c: [dials, idents, reconnects, events], ..self }
    }

    pub(crate) const fn a(self, accepts: u32, idents: u32, reconnects: u32, events: u32) -> Self {
        Self { a: [accepts, idents, reconnects, events], ..self }
    }

    pub(crate) const fn r(self, resets: u32, remote_resets: u32) -> Self {
        Self { r: [resets, remote_resets], ..self }
    }

    /// Counts a claim.
    pub(crate) fn claimed(&mut self, point: Point) {
        let count = match point {
            Point(Tag::ClientIdent, Direction::Write) => &mut self.c[1],
            Point(Tag::Reconnect, Direction::Write) => &mut self.c[2],
            Point(Tag::ClientIdent, Direction::Read) => &mut self.a[1],
            Point(Tag::Reconnect, Direction::Read) => &mut self.a[2],
            _ => return,
        };
        *count += 1;
    }

    /// Counts a session's being open.
    pub(crate) fn opened(&mut self, side: Side) {
        match side {
            Side::Client => self.c[3] += 1,
            Side::Server => self.a[3] += 1,
        }
    }

    /// Whether it is as `expected` says.
    pub(crate) fn fits(&self, expected: &Self) -> bool {
        let fits = |(found, expected): (&u32, &u32)| *expected == ANY || found == expected;
        self.state == expected.state
            && self.c.iter().zip(&expected.c).all(fits)
            && self.a.iter().zip(&expected.a).all(fits)
            && self.r == expected.r
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.state)?;
        for (name, counts) in [("C", &self.c[..]), ("A", &self.a[..]), ("R", &self.r[..])] {
            if counts.iter().any(|count| *count != 0) {
                let show = |count: &u32| if *count == ANY { "*".to_owned() } else { count.to_string() };
                write!(f, " {name}({})", counts.iter().map(show).collect::<Vec<_>>().join(","))?;
            }
        }
        Ok(())
    }
}

pub(crate) const fn established() -> Outcome {
    Outcome::new(Final::Established)
}

pub(crate) const fn standby() -> Outcome {
    Outcome::new(Final::Standby)
}

pub(crate) const fn closed() -> Outcome {
    Outcome::new(Final::Closed)
}

pub(crate) const fn replaced() -> Outcome {
    Outcome::new(Final::Replaced)
}
