//! Command sequences (draft-ietf-suit-manifest, section 8.4.4): arrays of a
//! command and its argument in turn. What a device would do is not done here;
//! every command is read so that none is approved that nobody understood.

use crate::codes::*;
use crate::fixed::Uuid;
use crate::manifest::Manifest;
use crate::suit;
use postern::cbor::{Kind, Reader};
use postern::{ensure, Abort, Decode, Id};

/// How deeply sequences may stand within others.
const MAX_NESTING: u32 = 4;
/// Commands of a manifest, a bound on the work of reading it.
const MAX_COMMANDS: u32 = 256;
/// Bytes of the longest URI.
pub const MAX_URI: usize = 256;
/// The highest reporting policy: four flags.
const MAX_POLICY: u64 = 15;

/// Which sequence is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that every other begins with: it says what the image is.
    Shared,
    /// What is checked before the image is used.
    Validate,
    /// Another.
    Other,
}

/// What was found in the sequences so far.
#[derive(Default)]
pub struct Found {
    vendor: Option<Uuid>,
    class: Option<Uuid>,
    image: Option<Id>,
    size: Option<u64>,
    uri: Option<&'static str>,
    is_vendor: bool,
    is_class: bool,
    is_image: bool,
    commands: u32,
}

impl Found {
    /// The manifest, if all is there that a device must check.
    pub fn manifest(self, digest: Id, sequence: u64, component: &'static [u8]) -> Result<Manifest, Abort> {
        ensure!(self.is_vendor && self.is_class && self.is_image, INCOMPLETE);
        match (self.vendor, self.class, self.image, self.size) {
            (Some(vendor), Some(class), Some(image), Some(size)) => {
                Ok(Manifest { digest, sequence, component, vendor, class, image, size, uri: self.uri })
            }
            _ => Err(INCOMPLETE),
        }
    }
}

/// Reads a sequence that fills a byte string.
pub fn read(raw: &'static [u8], place: Place, found: &mut Found) -> Result<(), Abort> {
    nested(raw, place, found, 0)
}

fn nested(raw: &'static [u8], place: Place, found: &mut Found, depth: u32) -> Result<(), Abort> {
    ensure!(depth <= MAX_NESTING, UNKNOWN_COMMAND);
    let mut r = Reader::new(raw);
    let items = r.array()?;
    ensure!(items % 2 == 0 && items > 0, UNKNOWN_COMMAND);
    for _ in 0..items / 2 {
        found.commands += 1;
        ensure!(found.commands <= MAX_COMMANDS, UNKNOWN_COMMAND);
        let command = r.uint().map_err(|_| UNKNOWN_COMMAND)?;
        one(command, &mut r, place, found, depth)?;
    }
    Ok(r.done()?)
}

fn one(command: u64, r: &mut Reader<'static>, place: Place, found: &mut Found, depth: u32) -> Result<(), Abort> {
    match command {
        // Conditions: vendor, class and image match, slot, content, abort,
        // device. Only those count that no other path leads around.
        1 | 2 | 3 | 5 | 6 | 14 | 24 => {
            policy(r)?;
            condition(command, place, found, depth);
        }
        12 => ensure!(r.uint()? == 0, BAD_COMPONENT),
        15 => alternatives(r, place, found, depth)?,
        // Write, fetch, invoke: not in what every other sequence begins with.
        18 | 21 | 23 => {
            ensure!(place != Place::Shared, UNKNOWN_COMMAND);
            policy(r)?
        }
        20 => parameters(r, place, found, depth)?,
        32 => nested(r.bytes()?, place, found, depth + 1)?,
        _ => return Err(UNKNOWN_COMMAND),
    }
    Ok(())
}

fn policy(r: &mut Reader<'static>) -> Result<(), Abort> {
    r.uint_max(MAX_POLICY)?;
    Ok(())
}

fn condition(command: u64, place: Place, found: &mut Found, depth: u32) {
    match (command, place, depth) {
        (1, Place::Shared, 0) => found.is_vendor |= found.vendor.is_some(),
        (2, Place::Shared, 0) => found.is_class |= found.class.is_some(),
        (3, Place::Validate, 0) => found.is_image = true,
        _ => {}
    }
}

// Try-each: [bstr sequence, bstr sequence …, ? null].
fn alternatives(r: &mut Reader<'static>, place: Place, found: &mut Found, depth: u32) -> Result<(), Abort> {
    let count = r.array()?;
    ensure!(count > 1, UNKNOWN_COMMAND);
    for i in 0..count {
        if i + 1 == count && r.kind()? == Kind::Null {
            return Ok(r.null()?);
        }
        nested(r.bytes()?, place, found, depth + 1)?;
    }
    Ok(())
}

fn parameters(r: &mut Reader<'static>, place: Place, found: &mut Found, depth: u32) -> Result<(), Abort> {
    let mut fields = r.fields()?;
    while let Some(key) = fields.next(r).map_err(|_| UNKNOWN_PARAMETER)? {
        match key {
            1 | 2 | 3 | 14 => {
                // What the ledger holds of the image must be what devices use.
                ensure!(place == Place::Shared && depth == 0, OVERRIDDEN);
                identity(key, r, found)?;
            }
            5 => drop(r.uint()?),       // component slot
            12 => drop(r.bool()?),      // strict order
            // A failure that is none may stand only where another way is tried.
            13 => ensure!(!r.bool()? || depth > 0, UNKNOWN_PARAMETER),
            18 | 23 => drop(r.bytes()?), // content, invoke arguments
            21 => uri(r, found)?,
            24 => drop(r.bytes_of(16)?), // device identifier
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    Ok(())
}

fn identity(key: u64, r: &mut Reader<'static>, found: &mut Found) -> Result<(), Abort> {
    match key {
        1 => once(&mut found.vendor, Decode::decode(r)?),
        2 => once(&mut found.class, Decode::decode(r)?),
        3 => once(&mut found.image, suit::digest_in(r.bytes()?)?),
        _ => once(&mut found.size, r.uint()?),
    }
}

// The first URI is kept for devices to fetch from; later ones are other places.
fn uri(r: &mut Reader<'static>, found: &mut Found) -> Result<(), Abort> {
    let uri = r.text()?;
    ensure!(uri.len() <= MAX_URI, BAD_NAME);
    found.uri = found.uri.or(Some(uri));
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Abort> {
    ensure!(slot.is_none(), OVERRIDDEN);
    *slot = Some(value);
    Ok(())
}
