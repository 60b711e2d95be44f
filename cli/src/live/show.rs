//! How are the things written that several commands print?

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use cephwire_codec::v2::{Revision, method, mode};
use cephwire_codec::{Features, MsgrFeatures};
use cephwire_protocol::{Facts, Version};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Plain,
    /// One JSON object per line
    Json,
    /// JSON objects over several lines
    JsonPretty,
}

impl Format {
    /// Prints an object, in the one form or the other.
    pub(crate) fn object(self, object: &Value, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::JsonPretty => serde_json::to_writer_pretty(&mut *out, object)?,
            Self::Plain | Self::Json => serde_json::to_writer(&mut *out, object)?,
        }
        out.write_all(b"\n")
    }
}

/// A list of connection modes on a command line, the best first: `crc`, `secure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModeList(pub(crate) Vec<u32>);

impl fmt::Display for ModeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&modes(&self.0).join(","))
    }
}

impl FromStr for ModeList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for name in text.split([',', ' ']).filter(|name| !name.is_empty()) {
            // Unlike in ceph.conf: who writes it here means it.
            let known = [mode::CRC, mode::SECURE].into_iter().find(|known| mode::name(*known) == Some(name));
            let known = known.ok_or_else(|| format!("{name}: crc or secure"))?;
            if !list.contains(&known) {
                list.push(known);
            }
        }
        if list.is_empty() { Err("crc, secure, or both".to_owned()) } else { Ok(Self(list)) }
    }
}

/// How long each phase took. What did not happen, or not separately, is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases {
    /// Until the TCP connection was there.
    pub(crate) tcp: Option<Duration>,
    /// From there until the peer's banner was.
    pub(crate) banner: Option<Duration>,
    /// From there until authentication was over.
    pub(crate) auth: Option<Duration>,
    /// From there until the session was open.
    pub(crate) session: Option<Duration>,
}

impl Phases {
    /// In v1 an authorizer is part of what opens the session: there is no time of its own for it.
    pub(crate) fn of(facts: &Facts) -> Self {
        let times = facts.times;
        let between = |from: Option<Instant>, to: Option<Instant>| Some(to?.saturating_duration_since(from?));
        let authenticated = times.authenticated.filter(|_| facts.version == Version::V2);
        Self {
            tcp: between(times.dialed, times.connected),
            banner: between(times.connected, times.banner),
            auth: between(times.banner, authenticated),
            session: between(authenticated.or(times.banner), times.open),
        }
    }

    /// By name, in their order.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        [("tcp", self.tcp), ("banner", self.banner), ("auth", self.auth), ("session", self.session)]
            .into_iter()
            .filter_map(|(name, time)| Some((name, time?)))
    }

    /// Microseconds by name.
    pub(crate) fn to_json(self) -> Value {
        self.named().map(|(name, time)| (name.to_owned(), micros(time))).collect::<Map<_, _>>().into()
    }
}

/// Microseconds, with fraction.
pub(crate) fn micros(time: Duration) -> Value {
    json!(time.as_nanos() as f64 / 1000.0)
}

/// A time for people: three digits and a unit.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_nanos() as f64 / 1000.0;
    match micros {
        _ if micros < 999.5 => format!("{micros:.0} µs"),
        _ if micros < 9_995.0 => format!("{:.2} ms", micros / 1e3),
        _ if micros < 99_950.0 => format!("{:.1} ms", micros / 1e3),
        _ if micros < 999_500.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A revision of v2, as people say it.
pub(crate) const fn revision_name(revision: Revision) -> &'static str {
    match revision {
        Revision::V2_0 => "2.0",
        Revision::V2_1 => "2.1",
    }
}

/// Names of methods.
pub(crate) fn methods(values: &[u32]) -> Vec<String> {
    values.iter().map(|value| method::name(*value).map_or_else(|| value.to_string(), str::to_owned)).collect()
}

/// Names of modes.
pub(crate) fn modes(values: &[u32]) -> Vec<String> {
    values.iter().map(|value| mode::name(*value).map_or_else(|| value.to_string(), str::to_owned)).collect()
}

/// Feature bits: the number, the names, and what has no name.
pub(crate) fn features(features: Features) -> Value {
    let names: Vec<_> = features.names().collect();
    json!({ "hex": format!("{:#x}", features.0), "names": names, "unnamed": format!("{:#x}", features.unnamed()) })
}

/// Feature bits of v2's banner.
pub(crate) fn msgr_features(features: MsgrFeatures) -> Value {
    let names: Vec<_> = features.names().collect();
    json!({ "hex": format!("{:#x}", features.0), "names": names, "unnamed": format!("{:#x}", features.unnamed()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_listed_by_name() {
        let list = |text: &str| text.parse::<ModeList>().map(|ModeList(list)| list);
        assert_eq!(list("crc"), Ok(vec![mode::CRC]));
        assert_eq!(list("secure,crc,secure"), Ok(vec![mode::SECURE, mode::CRC]));
        assert!(["", ",", "none", "crc,secure-psp"].into_iter().all(|text| list(text).is_err()));
    }

    #[test]
    fn times_have_three_digits() {
        for (nanos, text) in [
            (0, "0 µs"),
            (999_400, "999 µs"),
            (999_600, "1.00 ms"),
            (1_234_000, "1.23 ms"),
            (12_340_000, "12.3 ms"),
            (123_400_000, "123 ms"),
            (999_600_000, "1.00 s"),
            (61_230_000_000, "61.23 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), text);
        }
    }
}
