//! Accounts and digests, where they lie: in the message or in what was read
//! from the state, both of which live as long as the call. A copy of 32 bytes
//! at each step would be half of the module.

use crate::codes::{there, NESTED};
use postern::cbor::{Error, Reader, Writer};
use postern::{Decode, Encode};

/// The environment; what it borrows lives as long as the call.
pub type Env = postern::Env<'static>;

/// An account's id or a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub &'static [u8; 32]);

impl Id {
    /// An id as it lies somewhere; None where it is none.
    pub fn of(raw: &'static [u8]) -> Option<Id> {
        raw.try_into().ok().map(Id)
    }

    /// An id that was computed.
    pub fn kept(id: &[u8; 32]) -> Id {
        let b = postern::buffer(id.len());
        b.copy_from_slice(id);
        Id::of(b).unwrap_or(Id(&[0; 32]))
    }
}

/// The account that signed the transaction.
pub fn caller(env: &Env) -> Id {
    there(env.caller.and_then(Id::of), &NESTED)
}

/// The account that owns this contract.
pub fn owner(env: &Env) -> Id {
    Id::of(env.owner).unwrap_or(Id(&[0; 32]))
}

impl Encode for Id {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

impl Decode<'static> for Id {
    fn decode(r: &mut Reader<'static>) -> Result<Id, Error> {
        Id::of(r.bytes_of(32)?).ok_or(Error::Range)
    }
}
