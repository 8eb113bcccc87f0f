//! Changing the active policy by one rule, entity or zone. Copying a large
//! policy for a small change would cost more than the change is worth, so the
//! version stays and its digest takes in the message: it names the load and
//! every change since.

use crate::codes::*;
use crate::form::{written, Form};
use crate::keys::{self, Key};
use crate::load::{each_list, store_rule};
use crate::pages::Editor;
use crate::policy::Policy;
use crate::walk::Walk;
use crate::{entity, hours, rule};
use crate::{roles, DELETE_ENTITY, DELETE_RULE, PUT_ENTITY, PUT_ROLES, PUT_RULE};
use postern::cbor::Writer;
use postern::{emit, state_delete, state_get, state_has, state_set};

/// Runs a change; the version must be the active one.
pub fn execute(op: u64, message: &[u8], r: &mut Form) -> &'static [u8] {
    let version = keys::version(r);
    let mut policy = Policy::active_as(version);
    match op {
        PUT_ENTITY => put_entity(version, &mut policy, r),
        DELETE_ENTITY => delete_entity(version, &mut policy, r),
        PUT_RULE => put_rule(version, &mut policy, r),
        DELETE_RULE => delete_rule(version, &mut policy, r),
        // [14, version, roles] replaces the table of roles.
        PUT_ROLES => policy.roles = roles::check(r),
        _ => put_zone(&mut policy, r),
    }
    r.done();
    policy.absorb(message);
    policy.save_active();
    let receipt = policy.receipt(version);
    emit("policy-changed", receipt);
    receipt
}

/// [6, version, [type, id, record]] writes an entity, new or not.
#[inline(never)]
fn put_entity(version: u32, policy: &mut Policy, r: &mut Form) {
    let entity = entity::parse(r);
    let key = Key::entity(version, entity.kind.as_bytes(), entity.id.as_bytes()).unwrap_or_else(|| refuse(BAD_NAME));
    if !state_has(key.bytes()) {
        policy.count += 1;
    }
    state_set(key.bytes(), entity.record);
}

/// [7, version, type, id] deletes an entity.
#[inline(never)]
fn delete_entity(version: u32, policy: &mut Policy, r: &mut Form) {
    let (kind, id) = (keys::name(r), keys::id(r));
    let key = Key::entity(version, kind.as_bytes(), id.as_bytes()).unwrap_or_else(|| refuse(BAD_NAME));
    if !state_has(key.bytes()) {
        refuse(NOT_FOUND);
    }
    state_delete(key.bytes());
    policy.count -= 1;
}

/// [8, version, rule] writes a rule. One that exists keeps its place among
/// those of the same actions and type, as far as its page has room.
#[inline(never)]
fn put_rule(version: u32, policy: &mut Policy, r: &mut Form) {
    let rule = rule::parse(r, policy.zones);
    let mut editor = Editor::new();
    let sequence = match old_rule(version, rule.id) {
        Some((sequence, old)) => {
            remove_where_gone(version, &old, &rule, &mut editor);
            sequence
        }
        None => {
            policy.count += 1;
            policy.sequence += 1;
            policy.sequence - 1
        }
    };
    store_rule(version, sequence, &rule);
    each_list(version, &rule, |first| editor.replace(first, rule.body))
}

/// [9, version, rule id] deletes a rule.
#[inline(never)]
fn delete_rule(version: u32, policy: &mut Policy, r: &mut Form) {
    let id = keys::name(r);
    let (_, old) = old_rule(version, id).unwrap_or_else(|| refuse(NOT_FOUND));
    let mut editor = Editor::new();
    each_list(version, &old, |first| {
        editor.remove(first, id.as_bytes());
    });
    state_delete(Key::rule(version, id).bytes());
    policy.count -= 1;
}

fn old_rule(version: u32, id: &str) -> Option<(u64, rule::Written<'static>)> {
    let mut c = Walk::new(state_get(Key::rule(version, id).bytes())?);
    c.uint();
    Some((c.uint(), rule::stored(c.raw())))
}

/// Removes the old rule from the lists in which the new one does not stand.
fn remove_where_gone(version: u32, old: &rule::Written, new: &rule::Written, editor: &mut Editor) {
    let mut actions = Form::new(old.actions);
    for _ in 0..actions.array() {
        let action = actions.text().as_bytes();
        if old.kind != new.kind || !entity::contains(new.actions, action) {
            let first = Key::page(version, action, old.kind.as_bytes()).unwrap_or_else(|| refuse(BAD_NAME));
            editor.remove(first, old.id.as_bytes());
        }
    }
}

/// [10, version, zone] adds a time zone or replaces its table.
#[inline(never)]
fn put_zone<'a>(policy: &mut Policy<'a>, r: &mut Form<'a>) {
    let zone = r.raw();
    let name = hours::check_zone(&mut Form::new(zone));
    policy.zones = merged(policy.zones, zone, name);
}

/// The encoded zones with one added in order, or put in its old place.
fn merged(zones: &[u8], zone: &[u8], name: &str) -> &'static [u8] {
    let mut w = Writer::new(zones.len() + zone.len() + 8);
    let mut c = Walk::new(zones);
    let count = c.uint() as usize;
    w.array(if hours::zone(zones, name.as_bytes()).is_some() { count } else { count + 1 });
    let mut placed = false;
    for _ in 0..count {
        let old = c.raw();
        let old_name = Walk::new(old).next_bytes();
        if !placed && old_name >= name.as_bytes() {
            w.raw(zone);
            placed = true;
        }
        if old_name != name.as_bytes() {
            w.raw(old);
        }
    }
    if !placed {
        w.raw(zone);
    }
    let zones = written(w);
    hours::check_zones(&mut Form::new(zones))
}
