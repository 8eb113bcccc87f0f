//! A strict CBOR codec (RFC 8949) of what Postern's formats use: core
//! deterministic encoding, without floats, undefined and indefinite lengths,
//! with no tag but that of decimal fractions, and maps with keys that are
//! integers or strings.
//! It accepts and refuses exactly what the Go package abi/cbor does; both are
//! held to the same vectors.
//!
//! [`Reader`] is for untrusted bytes: it checks all that it reads, and
//! [`Reader::raw`] checks what it steps over. [`Cursor`] walks bytes that were
//! checked before (the contract's own state) faster: on bytes that were not,
//! it gives wrong items, but never reads outside the slice.

use crate::entry::{Why, MALFORMED};

/// How deeply items may nest.
pub const MAX_DEPTH: usize = 32;
/// How many items one checked item may hold.
pub const MAX_ITEMS: u32 = 1 << 16;
/// The tag of a decimal fraction [exponent, mantissa].
pub const TAG_DECIMAL: u64 = 4;
/// A decimal fraction's exponent is from -MAX_DECIMAL_PLACES to -1.
pub const MAX_DECIMAL_PLACES: i64 = 18;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The input ends inside an item.
    End,
    /// A reserved or indefinite head, a float, or a head longer than needed.
    Head,
    /// An item of another kind than the one wanted.
    Kind,
    /// An integer or length out of its range.
    Range,
    /// Text that is not UTF-8.
    Utf8,
    /// Map keys that are repeated or not in ascending order.
    Order,
    /// Nesting deeper than [`MAX_DEPTH`] or more than [`MAX_ITEMS`] items.
    Depth,
    /// A decimal fraction that is not canonical.
    Decimal,
    /// Bytes after the last item.
    Leftover,
    /// The output buffer is full.
    Full,
    /// A record or message lacks a field, or has one that is not known.
    Field,
}

impl Error {
    /// The refusal of a message with this error.
    pub(crate) fn why(self) -> &'static Why {
        const fn malformed(text: &'static str) -> Why {
            Why { code: MALFORMED, text }
        }
        const TEXTS: [Why; 11] = [
            malformed("CBOR: unexpected end of input"),
            malformed("CBOR: head is not canonical"),
            malformed("CBOR: item of a wrong kind"),
            malformed("CBOR: number or length out of range"),
            malformed("CBOR: text is not UTF-8"),
            malformed("CBOR: map keys repeated or out of order"),
            malformed("CBOR: too deep or too many items"),
            malformed("CBOR: decimal fraction is not canonical"),
            malformed("CBOR: bytes left over"),
            malformed("CBOR: output is too long"),
            malformed("CBOR: a field is missing or not known"),
        ];
        &TEXTS[self as usize]
    }
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Uint,
    Nint,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    Bool,
    Null,
}

fn kind_of(first: u8) -> Option<Kind> {
    Some(match first >> 5 {
        0 => Kind::Uint,
        1 => Kind::Nint,
        2 => Kind::Bytes,
        3 => Kind::Text,
        4 => Kind::Array,
        5 => Kind::Map,
        6 => Kind::Tag,
        _ if first == FALSE || first == TRUE => Kind::Bool,
        _ if first == NULL => Kind::Null,
        _ => return None,
    })
}

/// The exact number mantissa * 10^exponent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    /// 0 for a whole number, else from -18 to -1.
    pub exponent: i64,
    /// Not divisible by ten unless the exponent is 0.
    pub mantissa: i64,
}

impl Decimal {
    /// The number in units of 10^-18, in which every canonical one is whole.
    pub fn scaled(&self) -> i128 {
        let places = (MAX_DECIMAL_PLACES + self.exponent).clamp(0, MAX_DECIMAL_PLACES);
        (0..places).fold(self.mantissa as i128, |v, _| v * 10)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> core::cmp::Ordering {
        self.scaled().cmp(&other.scaled())
    }
}

/// Reads untrusted items one after another; strings borrow from the input.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    buf: &'a [u8],
    off: usize,
}

