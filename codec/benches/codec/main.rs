//! How far is the codec from its limit: one pass of crc32c, or of AES-128-GCM, over the same bytes?
//!
//! ```text
//! encode    encode_message × batch, then io_slices and advance until the gather list is empty      timed
//! decode    recv_buf                                                                              timed
//!           the copy into the lent buffer, which the kernel would do                               not timed
//!           received, next, proceed, and dropping the messages, until more bytes are needed        timed
//! bare      one crc32c call, or one seal or open in place, over as many bytes of each message      timed
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`measure`] | how long does it take on a noisy machine? |
//! | [`wire`] | what is encoded and decoded, in which framing? |
//! | [`bare`] | what is it compared with? |
//! | [`table`] | how are the results shown? |
//!
//! `README.md` beside this directory has the results and says how to run it.

mod bare;
mod measure;
mod table;
mod wire;

use measure::{Best, Effort, best_of};
use wire::{Case, Link, Reader};

/// Lengths of `front`: of a typical request, and none.
const FRONTS: [usize; 2] = [200, 0];
/// Lengths of `data`.
const DATA: [usize; 4] = [0, 4 << 10, 64 << 10, 4 << 20];
/// From this length on, a message's data is a segment with memory of its own, in pieces by default.
const LARGE: usize = 64 << 10;

/// Best times of a case, for each message.
pub(crate) struct Results {
    case: Case,
    bare_encode: Best,
    encode: Best,
    /// Filled like the buffers of `decode`, and like those of `one_piece`.
    bare_decode: [Best; 2],
    decode: Best,
    /// With [`Limits::ahead`](cephwire_codec::Limits::ahead) raised; only for large data.
    one_piece: Option<Best>,
    /// Copying the plain text and sealing the copy; only for large data in secure mode.
    copy_and_seal: Option<Best>,
}

fn main() {
    // `cargo bench` says so; `cargo test` runs benches too, and only wants to know whether they work.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let effort = if args.iter().any(|arg| arg == "--bench") { Effort::Measure } else { Effort::TryOnce };
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    table::title();
    let mut results = Vec::new();
    for link in Link::ALL {
        for front in FRONTS {
            for data in DATA {
                let case = Case { link, front, data };
                if filter.is_none_or(|filter| case.name().contains(filter)) {
                    results.push(run(case, effort));
                }
            }
        }
    }
    table::payloads(&results);
    table::small(&results);
    table::floor(&results);
    table::targets(&results);
}

/// Measures a case: everything in turns, so that a slow moment of the machine hits all of it.
fn run(case: Case, effort: Effort) -> Results {
    let batch = case.batch();
    let mut rounds: Vec<measure::Round> = vec![
        bare::encode(case, batch),
        wire::encode(case, batch),
        bare::decode(case, batch, Reader::Default),
        wire::decode(case, batch, Reader::Default),
    ];
    let large = case.data >= LARGE;
    if large {
        rounds.push(bare::decode(case, batch, Reader::OnePiece));
        rounds.push(wire::decode(case, batch, Reader::OnePiece));
    }
    let floor = large && case.link.is_secure();
    if floor {
        rounds.push(bare::copy_and_seal(case, batch));
    }
    let mut best = best_of(&mut rounds, batch, effort).into_iter();
    let mut next = || best.next().unwrap_or_default();
    let [bare_encode, encode, bare_pieces, decode] = [next(), next(), next(), next()];
    let [bare_whole, whole] = if large { [next(), next()] } else { [bare_pieces, decode] };
    Results {
        case,
        bare_encode,
        encode,
        bare_decode: [bare_pieces, bare_whole],
        decode,
        one_piece: large.then_some(whole),
        copy_and_seal: floor.then(next),
    }
}
