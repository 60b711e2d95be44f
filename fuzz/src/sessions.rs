//! What must hold for two sessions, whatever their users, their network and strangers do?
//!
//! Operations are bytes of the input: each says what happens next. Nothing may panic, hang or grow without
//! bound; once the input ends, both sides come to rest ([`World::rest`] says what that means).

use arbitrary::{Result, Unstructured};
use bytes::{Buf, BytesMut};
use cephwire_protocol::codec::{Chunks, v1, v2};
use cephwire_protocol::{Session, Version};

use crate::parties::{PARTIES, Parties};
use crate::world::World;

/// How many operations there are.
const OPERATIONS: u8 = 17;

/// See the table of the crate.
pub fn session_ops(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(parties) = u.arbitrary::<[u8; PARTIES]>() else { return };
    let mut world = World::new(Parties::new(parties, None));
    while !u.is_empty() && operation(&mut world, &mut u).is_ok() {}
    world.rest();
    world.end();
}

/// A stranger's bytes, as they are or as frames of arbitrary fields, to either side of v1.
pub fn handshake_v1(data: &[u8]) {
    handshake(data, Version::V1);
}

/// The same for v2.
pub fn handshake_v2(data: &[u8]) {
    handshake(data, Version::V2);
}

/// ```text
/// 0          5     6        7
/// │ parties │ how │ steps │ what the stranger says
/// ```
///
/// | bit of `how` | |
/// |---|---|
/// | 0 | whom the stranger speaks to: the dialing side, the accepting side |
/// | 1 | frames of any fields, not bytes |
/// | 2 | the other side goes on speaking |
/// | 3 | there was a session, with messages, which was cut: this is about the next connection |
/// | 4 | the stranger begins with what was said then |
/// | 5 | … or with what the honest peer says now, with one byte changed |
fn handshake(data: &[u8], version: Version) {
    let mut u = Unstructured::new(data);
    let Ok(parties) = u.arbitrary::<[u8; PARTIES]>() else { return };
    let Ok([how, steps]) = u.arbitrary::<[u8; 2]>() else { return };
    let mut world = World::new(Parties::new(parties, Some(version)));
    world.send(0, [3, 9]);
    world.dialed(0);
    if how & 8 > 0 {
        world.quiet();
        // It stays unacknowledged.
        world.send(0, [5, 0x42]);
        world.cut(0);
        world.send(0, [0, 0]);
        world.dialed(0);
    }
    let pipe = world.last_pipe();
    // As far as both sides get by themselves in so many steps; then one of them is somebody else.
    for n in 0..usize::from(steps % 32) {
        world.deliver(pipe, (n + 1) & 1, usize::MAX);
    }
    let to = usize::from(how & 1);
    if how & 16 > 0 {
        world.replay(0, pipe, to);
    }
    if how & 32 > 0
        && let Ok([at, mask]) = u.arbitrary::<[u8; 2]>()
    {
        world.damage(pipe, to, at, mask);
        world.deliver(pipe, to, usize::MAX);
    }
    let mut frames = 0;
    while !u.is_empty() && frames < 200 {
        let bytes = if how & 2 == 0 { u.bytes(u.len()).map(<[u8]>::to_vec) } else { frame(&mut u, &world) };
        let Ok(bytes) = bytes else { break };
        world.inject(pipe, to, &bytes);
        if how & 4 > 0 {
            world.deliver(pipe, 1 - to, usize::MAX);
        }
        frames += 1;
    }
    world.rest();
    world.end();
}

/// A frame of arbitrary fields.
fn frame(u: &mut Unstructured<'_>, world: &World) -> Result<Vec<u8>> {
    let mut out = Chunks::new();
    match world.version() {
        Version::V1 => {
            let _ = v1::Encoder::default().encode(&u.arbitrary::<v1::Frame>()?, &mut out);
        }
        Version::V2 => {
            let mut encoder = v2::Encoder::default();
            encoder.set_revision(world.revision());
            let _ = encoder.encode(&u.arbitrary::<v2::Frame>()?, &mut out);
        }
    }
    Ok(out.copy_to_bytes(out.remaining()).to_vec())
}

/// The next thing that happens.
fn operation(world: &mut World, u: &mut Unstructured<'_>) -> Result<()> {
    let [op, n]: [u8; 2] = u.arbitrary()?;
    let side = usize::from(n & 1);
    let which = usize::from(n >> 1);
    let pipe = which % world.last_pipe().saturating_add(1);
    let more = op / OPERATIONS;
    match op % OPERATIONS {
        0 => world.send(side, u.arbitrary()?),
        1 => world.dialed(side),
        2 | 3 => {
            let most = if op % OPERATIONS == 2 { usize::MAX } else { usize::from(more) + 1 };
            world.deliver(pipe, side, most);
        }
        4 => world.cut(pipe),
        5 => {
            let count = usize::from(u.arbitrary::<u8>()?).min(u.len());
            let bytes = u.bytes(count)?.to_vec();
            world.inject(pipe, side, &bytes);
        }
        6 => {
            let bytes = frame(u, world)?;
            world.inject(pipe, side, &bytes);
        }
        7 => world.time(),
        8 => world.with(side, which, Session::keepalive),
        9 => world.with(side, which, |session| session.close(more & 1 > 0)),
        10 => {
            // For one of the messages to come; it may be too small.
            let [ahead, size]: [u8; 2] = u.arbitrary()?;
            let size = world.afford(usize::from(size) * 65);
            let tid = world.last_tid() + u64::from(ahead % 4);
            world.with(side, which, |session| session.post(tid, BytesMut::with_capacity(size)));
        }
        11 => world.with(side, which, Session::mark_disposable),
        12 => world.reads(side, false),
        13 => world.reads(side, true),
        14 => world.replay(usize::from(more) % world.last_pipe().saturating_add(1), pipe, side),
        15 => {
            let [at, mask] = u.arbitrary()?;
            world.damage(pipe, side, at, mask);
        }
        _ => {
            let tid = world.last_tid();
            world.with(side, which, |session| drop(session.revoke(tid)));
        }
    }
    Ok(())
}
