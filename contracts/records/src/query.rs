//! What anyone may ask.

use crate::batch::{self, MAX_PATH};
use crate::codes::*;
use crate::record::{Record, NOTARIES, RECORDS, ROOTS};
use crate::retention;
use postern::{choice, ensure, record, reply, Abort, Context, Device, Encode, Id, List, Reply, Rows};

choice! {
    /// What `query` answers.
    pub enum Query {
        1 => Record { device: Id, number: u64 },
        2 => Records { device: Id, after: Option<u64>, limit: u8 },
        3 => Find { device: Id, root: Id },
        4 => Verify { device: Id, number: u64, leaf: Id, index: u32, path: List<'static, Id> },
        5 => Retention { device: Id },
        6 => Notaries { owner: Id, after: Option<Id>, limit: u8 },
    }
}

record! {
    /// Whether a reading is one of a batch.
    pub struct Verified {
        1 => pub valid: bool,
        2 => pub record: Record,
    }
}

record! {
    /// How long a device's records stay.
    pub struct Kept {
        1 => pub keep: Option<u64>,
        /// Since when they are held.
        2 => pub held: Option<i64>,
    }
}

/// Entries of a page.
const MAX_PAGE: u8 = 64;

/// Answers a question. A page holds entries [key, value].
pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Query::Record { device, number } => reply(&RECORDS.get(&(device, number))?),
        Query::Records { device, after, limit } => {
            page(RECORDS.iter_from(&(device, after.unwrap_or_default())), device, after, limit)
        }
        Query::Find { device, root } => reply(&ROOTS.get(&(device, root))?),
        Query::Verify { device, number, leaf, index, path } => {
            let record = RECORDS.get(&(device, number))?.ok_or(NO_RECORD)?;
            ensure!(index < record.count && path.len() <= MAX_PATH, BAD_PATH);
            let valid = batch::leads(leaf, index, record.count, &path, record.root)?;
            reply(&Verified { valid, record })
        }
        Query::Retention { device } => {
            let owner = Id::keep(&Device::get(device.0).ok_or(NOT_DEVICE)?.owner());
            reply(&Kept { keep: retention::period(device, owner)?, held: retention::held_since(device)? })
        }
        Query::Notaries { owner, after, limit } => {
            page(NOTARIES.iter_from(&(owner, after.unwrap_or(Id(&[0; 32])))), owner, after, limit)
        }
    }
}

// The entries whose key begins with `first`, behind `after`.
fn page<K: Encode + PartialEq, V: Encode>(
    entries: impl Iterator<Item = Result<((Id, K), V), Abort>>,
    first: Id,
    after: Option<K>,
    limit: u8,
) -> Reply {
    ensure!(limit > 0 && limit <= MAX_PAGE, BAD_LIMIT);
    let mut rows = Rows::new(limit);
    for entry in entries {
        let ((of, key), value) = entry?;
        if of != first {
            break;
        }
        if Some(&key) != after.as_ref() && !rows.add(&(key, value)) {
            break;
        }
    }
    rows.reply()
}
