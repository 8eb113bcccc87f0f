//! What the contract tells of itself.

use crate::assign;
use crate::codes::*;
use crate::keys::{self, Key};
use crate::profile::Head;
use crate::record::{Record, UNIT};
use postern::cbor::{Reader, Writer};
use postern::{state_get, Hash, Input, Reply, Scan, MAX_RESULT};

const NULL: &[u8] = &[0xf6];
/// How many profiles one answer lists.
const LISTED: usize = 64;

/// Answers a query; the message is [operation, …].
pub fn query(input: &Input) -> Reply {
    let mut r = Reader::new(input.message);
    let args = r.array()?;
    match (r.uint()?, args) {
        (1, 2) => head(&mut r),
        (2, 2) => device(&mut r),
        (3, 1) => assign::loaders(),
        (4, 1) => Ok(state_get(keys::SITE).unwrap_or(&[0x80])),
        (5, 2) => profiles(&mut r),
        (6, 4) => page(&mut r),
        (7, 2) => rules(&mut r),
        _ => Err(UNKNOWN_OPERATION),
    }
}

/// [1, profile]: the active head, null where there is none.
#[inline(never)]
fn head(r: &mut Reader) -> Reply {
    let name = keys::name(r)?;
    r.done()?;
    Ok(state_get(Key::active(name.as_bytes()).bytes()).unwrap_or(NULL))
}

/// [2, device id]: [profile or null, score, theft score, time of the last
/// evidence or null], the scores as they were then.
#[inline(never)]
fn device(r: &mut Reader) -> Reply {
    let mut id: Hash = [0; 32];
    id.copy_from_slice(r.bytes_of(32)?);
    r.done()?;
    let mut w = Writer::new(128);
    w.array(4);
    match assign::profile_of(&id, None) {
        Some(name) => w.text_bytes(name),
        None => w.null(),
    };
    let raw = state_get(Key::evidence(&id).bytes());
    let record = Record::read(raw);
    w.uint(record.score / UNIT).uint(record.theft / UNIT);
    match raw {
        Some(_) => w.int(record.evidence),
        None => w.null(),
    };
    Ok(w.finish()?)
}

/// [5, after]: the names of active profiles after one, at most 64.
#[inline(never)]
fn profiles(r: &mut Reader) -> Reply {
    let after = keys::text(r)?;
    r.done()?;
    let start = Key::active(after.as_bytes());
    let mut scan = Scan::new(keys::ACTIVE, start.bytes());
    let mut names = Writer::new(MAX_RESULT);
    let mut count = 0;
    while let Some((key, _)) = scan.next() {
        let name = &key[keys::ACTIVE.len()..];
        if name != after.as_bytes() {
            names.text_bytes(name);
            count += 1;
        }
        if count == LISTED {
            break;
        }
    }
    let names = names.finish()?;
    let mut w = Writer::new(names.len() + 4);
    w.array(count).raw(names);
    Ok(w.finish()?)
}

/// [6, profile, bucket, page number]: a page of the active version, or null.
#[inline(never)]
fn page(r: &mut Reader) -> Reply {
    let name = keys::name(r)?;
    let (bucket, number) = (r.uint_max(u16::MAX as u64)? as u16, r.uint_max(u8::MAX as u64)? as u8);
    r.done()?;
    let head = Head::active(name.as_bytes()).ok_or(NO_SUCH_PROFILE)?;
    let key = Key::version(name.as_bytes(), head.number as u32).page(bucket, number);
    let raw = match state_get(key.bytes()) {
        Some(raw) => raw,
        None => return Ok(NULL),
    };
    let mut w = Writer::new(raw.len() + 4);
    w.bytes(raw);
    Ok(w.finish()?)
}

/// [7, profile]: the telemetry rules of the active version.
#[inline(never)]
fn rules(r: &mut Reader) -> Reply {
    let name = keys::name(r)?;
    r.done()?;
    let head = Head::active(name.as_bytes()).ok_or(NO_SUCH_PROFILE)?;
    let key = Key::part(name.as_bytes(), head.number as u32, keys::RULES);
    Ok(state_get(key.bytes()).unwrap_or(&[0x80]))
}
