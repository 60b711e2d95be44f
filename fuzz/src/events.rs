//! Do the events of a capture fit together?

use std::collections::HashMap;

use cephwire_cli::capture::{Event, Limits, Side, Streams};

/// See the table of the crate.
pub fn capture(data: &[u8]) {
    drain(data, Limits::default());
    drain(
        data,
        Limits {
            held_per_direction: 300,
            held_total: 500,
            connections: 2,
            closed_connections: 1,
            packets_after_acknowledgment: 1,
        },
    );
}

fn drain(data: &[u8], limits: Limits) {
    let Ok(mut streams) = Streams::with_limits(data, limits) else { return };
    let mut opened = 0;
    let mut sides: HashMap<(u64, Side), u64> = HashMap::new();
    loop {
        let event = match streams.next_event() {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(error) => {
                let _ = error.to_string();
                assert!(matches!(streams.next_event(), Ok(None)), "an error was not the last");
                break;
            }
        };
        match event {
            Event::Opened { connection, .. } => {
                assert_eq!(connection, opened, "numbers follow each other");
                opened += 1;
                sides.extend([Side::Client, Side::Server].map(|side| ((connection, side), 0)));
            }
            Event::Data { connection, from, offset, bytes, .. } => {
                assert!(!bytes.is_empty());
                advance(&mut sides, connection, from, offset, bytes.len() as u64);
            }
            Event::Missing { connection, from, offset, len, .. } => {
                assert!(len > 0);
                advance(&mut sides, connection, from, offset, len);
            }
            Event::Ended { connection, from, .. } => {
                assert!(sides.remove(&(connection, from)).is_some(), "ended twice, or never opened");
            }
        }
    }
    assert!(sides.is_empty(), "never ended: {sides:?}");
    assert!(streams.bytes_read() <= data.len() as u64);
    let counters = streams.counters();
    let parts =
        [counters.tcp_packets, counters.other_packets, counters.fragments, counters.unsupported_packets];
    assert_eq!(parts.iter().sum::<u64>(), counters.packets);
}

fn advance(sides: &mut HashMap<(u64, Side), u64>, connection: u64, from: Side, offset: u64, len: u64) {
    let end = sides.get_mut(&(connection, from)).expect("opened and not ended");
    assert_eq!(*end, offset, "gap or overlap");
    *end += len;
}
