//! How are small structures read?
//!
//! nom parsers over bytes that are all there (the decoders wait for them first). The leaves know
//! their field's name and length, so that a failure names the place; combinators are nom's own.

use nom::{IResult, error::ErrorKind, error::ParseError};

use crate::error::{Flaw, Malformed};
use crate::name::Timestamp;

/// A failure inside a structure: the field, what is wrong, and how far from the structure's end.
#[derive(Debug)]
pub(crate) struct Fail {
    field: &'static str,
    /// Bytes from the field's first byte to the end of the structure.
    left: usize,
    flaw: Flaw,
}

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fail>;

impl ParseError<&[u8]> for Fail {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        Self {
            field: "count",
            left: input.len(),
            flaw: Flaw::TooShort { expected: 1, found: input.len() as u64 },
        }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

pub(crate) fn fail<'a, T>(at: &'a [u8], field: &'static str, flaw: Flaw) -> Parsed<'a, T> {
    Err(nom::Err::Error(Fail { field, left: at.len(), flaw }))
}

/// Runs `parser` on a structure that begins at stream offset `offset`; what follows it is ignored, as
/// newer peers may append fields.
pub(crate) fn structure<'a, T>(
    frame: &'static str,
    offset: u64,
    input: &'a [u8],
    parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
) -> Result<T, Malformed> {
    match parser(input) {
        Ok((_, value)) => Ok(value),
        Err(nom::Err::Error(fail) | nom::Err::Failure(fail)) => {
            let at = offset + input.len().saturating_sub(fail.left) as u64;
            Err(Malformed::new(frame, fail.field, at, fail.flaw))
        }
        // Only nom's streaming parsers say so, and none is used.
        Err(nom::Err::Incomplete(_)) => {
            let flaw = Flaw::TooShort { expected: 1, found: 0 };
            Err(Malformed::new(frame, "", offset + input.len() as u64, flaw))
        }
    }
}

#[inline(always)]
pub(crate) fn array<'a, const N: usize>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, [u8; N]> {
    move |input| match input.split_first_chunk::<N>() {
        Some((bytes, rest)) => Ok((rest, *bytes)),
        None => fail(input, field, Flaw::TooShort { expected: N as u64, found: input.len() as u64 }),
    }
}

macro_rules! integers {
    ($($name:ident: $type:ty),*) => {$(
        #[inline(always)]
        pub(crate) fn $name<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, $type> {
            move |input| {
                let (rest, bytes) = array(field)(input)?;
                Ok((rest, <$type>::from_le_bytes(bytes)))
            }
        }
    )*};
}
integers!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64);

/// One byte; any value but 0 means true.
pub(crate) fn boolean<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, bool> {
    move |input| {
        let (rest, byte) = u8(field)(input)?;
        Ok((rest, byte != 0))
    }
}

pub(crate) fn take<'a>(field: &'static str, len: usize) -> impl Fn(&'a [u8]) -> Parsed<'a, &'a [u8]> {
    move |input| match input.split_at_checked(len) {
        Some((taken, rest)) => Ok((rest, taken)),
        None => fail(input, field, Flaw::TooShort { expected: len as u64, found: input.len() as u64 }),
    }
}

/// `u32` length, then the bytes: Ceph's string and bufferlist.
pub(crate) fn blob<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, &'a [u8]> {
    move |input| {
        let (rest, len) = u32(field)(input)?;
        take(field, len as usize)(rest)
    }
}

/// `u32` count, then that many values of `size` bytes or more each.
pub(crate) fn list<'a, T>(
    field: &'static str,
    size: usize,
    item: impl Fn(&'a [u8]) -> Parsed<'a, T>,
) -> impl Fn(&'a [u8]) -> Parsed<'a, Vec<T>> {
    move |input| {
        let (mut rest, count) = u32(field)(input)?;
        let needed = u64::from(count).saturating_mul(size as u64);
        if needed > rest.len() as u64 {
            return fail(input, field, Flaw::TooShort { expected: needed, found: rest.len() as u64 });
        }
        let mut items = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (after, value) = item(rest)?;
            items.push(value);
            rest = after;
        }
        Ok((rest, items))
    }
}

/// Ceph's versioned structure: `u8` version, `u8` compat, `u32` length, then the fields known to us and
/// perhaps newer ones, which are skipped.
pub(crate) fn versioned<'a, T>(
    known: u8,
    body: impl Fn(&'a [u8]) -> Parsed<'a, T>,
) -> impl Fn(&'a [u8]) -> Parsed<'a, T> {
    move |input| {
        let (rest, _version) = u8("struct_v")(input)?;
        let compat_at = rest;
        let (rest, compat) = u8("struct_compat")(rest)?;
        if compat > known {
            let flaw = Flaw::Range { least: 0, most: u64::from(known), found: u64::from(compat) };
            return fail(compat_at, "struct_compat", flaw);
        }
        let (rest, len) = u32("struct_len")(rest)?;
        let (rest, fields) = take("struct_len", len as usize)(rest)?;
        match body(fields) {
            Ok((_, value)) => Ok((rest, value)),
            // The distance to the end counts from the outer structure's end.
            Err(error) => Err(error.map(|fail| Fail { left: fail.left + rest.len(), ..fail })),
        }
    }
}

pub(crate) fn timestamp<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, Timestamp> {
    move |input| {
        let (rest, sec) = u32(field)(input)?;
        let (rest, nsec) = u32(field)(rest)?;
        Ok((rest, Timestamp { sec, nsec }))
    }
}
