//! Hashes by reference: what a call reads lives as long as the call.

use crate::codes::NOT_NOTARY;
use postern::cbor::{Error, Reader, Writer};
use postern::storage::{Key, KeyBuf, KeyReader};
use postern::{Abort, Decode, Encode, Env};

/// A digest, or the id of an account or device: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hash(pub &'static [u8]);

impl Hash {
    /// Keeps a hash for the rest of the call.
    pub fn keep(bytes: &[u8; 32]) -> Hash {
        let kept = postern::buffer(bytes.len());
        kept.copy_from_slice(bytes);
        Hash(kept)
    }

    /// The hash as an array.
    pub fn array(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0);
        out
    }
}

/// The account that signed.
pub fn sender(env: &Env<'static>) -> Result<Hash, Abort> {
    env.caller.map(Hash).ok_or(NOT_NOTARY)
}

impl Encode for Hash {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl Decode<'static> for Hash {
    #[inline(never)]
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        r.bytes_of(32).map(Hash)
    }
}

impl Key for Hash {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(self.0);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<Self> {
        <[u8; 32] as Key>::read(r, last).map(|bytes| Hash::keep(&bytes))
    }
}
