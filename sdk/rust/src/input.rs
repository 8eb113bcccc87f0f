//! What an entry point gets: the environment and the message.

use crate::cbor::{Error, Reader};

/// The environment of a call, as the host vouches for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Env<'a> {
    /// The chain's id.
    pub chain: &'a [u8],
    /// The block's height; outside blocks, the height of the state.
    pub height: u64,
    /// The block's time in milliseconds since 1970.
    pub time: i64,
    /// This contract's name.
    pub contract: &'a str,
    /// The account that signed the transaction or asks; absent in a timer.
    pub caller: Option<&'a [u8]>,
    /// The caller's roles, a bit set.
    pub roles: u64,
    /// The caller's device record (CBOR map) when the caller is a device.
    pub device: Option<&'a [u8]>,
    /// The transaction's id.
    pub transaction: Option<&'a [u8]>,
    /// The account that owns this contract.
    pub owner: &'a [u8],
    /// The policy domain under which a decision was asked.
    pub domain: Option<&'a str>,
    /// The contract that called this one; `caller` is then who signed.
    pub parent: Option<&'a str>,
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
    pub fn parse(raw: &'a [u8]) -> Result<Input<'a>, Error> {
        let mut r = Reader::new(raw);
        r.array_of(2)?;
        let env = parse_env(&mut r)?;
        let message = r.bytes()?;
        r.done()?;
        Ok(Input { env, message })
    }
}

fn parse_env<'a>(r: &mut Reader<'a>) -> Result<Env<'a>, Error> {
    let mut env = Env::default();
    let mut fields = r.fields()?;
    while let Some(key) = fields.next(r)? {
        match key {
            1 => env.chain = r.bytes_of(32)?,
            2 => env.height = r.uint()?,
            3 => env.time = r.int()?,
            4 => env.contract = r.text()?,
            5 => env.caller = Some(r.bytes_of(32)?),
            6 => env.roles = r.uint()?,
            7 => env.device = Some(r.raw()?),
            8 => env.transaction = Some(r.bytes_of(32)?),
            9 => env.owner = r.bytes_of(32)?,
            10 => env.domain = Some(r.text()?),
            11 => env.parent = Some(r.text()?),
            _ => r.skip()?,
        }
    }
    Ok(env)
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
        let input = Input::parse(&raw).unwrap();
        assert_eq!(input.message, [1, 2]);
        assert_eq!(input.env.caller, Some(&[0x22; 32][..]));
        assert_eq!(input.env.owner, [0x33; 32]);
        assert_eq!((input.env.height, input.env.time, input.env.roles), (7, 1000, 256));
        assert_eq!(input.env.device, None);
    }

    #[test]
    fn every_truncation_is_refused() {
        let raw = sample();
        for n in 0..raw.len() {
            assert!(Input::parse(&raw[..n]).is_err(), "{} bytes", n);
        }
    }
}
