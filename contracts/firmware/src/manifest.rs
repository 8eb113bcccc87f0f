//! A SUIT manifest (draft-ietf-suit-manifest, section 8.4):
//!
//!     {1: 1, 2: sequence number, 3: bstr common, ? 4: reference URI,
//!      ? 7, 8, 9: bstr command sequence (validate, load, invoke),
//!      ? 16, 20: bstr command sequence, or its digest (fetch, install),
//!      ? 23: bstr text, or its digest}
//!     common = {2: [component], 4: bstr shared sequence}

use crate::codes::*;
use crate::fixed::Uuid;
use crate::sequence::{self, Found, Place};
use crate::suit::{self, Severed};
use postern::cbor::{Kind, Reader};
use postern::{ensure, Abort, Id};

/// The structure version that this contract understands.
const VERSION: u64 = 1;
/// Bytes of the longest encoded component identifier: it is part of a key.
pub const MAX_COMPONENT: usize = 64;
const TEXT: u64 = 23;

/// What a manifest says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manifest {
    /// The digest that was signed.
    pub digest: Id,
    pub sequence: u64,
    /// The component's identifier as it is encoded.
    pub component: &'static [u8],
    pub vendor: Uuid,
    pub class: Uuid,
    pub image: Id,
    pub size: u64,
    pub uri: Option<&'static str>,
}

/// Reads a manifest with its head, whose digest was signed.
#[inline(never)]
pub fn read(raw: &'static [u8], digest: Id, severed: &Severed) -> Result<Manifest, Abort> {
    let inner = Reader::new(raw).bytes()?;
    let mut r = Reader::new(inner);
    let mut fields = r.fields()?;
    ensure!(fields.next(&mut r)? == Some(1) && r.uint()? == VERSION, STRUCTURE_VERSION);
    ensure!(fields.next(&mut r)? == Some(2), INCOMPLETE);
    let sequence = r.uint()?;
    ensure!(fields.next(&mut r)? == Some(3), INCOMPLETE);
    let mut found = Found::default();
    let component = common(r.bytes()?, &mut found)?;
    let mut present = [false; 3];
    while let Some(key) = fields.next(&mut r).map_err(|_| UNKNOWN_MEMBER)? {
        match key {
            4 => drop(r.text()?),
            7 => sequence::read(r.bytes()?, Place::Validate, &mut found)?,
            8 | 9 => sequence::read(r.bytes()?, Place::Other, &mut found)?,
            _ => {
                let place = suit::severable(key)?;
                present[place] = true;
                member(&mut r, key, severed[place], &mut found)?;
            }
        }
    }
    r.done()?;
    let stray = severed.iter().zip(present).any(|(there, signed)| there.is_some() && !signed);
    ensure!(!stray, SEVERED);
    found.manifest(digest, sequence, component)
}

// A severable member: in place, or by a digest of what stands in the envelope.
// Only a text may be missing: what a device executes is checked here.
fn member(r: &mut Reader<'static>, key: u64, severed: Option<&'static [u8]>, found: &mut Found) -> Result<(), Abort> {
    let body = if r.kind()? == Kind::Array {
        let digest = suit::digest(r)?;
        match severed {
            None if key == TEXT => return Ok(()),
            Some(raw) if *digest.0 == postern::sha256(raw) => Reader::new(raw).bytes()?,
            _ => return Err(SEVERED),
        }
    } else {
        ensure!(severed.is_none(), SEVERED);
        r.bytes()?
    };
    if key == TEXT {
        return Ok(());
    }
    sequence::read(body, Place::Other, found)
}

// Reads the common members and returns the one component's identifier.
fn common(raw: &'static [u8], found: &mut Found) -> Result<&'static [u8], Abort> {
    let mut r = Reader::new(raw);
    let mut fields = r.fields()?;
    ensure!(fields.next(&mut r)? == Some(2), BAD_COMPONENT);
    ensure!(r.array()? == 1, BAD_COMPONENT);
    let component = identifier(&mut r)?;
    ensure!(fields.next(&mut r)? == Some(4), INCOMPLETE);
    sequence::read(r.bytes()?, Place::Shared, found)?;
    ensure!(fields.next(&mut r)?.is_none(), UNKNOWN_MEMBER);
    r.done()?;
    Ok(component)
}

/// Reads a component identifier, [bstr …], and returns its encoding.
pub fn identifier(r: &mut Reader<'static>) -> Result<&'static [u8], Abort> {
    let mut inner = *r;
    let raw = r.raw()?;
    ensure!(inner.kind()? == Kind::Array && raw.len() <= MAX_COMPONENT, BAD_COMPONENT);
    for _ in 0..inner.array()? {
        inner.bytes().map_err(|_| BAD_COMPONENT)?;
    }
    Ok(raw)
}
