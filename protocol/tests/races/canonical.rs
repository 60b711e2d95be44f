//! Which states of a node are the same?
//!
//! Those in which all sessions have the same `Debug` form, with the same counters of the messenger, but for what makes
//! no difference to what happens next:
//!
//! * names of links: they are only ever compared, and nodes name links by their order anyway. `Local` stands aside,
//!   once for all sessions;
//! * times: whatever waits may end its wait at any moment here, so only what it waits for counts
//!   ([`WaitsFor`](crate::node::WaitsFor)). The length of the last backoff is a time too, and how many connections
//!   brought nothing would lead to one, were the limit not so high;
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

/// A session's `Debug` form without what makes no difference.
pub(crate) fn canonical(debug: &str, with_conn: bool) -> String {
    let mut out = String::with_capacity(debug.len());
    let between = !debug.contains(" state: Announced(") && !debug.contains(" state: Body,");
    let mut rest = debug;
    while let Some(at) = rest.find([' ', '(']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(head);
        rest = tail;
        if let Some(tail) = VALUES.iter().find_map(|value| rest.strip_prefix(value)) {
            rest = skip(tail).1;
        } else if let Some(tail) = rest.strip_prefix(BODY).filter(|_| between) {
            rest = skip(tail).1;
        } else if let Some(tail) = rest.strip_prefix("Connection {").filter(|_| !with_conn) {
            rest = skip(tail).1;
        } else if let Some(field) = FIELDS.iter().find(|field| rest.starts_with(**field)) {
            // A string of bytes has no spaces that are not those between fields, but for a space itself.
            let end = if *field == "scratch:" { "\" }" } else { "," };
            rest = rest.find(end).map_or(rest, |at| &rest[at..]);
        }
    }
    out.push_str(rest);
    out
}

/// Up to the bracket that closes the one before, and what comes then.
fn skip(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.split_at(at + 1);
        }
    }
    (text, "")
}
