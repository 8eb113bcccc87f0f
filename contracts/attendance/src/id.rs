//! Accounts and devices by reference: what is read lives as long as the call, and
//! 32 bytes that are copied at every turn make a module a fifth larger.

use postern::cbor::{Error, Reader, Writer};
use postern::storage::{Key, KeyBuf, KeyReader};
use postern::{Decode, Encode, Hash};

/// The id of an account, a reader or a pupil, or another hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub &'static Hash);

impl Id {
    /// The id that some bytes are, None where they are none.
    pub fn of(b: &'static [u8]) -> Option<Id> {
        b.try_into().ok().map(Id)
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
        Id::of(r.bytes()?).ok_or(Error::Range)
    }
}

impl Key for Id {
    fn append(&self, key: &mut KeyBuf, _: bool) {
        key.push(self.0);
    }

    fn read(r: &mut KeyReader, last: bool) -> Option<Id> {
        let room = postern::buffer(32);
        room.copy_from_slice(&Hash::read(r, last)?);
        Id::of(room)
    }
}
