//! Names, digests and quantities as messages and state have them.

use postern::cbor::{Decimal, Error, Reader, Writer};
use postern::{Decode, Encode, Hash};

/// The id of an account, or another digest of SHA-256, where it was read:
/// records that are passed on are smaller by its 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub &'static Hash);

impl Digest {
    /// A digest that was computed.
    pub fn keep(hash: &Hash) -> Digest {
        let kept = postern::buffer(hash.len());
        kept.copy_from_slice(hash);
        Digest::of(kept).unwrap_or(Digest(&[0; 32]))
    }

    /// The digest that bytes are, where they are 32.
    pub fn of(bytes: &'static [u8]) -> Option<Digest> {
        bytes.try_into().ok().map(Digest)
    }
}

impl Encode for Digest {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl Decode<'static> for Digest {
    #[inline(never)]
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        Digest::of(r.bytes_of(32)?).ok_or(Error::Range)
    }
}

/// Text of 1 to `N` bytes, none of them zero: in keys those would take two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<const N: usize>(pub &'static str);

/// Bytes of an item's id: beside an account and a prefix it fits a state key of
/// 256 bytes.
pub const MAX_ID: usize = 160;

/// An item's id: a GS1 EPC URI or Digital Link, or any other text.
pub type Id = Name<MAX_ID>;
/// A class of goods, such as a GTIN.
pub type Class = Name<160>;
/// A lot of a class: GS1's have at most 20 letters.
pub type Lot = Name<64>;
/// A unit of quantity, as in UN/CEFACT Recommendation 20.
pub type Unit = Name<8>;
/// A reason in a few words, for people.
pub type Note = Name<80>;
/// What the id of a batch's part ends with.
pub type Suffix = Name<32>;
/// What the ids of a maker's items begin with.
pub type Start = Name<64>;

impl<const N: usize> Encode for Name<N> {
    fn encode(&self, w: &mut Writer) {
        w.text(self.0);
    }
}

impl<const N: usize> Decode<'static> for Name<N> {
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        text(r, N).map(Name)
    }
}

// One function for all lengths: it is called in many places.
fn text(r: &mut Reader<'static>, most: usize) -> Result<&'static str, Error> {
    match r.text()? {
        "" => Err(Error::Range),
        text if text.len() > most || text.contains('\0') => Err(Error::Range),
        text => Ok(text),
    }
}

/// Decimal places of quantities.
const PLACES: u32 = 6;
/// The greatest quantity, in millionths: sums of two fit an i64.
const MOST: i64 = 1_000_000_000_000_000_000;

/// A quantity above 0 in millionths; outside a number with at most 6 decimal
/// places, at most 10^12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub i64);

impl Encode for Amount {
    fn encode(&self, w: &mut Writer) {
        let mut d = Decimal { exponent: -(PLACES as i64), mantissa: self.0 };
        while d.exponent < 0 && d.mantissa % 10 == 0 {
            d = Decimal { exponent: d.exponent + 1, mantissa: d.mantissa / 10 };
        }
        d.encode(w)
    }
}

impl Decode<'static> for Amount {
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        let d = r.decimal()?;
        let places = PLACES as i64 + d.exponent;
        if places < 0 {
            return Err(Error::Range);
        }
        let millionths = d.mantissa.checked_mul(10i64.pow(places as u32));
        millionths.filter(|m| (1..=MOST).contains(m)).map(Amount).ok_or(Error::Range)
    }
}
