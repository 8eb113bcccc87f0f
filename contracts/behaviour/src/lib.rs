//! The behaviour contract: it holds what kinds of devices do when nothing is
//! wrong, and judges what gateways see of them. README.md documents every
//! message and code.
//!
//! What is called from many places, or once from a long function, stays out of
//! line: the module has 64 KiB, and a function of the lean profile compiles
//! within 15 MiB.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod assign;
mod codes;
mod finding;
mod flows;
mod hours;
mod judge;
mod keys;
mod load;
mod page;
mod profile;
mod query;
mod record;
mod rule;
mod site;
mod telemetry;
#[cfg(test)]
mod tests;

use codes::*;
use postern::cbor::Reader;
use postern::{Env, Input, Reply};

pub use judge::observe;
pub use query::query;

postern::entry_points! {
    init => init,
    execute => execute,
    timer => timer,
    query => query,
    observe => observe,
}

/// Runs once at deployment; the message is empty or an array of loaders.
pub fn init(input: &Input) -> Reply {
    if !input.message.is_empty() {
        assign::set_loaders(&mut Reader::new(input.message))?;
    }
    Ok(&[])
}

/// Judges evidence, where the host says that the message is that; else the
/// message is [operation, …] and changes profiles or what they are for.
pub fn execute(input: &Input) -> Reply {
    if let Some(device) = input.env.evidence {
        return judge::evidence(&input.env, device, input.message);
    }
    if input.env.parent.is_some() {
        return Err(NESTED);
    }
    let mut r = Reader::new(input.message);
    let args = r.array()?;
    let op = r.uint()?;
    if OPERANDS.get(op as usize) != Some(&args) {
        return Err(UNKNOWN_OPERATION);
    }
    require_loader(&input.env, op)?;
    match op {
        BEGIN => load::begin(&mut r),
        PUT_PAGES => load::put_pages(&mut r),
        PUT_RULES => load::put_rules(&mut r),
        ACTIVATE => load::activate(&input.env, &mut r),
        ABANDON => load::abandon(&input.env, &mut r),
        BIND_DEVICE => assign::device(&mut r),
        BIND_MODEL => assign::model(&mut r),
        SET_SITE => site::set(&mut r),
        SET_LOADERS => assign::set_loaders(&mut r),
        PARDON => judge::pardon(&mut r),
        _ => Err(UNKNOWN_OPERATION),
    }
}

/// Deletes a step of a version that is no longer needed.
pub fn timer(input: &Input) -> Reply {
    load::delete_step(&input.env, input.message)
}

const BEGIN: u64 = 1;
const PUT_PAGES: u64 = 2;
const PUT_RULES: u64 = 3;
const ACTIVATE: u64 = 4;
const ABANDON: u64 = 5;
const BIND_DEVICE: u64 = 6;
const BIND_MODEL: u64 = 7;
const SET_SITE: u64 = 8;
const SET_LOADERS: u64 = 9;
const PARDON: u64 = 10;

/// How many items the message of each operation has, itself included.
const OPERANDS: [usize; 11] = [0, 4, 4, 4, 6, 3, 3, 4, 2, 2, 2];

/// The contract's owner may do all; loaders all but name loaders and pardon.
fn require_loader(env: &Env, op: u64) -> Result<(), postern::Abort> {
    let caller = env.caller.ok_or(NOT_LOADER)?;
    if caller == env.owner || op != SET_LOADERS && op != PARDON && assign::is_loader(caller) {
        return Ok(());
    }
    Err(NOT_LOADER)
}
