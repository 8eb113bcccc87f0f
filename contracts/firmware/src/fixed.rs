//! Bytes of a fixed length, such as hashes, by reference: what a call reads
//! lives as long as the call, so nothing is copied, and the module is smaller
//! by a fifth.

use postern::cbor::{Error, Reader, Writer};
use postern::storage::{Key, KeyBuf, KeyReader};
use postern::{Decode, Encode};

/// Exactly `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed<const N: usize>(pub &'static [u8]);

/// A digest, or the id of an account or device.
pub type Hash = Fixed<32>;
/// A vendor or class.
pub type Uuid = Fixed<16>;

impl<const N: usize> Fixed<N> {
    /// Keeps bytes for the rest of the call.
    pub fn keep(bytes: &[u8; N]) -> Fixed<N> {
        let kept = postern::buffer(N);
        kept.copy_from_slice(bytes);
        Fixed(kept)
    }

    /// The bytes as an array.
    pub fn array(&self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(self.0);
        out
    }
}

impl<const N: usize> Encode for Fixed<N> {
    #[inline(never)]
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl<const N: usize> Decode<'static> for Fixed<N> {
    #[inline(never)]
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        r.bytes_of(N).map(Fixed)
    }
}

impl<const N: usize> Key for Fixed<N> {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(self.0);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<Self> {
        <[u8; N] as Key>::read(r, last).map(|bytes| Fixed::keep(&bytes))
    }
}

/// A name, version, label or reason: 1 to 64 printable ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Name(pub &'static str);

impl Name {
    /// The text itself.
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

impl Encode for Name {
    fn encode(&self, w: &mut Writer) {
        w.text(self.0);
    }
}

impl Decode<'static> for Name {
    #[inline(never)]
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        let text = r.text()?;
        let sound = text.len().wrapping_sub(1) < 64 && text.bytes().all(|c| (b' '..=b'~').contains(&c));
        Some(Name(text)).filter(|_| sound).ok_or(Error::Range)
    }
}
