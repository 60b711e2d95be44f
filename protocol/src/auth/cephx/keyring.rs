//! Which keys does this side have?
//!
//! A keyring is a text file with a section for each entity. It is written so:
//!
//! ```text
//! [client.admin]
//!         key = AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==
//!         caps mon = "allow *"
//! ```
//! Spaces and underscores in names are the same, `;` and `#` begin comments, a backslash at a line's end continues it,
//! values may be quoted. `auid` is ignored. A key file has nothing but the key's text: that is
//! [`CryptoKey`]'s `FromStr`.
//!
//! Ceph: `src/auth/KeyRing.cc`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::key::CryptoKey;
use crate::auth::{Entity, Reason};

/// The longest text that is read.
const TEXT_MOST: usize = 8 << 20;

/// Keys by their owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    /// The entries.
    pub entries: BTreeMap<Entity, Entry>,
}

/// What a keyring says of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: CryptoKey,
    /// A key that will replace the other one once it was used.
    pub pending_key: Option<CryptoKey>,
    /// What it may do, by service: `mon`, `osd` …
    pub caps: BTreeMap<String, String>,
}

impl Entry {
    /// An entry with a key alone.
    #[must_use]
    pub fn of(key: CryptoKey) -> Self {
        Self { key, pending_key: None, caps: BTreeMap::new() }
    }
}

impl Keyring {
    /// Reads the text.
    ///
    /// # Errors
    /// A line is none that a keyring may have, a key cannot be read, or a section has none.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        if text.len() > TEXT_MOST {
            let (found, limit) = (text.len() as u64, TEXT_MOST as u64);
            return Err(Reason::TooLong { what: "keyring", field: "text", found, limit });
        }
        let mut keyring = Self::default();
        let mut section: Option<Section> = None;
        for (line, text) in logical_lines(text) {
            let wrong = |expected| Reason::Keyring { line, expected };
            let text = without_comment(&text).trim();
            if text.is_empty() {
                continue;
            }
            if let Some(name) = text.strip_prefix('[') {
                let name = name.strip_suffix(']').ok_or_else(|| wrong("]"))?.trim();
                keyring.add(section.take())?;
                section = Some(Section::new(line, name)?);
                continue;
            }
            let (name, value) = text.split_once('=').ok_or_else(|| wrong("[TYPE.ID] or NAME = VALUE"))?;
            let section = section.as_mut().ok_or_else(|| wrong("[TYPE.ID]"))?;
            let value = unquoted(value.trim()).ok_or_else(|| wrong("a closing quotation mark"))?;
            section.set(line, &name.trim().replace('_', " "), &value)?;
        }
        keyring.add(section)?;
        Ok(keyring)
    }

    fn add(&mut self, section: Option<Section>) -> Result<(), Reason> {
        let Some(Section { line, name: Some(name), key, pending_key, caps }) = section else { return Ok(()) };
        let key = key.ok_or(Reason::Keyring { line, expected: "a key in this section" })?;
        // As in Ceph, what comes later counts.
        self.entries.insert(name, Entry { key, pending_key, caps });
        Ok(())
    }

    /// The key of `entity`.
    #[must_use]
    pub fn key(&self, entity: &Entity) -> Option<&CryptoKey> {
        self.entries.get(entity).map(|entry| &entry.key)
    }

    /// With this entity's key.
    #[must_use]
    pub fn with(mut self, entity: Entity, key: CryptoKey) -> Self {
        self.entries.insert(entity, Entry::of(key));
        self
    }

    /// The text that Ceph writes.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let most: usize =
            self.entries.values().flat_map(|entry| &entry.caps).map(|(_, cap)| 32 + 2 * cap.len()).sum();
        let mut out = Zeroizing::new(String::with_capacity(most + self.entries.len() * 600));
        for (name, entry) in &self.entries {
            // Writing to a string does not fail.
            let _ = writeln!(out, "[{name}]\n\tkey = {}", *entry.key.to_base64());
            if let Some(key) = &entry.pending_key {
                let _ = writeln!(out, "\tpending key = {}", *key.to_base64());
            }
            for (service, cap) in &entry.caps {
                let _ = writeln!(
                    out,
                    "\tcaps {service} = \"{}\"",
                    cap.replace('\\', "\\\\").replace('"', "\\\"")
                );
            }
        }
        out
    }
}

/// A section that is being read.
struct Section {
    line: u64,
    /// Nothing for `[global]`, which is not about an entity.
    name: Option<Entity>,
    key: Option<CryptoKey>,
    pending_key: Option<CryptoKey>,
    caps: BTreeMap<String, String>,
}

impl Section {
    fn new(line: u64, name: &str) -> Result<Self, Reason> {
        let name = match name {
            "global" => None,
            name => Some(name.parse().map_err(|_| Reason::Keyring { line, expected: "[TYPE.ID]" })?),
        };
        Ok(Self { line, name, key: None, pending_key: None, caps: BTreeMap::new() })
    }

    fn set(&mut self, line: u64, name: &str, value: &str) -> Result<(), Reason> {
        let words: Vec<&str> = name.split_whitespace().collect();
        match words[..] {
            _ if self.name.is_none() => {}
            ["key"] => self.key = Some(value.parse()?),
            ["pending", "key"] => self.pending_key = Some(value.parse()?),
            // What is more than a word could not be written so that it reads the same.
            ["caps", service] if service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                self.caps.insert(service.to_owned(), value.to_owned());
            }
            ["auid"] => {}
            _ => return Err(Reason::Keyring { line, expected: "key, pending key, caps SERVICE or auid" }),
        }
        Ok(())
    }
}

/// Lines, with their numbers, where those that end in a backslash are one with the next.
fn logical_lines(text: &str) -> Vec<(u64, Zeroizing<String>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Vec<(u64, Zeroizing<String>)> = Vec::new();
    let mut continued = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (line, continues) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match lines.last_mut().filter(|_| continued) {
            Some((_, last)) => **last = format!("{}{line}", **last),
            None => lines.push((number, Zeroizing::new(line.to_owned()))),
        }
        continued = continues;
    }
    lines
}

/// The part of a line before a comment; within quotation marks there is none.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ';' | '#' if !quoted => return line.get(..at).unwrap_or_default(),
            _ => {}
        }
    }
    line
}

/// A value without its quotation marks, if it has them; nothing if one is missing.
fn unquoted(value: &str) -> Option<Zeroizing<String>> {
    let Some(inner) = value.strip_prefix('"') else { return Some(Zeroizing::new(value.to_owned())) };
    let mut out = Zeroizing::new(String::with_capacity(inner.len()));
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().trim().is_empty().then_some(out),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
