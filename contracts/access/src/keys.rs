//! The keys of the contract's state.
//!
//! ```text
//! a                                          the active policy
//! b | SHA-256 of [resource type, id, subject type, id, action]   a broken glass
//! g | alarm id                               an alarm
//! h                                          how many alarms there were and are
//! o                                          the admins
//! d | SHA-256 of [resource type, id, subject type, id]   a delegation
//! p | version | e | len(type) | type | id    an entity
//! p | version | i | rule id                  a rule, whole
//! p | version | r | len(action) | action | len(type) | type | page   rules' bodies
//! p | version | z                            the version's head
//! ```
//!
//! Version is 4 bytes and page 2, big-endian. A version's head sorts last, so
//! that it is deleted last and keeps its number taken until then.

use crate::codes::{refuse, BAD_NAME, BAD_VERSION};
use crate::form::Form;

/// Bytes of a type, action, role, relation, zone or rule id.
pub const MAX_NAME: usize = 64;
/// Bytes of an entity's id. A longer one in a request has no stored entity.
pub const MAX_ID: usize = 160;

pub const ACTIVE: &[u8] = b"a";
pub const ADMINS: &[u8] = b"o";
pub const ALARMS: &[u8] = b"h";

pub const DELEGATION: u8 = b'd';
pub const GLASS: u8 = b'b';
pub const ALARM: u8 = b'g';

pub const ENTITY: u8 = b'e';
pub const RULE: u8 = b'i';
pub const PAGE: u8 = b'r';
pub const HEAD: u8 = b'z';

/// A key, in the arena: copying one is copying a pointer. Joining one is long
/// code once the parts are known, so it stands once for each kind of key.
#[derive(Clone, Copy)]
pub struct Key(&'static [u8]);

impl Key {
    fn join(parts: &[&[u8]]) -> Key {
        let buf = postern::buffer(parts.iter().map(|p| p.len()).sum());
        let mut at = 0;
        for part in parts {
            buf[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Key(buf)
    }

    /// The prefix of all of a version's keys.
    #[inline(never)]
    pub fn version(version: u32) -> Key {
        Key::join(&[b"p", &version.to_be_bytes()])
    }

    /// The prefix of one kind of a version's keys.
    #[inline(never)]
    pub fn kind(version: u32, kind: u8) -> Key {
        Key::join(&[b"p", &version.to_be_bytes(), &[kind]])
    }

    /// An entity's key; None where the name is too long to be stored.
    #[inline(never)]
    pub fn entity(version: u32, kind: &[u8], id: &[u8]) -> Option<Key> {
        if kind.len() > MAX_NAME || id.len() > MAX_ID {
            return None;
        }
        Some(Key::join(&[b"p", &version.to_be_bytes(), &[ENTITY, kind.len() as u8], kind, id]))
    }

    /// A rule's key.
    #[inline(never)]
    pub fn rule(version: u32, id: &str) -> Key {
        Key::join(&[b"p", &version.to_be_bytes(), &[RULE], id.as_bytes()])
    }

    /// The key of the first page of an action's rules on a resource type; None
    /// where the names are too long to be stored.
    #[inline(never)]
    pub fn page(version: u32, action: &[u8], kind: &[u8]) -> Option<Key> {
        if action.len() > MAX_NAME || kind.len() > MAX_NAME {
            return None;
        }
        let version = version.to_be_bytes();
        Some(Key::join(&[b"p", &version, &[PAGE, action.len() as u8], action, &[kind.len() as u8], kind, &[0, 0]]))
    }

    /// The key of another page of the same rules.
    #[inline(never)]
    pub fn with_page(self, page: u16) -> Key {
        Key::join(&[&self.0[..self.0.len() - 2], &page.to_be_bytes()])
    }

    /// The key of something that a digest or an id names.
    #[inline(never)]
    pub fn hashed(kind: u8, digest: &[u8]) -> Key {
        Key::join(&[&[kind], digest])
    }

    /// The key with bytes appended.
    pub fn and(self, part: &[u8]) -> Key {
        Key::join(&[self.0, part])
    }

    pub fn bytes(&self) -> &'static [u8] {
        self.0
    }
}

/// Reads a type, action, role, relation, zone or rule id.
pub fn name<'a>(r: &mut Form<'a>) -> &'a str {
    bounded(r, MAX_NAME)
}

/// Reads an entity's id.
pub fn id<'a>(r: &mut Form<'a>) -> &'a str {
    bounded(r, MAX_ID)
}

#[inline(never)]
fn bounded<'a>(r: &mut Form<'a>, max: usize) -> &'a str {
    let text = r.text();
    if text.is_empty() || text.len() > max {
        refuse(BAD_NAME);
    }
    text
}

/// Reads a version's number, which is never 0.
pub fn version(r: &mut Form) -> u32 {
    match r.uint_max(u32::MAX as u64) {
        0 => refuse(BAD_VERSION),
        v => v as u32,
    }
}
