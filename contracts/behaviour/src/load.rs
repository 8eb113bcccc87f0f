//! Writing a new version of a profile by many transactions, activating it, and
//! deleting what is no longer needed in small steps.

use crate::codes::*;
use crate::keys::{self, Key};
use crate::page;
use crate::profile::{self, Head, Profile};
use crate::rule;
use postern::cbor::{Reader, Writer};
use postern::{emit, schedule, state_delete, state_get, state_has, state_set, Env, Reply, Scan};

/// Keys that one timer deletes.
const DELETE_STEP: usize = 64;

/// begin: [1, profile, version, body].
#[inline(never)]
pub fn begin(r: &mut Reader) -> Reply {
    let (name, version) = (keys::name(r)?, keys::version(r)?);
    let head = Head::begin(r)?;
    let active = Head::active(name.as_bytes()).map_or(0, |h| h.number);
    if version as u64 <= active || state_has(Key::part(name.as_bytes(), version, keys::HEAD).bytes()) {
        return Err(BAD_VERSION);
    }
    head.save_building(name, version)?;
    head.receipt(version)
}

/// put pages: [2, profile, version, [[bucket, page number, page], …]].
#[inline(never)]
pub fn put_pages(r: &mut Reader) -> Reply {
    let (name, version) = (keys::name(r)?, keys::version(r)?);
    let mut head = Head::building(name, version)?;
    let profile = Profile::of(head.body);
    let classes = Reader::new(profile.classes).array()?;
    let prefix = Key::version(name.as_bytes(), version);
    for i in 0..r.array()? {
        let mut item = *r;
        r.array_of(3)?;
        let (bucket, number) = (r.uint_max(profile.mask as u64)? as u16, r.uint()?);
        let bytes = r.bytes()?;
        if number >= page::MAX_PAGES as u64 {
            return Err(TOO_LARGE.of_item(i));
        }
        head.count += page::check(bytes, bucket, profile.mask, classes).map_err(|e| e.of_item(i))?;
        let key = prefix.page(bucket, number as u8);
        if state_has(key.bytes()) {
            return Err(DUPLICATE.of_item(i));
        }
        state_set(key.bytes(), bytes);
        head.absorb(item.raw()?);
    }
    r.done()?;
    head.save_building(name, version)?;
    head.receipt(version)
}

/// put rules: [3, profile, version, [rule, …]], all of them at once.
#[inline(never)]
pub fn put_rules(r: &mut Reader) -> Reply {
    let (name, version) = (keys::name(r)?, keys::version(r)?);
    let mut head = Head::building(name, version)?;
    let raw = r.raw()?;
    r.done()?;
    head.count += rule::check(raw)?;
    let key = Key::part(name.as_bytes(), version, keys::RULES);
    if state_has(key.bytes()) {
        return Err(DUPLICATE);
    }
    state_set(key.bytes(), raw);
    head.absorb(raw);
    head.save_building(name, version)?;
    head.receipt(version)
}

/// activate: [4, profile, version, base, count, digest].
#[inline(never)]
pub fn activate(env: &Env, r: &mut Reader) -> Reply {
    let (name, version) = (keys::name(r)?, keys::version(r)?);
    let (base, count) = (r.uint()?, r.uint()?);
    let digest = r.bytes_of(32)?;
    r.done()?;
    let mut head = Head::building(name, version)?;
    let active = Head::active(name.as_bytes()).map_or(0, |h| h.number);
    if active != base {
        return Err(BASE_MOVED);
    }
    if head.count != count || head.digest != digest {
        return Err(INCOMPLETE);
    }
    head.number = version as u64;
    head.save_active(name)?;
    profile::set_status(name, version, profile::ACTIVE);
    if active != 0 {
        retire(env, name, active as u32);
    }
    let mut w = Writer::new(128);
    let receipt = head.receipt(version)?;
    w.array(2).text(name).raw(receipt);
    emit("profile-activated", w.finish()?);
    Ok(receipt)
}

/// abandon: [5, profile, version], of a version that is being written.
#[inline(never)]
pub fn abandon(env: &Env, r: &mut Reader) -> Reply {
    let (name, version) = (keys::name(r)?, keys::version(r)?);
    r.done()?;
    Head::building(name, version)?;
    retire(env, name, version);
    Ok(&[])
}

fn retire(env: &Env, name: &str, version: u32) {
    profile::set_status(name, version, profile::RETIRED);
    schedule(env.time, Key::version(name.as_bytes(), version).bytes());
}

/// Deletes the first keys of a retired version, its head last, and comes back
/// while there are more. The message is the prefix of the version's keys.
#[inline(never)]
pub fn delete_step(env: &Env, message: &[u8]) -> Reply {
    let prefix = Key::whole(message);
    if state_get(prefix.of_part(keys::HEAD).bytes()) != Some(&[0x81, profile::RETIRED as u8]) {
        return Err(BAD_VERSION);
    }
    let mut scan = Scan::new(message, message);
    for _ in 0..DELETE_STEP {
        match scan.next() {
            Some((key, _)) => state_delete(key),
            None => return Ok(&[]),
        }
    }
    if scan.next().is_some() {
        schedule(env.time, message);
    }
    Ok(&[])
}
