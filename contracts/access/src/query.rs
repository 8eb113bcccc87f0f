//! Reading the policy back.

use crate::codes::*;
use crate::delegation;
use crate::form::{written, Form};
use crate::glass;
use crate::keys::{self, Key};
use crate::policy::Policy;
use postern::cbor::Writer;
use postern::{state_get, Input, Reply, Scan, MAX_RESULT, MAX_VALUE};

const DESCRIBE: u64 = 1;
const PAGE: u64 = 2;
const ENTITY: u64 = 3;
const RULE: u64 = 4;
const DELEGATION: u64 = 5;
const ADMINS: u64 = 6;
const VERSION: u64 = 7;
const ALARMS: u64 = 8;

/// How many items the message of each query has, itself included.
const OPERANDS: [usize; 9] = [0, 1, 3, 3, 2, 5, 1, 2, 3];

/// Bytes of the items of one page; cursor and heads come on top.
const MAX_ITEMS: usize = MAX_RESULT - 512;

const NULL: &[u8] = &[0xf6];

/// Answers a query; the message is [query, …]. What is not there is null.
pub fn query(input: &Input) -> Reply {
    let mut r = Form::new(input.message);
    let args = r.array();
    let op = r.uint();
    if OPERANDS.get(op as usize) != Some(&args) {
        refuse(UNKNOWN_OPERATION);
    }
    let found = match op {
        DESCRIBE => state_get(keys::ACTIVE),
        PAGE => return Ok(page(&mut r)),
        ALARMS => return Ok(glass::list(&mut r)),
        ENTITY => entity(&mut r),
        RULE => state_get(Key::rule(Policy::active().number as u32, keys::name(&mut r)).bytes()),
        DELEGATION => delegation::read(&mut r),
        ADMINS => state_get(keys::ADMINS),
        VERSION => state_get(Key::kind(keys::version(&mut r), keys::HEAD).bytes()),
        _ => refuse(UNKNOWN_OPERATION),
    };
    r.done();
    Ok(found.unwrap_or(NULL))
}

#[inline(never)]

fn entity(r: &mut Form) -> Option<&'static [u8]> {
    let (kind, id) = (keys::name(r), keys::id(r));
    let key = Key::entity(Policy::active().number as u32, kind.as_bytes(), id.as_bytes());
    key.and_then(|key| state_get(key.bytes()))
}

/// [2, version, cursor]: a page of a version's entities and then rules, from
/// where the cursor points (empty: from the start). The answer is [items,
/// next cursor or null]; an item is [1, type, id, record] or [2, sequence,
/// rule].
#[inline(never)]
fn page(r: &mut Form) -> &'static [u8] {
    let version = keys::version(r);
    let cursor = r.bytes();
    r.done();
    let base = Key::version(version).bytes().len();
    if cursor.len() > postern::MAX_KEY - base {
        refuse(NOT_FOUND);
    }
    let mut items = Writer::new(MAX_ITEMS);
    let (mut count, mut next) = (0, None);
    for kind in [keys::ENTITY, keys::RULE] {
        if cursor.first().map_or(false, |&from| from > kind) {
            continue;
        }
        next = append_kind(version, kind, cursor, &mut items, &mut count);
        if next.is_some() {
            break;
        }
    }
    let mut w = Writer::new(MAX_RESULT);
    w.array(2).array(count).raw(written(items));
    match next {
        Some(key) => w.bytes(&key.bytes()[base..]),
        None => w.null(),
    };
    written(w)
}

/// Appends entries of one kind while they fit; returns the key of the first
/// that does not.
fn append_kind(version: u32, kind: u8, cursor: &[u8], items: &mut Writer, count: &mut usize) -> Option<Key> {
    let prefix = Key::kind(version, kind);
    let start = if cursor.first() == Some(&kind) { Key::version(version).and(cursor) } else { prefix };
    let mut scan = Scan::new(prefix.bytes(), start.bytes());
    while let Some((key, value)) = scan.next() {
        let tail = &key[prefix.bytes().len()..];
        if items.room() < 16 + tail.len() + value.len() {
            return Some(prefix.and(tail));
        }
        *count += 1;
        if kind == keys::RULE {
            // The value is array(2) [sequence, rule].
            items.array(3).uint(2).raw(&value[1..]);
        } else {
            let (kind, id) = tail[1..].split_at(tail[0] as usize);
            items.array(4).uint(1).text_bytes(kind).text_bytes(id).raw(value);
        }
    }
    None
}

const _: () = assert!(MAX_VALUE >= crate::entity::MAX_ENTITY);
