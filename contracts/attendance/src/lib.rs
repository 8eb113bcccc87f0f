//! The attendance contract: pupils under pseudonyms are seen by a school's
//! readers, parents are told at the right hour when one is missing, homework is
//! done and confirmed, teachers give feedback and points. README.md documents
//! every message, event and code.
//!
//! One story a file: `school` names who works there and when it is open, `pupil`
//! who learns and who their parents are, `presence` who was seen or excused,
//! `alarm` who is missing, `homework` and `reward` what comes of it, `access`
//! who may see it, `retention` when it is forgotten.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod access;
mod alarm;
mod codes;
mod homework;
mod message;
mod presence;
mod pupil;
mod query;
mod retention;
mod reward;
mod school;
#[cfg(test)]
mod tests;
mod zone;

use codes::*;
use message::{Command, Tick};
use postern::{ensure, Abort, Context, Env, Id, Reply};

pub use access::decide;
pub use query::query;

postern::entry_points! {
    execute => execute,
    timer => timer,
    query => query,
    decide => decide,
}

/// The account that signed. What another contract asks, or a device's evidence,
/// is nobody's word: it would speak in its signer's name by accident.
fn signer(env: &Env<'static>) -> Result<Id, Abort> {
    ensure!(env.parent.is_none() && env.evidence.is_none(), NESTED);
    env.caller.and_then(Id::of).ok_or(NOT_OFFICE)
}

fn execute(c: &Context) -> Reply {
    let by = signer(&c.env)?;
    match c.parse_message()? {
        Command::NameOffice { account, on } => {
            ensure!(c.env.caller == Some(c.env.owner), NOT_OWNER);
            school::name_office(account, on)
        }
        Command::Sight { sightings } => presence::sight(&c.env, by, sightings),
        Command::Excuse { pupil, from, to, excused, note } => {
            presence::excuse(&c.env, by, presence::Excuse { pupil, from, to, excused, note })
        }
        Command::Assign { class, due, content } => homework::assign(&c.env, by, class, due, content),
        Command::HandIn { pupil, number, work } => homework::hand_in(&c.env, by, pupil, number, work),
        Command::Confirm { pupil, number, points } => homework::confirm(&c.env, by, pupil, number, points),
        Command::Feedback { pupil, sealed, points } => reward::feedback(&c.env, by, pupil, sealed, points),
        Command::Spend { pupil, reward } => reward::spend(&c.env, by, pupil, reward),
        m => {
            ensure!(school::is_office(&c.env, &by), NOT_OFFICE);
            arrange(&c.env, m)
        }
    }
}

/// What the school's office does.
fn arrange(env: &Env, m: Command) -> Reply {
    match m {
        Command::SetZone { steps } => zone::set(steps),
        Command::SetTerm { number, first, last } => school::set_term(number, first, last),
        Command::SetDaysOff { days, off } => school::set_days_off(days, off),
        Command::NameReader { device, on } => school::name_reader(device, on),
        Command::SetClass { class, hours, grace, early } => school::set_class(env, class, hours, grace, early),
        Command::NameTeacher { class, account, on } => school::name_teacher(class, account, on),
        Command::Place { pupil, class, account } => pupil::place(pupil, class, account),
        Command::Remove { pupil } => pupil::remove(pupil),
        Command::SetParents { pupil, parents } => pupil::set_parents(pupil, parents),
        Command::Offer { reward, cost, content } => reward::offer(reward, cost, content),
        Command::Forget { term } => retention::forget(env, term),
        _ => Err(NOT_OFFICE),
    }
}

fn timer(c: &Context) -> Reply {
    match c.parse_message()? {
        Tick::Alarm => alarm::ring(&c.env),
        Tick::Forget { term } => retention::step(&c.env, term),
    }
}
