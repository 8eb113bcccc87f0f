//! Typed state: [`Item`] holds one value, [`Map`] one for each key.
//!
//! ```
//! use postern::{Item, Map};
//!
//! const OPENED: Item<u64> = Item::new("opened");
//! const HOLDERS: Map<u32, &str> = Map::new("holder/");
//!
//! # fn main() -> Result<(), postern::Abort> {
//! OPENED.set(&(OPENED.get()?.unwrap_or(0) + 1));
//! HOLDERS.set(&7, &"alice");
//! assert_eq!(HOLDERS.get(&7)?, Some("alice"));
//! assert_eq!(HOLDERS.iter().count(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! An item's key is its name. A map's keys are its prefix with the encoded key
//! behind it, so that they are ordered as the keys are: integers by number,
//! big-endian and with the sign's bit turned; text and byte arrays by their
//! bytes; tuples by their first part, then the next. A text that is not the
//! last part of a key has 0 as 0, 255 and ends with 0, 0. No prefix may be the
//! beginning of another or of an item's name: end prefixes with a mark such as
//! `/`.

use crate::codec::{encode, Decode, Encode};
use crate::entry::{Abort, Why, CORRUPT, MISSING};
use crate::host::{rows, state_delete, state_get, state_has, state_set, Rows};
use crate::MAX_KEY;
use core::marker::PhantomData;

const NOT_THERE: Abort = Abort::new(&Why { code: MISSING, text: "state: there is no such entry" });
const NOT_OF_TYPE: Abort = Abort::new(&Why { code: CORRUPT, text: "state: an entry is not of the type it is read as" });

fn stored<T: Decode<'static>>(raw: &'static [u8]) -> Result<T, Abort> {
    crate::codec::decode(raw).map_err(|_| NOT_OF_TYPE)
}

/// One value of the state.
pub struct Item<T> {
    key: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Item<T> {
    /// The item under a key of 1 to [`MAX_KEY`] bytes.
    pub const fn new(key: &'static str) -> Item<T> {
        Item { key, of: PhantomData }
    }

    /// Whether there is a value.
    pub fn exists(&self) -> bool {
        state_has(self.key.as_bytes())
    }

    /// Deletes the value; a missing one is fine.
    pub fn delete(&self) {
        state_delete(self.key.as_bytes())
    }
}

impl<T: Decode<'static>> Item<T> {
    /// The value, None where there is none. Bytes of another form are a
    /// refusal with [`CORRUPT`](crate::CORRUPT).
    pub fn get(&self) -> Result<Option<T>, Abort> {
        state_get(self.key.as_bytes()).map(stored).transpose()
    }

    /// The value; a missing one is a refusal with [`MISSING`](crate::MISSING).
    pub fn load(&self) -> Result<T, Abort> {
        self.get()?.ok_or(NOT_THERE)
    }
}

impl<T: Encode> Item<T> {
    /// Writes the value. More than [`MAX_VALUE`](crate::MAX_VALUE) bytes end
    /// the call.
    pub fn set(&self, value: &T) {
        state_set(self.key.as_bytes(), encode(value))
    }
}

/// A value for each key. See the module for the form of keys.
pub struct Map<K, V> {
    prefix: &'static str,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V> Map<K, V> {
    /// The map under a prefix, which is no beginning of another.
    pub const fn new(prefix: &'static str) -> Map<K, V> {
        Map { prefix, of: PhantomData }
    }

    fn key(&self, key: &K) -> KeyBuf {
        let mut buf = KeyBuf::new(self.prefix);
        key.append(&mut buf, true);
        buf
    }

    /// Whether there is a value for the key.
    pub fn has(&self, key: &K) -> bool {
        state_has(self.key(key).bytes())
    }

    /// Deletes the key's value; a missing one is fine.
    pub fn delete(&self, key: &K) {
        state_delete(self.key(key).bytes())
    }
}

