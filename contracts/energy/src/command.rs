//! The way of a command: proposed by an operator, approved by a second person
//! where its value asks for one, fetched by its device, and confirmed by it.
//!
//! Limits, windows, operators and the emergency stop are tested when a command
//! is proposed, when it is approved and again as long as it is shown to its
//! device: a limit that is lowered holds for what was approved before.

use crate::codes::*;
use crate::expiry;
use crate::limit::{self, Limit, DEVICES};
use crate::message::Action;
use crate::operator::{self, Operator};
use postern::{done, ensure, record, reply, Abort, Env, Id, Item, Map, Reply, Topic};

pub const COMMANDS: Map<u64, Command> = Map::new("command/");
/// The open commands of each device.
pub const OPEN: Map<(Id, u64), ()> = Map::new("open/");
const TRACKS: Map<(Id, &'static str), Track> = Map::new("track/");
const LAST: Item<u64> = Item::new("last-command");

const PROPOSED_EVENT: Topic<(u64, Id, Action, i64)> = Topic::new("proposed");
const READY_EVENT: Topic<(u64, Id)> = Topic::new("ready");
const CANCELLED_EVENT: Topic<(u64, Id)> = Topic::new("cancelled");
const CONFIRMED_EVENT: Topic<(u64, Id, u8)> = Topic::new("confirmed");
const LATE_EVENT: Topic<(u64, Id)> = Topic::new("late");

/// A device's open commands are walked whenever it asks.
const MAX_OPEN: u32 = 16;
/// How far ahead a command may end: a month, so that expiry stays near.
const MAX_AHEAD: i64 = 31 * crate::zone::DAY;

/// States of a command.
pub const PROPOSED: u8 = 0;
pub const READY: u8 = 1;
/// As its device says: it did, it would not (3), it failed (4).
pub const EXECUTED: u8 = 2;
pub const CANCELLED: u8 = 5;
pub const EXPIRED_STATE: u8 = 6;
/// Carried out when it was no longer, or not yet, to be.
pub const LATE: u8 = 7;
/// Outcomes that a device may tell.
const OUTCOMES: u8 = 3;

record! {
    /// A command and what became of it.
    pub struct Command {
        1 => pub device: Id,
        2 => pub action: Action,
        3 => pub value: i64,
        4 => pub from: i64,
        5 => pub until: i64,
        6 => pub state: u8,
        /// The number of the newest emergency stop when it was proposed.
        7 => pub stop: u64,
        8 => pub by: Id,
        9 => pub person: Id,
        10 => pub approver: Option<Id>,
        11 => pub approver_person: Option<Id>,
        /// When it became ready.
        12 => pub ready: Option<i64>,
        /// When it was closed.
        13 => pub closed: Option<i64>,
    }
}

record! {
    /// What is remembered of a device's action.
    struct Track {
        /// The value that the device carried out last.
        1 => value: Option<i64>,
        /// By when the commands so far would be due at the rate that is admitted.
        2 => due: i64,
    }
}

/// What an operator wants.
pub struct Wish {
    pub device: Id,
    pub action: Action,
    pub value: i64,
    pub from: i64,
    pub until: i64,
}

fn track(device: Id, action: Action) -> Result<Track, Abort> {
    Ok(TRACKS.get(&(device, action.as_str()))?.unwrap_or(Track { value: None, due: 0 }))
}

pub fn propose(env: &Env, by: &Operator, w: Wish) -> Reply {
    let stop = operator::running()?;
    let limit = limit::of(&w.device, w.action)?;
    limit::require_active(&w.device)?;
    ensure!(w.from < w.until && env.time < w.until && w.until <= env.time + MAX_AHEAD, BAD_TIME);
    ensure!(w.from >= env.time - MAX_AHEAD, BAD_TIME);
    limit.admits_value(w.value, track(w.device, w.action)?.value)?;
    limit.admits_time(w.from, w.until)?;
    let number = open(env, &w)?;
    PROPOSED_EVENT.emit(&(number, w.device, w.action, w.value));
    let mut command = w.by(by, stop);
    if limit.needs_second(w.value) {
        COMMANDS.set(&number, &command);
    } else {
        make_ready(env, number, &mut command, &limit)?;
    }
    reply(&number)
}

/// Takes a number, and one of the device's places, until the command is closed.
fn open(env: &Env, w: &Wish) -> Result<u64, Abort> {
    let mut registered = DEVICES.load(&w.device)?;
    ensure!(registered.open < MAX_OPEN, TOO_MANY_OPEN);
    registered.open += 1;
    DEVICES.set(&w.device, &registered);
    let number = LAST.get()?.unwrap_or(0) + 1;
    LAST.set(&number);
    OPEN.set(&(w.device, number), &());
    expiry::add(env, w.until, number)?;
    Ok(number)
}

impl Wish {
    fn by(&self, by: &Operator, stop: u64) -> Command {
        Command {
            device: self.device,
            action: self.action,
            value: self.value,
            from: self.from,
            until: self.until,
            state: PROPOSED,
            stop,
            by: by.account,
            person: by.person,
            approver: None,
            approver_person: None,
            ready: None,
            closed: None,
        }
    }
}

pub fn approve(env: &Env, by: &Operator, number: u64) -> Reply {
    let mut command = find(number)?;
    ensure!(command.state == PROPOSED, NOT_PROPOSED);
    ensure!(command.person != by.person && command.by != by.account, SAME_PERSON);
    command.approver = Some(by.account);
    command.approver_person = Some(by.person);
    let limit = live(&command, env.time)?;
    make_ready(env, number, &mut command, &limit)?;
    done()
}

/// Lets the device have a command, if the rate of commands admits one more.
fn make_ready(env: &Env, number: u64, command: &mut Command, limit: &Limit) -> Result<(), Abort> {
    if limit.gap > 0 {
        let mut track = track(command.device, command.action)?;
        let due = track.due.max(env.time);
        let ahead = limit.gap as i64 * (limit.burst as i64 - 1);
        ensure!(due - env.time <= ahead, TOO_OFTEN);
        track.due = due + limit.gap as i64;
        TRACKS.set(&(command.device, command.action.as_str()), &track);
    }
    command.state = READY;
    command.ready = Some(env.time);
    COMMANDS.set(&number, command);
    READY_EVENT.emit(&(number, command.device));
    Ok(())
}

fn find(number: u64) -> Result<Command, Abort> {
    COMMANDS.get(&number)?.ok_or(UNKNOWN_COMMAND)
}

/// The limit of a command that may be carried out, or why it may not.
pub fn live(command: &Command, now: i64) -> Result<Limit, Abort> {
    ensure!(operator::running()? == command.stop, STOPPED);
    ensure!(now < command.until, EXPIRED);
    ensure!(operator::person(&command.by)? == Some(command.person), WITHDRAWN);
    if let Some(account) = command.approver {
        ensure!(operator::person(&account)? == command.approver_person, WITHDRAWN);
    }
    let limit = limit::of(&command.device, command.action)?;
    ensure!(command.approver.is_some() || !limit.needs_second(command.value), NOT_READY);
    limit.admits_value(command.value, track(command.device, command.action)?.value)?;
    limit.admits_time(command.from, command.until)?;
    Ok(limit)
}

pub fn cancel(env: &Env, by: &Operator, number: u64) -> Reply {
    let mut command = find(number)?;
    ensure!(command.state <= READY, CLOSED);
    close(env, number, &mut command, CANCELLED)?;
    CANCELLED_EVENT.emit(&(number, by.account));
    done()
}

/// The device's own word: 0 it did, 1 it would not, 2 it failed. That it did what
/// was void by then is no reason to refuse its word, but to raise an alarm.
pub fn confirm(env: &Env, caller: Id, number: u64, outcome: u8) -> Reply {
    let mut command = find(number)?;
    ensure!(command.device == caller, NOT_ADDRESSED);
    ensure!(outcome < OUTCOMES, postern::cbor::Error::Range.into());
    ensure!(command.ready.is_some(), NOT_READY);
    ensure!(matches!(command.state, READY | CANCELLED | EXPIRED_STATE), CLOSED);
    limit::require_active(&caller)?;
    let timely = command.state == READY && command.from <= env.time && live(&command, env.time).is_ok();
    let state = if outcome == 0 && !timely { LATE } else { EXECUTED + outcome };
    if outcome == 0 {
        let mut track = track(command.device, command.action)?;
        track.value = Some(command.value);
        TRACKS.set(&(command.device, command.action.as_str()), &track);
    }
    close(env, number, &mut command, state)?;
    match state {
        LATE => LATE_EVENT.emit(&(number, caller)),
        _ => CONFIRMED_EVENT.emit(&(number, caller, outcome)),
    }
    reply(&state)
}

/// Closes a command; one that is closed already only gets another state.
pub fn close(env: &Env, number: u64, command: &mut Command, state: u8) -> Result<(), Abort> {
    if command.state <= READY {
        expiry::remove(command.until, number);
        OPEN.delete(&(command.device, number));
        if let Some(mut registered) = DEVICES.get(&command.device)? {
            registered.open = registered.open.saturating_sub(1);
            DEVICES.set(&command.device, &registered);
        }
    }
    command.state = state;
    command.closed = Some(env.time);
    COMMANDS.set(&number, command);
    Ok(())
}
