//! Delegations: the account that a resource's record names as its owner lets
//! another subject do an action on it for a time. A delegation is void once
//! the resource has another owner, and deny rules stand above it.
//!
//! What an owner granted one subject on one resource is one value: array(6)
//! [resource type, id, subject type, id, owner, [[action, until ms], …]],
//! under a key made from the first four, which may be longer than a key.

use crate::codes::*;
use crate::entity::Record;
use crate::form::{written, Form};
use crate::keys::{self, Key};
use crate::policy::{self, Policy};
use crate::walk::Walk;
use crate::{DELEGATE, REVOKE};
use postern::cbor::Writer;
use postern::{sha256, state_delete, state_get, state_set, Env, MAX_VALUE};

/// How many actions an owner may grant one subject on one resource.
pub const MAX_GRANTS: usize = 32;
/// How far ahead a delegation may expire: 366 days.
const MAX_AHEAD: i64 = 366 * 24 * 3600 * 1000;

/// Whose delegation: types and ids.
pub struct Parties<'a> {
    pub resource: (&'a [u8], &'a [u8]),
    pub subject: (&'a [u8], &'a [u8]),
}

impl<'a> Parties<'a> {
    pub fn read(r: &mut Form<'a>) -> Parties<'a> {
        let resource = (keys::name(r).as_bytes(), keys::id(r).as_bytes());
        let subject = (keys::name(r).as_bytes(), keys::id(r).as_bytes());
        Parties { resource, subject }
    }

    pub fn write(&self, w: &mut Writer) {
        for text in [self.resource.0, self.resource.1, self.subject.0, self.subject.1] {
            w.text_bytes(text);
        }
    }

    fn key(&self) -> Key {
        Key::hashed(keys::DELEGATION, &self.digest(&[]))
    }

    /// SHA-256 of the four texts as an array, or of five with the action.
    pub fn digest(&self, action: &[u8]) -> [u8; 32] {
        let texts = self.resource.0.len() + self.resource.1.len() + self.subject.0.len() + self.subject.1.len();
        let mut w = Writer::new(texts + action.len() + 5 * 5 + 1);
        w.array(4 + !action.is_empty() as usize);
        self.write(&mut w);
        if !action.is_empty() {
            w.text_bytes(action);
        }
        sha256(w.finish().unwrap_or(&[]))
    }
}

/// What is stored: the owner who granted, and the grants.
struct Grants<'a> {
    owner: &'a [u8],
    list: Walk<'a>,
    count: u64,
}

fn stored(key: &Key) -> Option<Grants<'static>> {
    let mut c = Walk::new(state_get(key.bytes())?);
    c.uint();
    for _ in 0..4 {
        c.bytes();
    }
    let owner = c.bytes();
    let count = c.uint();
    Some(Grants { owner, list: c, count })
}

/// Until when, in ms, the resource's owner granted the action.
pub fn granted_until(parties: &Parties, owner: &[u8], action: &[u8]) -> Option<i64> {
    let mut grants = stored(&parties.key())?;
    if grants.owner != owner {
        return None;
    }
    for _ in 0..grants.count {
        let (granted, until) = (grants.list.next_bytes(), grants.list.int());
        if granted == action {
            return Some(until);
        }
    }
    None
}

/// Gives each action that was granted, by whomever and until whenever.
pub fn each_action(parties: &Parties, mut f: impl FnMut(&'static [u8])) {
    if let Some(mut grants) = stored(&parties.key()) {
        for _ in 0..grants.count {
            f(grants.list.next_bytes());
            grants.list.int();
        }
    }
}

/// What a query reads back, or None.
pub fn read(r: &mut Form) -> Option<&'static [u8]> {
    state_get(Parties::read(r).key().bytes())
}

/// Runs `delegate` and `revoke`. An admin may revoke as well.
#[inline(never)]
pub fn execute(op: u64, env: &Env, r: &mut Form) -> &'static [u8] {
    let parties = Parties::read(r);
    let action = keys::name(r).as_bytes();
    let until = if op == DELEGATE { Some(r.int()) } else { None };
    r.done();
    let caller = env.caller.unwrap_or_else(|| refuse(NOT_OWNER));
    let owner = owner_of(&parties);
    let admin = caller == env.owner || policy::is_admin(caller);
    if !(hex(caller) == owner || op == REVOKE && admin) {
        refuse(NOT_OWNER);
    }
    if until.map_or(false, |until| until <= env.time || until - env.time > MAX_AHEAD) {
        refuse(BAD_EXPIRY);
    }
    change(&parties, &owner, action, until, env.time)
}

/// The account, in hex, that the active policy names as the resource's owner.
#[inline(never)]
fn owner_of(parties: &Parties) -> [u8; 64] {
    let version = Policy::active().number as u32;
    let key = Key::entity(version, parties.resource.0, parties.resource.1).unwrap_or_else(|| refuse(NOT_OWNER));
    let record = Record::stored(state_get(key.bytes()).unwrap_or_else(|| refuse(NOT_OWNER)));
    let mut owner = [0; 64];
    match Walk::new(record.owner).bytes() {
        text if text.len() == owner.len() => owner.copy_from_slice(text),
        _ => refuse(NOT_OWNER),
    }
    owner
}

/// An account's id in lower-case hex.
pub fn hex(account: &[u8]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_mut(2).zip(account) {
        pair[0] = DIGITS[(byte >> 4) as usize];
        pair[1] = DIGITS[(byte & 15) as usize];
    }
    text
}

/// Rewrites the grants: without those that expired or are another owner's,
/// and with the action granted until then, or not at all.
#[inline(never)]
fn change(parties: &Parties, owner: &[u8], action: &[u8], until: Option<i64>, time: i64) -> &'static [u8] {
    let key = parties.key();
    let mut kept = Writer::new(MAX_VALUE);
    let (mut count, mut found) = (0, false);
    if let Some(mut grants) = stored(&key).filter(|g| g.owner == owner) {
        for _ in 0..grants.count {
            let (name, end) = (grants.list.next_bytes(), grants.list.int());
            found |= name == action;
            if name != action && end > time {
                kept.array(2).text_bytes(name).int(end);
                count += 1;
            }
        }
    }
    if let Some(until) = until {
        kept.array(2).text_bytes(action).int(until);
        count += 1;
    } else if !found {
        refuse(NOT_FOUND);
    }
    if count > MAX_GRANTS {
        refuse(TOO_LARGE);
    }
    if count == 0 {
        state_delete(key.bytes());
        return &[];
    }
    let mut w = Writer::new(MAX_VALUE);
    w.array(6);
    parties.write(&mut w);
    w.text_bytes(owner).array(count).raw(written(kept));
    state_set(key.bytes(), written(w));
    &[]
}
