//! Changing the active policy by one rule, entity or zone. Copying a large
//! policy for a small change would cost more than the change is worth, so the
//! version stays and its digest takes in the message: it names the load and
//! every change since.

use crate::codes::*;
use crate::keys::{self, Key};
use crate::load::{each_list, store_rule};
use crate::pages::Editor;
use crate::policy::Policy;
use crate::{entity, hours, rule};
use crate::{DELETE_ENTITY, DELETE_RULE, PUT_ENTITY, PUT_RULE};
use postern::cbor::{Cursor, Reader, Writer};
use postern::{emit, state_delete, state_get, state_has, state_set, Abort, Reply};

/// Runs a change; the version must be the active one.
pub fn execute(op: u64, message: &[u8], r: &mut Reader) -> Reply {
    let version = keys::version(r)?;
    let mut policy = Policy::active_as(version)?;
    match op {
        PUT_ENTITY => put_entity(version, &mut policy, r)?,
        DELETE_ENTITY => delete_entity(version, &mut policy, r)?,
        PUT_RULE => put_rule(version, &mut policy, r)?,
        DELETE_RULE => delete_rule(version, &mut policy, r)?,
        _ => put_zone(&mut policy, r)?,
    }
    r.done()?;
    policy.absorb(message);
    policy.save_active()?;
    let receipt = policy.receipt(version)?;
    emit("policy-changed", receipt);
    Ok(receipt)
}

/// [6, version, [type, id, record]] writes an entity, new or not.
fn put_entity(version: u32, policy: &mut Policy, r: &mut Reader) -> Result<(), Abort> {
    let entity = entity::parse(r)?;
    let key = Key::entity(version, entity.kind.as_bytes(), entity.id.as_bytes()).ok_or(BAD_NAME)?;
    if !state_has(key.bytes()) {
        policy.count += 1;
    }
    state_set(key.bytes(), entity.record);
    Ok(())
}

/// [7, version, type, id] deletes an entity.
fn delete_entity(version: u32, policy: &mut Policy, r: &mut Reader) -> Result<(), Abort> {
    let (kind, id) = (keys::name(r)?, keys::id(r)?);
    let key = Key::entity(version, kind.as_bytes(), id.as_bytes()).ok_or(BAD_NAME)?;
    if !state_has(key.bytes()) {
        return Err(NOT_FOUND);
    }
    state_delete(key.bytes());
    policy.count -= 1;
    Ok(())
}

/// [8, version, rule] writes a rule. One that exists keeps its place among
/// those of the same actions and type, as far as its page has room.
fn put_rule(version: u32, policy: &mut Policy, r: &mut Reader) -> Result<(), Abort> {
    let rule = rule::parse(r, policy.zones)?;
    let mut editor = Editor::new();
    let sequence = match old_rule(version, rule.id) {
        Some((sequence, old)) => {
            remove_where_gone(version, &old, &rule, &mut editor)?;
            sequence
        }
        None => {
            policy.count += 1;
            policy.sequence += 1;
            policy.sequence - 1
        }
    };
    store_rule(version, sequence, &rule)?;
    each_list(version, &rule, |first| editor.replace(first, rule.body))
}

/// [9, version, rule id] deletes a rule.
fn delete_rule(version: u32, policy: &mut Policy, r: &mut Reader) -> Result<(), Abort> {
    let id = keys::name(r)?;
    let (_, old) = old_rule(version, id).ok_or(NOT_FOUND)?;
    let mut editor = Editor::new();
    each_list(version, &old, |first| {
        editor.remove(first, id.as_bytes());
        Ok(())
    })?;
    state_delete(Key::rule(version, id).bytes());
    policy.count -= 1;
    Ok(())
}

fn old_rule(version: u32, id: &str) -> Option<(u64, rule::Written<'static>)> {
    let mut c = Cursor::new(state_get(Key::rule(version, id).bytes())?);
    c.uint();
    Some((c.uint(), rule::stored(c.raw())))
}

/// Removes the old rule from the lists in which the new one does not stand.
fn remove_where_gone(
    version: u32,
    old: &rule::Written,
    new: &rule::Written,
    editor: &mut Editor,
) -> Result<(), Abort> {
    let mut actions = Reader::new(old.actions);
    for _ in 0..actions.array()? {
        let action = actions.text()?.as_bytes();
        if old.kind != new.kind || !entity::contains(new.actions, action) {
            let first = Key::page(version, action, old.kind.as_bytes()).ok_or(BAD_NAME)?;
            editor.remove(first, old.id.as_bytes());
        }
    }
    Ok(())
}

/// [10, version, zone] adds a time zone or replaces its table.
fn put_zone<'a>(policy: &mut Policy<'a>, r: &mut Reader<'a>) -> Result<(), Abort> {
    let zone = r.raw()?;
    let name = hours::check_zone(&mut Reader::new(zone))?;
    policy.zones = merged(policy.zones, zone, name)?;
    Ok(())
}

/// The encoded zones with one added in order, or put in its old place.
fn merged(zones: &[u8], zone: &[u8], name: &str) -> Result<&'static [u8], Abort> {
    let mut w = Writer::new(zones.len() + zone.len() + 8);
    let mut c = Cursor::new(zones);
    let count = c.uint() as usize;
    w.array(if hours::zone(zones, name.as_bytes()).is_some() { count } else { count + 1 });
    let mut written = false;
    for _ in 0..count {
        let old = c.raw();
        let mut old_name = Cursor::new(old);
        old_name.uint();
        let old_name = old_name.bytes();
        if !written && old_name >= name.as_bytes() {
            w.raw(zone);
            written = true;
        }
        if old_name != name.as_bytes() {
            w.raw(old);
        }
    }
    if !written {
        w.raw(zone);
    }
    let zones = w.finish()?;
    hours::check_zones(&mut Reader::new(zones))
}
