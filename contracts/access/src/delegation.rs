//! Delegations: the account that a resource's record names as its owner lets
//! another subject do an action on it for a time. A delegation is void once
//! the resource has another owner, and deny rules stand above it.
//!
//! What an owner granted one subject on one resource is one value: array(6)
//! [resource type, id, subject type, id, owner, [[action, until ms], …]],
//! under a key made from the first four, which may be longer than a key.

use crate::codes::*;
use crate::entity::Record;
use crate::keys::{self, Key};
use crate::policy::{self, Policy};
use crate::{DELEGATE, REVOKE};
use postern::cbor::{Cursor, Reader, Writer};
use postern::{sha256, state_delete, state_get, state_set, Abort, Env, Reply, MAX_VALUE};

/// How many actions an owner may grant one subject on one resource.
const MAX_GRANTS: usize = 32;
/// How far ahead a delegation may expire: 366 days.
const MAX_AHEAD: i64 = 366 * 24 * 3600 * 1000;

/// Whose delegation: types and ids.
pub struct Parties<'a> {
    pub resource: (&'a [u8], &'a [u8]),
    pub subject: (&'a [u8], &'a [u8]),
}

impl<'a> Parties<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Parties<'a>, Abort> {
        let resource = (keys::name(r)?.as_bytes(), keys::id(r)?.as_bytes());
        let subject = (keys::name(r)?.as_bytes(), keys::id(r)?.as_bytes());
        Ok(Parties { resource, subject })
    }

    fn write(&self, w: &mut Writer) {
        for text in [self.resource.0, self.resource.1, self.subject.0, self.subject.1] {
            w.text_bytes(text);
        }
    }

    fn key(&self) -> Result<Key, Abort> {
        let texts = self.resource.0.len() + self.resource.1.len() + self.subject.0.len() + self.subject.1.len();
        let mut w = Writer::new(texts + 4 * 5 + 1);
        w.array(4);
        self.write(&mut w);
        Ok(Key::delegation(&sha256(w.finish()?)))
    }
}

/// What is stored: the owner who granted, and the grants.
struct Grants<'a> {
    owner: &'a [u8],
    list: Cursor<'a>,
    count: u64,
}

fn stored(key: &Key) -> Option<Grants<'static>> {
    let mut c = Cursor::new(state_get(key.bytes())?);
    c.uint();
    for _ in 0..4 {
        c.skip();
    }
    let owner = c.bytes();
    let count = c.uint();
    Some(Grants { owner, list: c, count })
}

/// Until when, in ms, the resource's owner granted the action.
pub fn granted_until(parties: &Parties, owner: &[u8], action: &[u8]) -> Option<i64> {
    let mut grants = stored(&parties.key().ok()?)?;
    if grants.owner != owner {
        return None;
    }
    for _ in 0..grants.count {
        grants.list.uint();
        let (granted, until) = (grants.list.bytes(), grants.list.int());
        if granted == action {
            return Some(until);
        }
    }
    None
}

/// What a query reads back, or None.
pub fn read(r: &mut Reader) -> Result<Option<&'static [u8]>, Abort> {
    Ok(state_get(Parties::read(r)?.key()?.bytes()))
}

/// Runs `delegate` and `revoke`. An admin may revoke as well.
pub fn execute(op: u64, env: &Env, r: &mut Reader) -> Reply {
    let parties = Parties::read(r)?;
    let action = keys::name(r)?.as_bytes();
    let until = if op == DELEGATE { Some(r.int()?) } else { None };
    r.done()?;
    let caller = env.caller.ok_or(NOT_OWNER)?;
    let owner = owner_of(&parties)?;
    let admin = caller == env.owner || policy::is_admin(caller);
    if !(hex(caller) == owner || op == REVOKE && admin) {
        return Err(NOT_OWNER);
    }
    if until.map_or(false, |until| until <= env.time || until - env.time > MAX_AHEAD) {
        return Err(BAD_EXPIRY);
    }
    change(&parties, &owner, action, until, env.time)
}

/// The account, in hex, that the active policy names as the resource's owner.
fn owner_of(parties: &Parties) -> Result<[u8; 64], Abort> {
    let version = Policy::active()?.number as u32;
    let key = Key::entity(version, parties.resource.0, parties.resource.1).ok_or(NOT_OWNER)?;
    let record = Record::stored(state_get(key.bytes()).ok_or(NOT_OWNER)?);
    let mut owner = [0; 64];
    match Cursor::new(record.owner).bytes() {
        text if text.len() == owner.len() => owner.copy_from_slice(text),
        _ => return Err(NOT_OWNER),
    }
    Ok(owner)
}

fn hex(account: &[u8]) -> [u8; 64] {
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
fn change(parties: &Parties, owner: &[u8], action: &[u8], until: Option<i64>, time: i64) -> Reply {
    let key = parties.key()?;
    let mut kept = Writer::new(MAX_VALUE);
    let (mut count, mut found) = (0, false);
    if let Some(mut grants) = stored(&key).filter(|g| g.owner == owner) {
        for _ in 0..grants.count {
            grants.list.uint();
            let (name, end) = (grants.list.bytes(), grants.list.int());
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
        return Err(NOT_FOUND);
    }
    if count > MAX_GRANTS {
        return Err(TOO_LARGE);
    }
    if count == 0 {
        state_delete(key.bytes());
        return Ok(&[]);
    }
    let mut w = Writer::new(MAX_VALUE);
    w.array(6);
    parties.write(&mut w);
    w.text_bytes(owner).array(count).raw(kept.finish()?);
    state_set(key.bytes(), w.finish()?);
    Ok(&[])
}
