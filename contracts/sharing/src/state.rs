//! The contract's state, and what it tells the world.
//!
//! ```text
//! arbiter, issuer, limit 0…3, purposes       settings
//! class/ account                             what an account is
//! consent/ set 0 target                      a consent
//! credit/ account                            a balance
//! due/ time what of                          a deadline
//! epoch/ set 0 epoch grant                   grants that stand, by their key's epoch
//! gone/ set                                  a statement of destruction
//! grant/ grant                               a grant
//! grants, offers, purchases                  the last number that was given
//! held/ set 0 account grant                  grants that stand, by grantee
//! key/ set 0 grant                           a wrapped key
//! offer/ offer, open/ offer                  an offer; that it was not withdrawn
//! purchase/ purchase                         a purchase
//! reads/ grant                               a grant's reads
//! record/ set 0 number                       the hash of a part of the content
//! sales/ account outcome                     how many sales of an account ended so
//! set/ set                                   a data set
//! minted, burned, escrow                     all credits
//! timer/ time                                that a timer is set
//! ```
//!
//! Numbers are big-endian, 8 bytes and for epochs 4; a data set's name holds no
//! zero byte. One function writes and one builds keys, for values and parts of
//! all types: a copy for each type would be a fifth of the module.

use crate::codes::sound;
use postern::{decode, state_delete, state_get, state_has, state_set, Decode, Encode};

/// A key, in memory that lives as long as the call.
#[derive(Clone, Copy)]
pub struct Key(pub &'static [u8]);

impl Key {
    /// The key of some parts.
    #[inline(never)]
    pub fn of(parts: &[&[u8]]) -> Key {
        let key = postern::buffer(parts.iter().map(|part| part.len()).sum());
        let mut rest = &mut *key;
        for part in parts {
            let (here, behind) = core::mem::take(&mut rest).split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = behind;
        }
        Key(key)
    }

    /// A key of a prefix and a number.
    pub fn numbered(prefix: &[u8], number: u64) -> Key {
        Key::of(&[prefix, &number.to_be_bytes()])
    }

    /// The value; None where there is none.
    pub fn get<T: Decode<'static>>(self) -> Option<T> {
        state_get(self.0).map(|raw| sound(decode(raw)))
    }

    pub fn exists(self) -> bool {
        state_has(self.0)
    }

    #[inline(never)]
    pub fn set(self, value: &dyn Encode) {
        state_set(self.0, postern::encode(value))
    }

    pub fn delete(self) {
        state_delete(self.0)
    }

    /// A number; 0 where there is none.
    #[inline(never)]
    pub fn count(self) -> u64 {
        self.get().unwrap_or(0)
    }

    /// Counts one more and returns the number.
    #[inline(never)]
    pub fn next(self) -> u64 {
        let number = self.count() + 1;
        self.set(&number);
        number
    }
}

/// Declares a struct that is encoded as an array of its fields. It reads in half
/// of the code that a map with optional fields takes.
macro_rules! row {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident ($n:literal) {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)+
        }

        impl postern::Encode for $name {
            fn encode(&self, w: &mut postern::cbor::Writer) {
                w.array($n);
                $(postern::Encode::encode(&self.$field, w);)+
            }
        }

        impl postern::Decode<'static> for $name {
            fn decode(r: &mut postern::cbor::Reader<'static>) -> Result<$name, postern::cbor::Error> {
                r.array_of($n)?;
                Ok($name { $($field: postern::Decode::decode(r)?),+ })
            }
        }
    };
}

/// The number that a key ends with.
pub fn number_of(key: &[u8]) -> u64 {
    key.iter().fold(0, |n, &c| n << 8 | c as u64)
}

/// What a command returns.
pub type Out = &'static [u8];

/// Nothing to return.
pub const NOTHING: Out = &[];

/// What a command or query returns, as it is encoded.
#[inline(never)]
pub fn out(value: &dyn Encode) -> Out {
    postern::encode(value)
}

/// Tells the world: an array of some items.
#[inline(never)]
pub fn tell(topic: &str, items: &[&dyn Encode]) {
    postern::emit(topic, out(&Items(items)))
}

/// An array of items of any types.
pub struct Items<'a>(pub &'a [&'a dyn Encode]);

impl Encode for Items<'_> {
    fn encode(&self, w: &mut postern::cbor::Writer) {
        w.array(self.0.len());
        self.0.iter().for_each(|item| item.encode(w));
    }
}
