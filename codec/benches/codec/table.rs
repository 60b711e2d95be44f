//! How are the results shown? As Markdown tables, ratios beside times.

use crate::Results;
use crate::measure::Best;

/// Which backends this build has.
pub(crate) fn title() {
    let crc = if cfg!(feature = "crc-fast") { "crc-fast" } else { "crc32c" };
    let aead = if cfg!(feature = "aws-lc-rs") { "aws-lc-rs" } else { "aes-gcm" };
    println!("\n### crc32c by `{crc}`, AES-128-GCM by `{aead}`\n");
}

/// Every case as a multiple of its bare pass.
pub(crate) fn payloads(results: &[Results]) {
    println!(
        "| framing | front | data | bare, encode | encode | × bare | decode | × bare | decode, one piece | × bare |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for result in results {
        let case = result.case;
        let rate = |time: Best| time_and_rate(time, case.payload_len());
        let ratio = |time: Best, bare: Best| format!("{:.2}", time / bare);
        let [bare_pieces, bare_whole] = result.bare_decode;
        let (whole, whole_ratio) = match result.one_piece {
            Some(whole) => (rate(whole), ratio(whole, bare_whole)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {whole} | {whole_ratio} |",
            case.link.name(),
            case.front,
            size(case.data),
            rate(result.bare_encode),
            rate(result.encode),
            ratio(result.encode, result.bare_encode),
            rate(result.decode),
            ratio(result.decode, bare_pieces),
        );
    }
}

/// Small messages, with what is not their bare pass.
pub(crate) fn small(results: &[Results]) {
    println!("\n| framing | front | bare | encode | more than bare | decode | more than bare |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for result in results.iter().filter(|result| result.case.data == 0) {
        let [bare_decode, _] = result.bare_decode;
        println!(
            "| {} | {} | {:.0} ns | {:.0} ns | {:.0} ns | {:.0} ns | {:.0} ns |",
            result.case.link.name(),
            result.case.front,
            result.bare_encode,
            result.encode,
            result.encode - result.bare_encode,
            result.decode,
            result.decode - bare_decode,
        );
    }
}

/// What copying alone costs secure mode's encoder.
pub(crate) fn floor(results: &[Results]) {
    println!("\n| framing | front | data | copy, then seal in place | × bare | encode | × bare |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for result in results {
        let Some(floor) = result.copy_and_seal else { continue };
        let rate = |time: Best| time_and_rate(time, result.case.payload_len());
        println!(
            "| {} | {} | {} | {} | {:.2} | {} | {:.2} |",
            result.case.link.name(),
            result.case.front,
            size(result.case.data),
            rate(floor),
            floor / result.bare_encode,
            rate(result.encode),
            result.encode / result.bare_encode,
        );
    }
}

/// Whether the targets are met: with a front, as messages have one.
pub(crate) fn targets(results: &[Results]) {
    println!("\n| framing | target | limit | measured | |");
    println!("|---|---|--:|--:|---|");
    for result in results.iter().filter(|result| result.case.front > 0) {
        let case = result.case;
        let secure = case.link.is_secure();
        let row = |what: &str, limit: f64, unit: &str, measured: f64| {
            let verdict = if measured <= limit { "met" } else { "missed" };
            let digits = if unit.is_empty() { 2 } else { 0 };
            let limit = format!("≤ {limit:.digits$}{unit}");
            println!("| {} | {what} | {limit} | {measured:.digits$}{unit} | {verdict} |", case.link.name());
        };
        let [bare_pieces, bare_whole] = result.bare_decode;
        if case.data == 0 && !secure {
            row("encode, more than bare", 100.0, " ns", result.encode - result.bare_encode);
            row("decode, more than bare", 250.0, " ns", result.decode - bare_pieces);
        }
        let Some(whole) = result.one_piece.filter(|_| case.data == 4 << 20) else { continue };
        if !secure {
            row("encode 4 MiB × bare", 1.15, "", result.encode / result.bare_encode);
            row("decode 4 MiB × bare", 1.15, "", result.decode / bare_pieces);
            row("decode 4 MiB × bare, one piece", 1.15, "", whole / bare_whole);
        } else if cfg!(feature = "aws-lc-rs") {
            row("encode 4 MiB × bare", 1.25, "", result.encode / result.bare_encode);
            row("decode 4 MiB × bare, one piece", 1.25, "", whole / bare_whole);
        }
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}

/// Time for a message and, if it has a payload worth mentioning, bytes of payload for each nanosecond.
fn time_and_rate(time: Best, payload: usize) -> String {
    let time_text =
        if time < 10_000.0 { format!("{time:.0} ns") } else { format!("{:.1} µs", time / 1000.0) };
    if payload < 4096 { time_text } else { format!("{time_text}, {:.1} GB/s", payload as f64 / time) }
}
