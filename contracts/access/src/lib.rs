//! The access control contract: entities, rules and delegations in state, and
//! the decision over them. README.md documents every message and code.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod codes;
mod condition;
mod decide;
mod delegation;
mod edit;
mod entity;
mod hours;
mod keys;
mod load;
mod pages;
mod policy;
mod query;
mod rule;
#[cfg(test)]
mod tests;

use codes::*;
use postern::cbor::Reader;
use postern::{Env, Input, Reply};

pub use decide::decide;
pub use query::query;

postern::entry_points! {
    init => init,
    execute => execute,
    timer => timer,
    query => query,
    decide => decide,
}

/// Runs once at deployment; the message is empty or an array of admins.
pub fn init(input: &Input) -> Reply {
    if !input.message.is_empty() {
        policy::set_admins(&mut Reader::new(input.message))?;
    }
    Ok(&[])
}

/// Changes the policy or a delegation; the message is [operation, …].
pub fn execute(input: &Input) -> Reply {
    if input.env.parent.is_some() {
        return Err(NESTED);
    }
    let mut r = Reader::new(input.message);
    let args = r.array()?;
    let op = r.uint()?;
    if OPERANDS.get(op as usize) != Some(&args) {
        return Err(UNKNOWN_OPERATION);
    }
    if op == DELEGATE || op == REVOKE {
        return delegation::execute(op, &input.env, &mut r);
    }
    require_admin(&input.env, op)?;
    match op {
        BEGIN => load::begin(&mut r),
        PUT_ENTITIES => load::put_entities(&mut r),
        PUT_RULES => load::put_rules(&mut r),
        ACTIVATE => load::activate(&input.env, &mut r),
        ABANDON => load::abandon(&input.env, &mut r),
        SET_ADMINS => policy::set_admins(&mut r),
        PUT_ENTITY..=PUT_ZONE => edit::execute(op, input.message, &mut r),
        _ => Err(UNKNOWN_OPERATION),
    }
}

/// Deletes a step of a version that is no longer needed.
pub fn timer(input: &Input) -> Reply {
    load::delete_step(&input.env, input.message)
}

const BEGIN: u64 = 1;
const PUT_ENTITIES: u64 = 2;
const PUT_RULES: u64 = 3;
const ACTIVATE: u64 = 4;
const ABANDON: u64 = 5;
const PUT_ENTITY: u64 = 6;
const DELETE_ENTITY: u64 = 7;
const PUT_RULE: u64 = 8;
const DELETE_RULE: u64 = 9;
const PUT_ZONE: u64 = 10;
const DELEGATE: u64 = 11;
const REVOKE: u64 = 12;
const SET_ADMINS: u64 = 13;

/// How many items the message of each operation has, itself included.
const OPERANDS: [usize; 14] = [0, 4, 3, 3, 5, 2, 3, 4, 3, 3, 3, 7, 6, 2];

/// The contract's owner may do all; admins all but name admins.
fn require_admin(env: &Env, op: u64) -> Result<(), postern::Abort> {
    let caller = env.caller.ok_or(NOT_ADMIN)?;
    if caller == env.owner || op != SET_ADMINS && policy::is_admin(caller) {
        return Ok(());
    }
    Err(NOT_ADMIN)
}
