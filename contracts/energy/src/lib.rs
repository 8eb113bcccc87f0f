//! The energy contract: commands to a grid's devices within limits, windows and
//! the approval of two persons, and meter readings that are plausible.
//! README.md documents every message, event and code.
//!
//! One story a file: `operator` says who may command and stops everything,
//! `limit` what may be commanded, `command` the way of a command from proposal
//! to its device's word, `expiry` what becomes of those that nobody carried
//! out, `meter` and `correction` what was used.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod codes;
mod command;
mod correction;
mod expiry;
mod limit;
mod message;
mod meter;
mod operator;
mod query;
#[cfg(test)]
mod tests;
mod zone;

use codes::*;
use message::Command;
use postern::{ensure, Abort, Context, Env, Id, Reply};

pub use expiry::timer;
pub use query::query;

postern::entry_points! {
    execute => execute,
    timer => timer,
    query => query,
}

/// The account that signed. What another contract asks, or a device's evidence,
/// is nobody's command: it would speak in its signer's name by accident.
fn signer(env: &Env<'static>) -> Result<Id, Abort> {
    ensure!(env.parent.is_none() && env.evidence.is_none(), NESTED);
    env.caller.and_then(Id::of).ok_or(NOT_OPERATOR)
}

fn execute(c: &Context) -> Reply {
    let caller = signer(&c.env)?;
    match c.parse_message()? {
        m @ (Command::SetZone { .. }
        | Command::NameOperator { .. }
        | Command::RemoveOperator { .. }
        | Command::AddDevice { .. }
        | Command::RemoveDevice { .. }
        | Command::SetLimit { .. }
        | Command::SetDeviceLimit { .. }
        | Command::SetMeter { .. }) => {
            ensure!(c.env.caller == Some(c.env.owner), NOT_OWNER);
            arrange(m)
        }
        Command::Confirm { command, outcome } => command::confirm(&c.env, caller, command, outcome),
        Command::Read { readings } => meter::read(&c.env, caller, readings),
        m => {
            let person = operator::person(&caller)?.ok_or(NOT_OPERATOR)?;
            ensure!(c.env.device.is_none(), IS_DEVICE); // enrolled after it was named
            operate(&c.env, operator::Operator { account: caller, person }, m)
        }
    }
}

/// What the owner alone does.
fn arrange(m: Command) -> Reply {
    match m {
        Command::SetZone { steps } => zone::set(steps),
        Command::NameOperator { account, person } => operator::name(account, person),
        Command::RemoveOperator { account } => operator::remove(account),
        Command::AddDevice { device, kind } => limit::add_device(device, kind),
        Command::RemoveDevice { device } => limit::remove_device(device),
        Command::SetLimit { kind, action, limit } => limit::set(kind, action, limit),
        Command::SetDeviceLimit { device, action, limit } => limit::set_of_device(device, action, limit),
        Command::SetMeter { device, rule } => meter::set(device, rule),
        _ => Err(NOT_OWNER),
    }
}

/// What operators do.
fn operate(env: &Env, by: operator::Operator, m: Command) -> Reply {
    match m {
        Command::Propose { device, action, value, from, until } => {
            command::propose(env, &by, command::Wish { device, action, value, from, until })
        }
        Command::Approve { command } => command::approve(env, &by, command),
        Command::Cancel { command } => command::cancel(env, &by, command),
        Command::Stop { reason } => operator::stop(env, &by, reason),
        Command::Lift { stop } => operator::lift(&by, stop),
        Command::ProposeCorrection { meter, day, energy, counter, reason } => {
            correction::propose(env, &by, correction::Wish { meter, day, energy, counter, reason })
        }
        Command::ApproveCorrection { correction } => correction::approve(env, &by, correction),
        _ => Err(NOT_OPERATOR),
    }
}