impl<'a> Reader<'a> {
    /// Reads from `buf`.
    pub fn new(buf: &'a [u8]) -> Reader<'a> {
        Reader { buf, off: 0 }
    }

    /// Refuses bytes that are left over.
    pub fn done(&self) -> Result<(), Error> {
        if self.off == self.buf.len() {
            Ok(())
        } else {
            Err(Error::Leftover)
        }
    }

    /// What the next item is.
    pub fn kind(&self) -> Result<Kind, Error> {
        let first = *self.buf.get(self.off).ok_or(Error::End)?;
        kind_of(first).ok_or(Error::Head)
    }

    fn head(&mut self, want: Kind) -> Result<u64, Error> {
        if self.kind()? != want {
            return Err(Error::Kind);
        }
        let info = self.buf[self.off] & 31;
        self.off += 1;
        if info < 24 {
            return Ok(info as u64);
        }
        if info > 27 {
            return Err(Error::Head);
        }
        let size = 1usize << (info - 24);
        let raw = self.take(size)?;
        let arg = raw.iter().fold(0, |v, &c| v << 8 | c as u64);
        // The argument must need this many bytes: more than 23, or more than
        // half as many bytes hold.
        let least = if size == 1 { 24 } else { 1u64 << (size * 4) };
        if arg < least {
            return Err(Error::Head);
        }
        Ok(arg)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        if self.buf.len() - self.off < n {
            return Err(Error::End);
        }
        let s = &self.buf[self.off..self.off + n];
        self.off += n;
        Ok(s)
    }

    fn take_long(&mut self, n: u64) -> Result<&'a [u8], Error> {
        if n > self.buf.len() as u64 {
            return Err(Error::End);
        }
        self.take(n as usize)
    }

    /// Reads an unsigned integer.
    pub fn uint(&mut self) -> Result<u64, Error> {
        self.head(Kind::Uint)
    }

    /// Reads an unsigned integer of at most `max`.
    pub fn uint_max(&mut self, max: u64) -> Result<u64, Error> {
        match self.uint()? {
            v if v <= max => Ok(v),
            _ => Err(Error::Range),
        }
    }

    /// Reads a signed integer of 64 bits.
    pub fn int(&mut self) -> Result<i64, Error> {
        let kind = self.kind()?;
        let v = self.head(if kind == Kind::Nint { kind } else { Kind::Uint })?;
        if v > i64::MAX as u64 {
            return Err(Error::Range);
        }
        Ok(if kind == Kind::Nint { -1 - v as i64 } else { v as i64 })
    }

    /// Reads a byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let n = self.head(Kind::Bytes)?;
        self.take_long(n)
    }

    /// Reads a byte string of exactly `n` bytes.
    pub fn bytes_of(&mut self, n: usize) -> Result<&'a [u8], Error> {
        match self.bytes()? {
            b if b.len() == n => Ok(b),
            _ => Err(Error::Range),
        }
    }

    /// Reads a text string.
    pub fn text(&mut self) -> Result<&'a str, Error> {
        let n = self.head(Kind::Text)?;
        core::str::from_utf8(self.take_long(n)?).map_err(|_| Error::Utf8)
    }

    /// Reads a text string; returns its encoding and its bytes.
    pub fn text_item(&mut self) -> Result<(&'a [u8], &'a [u8]), Error> {
        let start = self.off;
        let text = self.text()?;
        Ok((&self.buf[start..self.off], text.as_bytes()))
    }

    /// Reads a boolean.
    pub fn bool(&mut self) -> Result<bool, Error> {
        if self.kind()? != Kind::Bool {
            return Err(Error::Kind);
        }
        self.off += 1;
        Ok(self.buf[self.off - 1] == TRUE)
    }

    /// Reads null.
    pub fn null(&mut self) -> Result<(), Error> {
        if self.kind()? != Kind::Null {
            return Err(Error::Kind);
        }
        self.off += 1;
        Ok(())
    }

    /// Reads the head of a tagged item.
    pub fn tag(&mut self) -> Result<u64, Error> {
        self.head(Kind::Tag)
    }

    fn count(&mut self, want: Kind, per_item: usize) -> Result<usize, Error> {
        let n = self.head(want)?;
        if n > ((self.buf.len() - self.off) / per_item) as u64 {
            return Err(Error::End);
        }
        Ok(n as usize)
    }

    /// Reads the head of an array and returns its length, which never exceeds
    /// the bytes that are left.
    pub fn array(&mut self) -> Result<usize, Error> {
        self.count(Kind::Array, 1)
    }

    /// Reads the head of an array of exactly `n` items.
    pub fn array_of(&mut self, n: usize) -> Result<(), Error> {
        match self.array()? {
            got if got == n => Ok(()),
            _ => Err(Error::Range),
        }
    }

    /// Reads the head of a map and returns its number of pairs.
    pub fn map(&mut self) -> Result<usize, Error> {
        self.count(Kind::Map, 2)
    }

    /// Reads the head of a map with ascending unsigned keys.
    pub fn fields(&mut self) -> Result<Fields, Error> {
        Ok(Fields { left: self.map()?, least: 0 })
    }

    /// Reads an integer or a canonical decimal fraction.
    pub fn decimal(&mut self) -> Result<Decimal, Error> {
        if self.kind()? != Kind::Tag {
            return Ok(Decimal { exponent: 0, mantissa: self.int()? });
        }
        if self.tag()? != TAG_DECIMAL {
            return Err(Error::Kind);
        }
        self.decimal_body()
    }

    fn decimal_body(&mut self) -> Result<Decimal, Error> {
        self.array_of(2)?;
        let d = Decimal { exponent: self.int()?, mantissa: self.int()? };
        if d.exponent >= 0 || d.exponent < -MAX_DECIMAL_PLACES || d.mantissa % 10 == 0 {
            return Err(Error::Decimal);
        }
        Ok(d)
    }

    /// Reads one item of any kind, checks all of it and returns its encoding.
    pub fn raw(&mut self) -> Result<&'a [u8], Error> {
        let start = self.off;
        let mut items = MAX_ITEMS;
        self.check(0, &mut items)?;
        Ok(&self.buf[start..self.off])
    }

    /// Takes all that is left, unchecked.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.buf.get(self.off..).unwrap_or(&[]);
        self.off = self.buf.len();
        rest
    }

    /// Checks one item of any kind and drops it.
    pub fn skip(&mut self) -> Result<(), Error> {
        self.raw().map(|_| ())
    }

    fn check(&mut self, depth: usize, items: &mut u32) -> Result<(), Error> {
        if depth > MAX_DEPTH || *items == 0 {
            return Err(Error::Depth);
        }
        *items -= 1;
        match self.kind()? {
            kind @ (Kind::Uint | Kind::Nint) => self.head(kind).map(|_| ()),
            Kind::Bytes => self.bytes().map(|_| ()),
            Kind::Text => self.text().map(|_| ()),
            Kind::Bool | Kind::Null => {
                self.off += 1;
                Ok(())
            }
            Kind::Array => {
                for _ in 0..self.array()? {
                    self.check(depth + 1, items)?;
                }
                Ok(())
            }
            Kind::Map => self.check_map(depth, items),
            Kind::Tag => self.decimal().map(|_| ()),
        }
    }

    fn check_map(&mut self, depth: usize, items: &mut u32) -> Result<(), Error> {
        let mut last: &[u8] = &[];
        for _ in 0..self.map()? {
            let start = self.off;
            // A key is an integer or a string.
            if !matches!(self.kind()?, Kind::Uint | Kind::Nint | Kind::Bytes | Kind::Text) {
                return Err(Error::Kind);
            }
            self.check(depth + 1, items)?;
            let key = &self.buf[start..self.off];
            if key <= last {
                return Err(Error::Order);
            }
            last = key;
            self.check(depth + 1, items)?;
        }
        Ok(())
    }
}

