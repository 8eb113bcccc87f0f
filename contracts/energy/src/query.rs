//! What anybody may ask on a node. Answers are those of the last block: an idle
//! chain's is old, so devices compare a command's times with their own clock.

use crate::codes::*;
use crate::command::{self, COMMANDS, OPEN};
use crate::limit;
use crate::message::Question;
use crate::meter::{Day, DAYS};
use crate::operator::PERSONS;
use postern::{ensure, record, reply, Context, Id, Item, Map, Raw, Reply, Rows};

/// Rows of an answer.
const MAX_ROWS: u8 = 64;
/// Days of a total: a leap year's.
const MAX_DAYS: u32 = 366;

record! {
    /// What a meter told over some days, the first and the last included.
    #[derive(Default)]
    struct Total {
        1 => energy: u64,
        2 => corrected: i64,
        3 => readings: u64,
        4 => flags: u64,
        /// On how many days anything was told.
        5 => days: u32,
    }
}

/// What is stored is answered as it is stored, under the same prefixes.
const STORED_COMMANDS: Map<u64, Raw> = Map::new("command/");
const STORED_CORRECTIONS: Map<u64, Raw> = Map::new("correction/");
const STORED_DEVICES: Map<Id, Raw> = Map::new("device/");
const STORED_METERS: Map<Id, Raw> = Map::new("meter/");
const STORED_FLAGS: Map<(Id, u8), Raw> = Map::new("flag/");
const STORED_DAYS: Map<(Id, u32), Raw> = Map::new("day/");
const STORED_STOP: Item<Raw> = Item::new("stop");

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Command { command } => reply(&STORED_COMMANDS.get(&command)?),
        Question::Pending { device, after, limit } => commands(device, after, limit, Some(c.env.time)),
        Question::Open { device, after, limit } => commands(device, after, limit, None),
        Question::Limit { device, action } => reply(&limit::of(&device, action)?),
        Question::Stop => reply(&STORED_STOP.get()?),
        Question::Device { device } => reply(&STORED_DEVICES.get(&device)?),
        Question::Operators { after, limit } => operators(after, limit),
        Question::Meter { meter } => reply(&STORED_METERS.get(&meter)?),
        Question::Days { meter, from, limit } => days(meter, from, limit),
        Question::Total { meter, from, to } => total(meter, from, to),
        Question::Flags { meter, after, limit } => flags(meter, after, limit),
        Question::Correction { correction } => reply(&STORED_CORRECTIONS.get(&correction)?),
    }
}

/// The open commands of a device; those that it may carry out, where a time is
/// given.
fn commands(device: Id, after: Option<u64>, limit: u8, now: Option<i64>) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in OPEN.iter_of(&device) {
        let number = entry?.0 .1;
        if Some(number) <= after {
            continue;
        }
        let command = COMMANDS.load(&number)?;
        let shown = match now {
            Some(now) => command.state == command::READY && command::live(&command, now).is_ok(),
            None => true,
        };
        if shown && !rows.add(&(number, command)) {
            break;
        }
    }
    rows.reply()
}

fn operators(after: Option<Id>, limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in PERSONS.iter_from(&after.unwrap_or(Id(&[0; 32]))) {
        let row = entry?;
        if Some(row.0) != after && !rows.add(&row) {
            break;
        }
    }
    rows.reply()
}

fn flags(meter: Id, after: Option<u8>, limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in STORED_FLAGS.iter_of(&meter) {
        let ((_, slot), flag) = entry?;
        if Some(slot) > after && !rows.add(&(slot, flag)) {
            break;
        }
    }
    rows.reply()
}

fn days(meter: Id, from: u32, limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in STORED_DAYS.iter_from(&(meter, from)) {
        let ((of, day), sum) = entry?;
        if of != meter || !rows.add(&(day, sum)) {
            break;
        }
    }
    rows.reply()
}

fn total(meter: Id, from: u32, to: u32) -> Reply {
    ensure!(from <= to && to - from < MAX_DAYS, BAD_TIME);
    let mut total = Total::default();
    for entry in DAYS.iter_from(&(meter, from)) {
        let ((of, day), sum): ((Id, u32), Day) = entry?;
        if of != meter || day > to {
            break;
        }
        total.add(&sum);
    }
    reply(&total)
}

impl Total {
    fn add(&mut self, day: &Day) {
        self.energy = self.energy.saturating_add(day.energy);
        self.corrected = self.corrected.saturating_add(day.corrected);
        self.readings += day.readings as u64;
        self.flags += day.flags as u64;
        self.days += 1;
    }
}
