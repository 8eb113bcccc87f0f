//! What anyone may ask.

use crate::batch::{self, MAX_PATH};
use crate::codes::*;
use crate::hash::Hash;
use crate::record::{Record, RECORDS, ROOTS};
use crate::retention;
use postern::cbor::Writer;
use postern::{choice, ensure, record, reply, Context, Device, List, Reply, Scan};

choice! {
    /// What `query` answers.
    pub enum Query {
        1 => Record { device: Hash, number: u64 },
        2 => Records { device: Hash, after: Option<u64>, limit: u8 },
        3 => Find { device: Hash, root: Hash },
        4 => Verify { device: Hash, number: u64, leaf: Hash, index: u32, path: List<'static, Hash> },
        5 => Retention { device: Hash },
        6 => Notaries { owner: Hash, after: Option<Hash>, limit: u8 },
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
/// Bytes of a page: what no longer fits begins the next.
const PAGE: usize = postern::MAX_RESULT - 8;

/// Answers a question. A page holds entries [key, value].
pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Query::Record { device, number } => reply(&RECORDS.get(&(device, number))?),
        Query::Records { device, after, limit } => {
            let after = after.map(|n| kept(&n.to_be_bytes()));
            page("record/", device, after, limit, |w, key| {
                w.uint(key.iter().fold(0, |n, &c| n << 8 | c as u64));
            })
        }
        Query::Find { device, root } => reply(&ROOTS.get(&(device, root))?),
        Query::Verify { device, number, leaf, index, path } => {
            let record = RECORDS.get(&(device, number))?.ok_or(NO_RECORD)?;
            ensure!(index < record.count && path.len() <= MAX_PATH, BAD_PATH);
            let valid = batch::leads(leaf, index, record.count, &path, record.root)?;
            reply(&Verified { valid, record })
        }
        Query::Retention { device } => {
            let owner = Hash::keep(&Device::get(&device.array()).ok_or(NOT_DEVICE)?.owner());
            reply(&Kept { keep: retention::period(device, owner)?, held: retention::held_since(device)? })
        }
        Query::Notaries { owner, after, limit } => page("notary/", owner, after.map(|a| a.0), limit, |w, key| {
            w.bytes(key);
        }),
    }
}

fn kept(bytes: &[u8]) -> &'static [u8] {
    let kept = postern::buffer(bytes.len());
    kept.copy_from_slice(bytes);
    kept
}

// The entries behind `after` whose key begins with a hash: keys are the part
// behind it, values stand as they are stored.
fn page(map: &str, of: Hash, after: Option<&[u8]>, limit: u8, show: fn(&mut Writer, &[u8])) -> Reply {
    ensure!(limit > 0 && limit <= MAX_PAGE, BAD_LIMIT);
    let prefix = [map.as_bytes(), of.0, &[]];
    let start = [map.as_bytes(), of.0, after.unwrap_or(&[])];
    let (prefix, start) = (joined(&prefix), joined(&start));
    let mut rows = Scan::new(prefix, start);
    let mut w = Writer::new(PAGE);
    let mut count = 0;
    while let Some((key, value)) = rows.next() {
        let last = &key[prefix.len()..];
        if Some(last) == after {
            continue;
        }
        if count == limit || w.room() < last.len() + value.len() + 16 {
            break;
        }
        w.array(2);
        show(&mut w, last);
        w.raw(value);
        count += 1;
    }
    let items = w.finish()?;
    let mut all = Writer::new(items.len() + 8);
    all.array(count as usize).raw(items);
    Ok(all.finish()?)
}

fn joined(parts: &[&[u8]; 3]) -> &'static [u8] {
    let out = postern::buffer(parts.iter().map(|p| p.len()).sum());
    let mut at = 0;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    out
}
