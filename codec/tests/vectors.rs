//! Do the bytes agree with the known answers in `testdata/vectors`?
//!
//! Every table is walked to its end, and its rows are counted: a table that is empty, shorter, or that
//! lacks a column fails. Rows that need a feature which this build lacks are counted apart.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "vectors/addresses.rs"]
mod addresses;
#[path = "vectors/compressed.rs"]
mod compressed;
#[path = "vectors/frames_v1.rs"]
mod frames_v1;
#[path = "vectors/frames_v2.rs"]
mod frames_v2;
#[path = "vectors/lengths.rs"]
mod lengths;
#[path = "vectors/mode.rs"]
mod mode;
#[cfg(feature = "secure")]
#[path = "vectors/nonces.rs"]
mod nonces;
#[path = "vectors/table.rs"]
mod table;

use cephwire_codec::crc::crc32c;
use table::{rows, unhex};

#[test]
fn crcs_are_those_of_the_table() {
    let rows = rows("crc.txt", 3);
    assert_eq!(rows.len(), 113);
    for row in rows {
        let number = |column: usize| u32::from_str_radix(&row[column], 16).unwrap();
        let input = match row[1].split_once(':').unwrap_or((&row[1], "")) {
            ("empty", _) => Vec::new(),
            ("ascii", text) => text.as_bytes().to_vec(),
            ("hex", digits) => unhex(digits),
            ("zero", count) => vec![0; count.parse().unwrap()],
            ("pattern", count) => (0..count.parse().unwrap()).map(|i: u32| (i * 7 + 3) as u8).collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(crc32c(number(0), &input), number(2), "{row:?}");
        // In two steps the register is the same.
        let (head, tail) = input.split_at(input.len() / 2);
        assert_eq!(crc32c(crc32c(number(0), head), tail), number(2), "{row:?}");
    }
}