/// Checks that `b` is exactly one item in core deterministic encoding.
pub fn validate(b: &[u8]) -> Result<(), Error> {
    let mut r = Reader::new(b);
    r.skip()?;
    r.done()
}

/// Walks a map with ascending unsigned keys, the form of every record.
pub struct Fields {
    left: usize,
    least: u64,
}

impl Fields {
    /// Reads the next key from the reader that began the map.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self, r: &mut Reader) -> Result<Option<u64>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let key = r.uint()?;
        if key < self.least || key > i64::MAX as u64 {
            return Err(Error::Order);
        }
        self.least = key + 1;
        Ok(Some(key))
    }
}

/// Walks items that were checked before. At the end of the input, or on bytes
/// that were not checked, items are null, zero or empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Walks `buf`.
    #[inline]
    pub fn new(buf: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: buf }
    }

    /// Reads a head: major type and argument.
    #[inline]
    pub fn head(&mut self) -> (u8, u64) {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                let info = first & 31;
                (first >> 5, if info < 24 { info as u64 } else { self.argument(info) })
            }
            [] => (7, 0),
        }
    }

    #[inline(never)]
    fn argument(&mut self, info: u8) -> u64 {
        self.take(1 << (info - 24).min(3)).iter().fold(0, |v, &c| v << 8 | c as u64)
    }

    #[inline]
    fn take(&mut self, n: u64) -> &'a [u8] {
        let n = if n > self.rest.len() as u64 { self.rest.len() } else { n as usize };
        let (taken, rest) = self.rest.split_at(n);
        self.rest = rest;
        taken
    }

    /// Reads an unsigned integer, or the number of an array's items or a
    /// map's pairs.
    #[inline]
    pub fn uint(&mut self) -> u64 {
        self.head().1
    }

    /// Reads a signed integer.
    pub fn int(&mut self) -> i64 {
        match self.head() {
            (1, v) => !(v as i64),
            (_, v) => v as i64,
        }
    }

    /// Reads a boolean.
    #[inline]
    pub fn bool(&mut self) -> bool {
        self.head() == (7, (TRUE & 31) as u64)
    }

    /// Reads a byte or text string as bytes.
    #[inline]
    pub fn bytes(&mut self) -> &'a [u8] {
        let n = self.head().1;
        self.take(n)
    }

    /// Reads an array of strings and tells whether one of them is `wanted`.
    pub fn has(&mut self, wanted: &[u8]) -> bool {
        let mut found = false;
        for _ in 0..self.uint() {
            found |= self.bytes() == wanted;
            if self.rest.is_empty() {
                break;
            }
        }
        found
    }

    /// Steps over one item and returns its encoding.
    pub fn raw(&mut self) -> &'a [u8] {
        let all = self.rest;
        self.skip();
        &all[..all.len() - self.rest.len()]
    }

    /// Steps over one item.
    pub fn skip(&mut self) {
        let mut pending = 1u64;
        while pending > 0 && !self.rest.is_empty() {
            pending -= 1;
            match self.head() {
                (2 | 3, n) => {
                    self.take(n);
                }
                (4, n) => pending = pending.wrapping_add(n),
                (5, n) => pending = pending.wrapping_add(n.wrapping_mul(2)),
                (6, _) => pending += 1,
                _ => {}
            }
        }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Appends items to a buffer of fixed size. Once an append did not fit,
/// [`Writer::finish`] fails; the contract checks only there.
pub struct Writer {
    buf: &'static mut [u8],
    len: usize, // of all that was appended, whether it fit or not
}

impl Writer {
    /// Writes at most `cap` bytes.
    pub fn new(cap: usize) -> Writer {
        Writer { buf: crate::buffer(cap), len: 0 }
    }

    /// Writes nothing, but counts.
    pub(crate) fn measure() -> Writer {
        Writer { buf: &mut [], len: 0 }
    }

    /// The bytes appended so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.len)
    }

    /// Gives back what was written.
    pub fn finish(self) -> Result<&'static [u8], Error> {
        if self.len > self.buf.len() {
            return Err(Error::Full);
        }
        Ok(self.written())
    }

    /// Gives back what was written, where it is known to have fit.
    pub(crate) fn written(self) -> &'static [u8] {
        let buf: &'static [u8] = self.buf;
        buf.get(..self.len).unwrap_or(buf)
    }

    /// Appends encoded bytes as they are.
    #[inline(never)]
    pub fn raw(&mut self, b: &[u8]) -> &mut Writer {
        let end = self.len + b.len();
        if let Some(room) = self.buf.get_mut(self.len..end) {
            room.copy_from_slice(b);
        }
        self.len = end;
        self
    }

    fn byte(&mut self, b: u8) -> &mut Writer {
        if let Some(room) = self.buf.get_mut(self.len) {
            *room = b;
        }
        self.len += 1;
        self
    }

    #[inline(never)]
    fn head(&mut self, major: u8, v: u64) -> &mut Writer {
        let be = v.to_be_bytes();
        let (info, skip) = match v {
            0..=23 => return self.byte(major << 5 | v as u8),
            24..=0xff => (24, 7),
            0x100..=0xffff => (25, 6),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 0),
        };
        self.byte(major << 5 | info).raw(&be[skip..])
    }

    /// Appends an unsigned integer.
    pub fn uint(&mut self, v: u64) -> &mut Writer {
        self.head(0, v)
    }

    /// Appends a signed integer.
    pub fn int(&mut self, v: i64) -> &mut Writer {
        if v < 0 {
            self.head(1, !v as u64)
        } else {
            self.head(0, v as u64)
        }
    }

    /// Appends a byte string.
    pub fn bytes(&mut self, b: &[u8]) -> &mut Writer {
        self.head(2, b.len() as u64).raw(b)
    }

    /// Appends a text string.
    pub fn text(&mut self, s: &str) -> &mut Writer {
        self.text_bytes(s.as_bytes())
    }

    /// Appends a text string whose bytes were checked to be UTF-8 before.
    pub fn text_bytes(&mut self, s: &[u8]) -> &mut Writer {
        self.head(3, s.len() as u64).raw(s)
    }

    /// Appends the head of an array of `n` items.
    pub fn array(&mut self, n: usize) -> &mut Writer {
        self.head(4, n as u64)
    }

    /// Appends the head of a map of `n` pairs.
    pub fn map(&mut self, n: usize) -> &mut Writer {
        self.head(5, n as u64)
    }

    /// Appends a tag.
    pub fn tag(&mut self, tag: u64) -> &mut Writer {
        self.head(6, tag)
    }

    /// Appends a boolean.
    pub fn bool(&mut self, v: bool) -> &mut Writer {
        self.byte(if v { TRUE } else { FALSE })
    }

    /// Appends null.
    pub fn null(&mut self) -> &mut Writer {
        self.byte(NULL)
    }
}

#[cfg(test)]
#[path = "cbor_tests.rs"]
mod tests;
