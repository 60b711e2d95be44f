//! Is the peer as it is required to be?

use cephwire_codec::MsgrFeatures;
use cephwire_codec::v2::{method, mode};
use cephwire_protocol::Version;
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::attempt::Attempt;

/// What can be required or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    V1,
    V2,
    Revision1,
    Compression,
    Secure,
    Crc,
    None,
    Cephx,
    Gss,
    Session,
}

const WORDS: [(Word, &str, &str); 10] = [
    (Word::V1, "v1", "messenger v1"),
    (Word::V2, "v2", "messenger v2"),
    (Word::Revision1, "revision-1", "msgr 2.1"),
    (Word::Compression, "compression", "on-wire compression can be talked about"),
    (Word::Secure, "secure", "connections may be encrypted"),
    (Word::Crc, "crc", "connections may be plain; those of v1 always are"),
    (Word::None, "none", "clients without any authentication"),
    (Word::Cephx, "cephx", "clients with cephx"),
    (Word::Gss, "gss", "clients with Kerberos"),
    (Word::Session, "session", "we get a session"),
];

impl Word {
    pub(super) fn name(self) -> &'static str {
        WORDS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    pub(super) fn meaning(self) -> &'static str {
        WORDS.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }

    /// Whether it holds for one attempt; nothing if that could not be found out.
    fn holds(self, attempt: &Attempt) -> Option<bool> {
        if attempt.is_unreachable() || !attempt.is_spoken() {
            return Some(false);
        }
        let version = attempt.target.version;
        let banner = |feature| attempt.look.banner.is_some_and(|banner| banner.supported.contains(feature));
        let allows = |method| match &attempt.methods {
            Some(methods) => Some(methods.contains(&method)),
            None => (attempt.refused == Some(method)).then_some(false),
        };
        let mode = |wanted: u32| {
            attempt.methods.as_ref()?;
            Some(attempt.look.modes.iter().any(|(_, modes)| modes.contains(&wanted)))
        };
        match self {
            Self::V1 => Some(version == Version::V1),
            Self::V2 => Some(version == Version::V2),
            Self::Revision1 => Some(banner(MsgrFeatures::REVISION_1)),
            Self::Compression => Some(banner(MsgrFeatures::COMPRESSION)),
            Self::Secure if version == Version::V1 => Some(false),
            Self::Crc if version == Version::V1 => Some(true),
            Self::Secure => mode(mode::SECURE),
            Self::Crc => mode(mode::CRC),
            Self::None => allows(method::NONE),
            Self::Cephx => allows(method::CEPHX),
            Self::Gss => allows(method::GSS),
            Self::Session => Some(attempt.is_open()),
        }
    }
}

impl ValueEnum for Word {
    fn value_variants<'a>() -> &'a [Self] {
        use Word::{Cephx, Compression, Crc, Gss, None, Revision1, Secure, Session, V1, V2};
        &[V1, V2, Revision1, Compression, Secure, Crc, None, Cephx, Gss, Session]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.meaning()))
    }
}

/// One requirement, and whether it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) word: Word,
    /// Required, not refused.
    pub(super) required: bool,
    /// Whether the peer allows it, in any version that was tried; nothing if that could not be found out.
    pub(super) found: Option<bool>,
    /// What is not known is not met.
    pub(super) met: bool,
}

/// Holds all requirements against what was found.
pub(super) fn checks(require: &[Word], refuse: &[Word], attempts: &[Attempt]) -> Vec<Check> {
    let check = |word: Word, required: bool| {
        let found: Vec<Option<bool>> = attempts.iter().map(|attempt| word.holds(attempt)).collect();
        let found = match (found.contains(&Some(true)), found.contains(&None)) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        };
        Check { word, required, found, met: found == Some(required) }
    };
    let required = require.iter().map(|word| check(*word, true));
    required.chain(refuse.iter().map(|word| check(*word, false))).collect()
}
