//! Where does the data of a large message land? Ceph: `alloc_aligned_buffer`, `post_rx_buffer`.

use bytes::{Bytes, BytesMut};
use cephwire_protocol::codec::{Header, Limits, Message};
use cephwire_protocol::{Event, Options, Policy};

use crate::pair::{BOTH, Pair, read, write};

const LEN: usize = 200_000;
const PAGE: usize = 4096;

fn pair(version: cephwire_protocol::Version) -> Pair {
    let limits = Limits { ahead: 4 << 20, ..Limits::default() };
    let options = Options::default().with(|options| options.limits = limits);
    Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), options)
}

fn message(tid: u64, data_off: u16, len: usize) -> Message {
    let header = Header { tid, data_off, ..Header::default() };
    let data: Vec<u8> = (0..len).map(|at| (at as u64 * 31 + tid) as u8).collect();
    Message { header, front: vec![1; 30].into(), data: data.into(), ..Message::default() }
}

/// Sends it, and returns the data that arrives, in one piece.
fn exchange(pair: &mut Pair, message: Message) -> Bytes {
    let expected = message.data.clone().into_bytes();
    assert!(pair.client.send(message).is_ok());
    pair.run();
    let received = pair.received.pop().unwrap();
    let pieces: Vec<Bytes> = received.into_parts().0.data.pieces().to_vec();
    assert_eq!((pieces.len(), &pieces[0]), (1, &expected));
    pieces.into_iter().next().unwrap()
}

/// As the header asks: so much behind the start of a page.
#[test]
fn data_is_aligned() {
    for version in BOTH {
        let mut pair = pair(version);
        for (tid, data_off) in [0, 1, 512, 4095, 4096, 5000, u16::MAX].into_iter().enumerate() {
            let data = exchange(&mut pair, message(tid as u64, data_off, LEN));
            assert_eq!(
                data.as_ptr() as usize % PAGE,
                usize::from(data_off) % PAGE,
                "{version:?}, {data_off}"
            );
        }
    }
}

/// Posted memory is filled, wherever it begins, and comes back as the only owner's.
#[test]
fn posted_memory_is_filled() {
    for version in BOTH {
        let mut pair = pair(version);
        let room = BytesMut::with_capacity(LEN);
        let place = room.as_ptr();
        pair.server.post(2, room);
        let other = exchange(&mut pair, message(1, 77, LEN));
        assert_ne!(other.as_ptr(), place);
        let data = exchange(&mut pair, message(2, 77, LEN));
        assert_eq!(data.as_ptr(), place);
        assert!(data.try_into_mut().is_ok());
        // It serves once.
        assert_eq!(pair.server.revoke(2), None);
        exchange(&mut pair, message(2, 0, LEN));

        // Too small, it is not used.
        pair.server.post(3, BytesMut::with_capacity(LEN - 1));
        exchange(&mut pair, message(3, 0, LEN));
        // What is taken back is not, either.
        pair.server.post(4, BytesMut::with_capacity(LEN));
        assert!(pair.server.revoke(4).is_some_and(|room| room.capacity() >= LEN));
        exchange(&mut pair, message(4, 0, LEN));
    }
}

/// A fault takes the half-filled memory with it, and leaves the rest; the message comes again into other memory.
#[test]
fn half_filled_memory_is_gone() {
    for version in BOTH {
        let mut pair = pair(version);
        pair.server.post(1, BytesMut::with_capacity(LEN));
        pair.server.post(2, BytesMut::with_capacity(LEN));
        assert!(pair.client.send(message(1, 0, LEN)).is_ok());
        write(&mut pair.client, pair.links.0, pair.now, &mut pair.pipes.0);
        pair.pipes.0.truncate(LEN / 2);
        while read(&mut pair.server, pair.links.1, pair.now, &mut pair.pipes.0) {}
        assert_eq!(pair.server.revoke(1), None);
        pair.server.handle_eof(pair.now, pair.links.1).unwrap();
        assert!(pair.received.is_empty());
        assert!(pair.server.revoke(2).is_some());
        let told: Vec<Event> = std::iter::from_fn(|| pair.server.poll_event()).collect();
        assert!(matches!(told[..], [Event::Trouble(_)]), "{told:?}");
    }
}
