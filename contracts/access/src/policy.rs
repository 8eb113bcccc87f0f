//! A policy version's head, and who may change policies.
//!
//! The active policy (key `a`) and the head of a version that is being written
//! (`p|version|z`) have one form: array [number, count, digest, sequence,
//! title, zones], with the table of roles behind it where there is one. In `a`
//! the number is the version; in a head it is the version's status. Once a
//! version is active or retired, its head is the array [status] alone.

use crate::codes::*;
use crate::form::{written, Form};
use crate::hours;
use crate::keys::{self, Key};
use crate::roles;
use crate::walk::Walk;
use postern::cbor::{Kind, Writer};
use postern::{sha256, state_get, state_set, MAX_VALUE};

pub const BUILDING: u64 = 0;
pub const ACTIVE: u64 = 1;
pub const RETIRED: u64 = 2;

/// Bytes of a policy's title.
const MAX_TITLE: usize = 128;
/// How many accounts may administer besides the owner.
const MAX_ADMINS: usize = 32;

/// Items of a head without roles.
pub const FIELDS: usize = 6;

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
    pub title: &'a [u8],
    /// The zones as they are encoded.
    pub zones: &'a [u8],
    /// The table of roles as it is encoded, empty where there is none.
    pub roles: &'a [u8],
}

impl<'a> Policy<'a> {
    /// Reads title, zones and, where they are sent, the roles of a new version;
    /// its digest starts with them.
    pub fn begin(r: &mut Form<'a>, with_roles: bool) -> Policy<'a> {
        let title = r.text().as_bytes();
        if title.len() > MAX_TITLE {
            refuse(BAD_NAME);
        }
        let zones = hours::check_zones(r);
        let roles = if with_roles { roles::check_any(r) } else { &[] };
        r.done();
        let mut w = Writer::new(zones.len() + roles.len() + MAX_TITLE + 8);
        w.array(2 + !roles.is_empty() as usize).text_bytes(title).raw(zones).raw(roles);
        let digest = sha256(written(w));
        Policy { number: BUILDING, count: 0, digest, sequence: 0, title, zones, roles }
    }

    fn parse(raw: &'a [u8]) -> Policy<'a> {
        let mut c = Walk::new(raw);
        let fields = c.uint() as usize;
        // The head of an active or retired version is its status alone.
        require(fields >= FIELDS, NOT_BUILDING);
        let (number, count) = (c.uint(), c.uint());
        let mut digest = [0; 32];
        digest.copy_from_slice(c.bytes());
        let (sequence, title, zones) = (c.uint(), c.bytes(), c.raw());
        let roles = if fields > FIELDS { c.raw() } else { &[] };
        Policy { number, count, digest, sequence, title, zones, roles }
    }

    /// The active policy.
    #[inline(never)]
    pub fn active() -> Policy<'static> {
        Policy::parse(state_get(keys::ACTIVE).unwrap_or_else(|| refuse(NO_POLICY)))
    }

    /// The version of the active policy, 0 where there is none.
    pub fn active_version() -> u64 {
        let mut c = Walk::new(state_get(keys::ACTIVE).unwrap_or(&[]));
        c.count();
        c.uint()
    }

    /// The active policy, whose version must be the one that is named.
    pub fn active_as(version: u32) -> Policy<'static> {
        match Policy::active() {
            p if p.number == version as u64 => p,
            _ => refuse(NOT_ACTIVE),
        }
    }

    /// A version that is being written.
    #[inline(never)]
    pub fn building(version: u32) -> Policy<'static> {
        let raw = state_get(Key::kind(version, keys::HEAD).bytes()).unwrap_or_else(|| refuse(NOT_BUILDING));
        Policy::parse(raw)
    }

    /// Takes something that was written into the running digest.
    pub fn absorb(&mut self, item: &[u8]) {
        let joined = postern::buffer(32 + item.len());
        joined[..32].copy_from_slice(&self.digest);
        joined[32..].copy_from_slice(item);
        self.digest = sha256(joined);
    }

    fn encode(&self) -> &'static [u8] {
        let mut w = Writer::new(self.zones.len() + self.roles.len() + 256);
        w.array(FIELDS + !self.roles.is_empty() as usize).uint(self.number).uint(self.count).bytes(&self.digest);
        w.uint(self.sequence).text_bytes(self.title).raw(self.zones).raw(self.roles);
        match written(w) {
            raw if raw.len() <= MAX_VALUE => raw,
            _ => refuse(TOO_LARGE),
        }
    }

    /// Stores the head of a version that is being written.
    pub fn save_building(&self, version: u32) {
        state_set(Key::kind(version, keys::HEAD).bytes(), self.encode());
    }

    /// Stores the active policy.
    pub fn save_active(&self) {
        state_set(keys::ACTIVE, self.encode());
    }

    /// What operations on a version answer: [version, count, digest].
    pub fn receipt(&self, version: u32) -> &'static [u8] {
        let mut w = Writer::new(64);
        w.array(3).uint(version as u64).uint(self.count).bytes(&self.digest);
        written(w)
    }
}

/// Leaves nothing of a head but its status.
pub fn set_status(version: u32, status: u64) {
    state_set(Key::kind(version, keys::HEAD).bytes(), &[0x81, status as u8]);
}

/// Replaces the admins: an array of account ids.
#[inline(never)]
pub fn set_admins(r: &mut Form) -> &'static [u8] {
    let raw = r.raw();
    r.done();
    let mut r = Form::new(raw);
    let count = r.array();
    require(count <= MAX_ADMINS, BAD_ADMINS);
    for _ in 0..count {
        require(r.kind() == Kind::Bytes && r.bytes().len() == 32, BAD_ADMINS);
    }
    state_set(keys::ADMINS, raw);
    &[]
}

/// Whether an account is an admin.
pub fn is_admin(account: &[u8]) -> bool {
    let mut c = Walk::new(state_get(keys::ADMINS).unwrap_or(&[]));
    (0..c.count()).any(|_| c.bytes() == account)
}
