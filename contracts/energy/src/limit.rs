//! Devices, and what they may be told: a limit for each kind and action, which a
//! device's own replaces.

use crate::codes::*;
use crate::command::OPEN;
use crate::message::{Action, Kind};
use crate::zone;
use postern::{done, ensure, record, Abort, Device, Id, List, Map, Reply, Status, Text};

pub const DEVICES: Map<Id, Registered> = Map::new("device/");
const OF_KIND: Map<(&'static str, &'static str), Limit> = Map::new("kind/");
const OF_DEVICE: Map<(Id, &'static str), Limit> = Map::new("own/");

/// Windows are tested one by one with each command.
const MAX_WINDOWS: usize = 16;
const DAY_MINUTES: u16 = 24 * 60;
/// Beyond it a rate means nothing: a day between two commands.
const MAX_GAP: u64 = 24 * 3_600_000;
/// Values stay far from where arithmetic ends.
const MAX_VALUE: i64 = 1 << 53;

record! {
    /// A device that takes commands.
    pub struct Registered {
        1 => pub kind: Kind,
        /// How many of its commands are open.
        2 => pub open: u32,
    }
}

record! {
    /// What an action's value may be.
    pub struct Limit {
        /// Of the value, for people: "W", "%".
        1 => pub unit: Text<'static, 16>,
        2 => pub min: i64,
        3 => pub max: i64,
        /// How far the value may be from the one before.
        4 => pub step: Option<u64>,
        /// Values farther than this from 0 need a second person; -1: all do.
        5 => pub alone: i64,
        /// ms after which one more command is admitted; 0: no rate.
        6 => pub gap: u64,
        /// How many commands may come at once.
        7 => pub burst: u32,
        /// When commands may be carried out: days (bits from Monday), from and to
        /// in local minutes; None for always.
        8 => pub windows: Option<List<'static, (u8, u16, u16)>>,
    }
}

impl Limit {
    fn check(&self) -> Result<(), Abort> {
        ensure!(-MAX_VALUE <= self.min && self.min <= self.max && self.max <= MAX_VALUE, BAD_LIMIT);
        ensure!(self.alone >= -1 && self.gap <= MAX_GAP && (self.gap == 0 || self.burst > 0), BAD_LIMIT);
        let windows = match self.windows {
            Some(windows) => windows,
            None => return Ok(()),
        };
        ensure!((1..=MAX_WINDOWS).contains(&windows.len()), TOO_MANY);
        for (i, window) in windows.iter().enumerate() {
            let (days, from, to) = window?;
            ensure!(days != 0 && days < 128 && from < DAY_MINUTES && to <= DAY_MINUTES, BAD_LIMIT.of_item(i));
        }
        Ok(())
    }

    /// Whether a value needs a second person.
    pub fn needs_second(&self, value: i64) -> bool {
        value.unsigned_abs() as i128 > self.alone as i128
    }

    /// Refuses a value that is out of range, or too far from the one before.
    pub fn admits_value(&self, value: i64, before: Option<i64>) -> Result<(), Abort> {
        ensure!(self.min <= value && value <= self.max, OUT_OF_LIMIT);
        if let (Some(step), Some(before)) = (self.step, before) {
            ensure!(value.abs_diff(before) <= step, STEP_TOO_LARGE);
        }
        Ok(())
    }

    /// Refuses a time of which not all lies within one window.
    pub fn admits_time(&self, from: i64, until: i64) -> Result<(), Abort> {
        let windows = match self.windows {
            Some(windows) => windows,
            None => return Ok(()),
        };
        let local = zone::local(from)?;
        let end = local + (until - from);
        for window in windows.iter() {
            if holds(window?, local, end) {
                return Ok(());
            }
        }
        Err(OUTSIDE_WINDOWS)
    }
}

/// Whether a local time span lies within a window, of today or of yesterday: one
/// that ends no later than it begins ends on the next day.
fn holds((days, from, to): (u8, u16, u16), start: i64, end: i64) -> bool {
    let length = if to > from { to - from } else { DAY_MINUTES - from + to };
    let today = start.div_euclid(zone::DAY);
    [today, today - 1].iter().any(|&day| {
        // 1970-01-01 was a Thursday, the fourth day of its week.
        let weekday = (day + 3).rem_euclid(7);
        let opens = day * zone::DAY + from as i64 * zone::MINUTE;
        days >> weekday & 1 == 1 && opens <= start && end <= opens + length as i64 * zone::MINUTE
    })
}

pub fn add_device(device: Id, kind: Kind) -> Reply {
    ensure!(!kind.as_str().is_empty(), BAD_NAME);
    require_active(&device)?;
    // Some may be left of when it was registered before.
    let open = OPEN.iter_of(&device).count() as u32;
    DEVICES.set(&device, &Registered { kind, open });
    done()
}

pub fn remove_device(device: Id) -> Reply {
    DEVICES.delete(&device);
    done()
}

/// Refuses a device that the ledger does not know as active.
pub fn require_active(device: &Id) -> Result<(), Abort> {
    ensure!(Device::get(device.0).map(|d| d.status()) == Some(Status::Active), NOT_ACTIVE);
    Ok(())
}

pub fn set(kind: Kind, action: Action, limit: Option<Limit>) -> Reply {
    ensure!(!kind.as_str().is_empty() && !action.as_str().is_empty(), BAD_NAME);
    let key = (kind.as_str(), action.as_str());
    match limit {
        Some(limit) => {
            limit.check()?;
            OF_KIND.set(&key, &limit);
        }
        None => OF_KIND.delete(&key),
    }
    done()
}

pub fn set_of_device(device: Id, action: Action, limit: Option<Limit>) -> Reply {
    ensure!(!action.as_str().is_empty(), BAD_NAME);
    ensure!(DEVICES.has(&device), UNKNOWN_DEVICE);
    let key = (device, action.as_str());
    match limit {
        Some(limit) => {
            limit.check()?;
            OF_DEVICE.set(&key, &limit);
        }
        None => OF_DEVICE.delete(&key),
    }
    done()
}

/// The limit that holds for a registered device and an action.
pub fn of(device: &Id, action: Action) -> Result<Limit, Abort> {
    let registered = DEVICES.get(device)?.ok_or(UNKNOWN_DEVICE)?;
    match OF_DEVICE.get(&(*device, action.as_str()))? {
        Some(limit) => Ok(limit),
        None => OF_KIND.get(&(registered.kind.as_str(), action.as_str()))?.ok_or(NO_LIMIT),
    }
}
