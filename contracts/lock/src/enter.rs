//! Entries. The commit is the answer: where this returns, the lock opens once.
//!
//! Every entry carries a note of the same length, sealed to the lock's
//! recipients: a lock under duress sends the same message as ever, and only
//! who opens its note learns of it.

use crate::codes::*;
use crate::grant;
use crate::history;
use crate::right::{check_kind, RIGHTS};
use crate::state::{is_active, working, Entry, Lock, ACCOUNT, CARD, LOCKS};
use postern::{ensure, Abort, Bytes, Env, Id, Reply};

/// Bytes of a note for one recipient: a text of 16 sealed by HPKE.
pub const NOTE: usize = 64;

/// How an entry came to be.
pub const BY_ACCOUNT: u8 = 0;
pub const SHOWN_ACCOUNT: u8 = 1;
pub const SHOWN_CARD: u8 = 2;
pub const BY_CODE: u8 = 3;
pub const FROM_INSIDE: u8 = 5;

/// A guest enters by its own account.
pub fn enter(env: &Env, caller: Id, id: Id, note: Bytes<'static>) -> Reply {
    let lock = working(id)?;
    use_right(&lock, id, ACCOUNT, caller, env.time)?;
    record(env, id, lock, Entry { at: env.time, how: BY_ACCOUNT, guest: caller, note })
}

/// The lock admits a guest whose card or account it saw.
pub fn admit(env: &Env, id: Id, kind: u8, guest: Id, note: Bytes<'static>) -> Reply {
    let lock = working(id)?;
    check_kind(kind)?;
    ensure!(kind == CARD || is_active(guest), GUEST_INACTIVE);
    use_right(&lock, id, kind, guest, env.time)?;
    let how = if kind == CARD { SHOWN_CARD } else { SHOWN_ACCOUNT };
    record(env, id, lock, Entry { at: env.time, how, guest, note })
}

/// The lock tells of an entry that it decided itself.
pub fn report(env: &Env, id: Id, how: u8, guest: Id, note: Bytes<'static>) -> Reply {
    let lock = working(id)?;
    ensure!((BY_CODE..=FROM_INSIDE).contains(&how), BAD_REPORT);
    record(env, id, lock, Entry { at: env.time, how, guest, note })
}

/// Uses a right that must hold now. One that is counted gets less, and is
/// gone with its last use.
fn use_right(lock: &Lock, id: Id, kind: u8, guest: Id, time: i64) -> Result<(), Abort> {
    if kind == ACCOUNT && guest == lock.owner {
        return Ok(());
    }
    let seat = (id, kind, guest);
    let mut right = RIGHTS.get(&seat)?.ok_or(NO_RIGHT)?;
    right.standing(id, lock, Some(time))?.require()?;
    match right.terms.uses {
        None => {}
        Some(1) => grant::end(id, lock, &seat, Some(right))?,
        Some(n) => {
            right.terms.uses = Some(n - 1);
            RIGHTS.set(&seat, &right);
        }
    }
    Ok(())
}

fn record(env: &Env, id: Id, lock: Lock, entry: Entry) -> Reply {
    ensure!(entry.note.0.len() == NOTE * lock.recipients.len(), BAD_NOTE);
    let number = lock.next_entry;
    LOCKS.set(&id, &history::append(env, id, lock, &entry)?);
    postern::reply(&number)
}
