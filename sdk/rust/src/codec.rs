//! Values as CBOR: what messages, results, events and stored values are made
//! of. Structs with numbered fields come from [`record!`](crate::record),
//! messages that begin with an operation's number from
//! [`choice!`](crate::choice).

use crate::cbor::{Decimal, Error, Reader, Writer, TAG_DECIMAL};
use crate::entry::{Abort, Reply};
use core::marker::PhantomData;

/// The name of an account, device, transaction, chain or code: a SHA-256
/// digest.
pub type Hash = [u8; 32];

/// A value that has one encoding.
pub trait Encode {
    /// Appends the value's encoding.
    fn encode(&self, w: &mut Writer);

    /// Whether a record leaves the value out.
    #[doc(hidden)]
    fn is_absent(&self) -> bool {
        false
    }

    /// Appends the value as a record's field, when it is there.
    #[doc(hidden)]
    fn encode_field(&self, w: &mut Writer) {
        self.encode(w)
    }
}

/// A value that is read from its encoding, of which it may keep references.
pub trait Decode<'a>: Sized {
    /// Reads a value; every other encoding is an error.
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error>;

    /// What stands for a field that a record left out; None where it is
    /// required.
    #[doc(hidden)]
    fn absent() -> Option<Self> {
        None
    }

    /// Reads the value as a record's field.
    #[doc(hidden)]
    fn decode_field(r: &mut Reader<'a>) -> Result<Self, Error> {
        Self::decode(r)
    }
}

/// Encodes a value into memory that lives as long as the call.
///
/// ```
/// assert_eq!(postern::encode(&(1u64, "a")), [0x82, 1, 0x61, b'a']);
/// ```
pub fn encode<T: Encode + ?Sized>(value: &T) -> &'static [u8] {
    let mut w = Writer::measure();
    value.encode(&mut w);
    let mut w = Writer::new(w.len());
    value.encode(&mut w);
    w.written()
}

/// Reads exactly one value from `b`.
///
/// ```
/// assert_eq!(postern::decode::<(u64, &str)>(&[0x82, 1, 0x61, b'a']), Ok((1, "a")));
/// assert!(postern::decode::<u64>(&[1, 2]).is_err());
/// ```
pub fn decode<'a, T: Decode<'a>>(b: &'a [u8]) -> Result<T, Error> {
    let mut r = Reader::new(b);
    let value = T::decode(&mut r)?;
    r.done()?;
    Ok(value)
}

/// The reply that holds a value: what an entry point returns.
pub fn reply<T: Encode + ?Sized>(value: &T) -> Reply {
    Ok(encode(value))
}

/// The reply that holds nothing.
pub fn done() -> Reply {
    Ok(&[])
}

macro_rules! unsigned {
    ($($t:ty),+) => {$(
        impl Encode for $t {
            fn encode(&self, w: &mut Writer) {
                w.uint(*self as u64);
            }
        }

        impl<'a> Decode<'a> for $t {
            fn decode(r: &mut Reader<'a>) -> Result<$t, Error> {
                r.uint_max(<$t>::MAX as u64).map(|v| v as $t)
            }
        }
    )+};
}

unsigned!(u8, u16, u32, u64);

impl Encode for i64 {
    fn encode(&self, w: &mut Writer) {
        w.int(*self);
    }
}

impl<'a> Decode<'a> for i64 {
    fn decode(r: &mut Reader<'a>) -> Result<i64, Error> {
        r.int()
    }
}

impl Encode for i32 {
    fn encode(&self, w: &mut Writer) {
        w.int(*self as i64);
    }
}

impl<'a> Decode<'a> for i32 {
    fn decode(r: &mut Reader<'a>) -> Result<i32, Error> {
        let v = r.int()?;
        if v != v as i32 as i64 {
            return Err(Error::Range);
        }
        Ok(v as i32)
    }
}

impl Encode for bool {
    fn encode(&self, w: &mut Writer) {
        w.bool(*self);
    }
}

impl<'a> Decode<'a> for bool {
    fn decode(r: &mut Reader<'a>) -> Result<bool, Error> {
        r.bool()
    }
}

impl Encode for str {
    fn encode(&self, w: &mut Writer) {
        w.text(self);
    }
}

impl<'a> Decode<'a> for &'a str {
    fn decode(r: &mut Reader<'a>) -> Result<&'a str, Error> {
        r.text()
    }
}

