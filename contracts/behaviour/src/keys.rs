//! The keys of the contract's state.
//!
//! ```text
//! a | profile                                the active version's head
//! b | device id                              name of the device's profile
//! e | device id                              what evidence added up to
//! m | len(manufacturer) | manufacturer | model   name of the profile
//! o                                          the loaders
//! p | len(profile) | profile | version | g | bucket | page   entries of ACLs
//! p | len(profile) | profile | version | t   telemetry rules
//! p | len(profile) | profile | version | z   the version's head
//! s                                          the site
//! ```
//!
//! Version is 4 bytes, bucket 2 and page 1, big-endian. A version's head sorts
//! last, so that it is deleted last and keeps its number taken until then.

use crate::codes::*;
use postern::cbor::Reader;
use postern::Abort;

/// Bytes of a profile's name, a manufacturer or a model.
pub const MAX_NAME: usize = 64;

pub const LOADERS: &[u8] = b"o";
pub const SITE: &[u8] = b"s";
/// The prefix of the keys of active heads.
pub const ACTIVE: &[u8] = b"a";

pub const PAGE: u8 = b'g';
pub const RULES: u8 = b't';
pub const HEAD: u8 = b'z';

/// A key, in memory that lives as long as the call.
#[derive(Clone, Copy)]
pub struct Key(&'static [u8]);

impl Key {
    #[inline(never)]
    fn join(parts: &[&[u8]]) -> Key {
        let buf = postern::buffer(parts.iter().map(|p| p.len()).sum());
        let mut at = 0;
        for part in parts {
            buf[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Key(buf)
    }

    /// The key of a profile's active head.
    pub fn active(profile: &[u8]) -> Key {
        Key::join(&[ACTIVE, profile])
    }

    /// The prefix of all of a version's keys.
    pub fn version(profile: &[u8], version: u32) -> Key {
        Key::join(&[b"p", &[profile.len() as u8], profile, &version.to_be_bytes()])
    }

    /// The key of a part of a version, of which there is one.
    pub fn part(profile: &[u8], version: u32, part: u8) -> Key {
        Key::version(profile, version).of_part(part)
    }

    /// The key of a part of the version that this key is the prefix of.
    pub fn of_part(self, part: u8) -> Key {
        self.and(&[part])
    }

    /// A key that is known in full.
    pub fn whole(key: &[u8]) -> Key {
        Key::join(&[key])
    }

    /// The key of a page of entries.
    pub fn page(self, bucket: u16, page: u8) -> Key {
        self.and(&[PAGE, (bucket >> 8) as u8, bucket as u8, page])
    }

    /// The key of a device's own profile.
    pub fn device(id: &[u8]) -> Key {
        Key::join(&[b"b", id])
    }

    /// The key of what evidence against a device added up to.
    pub fn evidence(id: &[u8]) -> Key {
        Key::join(&[b"e", id])
    }

    /// The key of a model's profile; None where the names are too long to have
    /// one. An empty model stands for all of the manufacturer's, and an empty
    /// manufacturer for all devices.
    pub fn model(manufacturer: &str, model: &str) -> Option<Key> {
        if manufacturer.len() > MAX_NAME || model.len() > MAX_NAME {
            return None;
        }
        Some(Key::join(&[b"m", &[manufacturer.len() as u8], manufacturer.as_bytes(), model.as_bytes()]))
    }

    fn and(self, part: &[u8]) -> Key {
        Key::join(&[self.0, part])
    }

    pub fn bytes(&self) -> &'static [u8] {
        self.0
    }
}

/// Reads a name that may be empty.
pub fn text<'a>(r: &mut Reader<'a>) -> Result<&'a str, Abort> {
    match r.text()? {
        text if text.len() <= MAX_NAME => Ok(text),
        _ => Err(BAD_NAME),
    }
}

/// Reads a profile's name.
pub fn name<'a>(r: &mut Reader<'a>) -> Result<&'a str, Abort> {
    match text(r)? {
        "" => Err(BAD_NAME),
        name => Ok(name),
    }
}

/// Reads a version's number, which is never 0.
pub fn version(r: &mut Reader) -> Result<u32, Abort> {
    match r.uint_max(u32::MAX as u64)? {
        0 => Err(BAD_VERSION),
        v => Ok(v as u32),
    }
}
