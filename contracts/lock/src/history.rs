//! Who entered, for as long as the owner keeps it. Each entry deletes up to
//! two whose time is over; timers delete what is left.

use crate::due;
use crate::state::{Entry, Lock, BY_GUEST, ENTRIES, LOCKS};
use postern::{done, record, Abort, Bytes, Checked, Env, Id, Reply, Topic};

/// Entries that one more entry deletes.
const WITH_ENTRY: u32 = 2;
/// Locks that one timer looks at, and entries that it deletes of each: 128
/// entries take 9 of a transaction's 20 million gas.
const SWEPT_LOCKS: usize = 8;
const SWEPT_ENTRIES: u32 = 16;

record! {
    /// What all entries tell, in the same words.
    pub struct Entered {
        1 => lock: Id,
        2 => number: u64,
        3 => how: u8,
        4 => guest: Id,
        5 => pub note: Bytes<'static>,
    }
}

const ENTERED: Topic<Entered> = Topic::new("entered");

/// Adds an entry and returns the lock as it is then.
pub fn append(env: &Env, id: Id, mut lock: Lock, entry: &Entry) -> Result<Lock, Abort> {
    let number = lock.next_entry;
    ENTRIES.set(&(id, number), entry);
    BY_GUEST.set(&(id, entry.guest, number), &());
    ENTERED.emit(&Entered { lock: id, number, how: entry.how, guest: entry.guest, note: entry.note });
    lock.next_entry = number.plus(1)?;
    expire(id, &mut lock, entry.at, WITH_ENTRY)?;
    if lock.due.is_none() {
        lock = requeue(id, lock, entry.at)?;
        due::arm(env, lock.due)?;
    }
    Ok(lock)
}

/// Deletes at most so many entries whose time is over, and tells whether that
/// was all.
fn expire(id: Id, lock: &mut Lock, time: i64, most: u32) -> Result<bool, Abort> {
    for _ in 0..most {
        if lock.oldest == lock.next_entry {
            return Ok(true);
        }
        let entry = ENTRIES.load(&(id, lock.oldest))?;
        if entry.at.plus(lock.retention)? > time {
            return Ok(true);
        }
        ENTRIES.delete(&(id, lock.oldest));
        BY_GUEST.delete(&(id, entry.guest, lock.oldest));
        lock.oldest += 1;
    }
    Ok(false)
}

/// Puts the lock under the day on which its oldest entry is due, and returns
/// it as it is then.
pub fn requeue(id: Id, mut lock: Lock, time: i64) -> Result<Lock, Abort> {
    let due = match ENTRIES.get(&(id, lock.oldest))? {
        Some(oldest) => Some(due::day_of(oldest.at.plus(lock.retention)?.max(time))),
        None => None,
    };
    due::replace(id, lock.due, due);
    lock.due = due;
    Ok(lock)
}

/// Deletes what is over of some locks. A timer does it, and anybody may. The
/// timer for the rest is set once: a call has few scans.
pub fn sweep(env: &Env) -> Reply {
    let mut next = None;
    for (i, entry) in due::all().enumerate() {
        let (day, id) = entry?;
        if day > env.time || i == SWEPT_LOCKS {
            next = sooner(next, Some(day));
            break;
        }
        let mut lock = LOCKS.load(&id)?;
        if expire(id, &mut lock, env.time, SWEPT_ENTRIES)? {
            lock = requeue(id, lock, env.time)?;
        }
        next = sooner(next, lock.due);
        LOCKS.set(&id, &lock);
    }
    due::arm(env, next)?;
    done()
}

fn sooner(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}
