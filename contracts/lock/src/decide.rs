//! Decisions of the domain: "unlock" and "lock" on a resource "lock" whose id
//! is the lock's account in hex.
//!
//! The subject is an account or device, or a "card" that an enforcement point
//! asks about. A lock needs no role for its own bolt: it asks for itself and
//! names the card in the context.

use crate::codes::reason::*;
use crate::right::{Standing, RIGHTS};
use crate::state::{is_active, Lock, ACCOUNT, CARD, LOCKS};
use postern::{Abort, Context, DecisionRequest, Device, Id, Reply, Status, Verdict};

pub fn decide(c: &Context) -> Reply {
    let q: DecisionRequest = c.parse_message()?;
    answer(&q)?.reply()
}

fn answer(q: &DecisionRequest<'static>) -> Result<Verdict<'static>, Abort> {
    let unlocks = q.action.name == "unlock";
    let id = match hash_of(q.resource.id) {
        Some(id) if q.resource.kind == "lock" && (unlocks || q.action.name == "lock") => id,
        _ => return Ok(Verdict::deny(NOT_FOR_LOCKS)),
    };
    let (kind, guest) = match guest_of(q, id) {
        Some(guest) => guest,
        None => return Ok(Verdict::deny(NOT_FOR_LOCKS)),
    };
    let lock = match ready(id)? {
        Ok(lock) => lock,
        Err(reason) => return Ok(Verdict::deny(reason)),
    };
    if kind == ACCOUNT && !is_active(guest) {
        return Ok(Verdict::deny(GUEST_INACTIVE));
    }
    right_of(&lock, id, kind, guest, unlocks)
}

/// Who wants to enter.
fn guest_of(q: &DecisionRequest<'static>, lock: Id) -> Option<(u8, Id)> {
    let id = hash_of(q.subject.id)?;
    match q.subject.kind {
        "card" => Some((CARD, id)),
        "account" => Some((ACCOUNT, id)),
        "device" if id == lock => Some((CARD, hash_of(q.context.get("card")?)?)),
        "device" => Some((ACCOUNT, id)),
        _ => None,
    }
}

/// The lock, or why it opens to nobody.
fn ready(id: Id) -> Result<Result<Lock, u64>, Abort> {
    let (lock, device) = match (LOCKS.get(&id)?, Device::get(id.0)) {
        (Some(lock), Some(device)) => (lock, device),
        _ => return Ok(Err(UNKNOWN_LOCK)),
    };
    Ok(if device.owner() != *lock.owner.0 {
        Err(UNKNOWN_LOCK)
    } else if device.status() != Status::Active {
        Err(LOCK_INACTIVE)
    } else {
        Ok(lock)
    })
}

/// What is counted is used by a transaction, and only to unlock.
fn right_of(lock: &Lock, id: Id, kind: u8, guest: Id, unlocks: bool) -> Result<Verdict<'static>, Abort> {
    let permit = |reason| Verdict { max_staleness: Some(lock.staleness), ..Verdict::permit(reason) };
    if kind == ACCOUNT && guest == lock.owner {
        return Ok(permit(OWNER));
    }
    let right = match RIGHTS.get(&(id, kind, guest))? {
        Some(right) => right,
        None => return Ok(Verdict::deny(NO_RIGHT)),
    };
    Ok(match right.standing(id, lock, postern::now())? {
        Standing::Holds if unlocks && right.terms.uses.is_some() => Verdict::by_transaction(BY_TRANSACTION),
        Standing::Holds => permit(GRANTED),
        other => Verdict::deny(other.reason()),
    })
}

/// An id from its 64 lower-case hexadecimal digits.
fn hash_of(text: &str) -> Option<Id> {
    let mut id = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Id::keep(&id))
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}
