//! What an entry point gets: the environment and the message. The host wrote
//! the environment, so it is read without checks; the message is the caller's.

use crate::cbor::Cursor;
use crate::codec::{decode, Decode, Hash};
use crate::device::Device;
use crate::entry::{Abort, Why, NOT_PERMITTED};
use crate::role::Role;

/// An input as an entry point gets it: what it borrows lives as long as the
/// call.
pub type Context = Input<'static>;

const NO_CALLER: Abort = Abort::new(&Why { code: NOT_PERMITTED, text: "the call has no caller" });
const NOT_OWNER: Abort = Abort::new(&Why { code: NOT_PERMITTED, text: "the caller is not the contract's owner" });
const NO_ROLE: Abort = Abort::new(&Why { code: NOT_PERMITTED, text: "the caller lacks the role" });

/// The environment of a call, as the host vouches for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Env<'a> {
    /// The chain's id.
    pub chain: &'a [u8],
    /// The block's height; outside blocks, the height of the state.
    pub height: u64,
    /// The block's time in milliseconds since 1970.
    pub time: i64,
    /// This contract's name, ASCII.
    pub contract: &'a [u8],
    /// The account that signed the transaction or asks; absent in a timer.
    pub caller: Option<&'a [u8]>,
    /// The caller's roles, a bit set: see [`Env::has_role`].
    pub roles: u64,
    /// The caller's device record (CBOR map) when the caller is a device.
    pub device: Option<&'a [u8]>,
    /// The transaction's id.
    pub transaction: Option<&'a [u8]>,
    /// The account that owns this contract.
    pub owner: &'a [u8],
    /// The policy domain under which a decision was asked.
    pub domain: Option<&'a [u8]>,
    /// The contract that called this one; `caller` is then who signed.
    pub parent: Option<&'a [u8]>,
    /// The device that signed what the message holds, an
    /// [`Observation`](crate::Observation): `execute` judges it. It is no
    /// command of the caller's, whoever that is.
    pub evidence: Option<&'a [u8]>,
}

/// The environment and the contract's own message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input<'a> {
    /// The environment.
    pub env: Env<'a>,
    /// The message: hostile bytes whose form is the contract's own.
    pub message: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads the host's encoding: array(2) [env map, message bytes]. Fields
    /// that this version does not know are skipped.
    pub fn parse(raw: &'a [u8]) -> Input<'a> {
        let mut c = Cursor::new(raw);
        c.uint();
        let mut input = Input::default();
        for _ in 0..c.uint() {
            input.env.field(c.uint(), &mut c);
        }
        input.message = c.bytes();
        input
    }
}

impl<'a> Input<'a> {
    /// Reads the message as a value; every other message is a refusal with
    /// [`MALFORMED`](crate::MALFORMED).
    pub fn parse_message<T: Decode<'a>>(&self) -> Result<T, Abort> {
        Ok(decode(self.message)?)
    }
}

impl<'a> Env<'a> {
    /// The account that signed, a refusal with
    /// [`NOT_PERMITTED`](crate::NOT_PERMITTED) where there is none.
    ///
    /// Where `parent` is set, a contract asks and the account only signed: do
    /// not let another contract act in its signer's name by accident.
    pub fn caller(&self) -> Result<Hash, Abort> {
        self.caller.and_then(hash).ok_or(NO_CALLER)
    }

    /// The account that owns this contract.
    pub fn owner(&self) -> Hash {
        hash(self.owner).unwrap_or_default()
    }

    /// The id of the transaction, None outside of one.
    pub fn transaction(&self) -> Option<Hash> {
        self.transaction.and_then(hash)
    }

    /// Whether the caller itself, no contract between, has the role. A timer's
    /// call and one by a contract have none.
    pub fn has_role(&self, role: Role) -> bool {
        self.roles & role.0 == role.0
    }

    /// Refuses a caller without the role.
    pub fn require_role(&self, role: Role) -> Result<(), Abort> {
        if self.has_role(role) {
            return Ok(());
        }
        Err(NO_ROLE)
    }

    /// Refuses all but the contract's owner, also where a contract calls.
    pub fn require_owner(&self) -> Result<(), Abort> {
        if self.caller == Some(self.owner) && self.parent.is_none() {
            return Ok(());
        }
        Err(NOT_OWNER)
    }

    /// The caller's device record when the caller is a device.
    pub fn device(&self) -> Option<Device<'a>> {
        self.device.map(Device::new)
    }
}

fn hash(b: &[u8]) -> Option<Hash> {
    let mut h = [0; 32];
    if b.len() != h.len() {
        return None;
    }
    h.copy_from_slice(b);
    Some(h)
}

impl<'a> Env<'a> {
    fn field(&mut self, key: u64, c: &mut Cursor<'a>) {
        match key {
            1 => self.chain = c.bytes(),
            2 => self.height = c.uint(),
            3 => self.time = c.int(),
            4 => self.contract = c.bytes(),
            5 => self.caller = Some(c.bytes()),
            6 => self.roles = c.uint(),
            7 => self.device = Some(c.raw()),
            8 => self.transaction = Some(c.bytes()),
            9 => self.owner = c.bytes(),
            10 => self.domain = Some(c.bytes()),
            11 => self.parent = Some(c.bytes()),
            12 => self.evidence = Some(c.bytes()),
            _ => c.skip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // array(2) [{1: 32 x 11, 2: 7, 3: 1000, 4: "c", 5: 32 x 22, 6: 256, 9: 32 x 33}, h'0102']
    fn sample() -> Vec<u8> {
        let mut b = vec![0x82, 0xa7, 1, 0x58, 32];
        b.extend([0x11; 32]);
        b.extend([2, 7, 3, 0x19, 0x03, 0xe8, 4, 0x61, b'c', 5, 0x58, 32]);
        b.extend([0x22; 32]);
        b.extend([6, 0x19, 1, 0, 9, 0x58, 32]);
        b.extend([0x33; 32]);
        b.extend([0x42, 1, 2]);
        b
    }

    #[test]
    fn reads_the_environment() {
        let raw = sample();
        let input = Input::parse(&raw);
        assert_eq!(input.message, [1, 2]);
        assert_eq!(input.env.caller, Some(&[0x22; 32][..]));
        assert_eq!(input.env.owner, [0x33; 32]);
        assert_eq!((input.env.height, input.env.time, input.env.roles), (7, 1000, 256));
        assert_eq!(input.env.device, None);
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let raw = [0x82, 0xa2, 2, 7, 0x18, 99, 0x82, 1, 0x61, b'x', 0x41, 5];
        let input = Input::parse(&raw);
        assert_eq!((input.env.height, input.message), (7, &[5][..]));
    }
}
