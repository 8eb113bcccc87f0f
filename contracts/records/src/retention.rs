//! How long records stay: an index of when which is due, and one alarm, whose
//! timer deletes a few at a time. What is held stays until nobody holds it.

use crate::codes::*;
use crate::record::{self, sender};
use postern::{ensure, Abort, Alarm, Context, Device, Env, Id, Map, Reply, Role, Topic};

/// The period of an owner's devices, and of one device, in ms.
const OF_OWNER: Map<Id, u64> = Map::new("keep-owner/");
const OF_DEVICE: Map<Id, u64> = Map::new("keep-device/");
/// Devices whose records are held, and since when.
const HOLDS: Map<Id, i64> = Map::new("hold/");
/// By time, device and number; the number [`DRAIN`] stands for what was held.
const DUE: Map<(i64, Id, u64), ()> = Map::new("due/");
/// Records that were due while they were held.
const HELD: Map<(Id, u64), ()> = Map::new("held/");
const ALARM: Alarm = Alarm::new("alarm/");

const RETENTION_SET: Topic<(Id, Option<Id>, Option<u64>)> = Topic::new("retention-set");
const HELD_EVENT: Topic<(Id, Id, &'static str)> = Topic::new("held");
const UNHELD: Topic<(Id, Id, &'static str)> = Topic::new("unheld");
const DELETED: Topic<(Id, u64)> = Topic::new("deleted");

const DRAIN: u64 = u64::MAX;
const MIN_PERIOD: u64 = 60_000;
/// 100 years.
const MAX_PERIOD: u64 = 100 * 366 * 24 * 3_600_000;
/// Records that one timer's call deletes: two million units of gas.
const BATCH: usize = 16;

/// Sets the period of a device, or of all devices of the sender's that have
/// none of their own. It is that of records to come.
pub fn set(env: &Env<'static>, device: Option<Id>, keep: Option<u64>) -> Result<(), Abort> {
    let owner = sender(env)?;
    ensure!(keep.map_or(true, |k| (MIN_PERIOD..=MAX_PERIOD).contains(&k)), BAD_PERIOD);
    let (map, key) = match device {
        None => (OF_OWNER, owner),
        Some(id) => {
            let record = Device::get(id.0).ok_or(NOT_DEVICE)?;
            ensure!(record.owner() == *owner.0, NOT_OWNER);
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
pub fn period(device: Id, owner: Id) -> Result<Option<u64>, Abort> {
    match OF_DEVICE.get(&device)? {
        None => OF_OWNER.get(&owner),
        own => Ok(own),
    }
}

/// When a record that is made now is deleted, which is noted.
pub fn expiry(env: &Env<'static>, device: Id, owner: Id, number: u64) -> Result<Option<i64>, Abort> {
    let keep = match period(device, owner)? {
        None => return Ok(None),
        Some(keep) => keep as i64,
    };
    let until = env.time + keep;
    DUE.set(&(until, device, number), &());
    ALARM.arm(env, until, &())?;
    Ok(Some(until))
}

/// Holds a device's records, or no longer.
pub fn hold(env: &Env<'static>, device: Id, held: bool, reason: &'static str) -> Result<(), Abort> {
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
pub fn held_since(device: Id) -> Result<Option<i64>, Abort> {
    HOLDS.get(&device)
}

// Has the next timer delete what was due while it was held.
fn drain(env: &Env<'static>, device: Id) -> Result<(), Abort> {
    if HELD.iter_of(&device).next().is_none() {
        return Ok(());
    }
    DUE.set(&(env.time, device, DRAIN), &());
    ALARM.arm(env, env.time, &())
}

/// Deletes what is due.
pub fn timer(c: &Context) -> Reply {
    ALARM.rang(&c.env)?;
    let mut left = BATCH;
    for entry in DUE.iter() {
        let (key, ()) = entry?;
        if key.0 > c.env.time || left == 0 {
            ALARM.arm(&c.env, key.0, &())?;
            break;
        }
        DUE.delete(&key);
        left = due(&c.env, key.1, key.2, left)?;
    }
    postern::done()
}

// Does what was due and returns how many more records may be deleted.
fn due(env: &Env<'static>, device: Id, number: u64, left: usize) -> Result<usize, Abort> {
    if HOLDS.has(&device) {
        if number != DRAIN {
            HELD.set(&(device, number), &());
        }
        return Ok(left - 1);
    }
    if number != DRAIN {
        forget(device, number)?;
        return Ok(left - 1);
    }
    // A call has eight scans, of which this takes three: it is the last thing
    // that the call does.
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
    Ok(0)
}

fn forget(device: Id, number: u64) -> Result<(), Abort> {
    record::delete(&(device, number))?;
    DELETED.emit(&(device, number));
    Ok(())
}
