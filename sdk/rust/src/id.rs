//! Ids and digests where they lie.

use crate::cbor::{Error, Reader, Writer};
use crate::storage::{Key, KeyBuf, KeyReader};
use crate::{Decode, Encode, Hash};

/// The id of an account or a device, or a digest, by reference: what was read lives
/// as long as the call, and [`Hash`], whose 32 bytes are copied at every turn,
/// makes a large contract a fifth larger. On the wire, in state and in keys both
/// are the same.
///
/// ```
/// use postern::{decode, encode, Id};
/// let id = Id::keep(&postern::sha256(b"pallet 7"));
/// assert_eq!(decode::<Id>(encode(&id)), Ok(id));
/// assert!(Id::of(&[1, 2, 3]).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub &'static Hash);

impl Id {
    /// The id that bytes are, None where they are not 32.
    pub fn of(bytes: &'static [u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }

    /// An id that was computed, kept for the rest of the call.
    pub fn keep(hash: &Hash) -> Id {
        let kept = crate::buffer(hash.len());
        kept.copy_from_slice(hash);
        match Id::of(kept) {
            Some(id) => id,
            None => Id(&[0; 32]), // never: a hash has 32 bytes
        }
    }
}

impl Encode for Id {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl Decode<'static> for Id {
    #[inline(never)]
    fn decode(r: &mut Reader<'static>) -> Result<Id, Error> {
        Id::of(r.bytes_of(32)?).ok_or(Error::Range)
    }
}

impl Key for Id {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(self.0);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<Id> {
        Some(Id::keep(&Hash::read(r, last)?))
    }
}