impl<K: Key, V: Decode<'static>> Map<K, V> {
    /// The key's value, None where there is none.
    pub fn get(&self, key: &K) -> Result<Option<V>, Abort> {
        state_get(self.key(key).bytes()).map(stored).transpose()
    }

    /// The key's value; a missing one is a refusal with
    /// [`MISSING`](crate::MISSING).
    pub fn load(&self, key: &K) -> Result<V, Abort> {
        self.get(key)?.ok_or(NOT_THERE)
    }

    /// All entries in the order of their keys. A call may begin 8 iterations;
    /// each sees the state as it was when it began. A limit is `take`.
    pub fn iter(&self) -> Entries<K, V> {
        self.entries(KeyBuf::new(self.prefix), KeyBuf::new(self.prefix))
    }

    /// The entries whose key is not below `start`: how a query goes on.
    pub fn iter_from(&self, start: &K) -> Entries<K, V> {
        self.entries(KeyBuf::new(self.prefix), self.key(start))
    }

    /// The entries whose key, a tuple, begins with `part`.
    pub fn iter_of<P: Prefix<K>>(&self, part: &P) -> Entries<K, V> {
        let mut prefix = KeyBuf::new(self.prefix);
        part.append_prefix(&mut prefix);
        self.entries(prefix, prefix)
    }

    fn entries(&self, prefix: KeyBuf, start: KeyBuf) -> Entries<K, V> {
        Entries { rows: rows(prefix.bytes(), start.bytes()), skip: self.prefix.len(), of: PhantomData }
    }
}

impl<K: Key, V: Encode> Map<K, V> {
    /// Writes the key's value. A key of more than [`MAX_KEY`] bytes with its
    /// prefix, or a value of more than [`MAX_VALUE`](crate::MAX_VALUE), ends
    /// the call.
    pub fn set(&self, key: &K, value: &V) {
        state_set(self.key(key).bytes(), encode(value))
    }
}

/// The entries of a [`Map`], in order. Each takes memory of its own, which
/// lives as long as the call.
pub struct Entries<K, V> {
    rows: Rows,
    skip: usize,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Decode<'static>> Iterator for Entries<K, V> {
    type Item = Result<(K, V), Abort>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.rows.next()?;
        let mut r = KeyReader { rest: key.get(self.skip..).unwrap_or(&[]) };
        let key = K::read(&mut r, true).filter(|_| r.rest.is_empty());
        Some(key.ok_or(NOT_OF_TYPE).and_then(|key| Ok((key, stored(value)?))))
    }
}

/// A key as the host gets it. One that grew too long keeps a byte more than
/// the host admits, so that it is refused.
#[derive(Clone, Copy)]
pub struct KeyBuf {
    buf: [u8; MAX_KEY + 1],
    len: usize,
}

impl KeyBuf {
    fn new(prefix: &str) -> KeyBuf {
        let mut key = KeyBuf { buf: [0; MAX_KEY + 1], len: 0 };
        key.push(prefix.as_bytes());
        key
    }

    /// Appends bytes as they are.
    pub fn push(&mut self, b: &[u8]) {
        let rest = self.buf.get_mut(self.len..).unwrap_or(&mut []);
        for (dst, c) in rest.iter_mut().zip(b) {
            *dst = *c;
            self.len += 1;
        }
    }

    /// The key so far.
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or(&[])
    }

    fn text(&mut self, b: &[u8], last: bool) {
        if last {
            return self.push(b);
        }
        for &c in b {
            self.push(&[c, 0xff][..1 + (c == 0) as usize]);
        }
        self.push(&[0, 0]);
    }
}

/// What is left to read of a stored key.
pub struct KeyReader {
    rest: &'static [u8],
}