/// Text of at most `N` bytes: a value that a contract stores under a limit.
///
/// ```
/// use postern::{decode, encode, Text};
/// assert_eq!(decode::<Text<3>>(encode("abc")).unwrap().as_str(), "abc");
/// assert!(decode::<Text<3>>(encode("abcd")).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a, const N: usize>(&'a str);

impl<'a, const N: usize> Text<'a, N> {
    /// The text, unless it is too long.
    pub fn new(s: &'a str) -> Option<Text<'a, N>> {
        Some(Text(s)).filter(|t| t.0.len() <= N)
    }

    /// The text itself.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<const N: usize> Encode for Text<'_, N> {
    fn encode(&self, w: &mut Writer) {
        w.text(self.0);
    }
}

impl<'a, const N: usize> Decode<'a> for Text<'a, N> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        Text::new(r.text()?).ok_or(Error::Range)
    }
}

/// A byte string of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Encode for Bytes<'_> {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl<'a> Decode<'a> for Bytes<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Bytes<'a>, Error> {
        r.bytes().map(Bytes)
    }
}

/// Arrays of bytes, such as a [`Hash`], are byte strings of their length.
impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self);
    }
}

impl<'a, const N: usize> Decode<'a> for [u8; N] {
    fn decode(r: &mut Reader<'a>) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(r.bytes_of(N)?);
        Ok(out)
    }
}

/// One item of any form, as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a [u8]);

impl Encode for Raw<'_> {
    fn encode(&self, w: &mut Writer) {
        w.raw(self.0);
    }
}

impl<'a> Decode<'a> for Raw<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Raw<'a>, Error> {
        r.raw().map(Raw)
    }
}

impl Encode for Decimal {
    fn encode(&self, w: &mut Writer) {
        if self.exponent == 0 {
            w.int(self.mantissa);
        } else {
            w.tag(TAG_DECIMAL).array(2).int(self.exponent).int(self.mantissa);
        }
    }
}

impl<'a> Decode<'a> for Decimal {
    fn decode(r: &mut Reader<'a>) -> Result<Decimal, Error> {
        r.decimal()
    }
}

/// None is null; as a record's field it is left out.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, w: &mut Writer) {
        match self {
            Some(v) => v.encode(w),
            None => {
                w.null();
            }
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        if r.null().is_ok() {
            return Ok(None);
        }
        T::decode(r).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn decode_field(r: &mut Reader<'a>) -> Result<Self, Error> {
        T::decode(r).map(Some)
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, w: &mut Writer) {
        (**self).encode(w)
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }
}

/// Slices are arrays.
impl<T: Encode> Encode for [T] {
    fn encode(&self, w: &mut Writer) {
        w.array(self.len());
        for item in self {
            item.encode(w);
        }
    }
}

/// Nothing: an empty array.
impl Encode for () {
    fn encode(&self, w: &mut Writer) {
        w.array(0);
    }
}

impl<'a> Decode<'a> for () {
    fn decode(r: &mut Reader<'a>) -> Result<(), Error> {
        r.array_of(0)
    }
}

macro_rules! tuple {
    ($n:literal: $($t:ident $at:tt),+) => {
        impl<$($t: Encode),+> Encode for ($($t,)+) {
            fn encode(&self, w: &mut Writer) {
                w.array($n);
                $(self.$at.encode(w);)+
            }
        }

        impl<'a, $($t: Decode<'a>),+> Decode<'a> for ($($t,)+) {
            fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
                r.array_of($n)?;
                Ok(($($t::decode(r)?,)+))
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);

/// An array of a length that the message chose, read item by item. Its bytes
/// are checked to be canonical at once; that they are items of `T` only as
/// they are read.
///
/// ```
/// use postern::{decode, encode, List};
/// let list: List<u64> = decode(encode(&[1u64, 5][..])).unwrap();
/// assert_eq!(list.len(), 2);
/// assert_eq!(list.iter().map(|v| v.unwrap()).sum::<u64>(), 6);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct List<'a, T> {
    raw: &'a [u8],
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<'a, T: Decode<'a>> List<'a, T> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        Reader::new(self.raw).array().unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole array's encoding.
    pub fn encoded(&self) -> &'a [u8] {
        self.raw
    }

    /// Reads the items. A refusal names the item's number.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, Abort>> + 'a
    where
        T: 'a,
    {
        let mut r = Reader::new(self.raw);
        let count = r.array().unwrap_or(0);
        (0..count).map(move |i| T::decode(&mut r).map_err(|e| Abort::from(e).of_item(i)))
    }
}

