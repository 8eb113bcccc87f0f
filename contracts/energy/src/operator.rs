//! Operators, each the key of a person, and the emergency stop.

use crate::codes::*;
use crate::message::Reason;
use postern::{done, ensure, record, reply, Abort, Device, Env, Id, Item, Map, Reply, Topic};

/// Whose account it is: a pseudonym that the owner chose. Two accounts of one
/// person bear the same, so that nobody approves with a second key.
pub const PERSONS: Map<Id, Id> = Map::new("operator/");

const STOP: Item<Stop> = Item::new("stop");
const STOPPED_EVENT: Topic<(u64, Id, Reason)> = Topic::new("stopped");
const LIFTING_EVENT: Topic<(u64, Id)> = Topic::new("lift-asked");
const LIFTED_EVENT: Topic<(u64, Id)> = Topic::new("lifted");

record! {
    /// The newest emergency stop.
    pub struct Stop {
        1 => pub number: u64,
        2 => pub holds: bool,
        3 => pub by: Id,
        4 => pub at: i64,
        5 => pub reason: Reason,
        /// Who asked first to lift it.
        6 => pub lifter: Option<Id>,
    }
}

/// An operator who acts.
pub struct Operator {
    pub account: Id,
    pub person: Id,
}

/// The person of an operator's account.
pub fn person(account: &Id) -> Result<Option<Id>, Abort> {
    PERSONS.get(account)
}

pub fn name(account: Id, person: Id) -> Reply {
    ensure!(Device::get(account.0).is_none(), IS_DEVICE);
    PERSONS.set(&account, &person);
    done()
}

pub fn remove(account: Id) -> Reply {
    PERSONS.delete(&account);
    done()
}

/// The newest stop, None before the first.
pub fn newest() -> Result<Option<Stop>, Abort> {
    STOP.get()
}

/// The number of the newest stop, 0 before the first. Refuses while it holds.
pub fn running() -> Result<u64, Abort> {
    match newest()? {
        Some(stop) if stop.holds => Err(STOPPED),
        Some(stop) => Ok(stop.number),
        None => Ok(0),
    }
}

/// Stops everything, or once more, which makes void what was said to lift the
/// stop before.
pub fn stop(env: &Env, by: &Operator, reason: Reason) -> Reply {
    let number = newest()?.map_or(0, |s| s.number) + 1;
    STOP.set(&Stop { number, holds: true, by: by.account, at: env.time, reason, lifter: None });
    STOPPED_EVENT.emit(&(number, by.account, reason));
    reply(&number)
}

/// Lifts a stop, once a second person says so as well. Answers whether it is
/// lifted.
pub fn lift(by: &Operator, number: u64) -> Reply {
    let mut stop = newest()?.filter(|s| s.holds && s.number == number).ok_or(NOT_STOPPED)?;
    let first = match stop.lifter {
        Some(account) => person(&account)?, // None: removed since, and counts no more
        None => None,
    };
    match first {
        None => {
            stop.lifter = Some(by.account);
            LIFTING_EVENT.emit(&(number, by.account));
        }
        Some(person) => {
            ensure!(person != by.person, SAME_PERSON);
            stop.holds = false;
            LIFTED_EVENT.emit(&(number, by.account));
        }
    }
    STOP.set(&stop);
    reply(&!stop.holds)
}