impl KeyReader {
    fn take(&mut self, n: usize) -> Option<&'static [u8]> {
        let taken = self.rest.get(..n)?;
        self.rest = self.rest.get(n..)?;
        Some(taken)
    }

    fn text(&mut self, last: bool) -> Option<&'static [u8]> {
        if last {
            return self.take(self.rest.len());
        }
        let (mut len, mut escapes) = (0, 0);
        loop {
            match self.rest.get(len..)? {
                [0, 0, ..] => break,
                [0, 0xff, ..] => {
                    escapes += 1;
                    len += 2;
                }
                [0, ..] | [] => return None,
                _ => len += 1,
            }
        }
        let text = self.take(len)?;
        self.take(2)?;
        Some(if escapes == 0 { text } else { unescape(text, escapes) })
    }
}

fn unescape(text: &[u8], escapes: usize) -> &'static [u8] {
    let out = crate::buffer(text.len() - escapes);
    let mut after_zero = false;
    let kept = text.iter().filter(|&&c| {
        let dropped = after_zero;
        after_zero = c == 0;
        !dropped
    });
    for (dst, c) in out.iter_mut().zip(kept) {
        *dst = *c;
    }
    out
}

/// A part of a key, or a whole one.
pub trait Key: Sized {
    /// Appends the ordered encoding; the last part needs no end.
    #[doc(hidden)]
    fn append(&self, key: &mut KeyBuf, last: bool);
    /// Reads it back; None where it is not one.
    #[doc(hidden)]
    fn read(r: &mut KeyReader, last: bool) -> Option<Self>;
}

macro_rules! integer_key {
    ($($t:ty: $turn:expr),+) => {$(
        impl Key for $t {
            fn append(&self, key: &mut KeyBuf, _: bool) {
                key.push(&(*self ^ $turn).to_be_bytes());
            }

            fn read(r: &mut KeyReader, _: bool) -> Option<$t> {
                let mut be = [0; core::mem::size_of::<$t>()];
                be.copy_from_slice(r.take(core::mem::size_of::<$t>())?);
                Some(<$t>::from_be_bytes(be) ^ $turn)
            }
        }
    )+};
}

integer_key!(u8: 0, u16: 0, u32: 0, u64: 0, i32: i32::MIN, i64: i64::MIN);

impl Key for bool {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(&[*self as u8]);
    }

    fn read(r: &mut KeyReader, _: bool) -> Option<bool> {
        match r.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> Key for [u8; N] {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(self);
    }

    fn read(r: &mut KeyReader, _: bool) -> Option<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(r.take(N)?);
        Some(out)
    }
}

impl Key for &'static str {
    fn append(&self, key: &mut KeyBuf, last: bool) {
        key.text(self.as_bytes(), last);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<&'static str> {
        core::str::from_utf8(r.text(last)?).ok()
    }
}

impl Key for crate::Bytes<'static> {
    fn append(&self, key: &mut KeyBuf, last: bool) {
        key.text(self.0, last);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<crate::Bytes<'static>> {
        r.text(last).map(crate::Bytes)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn append(&self, key: &mut KeyBuf, last: bool) {
        self.0.append(key, false);
        self.1.append(key, last);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<(A, B)> {
        Some((A::read(r, false)?, B::read(r, last)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn append(&self, key: &mut KeyBuf, last: bool) {
        self.0.append(key, false);
        self.1.append(key, false);
        self.2.append(key, last);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<(A, B, C)> {
        Some((A::read(r, false)?, B::read(r, false)?, C::read(r, last)?))
    }
}

/// The first parts of a tuple that is a key.
pub trait Prefix<K> {
    /// Appends the parts as they stand in the whole key.
    #[doc(hidden)]
    fn append_prefix(&self, key: &mut KeyBuf);
}

impl<A: Key, B: Key> Prefix<(A, B)> for A {
    fn append_prefix(&self, key: &mut KeyBuf) {
        self.append(key, false);
    }
}

impl<A: Key, B: Key, C: Key> Prefix<(A, B, C)> for A {
    fn append_prefix(&self, key: &mut KeyBuf) {
        self.append(key, false);
    }
}

impl<A: Key, B: Key, C: Key> Prefix<(A, B, C)> for (A, B) {
    fn append_prefix(&self, key: &mut KeyBuf) {
        self.append(key, false);
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
