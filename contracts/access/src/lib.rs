//! The access control contract: entities, rules and delegations in state, and
//! the decision over them. README.md documents every message and code.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod codes;
mod condition;
mod decide;
mod delegation;
mod edit;
mod entity;
mod form;
mod glass;
mod hours;
mod inherit;
mod keys;
mod load;
mod pages;
mod policy;
mod query;
mod question;
mod roles;
mod rule;
mod search;
#[cfg(test)]
mod tests;
mod walk;

use crate::form::Form;
use codes::*;
use postern::{Env, Input, Reply};

pub use decide::decide;
pub use query::query;
pub use search::search;

postern::entry_points! {
    init => init,
    execute => execute,
    timer => timer,
    query => query,
    search => search,
    decide => decide,
}

/// Runs once at deployment; the message is empty or an array of admins.
pub fn init(input: &Input) -> Reply {
    if !input.message.is_empty() {
        policy::set_admins(&mut Form::new(input.message));
    }
    Ok(&[])
}

/// Changes the policy or a delegation; the message is [operation, …].
pub fn execute(input: &Input) -> Reply {
    require(input.env.parent.is_none(), NESTED);
    let mut r = Form::new(input.message);
    let args = r.array();
    let op = r.uint();
    let with_roles = op == BEGIN && args == WITH_ROLES;
    require(OPERANDS.get(op as usize) == Some(&args) || with_roles, UNKNOWN_OPERATION);
    if !matches!(op, DELEGATE | REVOKE | BREAK_GLASS) {
        require_admin(&input.env, op);
    }
    Ok(match op {
        BEGIN => load::begin(&mut r, with_roles),
        PUT_ENTITIES => load::put_entities(&mut r),
        PUT_RULES => load::put_rules(&mut r),
        ACTIVATE => load::activate(&input.env, &mut r),
        ABANDON => load::abandon(&input.env, &mut r),
        DELEGATE | REVOKE => delegation::execute(op, &input.env, &mut r),
        SET_ADMINS => policy::set_admins(&mut r),
        BREAK_GLASS => glass::break_glass(&input.env, &mut r),
        ACKNOWLEDGE => glass::acknowledge(&input.env, &mut r),
        PUT_ENTITY..=PUT_ZONE | PUT_ROLES => edit::execute(op, input.message, &mut r),
        _ => refuse(UNKNOWN_OPERATION),
    })
}

/// Deletes a step of a version that is no longer needed, or mends a glass.
pub fn timer(input: &Input) -> Reply {
    Ok(match input.message.len() {
        glass::ID => glass::expire(input.message),
        _ => load::delete_step(&input.env, input.message),
    })
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
const PUT_ROLES: u64 = 14;
const BREAK_GLASS: u64 = 15;
const ACKNOWLEDGE: u64 = 16;

/// How many items the message of each operation has, itself included.
const OPERANDS: [usize; 17] = [0, 4, 3, 3, 5, 2, 3, 4, 3, 3, 3, 7, 6, 2, 3, 3, 3];
/// How many a begin with roles has.
const WITH_ROLES: usize = 5;

/// The contract's owner may do all; admins all but name admins.
fn require_admin(env: &Env, op: u64) {
    let caller = env.caller.unwrap_or(&[]);
    require(caller == env.owner || op != SET_ADMINS && policy::is_admin(caller), NOT_ADMIN)
}