impl<T> Encode for List<'_, T> {
    fn encode(&self, w: &mut Writer) {
        w.raw(self.raw);
    }
}

impl<'a, T> Decode<'a> for List<'a, T> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        if r.kind()? != crate::cbor::Kind::Array {
            return Err(Error::Kind);
        }
        Ok(List { raw: r.raw()?, of: PhantomData })
    }
}

/// Whether a record's keys stand in the order in which they are encoded.
#[doc(hidden)]
pub const fn ascending(keys: &[u64]) -> bool {
    let mut i = 1;
    while i < keys.len() {
        if keys[i - 1] >= keys[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Declares a struct that is encoded as a map with numbered fields. A field
/// whose type is an `Option` is left out when it is None; all others are
/// required, and no other field is admitted. Numbers must ascend.
///
/// ```
/// postern::record! {
///     /// A locker.
///     pub struct Locker {
///         /// Who has it.
///         1 => pub holder: postern::Hash,
///         /// Until when, in ms since 1970.
///         2 => pub until: Option<i64>,
///     }
/// }
/// let locker = Locker { holder: [7; 32], until: None };
/// let bytes = postern::encode(&locker);
/// assert_eq!(bytes[..4], [0xa1, 1, 0x58, 32]);
/// assert_eq!(postern::decode::<Locker>(bytes), Ok(locker));
/// ```
///
/// Strings borrow from what was read, so their types are `&'static str`,
/// [`Text<'static, N>`](crate::Text) or [`Bytes<'static>`](crate::Bytes): the
/// input and what is read from state live as long as the call.
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $key:literal => $field_vis:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)+
        }

        const _: () = assert!($crate::ascending(&[$($key),+]), "the record's field numbers must ascend");

        impl $crate::Encode for $name {
            fn encode(&self, w: &mut $crate::cbor::Writer) {
                let absent = [$($crate::Encode::is_absent(&self.$field)),+];
                w.map(absent.iter().filter(|&&absent| !absent).count());
                $(
                    if !$crate::Encode::is_absent(&self.$field) {
                        w.uint($key);
                        $crate::Encode::encode_field(&self.$field, w);
                    }
                )+
            }
        }

        impl $crate::Decode<'static> for $name {
            fn decode(r: &mut $crate::cbor::Reader<'static>) -> Result<$name, $crate::cbor::Error> {
                $(let mut $field = <$type as $crate::Decode>::absent();)+
                let mut fields = r.fields()?;
                while let Some(key) = fields.next(r)? {
                    match key {
                        $($key => $field = Some(<$type as $crate::Decode>::decode_field(r)?),)+
                        _ => return Err($crate::cbor::Error::Field),
                    }
                }
                Ok($name { $($field: $field.ok_or($crate::cbor::Error::Field)?),+ })
            }
        }
    };
}

/// Declares an enum of messages that are encoded as an array: the operation's
/// number, then its operands.
///
/// ```
/// postern::choice! {
///     /// What the contract does.
///     pub enum Command {
///         /// Takes a locker until a time.
///         1 => Take { locker: u32, until: i64 },
///         /// Gives it back.
///         2 => Release { locker: u32 },
///     }
/// }
/// let bytes = postern::encode(&Command::Release { locker: 5 });
/// assert_eq!(bytes, [0x82, 2, 5]);
/// assert_eq!(postern::decode(bytes), Ok(Command::Release { locker: 5 }));
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $key:literal => $variant:ident $({ $($field:ident: $type:ty),+ $(,)? })?),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant $({ $($field: $type),+ })?,)+
        }

        const _: () = assert!($crate::ascending(&[$($key),+]), "the operations' numbers must ascend");

        impl $crate::Encode for $name {
            fn encode(&self, w: &mut $crate::cbor::Writer) {
                match self {
                    $($name::$variant $({ $($field),+ })? => {
                        w.array(1 $($(+ $crate::one!($field))+)?);
                        w.uint($key);
                        $($($crate::Encode::encode($field, w);)+)?
                    })+
                }
            }
        }

        impl $crate::Decode<'static> for $name {
            fn decode(r: &mut $crate::cbor::Reader<'static>) -> Result<$name, $crate::cbor::Error> {
                let items = r.array()?;
                match (r.uint()?, items) {
                    $(($key, n) if n == 1 $($(+ $crate::one!($field))+)? => {
                        Ok($name::$variant $({ $($field: $crate::Decode::decode(r)?),+ })?)
                    })+
                    _ => Err($crate::cbor::Error::Field),
                }
            }
        }
    };
}

