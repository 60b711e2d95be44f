//! Which states of a node are the same?
//!
//! Those in which all sessions have the same `Debug` form, with the same counters of the messenger, but for what makes
//! no difference to what happens next:
//!
//! * names of links: they are only ever compared, and nodes name links by their order anyway. `Local` stands aside,
//!   once for all sessions;
//! * times: whatever waits may end its wait at any moment here, so only what it waits for counts
//!   ([`WaitsFor`](crate::node::WaitsFor)). The length of the last backoff is a time too, but for whether it was the
//!   longest, as then the next one is; and how many connections brought nothing would lead to one, were the limit not so
//!   high;
//! * what is only told to people: statistics, facts and the error of the last failure, the phase, the number of frames,
//!   the last connection's facts (a dial begins with new ones);
//! * where in the stream a decoder is, how much memory it takes next, the last frame's footprint, its body if no frame
//!   is under way, and what an encoder's scratch memory contained.
//!
//! What `Debug` does not show is the inside of a handshake. It is the same for the same phase here: authorizers and
//! transcripts have the same bytes in all connections (method "none"), an acceptor keeps nothing of a claim that was
//! refused but the features, which do not change, and what was claimed by a dialer is in its session's counters.
//!
//! Everything else that is kept, needed or not, makes more states of it and merges none.

/// Values that make no difference, as they stand in `Debug` forms: see [`canonical`].
const VALUES: [&str; 8] =
    ["Local {", "Instant {", "LinkId(", "Stats {", "Footprint {", "Times {", "failure: Some(", "last: Some("];

/// The same for fields.
const FIELDS: [&str; 11] = [
    "held:",
    "next:",
    "lent:",
    "offset:",
    "scratch:",
    "frames:",
    "backoff:",
    "fruitless:",
    "phase:",
    "last: None",
    "failure: None",
];

/// The frame that a decoder is reading. Between two frames it is what is left of the last one.
const BODY: &str = "Body {";

/// What any of these begins with: most words do not.
const fn may_begin(byte: u8) -> bool {
    matches!(
        byte,
        b'B' | b'C' | b'F' | b'I' | b'L' | b'S' | b'T' | b'b' | b'f' | b'h' | b'l' | b'n'..=b'p' | b's'
    )
}

/// Gives out a session's `Debug` form without what makes no difference, piece by piece.
pub(crate) fn canonical(debug: &str, with_conn: bool, mut keep: impl FnMut(&str)) {
    let between = !debug.contains(" state: Announced(") && !debug.contains(" state: Body,");
    let (mut rest, mut at) = (debug, 0);
    while let Some(found) = rest.as_bytes()[at..].iter().position(|byte| matches!(byte, b' ' | b'(' | b'"')) {
        at += found + 1;
        let word = &rest[at..];
        if rest.as_bytes()[at - 1] == b'"' {
            at += quoted(word);
        } else if word.bytes().next().is_some_and(may_begin)
            && let Some(behind) = left_out(word, with_conn, between)
        {
            keep(&rest[..at]);
            (rest, at) = (behind, 0);
        }
    }
    keep(rest);
}

/// What stands behind this word, if the word is left out.
fn left_out(word: &str, with_conn: bool, between: bool) -> Option<&str> {
    if let Some(inside) = VALUES.iter().find_map(|value| word.strip_prefix(value)) {
        return Some(skip(inside));
    }
    if let Some(inside) = word.strip_prefix(BODY).filter(|_| between) {
        return Some(skip(inside));
    }
    if let Some(inside) = word.strip_prefix("Connection {").filter(|_| !with_conn) {
        return Some(skip(inside));
    }
    let field = FIELDS.iter().find(|field| word.starts_with(**field))?;
    if let Some(value) = word[field.len()..].strip_prefix(" b\"") {
        return Some(&value[quoted(value)..]);
    }
    Some(word.find(',').map_or(word, |at| &word[at..]))
}

/// What stands behind the bracket that closes the one before.
fn skip(text: &str) -> &str {
    let (mut depth, mut at) = (1, 0);
    while let Some(byte) = text.as_bytes().get(at) {
        at += 1;
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            // Bytes are shown as text, in which brackets mean nothing.
            b'"' => at += quoted(&text[at..]),
            _ => {}
        }
        if depth == 0 {
            return &text[at..];
        }
    }
    ""
}

/// How long the rest of a string is, with its end.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 1)
}
