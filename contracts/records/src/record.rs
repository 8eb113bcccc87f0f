//! Records: one hash each, who brought it, and when.

use crate::batch::MAX_COUNT;
use crate::codes::*;
use crate::retention;
use postern::{ensure, record, reply, Abort, Device, Env, Id, Map, Reply, Status, Topic};

record! {
    /// A record.
    pub struct Record {
        /// The Merkle root of the readings, of one reading its leaf.
        1 => pub root: Id,
        2 => pub count: u32,
        /// When the first and the last of them were taken, by the device's word.
        3 => pub from: i64,
        4 => pub to: i64,
        /// Who brought it, and the block's time.
        5 => pub by: Id,
        6 => pub at: i64,
        /// When it is deleted; absent: never.
        7 => pub until: Option<i64>,
    }
}

/// The account that signed.
pub fn sender(env: &Env<'static>) -> Result<Id, Abort> {
    env.caller.and_then(Id::of).ok_or(NOT_NOTARY)
}

/// What somebody wants notarised.
pub struct Claim {
    pub device: Id,
    pub root: Id,
    pub count: u32,
    pub from: i64,
    pub to: i64,
}

/// Records by device and number.
pub const RECORDS: Map<(Id, u64), Record> = Map::new("record/");
/// By device and root: the number.
pub const ROOTS: Map<(Id, Id), u64> = Map::new("root/");
/// How many records a device ever had.
const COUNTS: Map<Id, u64> = Map::new("count/");
/// Who may notarise for an owner's devices.
pub const NOTARIES: Map<(Id, Id), bool> = Map::new("notary/");

const NOTARISED: Topic<(Id, u64, Id, Id)> = Topic::new("notarised");
const NOTARY_SET: Topic<(Id, Id, bool)> = Topic::new("notary-set");

/// How far a device's clock may be ahead of the ledger's.
const MAX_AHEAD: i64 = 5 * 60_000;

/// Says whether an account may notarise for the sender's devices.
pub fn put_notary(env: &Env<'static>, account: Id, allowed: bool) -> Result<(), Abort> {
    let owner = sender(env)?;
    let key = (owner, account);
    ensure!(NOTARIES.has(&key) != allowed, NOT_CHANGED);
    if allowed {
        NOTARIES.set(&key, &true);
    } else {
        NOTARIES.delete(&key);
    }
    NOTARY_SET.emit(&(owner, account, allowed));
    Ok(())
}

/// The active device of an id.
pub fn device(id: Id) -> Result<Device<'static>, Abort> {
    let device = Device::get(id.0).ok_or(NOT_DEVICE)?;
    ensure!(device.status() == Status::Active, NOT_DEVICE);
    Ok(device)
}

/// Notes a claim and answers with its number.
pub fn notarise(env: &Env<'static>, claim: Claim) -> Reply {
    let by = sender(env)?;
    let owner = Id::keep(&device(claim.device)?.owner());
    ensure!(by == claim.device || NOTARIES.has(&(owner, by)), NOT_NOTARY);
    ensure!(claim.count > 0 && claim.count <= MAX_COUNT, BAD_COUNT);
    let latest = env.time.saturating_add(MAX_AHEAD);
    ensure!(claim.from <= claim.to && claim.to <= latest, BAD_SPAN);
    ensure!(!ROOTS.has(&(claim.device, claim.root)), KNOWN_ROOT);
    let number = COUNTS.get(&claim.device)?.unwrap_or_default();
    let until = retention::expiry(env, claim.device, owner, number)?;
    let Claim { device, root, count, from, to } = claim;
    RECORDS.set(&(device, number), &Record { root, count, from, to, by, at: env.time, until });
    ROOTS.set(&(device, root), &number);
    COUNTS.set(&device, &(number + 1));
    NOTARISED.emit(&(device, number, root, by));
    reply(&number)
}

/// Deletes a record, and that its root was there.
pub fn delete(id: &(Id, u64)) -> Result<(), Abort> {
    if let Some(record) = RECORDS.get(id)? {
        RECORDS.delete(id);
        ROOTS.delete(&(id.0, record.root));
    }
    Ok(())
}
