//! Writing a new version by many transactions, activating it, and deleting
//! what is no longer needed in small steps.

use crate::codes::*;
use crate::entity;
use crate::form::{written, Form};
use crate::keys::{self, Key};
use crate::pages::Editor;
use crate::policy::{self, Policy};
use crate::rule;
use postern::cbor::Writer;
use postern::{emit, schedule, state_delete, state_get, state_has, state_set, Env, Scan};

/// Keys that one timer deletes.
const DELETE_STEP: usize = 64;

/// begin: [1, version, title, zones], or with the roles behind.
#[inline(never)]
pub fn begin(r: &mut Form, with_roles: bool) -> &'static [u8] {
    let version = keys::version(r);
    let policy = Policy::begin(r, with_roles);
    let active = Policy::active_version();
    if version as u64 <= active || state_has(Key::kind(version, keys::HEAD).bytes()) {
        refuse(BAD_VERSION);
    }
    policy.save_building(version);
    policy.receipt(version)
}

/// put entities: [2, version, [[type, id, record], …]].
#[inline(never)]
pub fn put_entities(r: &mut Form) -> &'static [u8] {
    let version = keys::version(r);
    let mut policy = Policy::building(version);
    for _ in 0..r.array() {
        put_new_entity(version, &mut policy, r);
    }
    r.done();
    policy.save_building(version);
    policy.receipt(version)
}

fn put_new_entity(version: u32, policy: &mut Policy, r: &mut Form) {
    let mut whole = *r;
    let entity = entity::parse(r);
    let key = Key::entity(version, entity.kind.as_bytes(), entity.id.as_bytes()).unwrap_or_else(|| refuse(BAD_NAME));
    if state_has(key.bytes()) {
        refuse(DUPLICATE);
    }
    state_set(key.bytes(), entity.record);
    policy.absorb(whole.raw());
    policy.count += 1;
}

/// put rules: [3, version, [rule, …]].
#[inline(never)]
pub fn put_rules(r: &mut Form) -> &'static [u8] {
    let version = keys::version(r);
    let mut policy = Policy::building(version);
    let mut editor = Editor::new();
    for _ in 0..r.array() {
        put_new_rule(version, &mut policy, &mut editor, r);
    }
    r.done();
    policy.save_building(version);
    policy.receipt(version)
}

fn put_new_rule(version: u32, policy: &mut Policy, editor: &mut Editor, r: &mut Form) {
    let rule = rule::parse(r, policy.zones);
    if state_has(Key::rule(version, rule.id).bytes()) {
        refuse(DUPLICATE);
    }
    store_rule(version, policy.sequence, &rule);
    each_list(version, &rule, |first| editor.append(first, rule.body));
    policy.absorb(rule.raw);
    policy.sequence += 1;
    policy.count += 1;
}

/// Stores a whole rule as [sequence, rule].
pub fn store_rule(version: u32, sequence: u64, rule: &rule::Written) {
    let mut w = Writer::new(16 + rule.raw.len());
    w.array(2).uint(sequence).raw(rule.raw);
    state_set(Key::rule(version, rule.id).bytes(), written(w));
}

/// Runs `f` with the key of each list of pages in which a rule stands.
pub fn each_list(version: u32, rule: &rule::Written, mut f: impl FnMut(Key)) {
    let mut actions = Form::new(rule.actions);
    for _ in 0..actions.array() {
        let action = actions.text().as_bytes();
        f(Key::page(version, action, rule.kind.as_bytes()).unwrap_or_else(|| refuse(BAD_NAME)));
    }
}

/// activate: [4, version, base, count, digest], base 0 for none.
#[inline(never)]
pub fn activate(env: &Env, r: &mut Form) -> &'static [u8] {
    let version = keys::version(r);
    let (base, count) = (r.uint(), r.uint());
    let digest = r.bytes_of(32);
    r.done();
    let mut policy = Policy::building(version);
    let active = Policy::active_version();
    if base != active || version as u64 <= active {
        refuse(BASE_MOVED);
    }
    if policy.count != count || policy.digest != digest {
        refuse(INCOMPLETE);
    }
    policy.number = version as u64;
    policy.save_active();
    policy::set_status(version, policy::ACTIVE);
    if active != 0 {
        retire(env, active as u32);
    }
    let receipt = policy.receipt(version);
    emit("policy-activated", receipt);
    receipt
}

/// abandon: [5, version], of a version that is being written.
#[inline(never)]
pub fn abandon(env: &Env, r: &mut Form) -> &'static [u8] {
    let version = keys::version(r);
    r.done();
    Policy::building(version);
    retire(env, version);
    &[]
}

fn retire(env: &Env, version: u32) {
    policy::set_status(version, policy::RETIRED);
    schedule_deletion(env, version);
}

fn schedule_deletion(env: &Env, version: u32) {
    schedule(env.time, &version.to_be_bytes());
}

/// Deletes the first keys of a retired version, its head last, and comes back
/// while there are more.
#[inline(never)]
pub fn delete_step(env: &Env, message: &[u8]) -> &'static [u8] {
    let mut number = [0; 4];
    if message.len() != number.len() {
        refuse(BAD_VERSION);
    }
    number.copy_from_slice(message);
    let version = u32::from_be_bytes(number);
    if state_get(Key::kind(version, keys::HEAD).bytes()) != Some(&[0x81, policy::RETIRED as u8]) {
        refuse(BAD_VERSION);
    }
    let prefix = Key::version(version);
    let mut scan = Scan::new(prefix.bytes(), prefix.bytes());
    for _ in 0..DELETE_STEP {
        match scan.next() {
            Some((key, _)) => state_delete(key),
            None => return &[],
        }
    }
    if scan.next().is_some() {
        schedule_deletion(env, version);
    }
    &[]
}
