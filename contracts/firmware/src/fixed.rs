//! Names, and the UUIDs of vendors and classes, where they lie: what a call reads
//! lives as long as the call.

use postern::cbor::{Error, Reader, Writer};
use postern::storage::{Key, KeyBuf, KeyReader};
use postern::{Decode, Encode};

/// A vendor or class: 16 bytes (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uuid(pub &'static [u8]);

impl Encode for Uuid {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl Decode<'static> for Uuid {
    #[inline(never)]
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        r.bytes_of(16).map(Uuid)
    }
}

impl Key for Uuid {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(self.0);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<Self> {
        let bytes = <[u8; 16] as Key>::read(r, last)?;
        let kept = postern::buffer(bytes.len());
        kept.copy_from_slice(&bytes);
        Some(Uuid(kept))
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
