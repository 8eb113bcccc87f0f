//! How long records stay. An index holds when which is due; one timer of the
//! chain waits for the earliest, deletes a few and sets itself again. What is
//! held stays until nobody holds it.

use crate::codes::*;
use crate::hash::{sender, Hash};
use crate::record;
use postern::{ensure, Abort, Context, Device, Env, Item, Map, Reply, Role, Topic};

/// The period of an owner's devices, and of one device, in ms.
const OF_OWNER: Map<Hash, u64> = Map::new("keep-owner/");
const OF_DEVICE: Map<Hash, u64> = Map::new("keep-device/");
/// Devices whose records are held, and since when.
const HOLDS: Map<Hash, i64> = Map::new("hold/");
/// By time, device and number; the number [`DRAIN`] stands for what was held.
const DUE: Map<(i64, Hash, u64), bool> = Map::new("due/");
/// Records that were due while they were held.
const HELD: Map<(Hash, u64), bool> = Map::new("held/");
/// When the earliest timer is due, and how many there are.
const NEXT: Item<(i64, u32)> = Item::new("timer");

const RETENTION_SET: Topic<(Hash, Option<Hash>, Option<u64>)> = Topic::new("retention-set");
const HELD_EVENT: Topic<(Hash, Hash, &'static str)> = Topic::new("held");
const UNHELD: Topic<(Hash, Hash, &'static str)> = Topic::new("unheld");
const DELETED: Topic<(Hash, u64)> = Topic::new("deleted");

const DRAIN: u64 = u64::MAX;
/// A timer is due at full minutes, so that records share one.
const MINUTE: i64 = 60_000;
/// 100 years.
const MAX_PERIOD: u64 = 100 * 366 * 24 * 3_600_000;
/// Records that one timer's call deletes: two million units of gas.
const BATCH: usize = 16;
/// Timers that may wait: one is the rule, more come of ever earlier times.
const MAX_TIMERS: u32 = 32;

/// Sets the period of a device, or of all devices of the sender's that have
/// none of their own. It is that of records to come.
pub fn set(env: &Env<'static>, device: Option<Hash>, keep: Option<u64>) -> Result<(), Abort> {
    let owner = sender(env)?;
    ensure!(keep.map_or(true, |k| k >= MINUTE as u64 && k <= MAX_PERIOD), BAD_PERIOD);
    let (map, key) = match device {
        None => (OF_OWNER, owner),
        Some(id) => {
            let record = Device::get(&id.array()).ok_or(NOT_DEVICE)?;
            ensure!(record.owner() == owner.0, NOT_OWNER);
            (OF_DEVICE, id)
        }
    };
    match keep {
        Some(keep) => map.set(&key, &keep),
        None => map.delete(&key),
    }
    RETENTION_SET.emit(&(owner, device, keep));
    Ok(())
}

/// The period of a device's records.
pub fn period(device: Hash, owner: Hash) -> Result<Option<u64>, Abort> {
    match OF_DEVICE.get(&device)? {
        None => OF_OWNER.get(&owner),
        own => Ok(own),
    }
}

/// When a record that is made now is deleted, which is noted.
pub fn expiry(env: &Env<'static>, device: Hash, owner: Hash, number: u64) -> Result<Option<i64>, Abort> {
    let keep = match period(device, owner)? {
        None => return Ok(None),
        Some(keep) => keep as i64,
    };
    let until = (env.time + keep + MINUTE - 1) / MINUTE * MINUTE;
    DUE.set(&(until, device, number), &true);
    wake(until)?;
    Ok(Some(until))
}

/// Holds a device's records, or no longer.
pub fn hold(env: &Env<'static>, device: Hash, held: bool, reason: &'static str) -> Result<(), Abort> {
    ensure!(env.require_owner().is_ok() || env.has_role(Role::AUTHORITY), NOT_AUTHORITY);
    ensure!(HOLDS.has(&device) != held, NOT_CHANGED);
    let event = (device, sender(env)?, reason);
    if held {
        HOLDS.set(&device, &env.time);
        HELD_EVENT.emit(&event);
        return Ok(());
    }
    HOLDS.delete(&device);
    UNHELD.emit(&event);
    drain(env, device)
}

/// Since when a device's records are held.
pub fn held_since(device: Hash) -> Result<Option<i64>, Abort> {
    HOLDS.get(&device)
}

// Has the next timer delete what was due while it was held.
fn drain(env: &Env<'static>, device: Hash) -> Result<(), Abort> {
    if HELD.iter_of(&device).next().is_none() {
        return Ok(());
    }
    let now = env.time + 1;
    DUE.set(&(now, device, DRAIN), &true);
    wake(now)
}

// Makes sure that a timer is due by then. Where too many wait, the next of
// them does it.
fn wake(due: i64) -> Result<(), Abort> {
    let (next, waiting) = NEXT.get()?.unwrap_or((i64::MAX, 0));
    if due < next && waiting < MAX_TIMERS {
        postern::schedule_message(due, &());
        NEXT.set(&(due, waiting + 1));
    }
    Ok(())
}

/// Deletes what is due.
pub fn timer(c: &Context) -> Reply {
    let now = c.env.time;
    let (next, waiting) = NEXT.get()?.unwrap_or((i64::MAX, 1));
    NEXT.set(&(if next <= now { i64::MAX } else { next }, waiting.saturating_sub(1)));
    let mut left = BATCH;
    for entry in DUE.iter() {
        let (key, _) = entry?;
        if key.0 > now || left == 0 {
            wake(key.0.max(now + 1))?;
            break;
        }
        DUE.delete(&key);
        left = due(&c.env, key.1, key.2, left)?;
    }
    postern::done()
}

// Does what was due and returns how many more records may be deleted.
fn due(env: &Env<'static>, device: Hash, number: u64, left: usize) -> Result<usize, Abort> {
    if HOLDS.has(&device) {
        if number != DRAIN {
            HELD.set(&(device, number), &true);
        }
        return Ok(left - 1);
    }
    if number != DRAIN {
        forget(device, number)?;
        return Ok(left - 1);
    }
    let mut count = 0;
    for entry in HELD.iter_of(&device).take(left) {
        let (key, _) = entry?;
        HELD.delete(&key);
        forget(device, key.1)?;
        count += 1;
    }
    if count == left {
        drain(env, device)?;
    }
    Ok(left - count)
}

fn forget(device: Hash, number: u64) -> Result<(), Abort> {
    record::delete(&(device, number))?;
    DELETED.emit(&(device, number));
    Ok(())
}
