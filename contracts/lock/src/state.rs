//! The contract's state. One contract serves many locks, each of which is a
//! device on the ledger.
//!
//! ```text
//! lock/   lock                    how it works, and where its history stands
//! zone/   lock                    its time zone
//! right/  lock | kind | guest     a guest's right
//! entry/  lock | number           who entered
//! guest/  lock | guest | number   the same by guest
//! health/ lock                    battery and tampering
//! due/    day | lock              when its oldest entry is to be deleted
//! timer/  time                    a timer is set
//! ```

use crate::codes::*;
use postern::{ensure, record, Abort, Bytes, Device, Id, List, Map, Status};

/// The guest is an account, such as a phone's.
pub const ACCOUNT: u8 = 0;
/// The guest is a card: the salted hash that the lock makes of it.
pub const CARD: u8 = 1;

/// Lock, kind of guest, guest.
pub type Seat = (Id, u8, Id);

pub const LOCKS: Map<Id, Lock> = Map::new("lock/");
pub const HEALTH: Map<Id, Health> = Map::new("health/");
pub const ENTRIES: Map<(Id, u64), Entry> = Map::new("entry/");
pub const BY_GUEST: Map<(Id, Id, u64), ()> = Map::new("guest/");

record! {
    /// A lock.
    pub struct Lock {
        /// Who set it up. Nothing holds once the device belongs to another.
        1 => pub owner: Id,
        /// Whether residents may grant.
        2 => pub delegation: bool,
        /// For how many ms entries are kept.
        3 => pub retention: i64,
        /// How many ms a gateway's state may be behind when it permits.
        4 => pub staleness: u64,
        /// Who may open the notes of entries.
        5 => pub recipients: List<'static, Id>,
        /// The number of the first right that this owner's word gave: what a
        /// former owner gave has a lower one, and holds no more.
        6 => pub first_right: u64,
        /// The number of the next right.
        7 => pub next_right: u64,
        /// The number of the oldest entry that is kept.
        8 => pub oldest: u64,
        /// The number of the next entry.
        9 => pub next_entry: u64,
        /// On which day its oldest entry is due; absent while there is none.
        10 => pub due: Option<i64>,
    }
}

record! {
    /// An entry.
    pub struct Entry {
        1 => pub at: i64,
        2 => pub how: u8,
        3 => pub guest: Id,
        /// Sealed to the lock's recipients.
        4 => pub note: Bytes<'static>,
    }
}

record! {
    /// How a lock is, in its own words.
    pub struct Health {
        1 => pub at: i64,
        /// Percent.
        2 => pub battery: u8,
        3 => pub tampered: bool,
    }
}

/// The owner of a device, who need not have set it up as a lock yet.
pub fn require_owner(caller: Id, lock: Id) -> Result<(), Abort> {
    let device = Device::get(lock.0).ok_or(NOT_OWNER)?;
    ensure!(device.owner() == *caller.0, NOT_OWNER);
    Ok(())
}

/// A lock that works, with an owner who set it up.
pub fn working(lock: Id) -> Result<Lock, Abort> {
    let found = current(lock)?;
    ensure!(is_active(lock), LOCK_INACTIVE);
    Ok(found)
}

/// A lock that its present owner set up.
pub fn current(lock: Id) -> Result<Lock, Abort> {
    let found = LOCKS.get(&lock)?.ok_or(UNKNOWN_LOCK)?;
    let device = Device::get(lock.0).ok_or(UNKNOWN_LOCK)?;
    ensure!(device.owner() == *found.owner.0, UNKNOWN_LOCK);
    Ok(found)
}

/// Whether a device is in use; who is no device always is.
pub fn is_active(id: Id) -> bool {
    Device::get(id.0).map_or(true, |d| d.status() == Status::Active)
}
