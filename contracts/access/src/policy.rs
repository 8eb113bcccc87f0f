//! A policy version's head, and who may change policies.
//!
//! The active policy (key `a`) and the head of a version that is being written
//! (`p|version|z`) have one form: array [number, count, digest, sequence,
//! title, zones]. In `a` the number is the version; in a head it is the
//! version's status. Once a version is active or retired, its head is the
//! array [status] alone.

use crate::codes::*;
use crate::hours;
use crate::keys::{self, Key};
use postern::cbor::{Reader, Writer};
use postern::{sha256, state_get, state_set, Abort, Reply, MAX_VALUE};

pub const BUILDING: u64 = 0;
pub const ACTIVE: u64 = 1;
pub const RETIRED: u64 = 2;

/// Bytes of a policy's title.
const MAX_TITLE: usize = 128;
/// How many accounts may administer besides the owner.
const MAX_ADMINS: usize = 32;

/// The head of a policy version.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// Version or status, see above.
    pub number: u64,
    /// Entities and rules.
    pub count: u64,
    /// Running digest of what was written.
    pub digest: [u8; 32],
    /// The number that the next rule gets: rules are read back by it.
    pub sequence: u64,
    /// The policy's title.
    pub title: &'a str,
    /// The zones as they are encoded.
    pub zones: &'a [u8],
}

impl<'a> Policy<'a> {
    /// Reads title and zones of a new version; its digest starts with them.
    pub fn begin(r: &mut Reader<'a>) -> Result<Policy<'a>, Abort> {
        let title = r.text()?;
        if title.len() > MAX_TITLE {
            return Err(BAD_NAME);
        }
        let zones = hours::check_zones(r)?;
        r.done()?;
        let mut w = Writer::new(zones.len() + MAX_TITLE + 8);
        w.array(2).text(title).raw(zones);
        let digest = sha256(w.finish()?);
        Ok(Policy { number: BUILDING, count: 0, digest, sequence: 0, title, zones })
    }

    fn parse(raw: &'a [u8]) -> Result<Policy<'a>, Abort> {
        let mut r = Reader::new(raw);
        r.array_of(6)?;
        let (number, count) = (r.uint()?, r.uint()?);
        let mut digest = [0; 32];
        digest.copy_from_slice(r.bytes_of(32)?);
        Ok(Policy { number, count, digest, sequence: r.uint()?, title: r.text()?, zones: r.raw()? })
    }

    /// The active policy.
    #[inline(never)]
    pub fn active() -> Result<Policy<'static>, Abort> {
        Policy::parse(state_get(keys::ACTIVE).ok_or(NO_POLICY)?)
    }

    /// The active policy, whose version must be the one that is named.
    pub fn active_as(version: u32) -> Result<Policy<'static>, Abort> {
        match Policy::active()? {
            p if p.number == version as u64 => Ok(p),
            _ => Err(NOT_ACTIVE),
        }
    }

    /// A version that is being written.
    #[inline(never)]
    pub fn building(version: u32) -> Result<Policy<'static>, Abort> {
        let raw = state_get(Key::kind(version, keys::HEAD).bytes()).ok_or(NOT_BUILDING)?;
        Policy::parse(raw).map_err(|_| NOT_BUILDING)
    }

    /// Takes something that was written into the running digest.
    pub fn absorb(&mut self, item: &[u8]) {
        let joined = postern::buffer(32 + item.len());
        joined[..32].copy_from_slice(&self.digest);
        joined[32..].copy_from_slice(item);
        self.digest = sha256(joined);
    }

    fn encode(&self) -> Result<&'static [u8], Abort> {
        let mut w = Writer::new(self.zones.len() + 256);
        w.array(6).uint(self.number).uint(self.count).bytes(&self.digest);
        w.uint(self.sequence).text(self.title).raw(self.zones);
        match w.finish()? {
            raw if raw.len() <= MAX_VALUE => Ok(raw),
            _ => Err(TOO_LARGE),
        }
    }

    /// Stores the head of a version that is being written.
    pub fn save_building(&self, version: u32) -> Result<(), Abort> {
        state_set(Key::kind(version, keys::HEAD).bytes(), self.encode()?);
        Ok(())
    }

    /// Stores the active policy.
    pub fn save_active(&self) -> Result<(), Abort> {
        state_set(keys::ACTIVE, self.encode()?);
        Ok(())
    }

    /// What operations on a version answer: [version, count, digest].
    pub fn receipt(&self, version: u32) -> Reply {
        let mut w = Writer::new(64);
        w.array(3).uint(version as u64).uint(self.count).bytes(&self.digest);
        Ok(w.finish()?)
    }
}

/// Leaves nothing of a head but its status.
pub fn set_status(version: u32, status: u64) {
    state_set(Key::kind(version, keys::HEAD).bytes(), &[0x81, status as u8]);
}

/// Replaces the admins: an array of account ids.
pub fn set_admins(r: &mut Reader) -> Reply {
    let raw = r.raw()?;
    r.done()?;
    let mut r = Reader::new(raw);
    let count = r.array()?;
    if count > MAX_ADMINS {
        return Err(BAD_ADMINS);
    }
    for i in 0..count {
        r.bytes_of(32).map_err(|_| BAD_ADMINS.of_item(i))?;
    }
    state_set(keys::ADMINS, raw);
    Ok(&[])
}

/// Whether an account is an admin.
pub fn is_admin(account: &[u8]) -> bool {
    let mut r = Reader::new(state_get(keys::ADMINS).unwrap_or(&[0x80]));
    let count = r.array().unwrap_or(0);
    (0..count).any(|_| r.bytes() == Ok(account))
}