/// 1, whatever it is given: how a macro counts.
#[doc(hidden)]
#[macro_export]
macro_rules! one {
    ($x:tt) => {
        1
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Debug;

    fn round_trip<T: Encode + Decode<'static> + PartialEq + Debug>(value: T, hex: &[u8]) {
        let b = encode(&value);
        assert_eq!(b, hex, "{:?}", value);
        assert_eq!(decode::<T>(b), Ok(value));
    }

    #[test]
    fn values_have_one_encoding() {
        round_trip(0u64, &[0]);
        round_trip(u64::MAX, &[0x1b, 255, 255, 255, 255, 255, 255, 255, 255]);
        round_trip(i64::MIN, &[0x3b, 127, 255, 255, 255, 255, 255, 255, 255]);
        round_trip(-1i32, &[0x20]);
        round_trip(true, &[0xf5]);
        round_trip("é", &[0x62, 0xc3, 0xa9]);
        round_trip(Bytes(&[1, 2]), &[0x42, 1, 2]);
        round_trip([1u8, 2], &[0x42, 1, 2]);
        round_trip(Decimal { exponent: -1, mantissa: 15 }, &[0xc4, 0x82, 0x20, 15]);
        round_trip(Decimal { exponent: 0, mantissa: 150 }, &[0x18, 150]);
        round_trip(Some(1u8), &[1]);
        round_trip(None::<u8>, &[0xf6]);
        round_trip((1u8, "a", (), (true,)), &[0x84, 1, 0x61, b'a', 0x80, 0x81, 0xf5]);
    }

    #[test]
    fn other_encodings_are_refused() {
        assert_eq!(decode::<u8>(&[0x19, 1, 0]), Err(Error::Range));
        assert_eq!(decode::<i32>(&[0x1a, 0x80, 0, 0, 0]), Err(Error::Range));
        assert_eq!(decode::<i32>(&[0x3a, 0x7f, 255, 255, 255]), Ok(i32::MIN));
        assert_eq!(decode::<[u8; 2]>(&[0x43, 1, 2, 3]), Err(Error::Range));
        assert_eq!(decode::<(u8, u8)>(&[0x83, 1, 2, 3]), Err(Error::Range));
        assert_eq!(decode::<u8>(&[1, 1]), Err(Error::Leftover));
        assert_eq!(decode::<List<u8>>(&[0xa0]), Err(Error::Kind));
    }

    crate::record! {
        struct Record {
            1 => a: u64,
            3 => b: Option<&'static str>,
            7 => c: Option<bool>,
        }
    }

    #[test]
    fn records_have_the_fields_they_declare() {
        round_trip(Record { a: 1, b: None, c: None }, &[0xa1, 1, 1]);
        round_trip(Record { a: 1, b: Some("x"), c: Some(false) }, &[0xa3, 1, 1, 3, 0x61, b'x', 7, 0xf4]);
        let read = |b: &'static [u8]| decode::<Record>(b);
        assert_eq!(read(&[0xa0]), Err(Error::Field), "a required field is missing");
        assert_eq!(read(&[0xa2, 1, 1, 2, 2]), Err(Error::Field), "an unknown field");
        assert_eq!(read(&[0xa2, 1, 1, 1, 1]), Err(Error::Order));
        assert_eq!(read(&[0xa2, 1, 1, 7, 0xf6]), Err(Error::Kind), "null is not how a field is left out");
    }

    crate::choice! {
        enum Op {
            1 => Nothing,
            2 => Two { a: u8, b: &'static str },
        }
    }

    #[test]
    fn choices_have_their_operands() {
        round_trip(Op::Nothing, &[0x81, 1]);
        round_trip(Op::Two { a: 1, b: "x" }, &[0x83, 2, 1, 0x61, b'x']);
        for wrong in [&[0x82, 1, 0][..], &[0x82, 2, 1], &[0x81, 3], &[0x80, 1], &[0x84, 2, 1, 0x61, b'x', 0]] {
            assert!(decode::<Op>(wrong.to_vec().leak()).is_err(), "{:x?}", wrong);
        }
    }

    #[test]
    fn lists_name_the_item_that_is_wrong() {
        let list: List<u8> = decode(&[0x83, 1, 0x20, 2]).unwrap();
        let refused = list.iter().find_map(|v| v.err()).unwrap();
        assert_eq!(refused, Abort::from(Error::Kind).of_item(1));
        assert_eq!(list.iter().count(), 3);
    }
}
