//! How are small structures read and written?
//!
//! Little-endian fields one after the other. A [`Reader`] knows the structure's name, so that an error names the
//! place; no length is believed before the bytes are there and the limit is kept.

use bytes::BufMut;
use cephwire_codec::{EntityType, Timestamp};

use crate::auth::entity::ID_MOST;
use crate::auth::{Entity, Reason};

/// The rest of a structure.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Goes on as another structure, for the errors.
    pub(super) fn within(&mut self, what: &'static str) {
        self.what = what;
    }

    pub(super) fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Reason> {
        let (found, rest) = self.rest.split_at_checked(len).ok_or(Reason::Truncated {
            what: self.what,
            field,
            needed: len as u64,
            left: self.rest.len() as u64,
        })?;
        self.rest = rest;
        Ok(found)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Reason> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Reason> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Reason> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Reason> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, Reason> {
        self.array(field).map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Reason> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A point in time, or a duration: `u32` seconds, `u32` nanoseconds.
    pub(super) fn time(&mut self, field: &'static str) -> Result<Timestamp, Reason> {
        Ok(Timestamp { sec: self.u32(field)?, nsec: self.u32(field)? })
    }

    /// The version byte: at least 1. Newer ones than are known here have more fields at their end.
    pub(super) fn version(&mut self, field: &'static str) -> Result<u8, Reason> {
        let found = self.u8(field)?;
        if found == 0 { Err(self.value(field, 0, "at least 1")) } else { Ok(found) }
    }

    /// A `u32` count of things that follow.
    pub(super) fn count(&mut self, field: &'static str, limit: u32) -> Result<u32, Reason> {
        let found = self.u32(field)?;
        if found > limit {
            return Err(Reason::TooLong { what: self.what, field, found: found.into(), limit: limit.into() });
        }
        Ok(found)
    }

    /// A `u32` length, and as many bytes.
    pub(super) fn blob(&mut self, field: &'static str, limit: u32) -> Result<&'a [u8], Reason> {
        let len = self.count(field, limit)?;
        self.take(field, len as usize)
    }

    /// The same as text.
    pub(super) fn string(&mut self, field: &'static str, limit: u32) -> Result<&'a str, Reason> {
        let what = self.what;
        let bytes = self.blob(field, limit)?;
        std::str::from_utf8(bytes).map_err(|_| Reason::Text { what, field, expected: "UTF-8" })
    }

    pub(super) fn value(&self, field: &'static str, found: u64, expected: &'static str) -> Reason {
        Reason::Value { what: self.what, field, found, expected }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Reason> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(Reason::Overlong { what: self.what, extra: extra as u64 }),
        }
    }

    /// Nothing may follow a structure of version `found` if `known` is the newest version with a meaning here.
    pub(super) fn end_of(self, found: u8, known: u8) -> Result<(), Reason> {
        if found > known { Ok(()) } else { self.end() }
    }
}

/// Writes a `u32` length and the bytes. What is written here is short: far below what a `u32` can say.
pub(super) fn put_blob(out: &mut Vec<u8>, blob: &[u8]) {
    out.put_u32_le(blob.len() as u32);
    out.put_slice(blob);
}

pub(super) fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.put_slice(&time.to_bytes());
}

/// An entity's name: `u32` type, `string` id.
pub(super) fn read_entity(reader: &mut Reader<'_>) -> Result<Entity, Reason> {
    let kind = reader.u32("entity type")?;
    let kind = u8::try_from(kind).map_err(|_| reader.value("entity type", kind.into(), "one byte"))?;
    Ok(Entity::new(EntityType(kind), reader.string("entity id", ID_MOST)?))
}

pub(super) fn put_entity(out: &mut Vec<u8>, entity: &Entity) {
    out.put_u32_le(entity.kind.0.into());
    put_blob(out, entity.id.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_place() {
        let mut reader = Reader::new("ticket", &[5, 0, 0, 0, b'a']);
        let truncated = Reason::Truncated { what: "ticket", field: "id", needed: 5, left: 1 };
        assert_eq!(reader.clone().string("id", 8), Err(truncated));
        let long = Reason::TooLong { what: "ticket", field: "id", found: 5, limit: 4 };
        assert_eq!(reader.clone().blob("id", 4), Err(long));
        assert_eq!(reader.clone().end_of(1, 1), Err(Reason::Overlong { what: "ticket", extra: 5 }));
        assert_eq!(reader.clone().end_of(2, 1), Ok(()));
        assert_eq!((reader.u32("n"), reader.take("a", 1), reader.is_empty()), (Ok(5), Ok(&b"a"[..]), true));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn a_length_of_4_gib_reserves_nothing() {
        let mut reader = Reader::new("x", &[0xff; 8]);
        let found = u32::MAX.into();
        assert_eq!(reader.blob("y", 100), Err(Reason::TooLong { what: "x", field: "y", found, limit: 100 }));
    }
}
