//! What is remembered of a device between observations: by a gateway, in its
//! local record, and on the ledger, of the evidence against it. An array:
//!
//! ```text
//! [time, score, theft score, report time, bytes, last report, evidence time,
//!  [[id, time, exponent, mantissa, place], …]]
//! ```
//!
//! Scores are in 1/1024 and those at `time`; report time is by when the reports
//! so far would be due at the rate that is admitted; bytes are those that flow
//! beyond the rate; id is the hash of a name and a rule.

use crate::profile::Settings;
use postern::cbor::{Cursor, Decimal, Writer};

/// Units of a score.
pub const UNIT: u64 = 1024;
const MAX_SCORE: u64 = 1 << 40;
/// How many values are remembered; the oldest is forgotten first.
const MAX_TRACKED: usize = 64;
const HOUR: u64 = 3_600_000;
const MINUTE: i64 = 60_000;

/// The last value of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    pub id: u64,
    pub time: i64,
    pub value: Decimal,
    /// The place of its text among those that the rule names.
    pub place: u64,
}

pub struct Record {
    pub time: i64,
    pub score: u64,
    pub theft: u64,
    due: i64,
    bytes: u64,
    pub last: i64,
    pub evidence: i64,
    tracked: [Tracked; MAX_TRACKED],
    count: usize,
}

impl Record {
    /// Reads a record; None is that of a device that was never seen.
    pub fn read(raw: Option<&[u8]>) -> Record {
        let mut c = Cursor::new(raw.unwrap_or(&[0x80]));
        let fields = c.uint();
        let mut record = Record {
            time: i64::MIN,
            score: 0,
            theft: 0,
            due: 0,
            bytes: 0,
            last: i64::MIN,
            evidence: i64::MIN,
            tracked: [Tracked::default(); MAX_TRACKED],
            count: 0,
        };
        if fields != 8 {
            return record;
        }
        record.time = c.int();
        record.score = c.uint();
        record.theft = c.uint();
        record.due = c.int();
        record.bytes = c.uint();
        record.last = c.int();
        record.evidence = c.int();
        record.count = (c.uint() as usize).min(MAX_TRACKED);
        for t in &mut record.tracked[..record.count] {
            c.uint();
            *t = Tracked { id: c.uint(), time: c.int(), value: Decimal { exponent: c.int(), mantissa: c.int() }, place: c.uint() };
        }
        record
    }

    /// The record's encoding.
    pub fn encode(&self) -> &'static [u8] {
        let mut w = Writer::new(postern::MAX_LOCAL);
        w.array(8).int(self.time).uint(self.score).uint(self.theft).int(self.due).uint(self.bytes);
        w.int(self.last).int(self.evidence).array(self.count);
        for t in &self.tracked[..self.count] {
            w.array(5).uint(t.id).int(t.time).int(t.value.exponent).int(t.value.mantissa).uint(t.place);
        }
        w.finish().unwrap_or(&[0x80])
    }

    /// Moves the record on to a time. Where that is before the record's, none
    /// passes: clocks of gateways differ. A clock that was ahead by more than an
    /// hour was wrong, and must not keep scores from ever decaying.
    pub fn age(&mut self, now: i64, settings: &Settings) {
        let wrong = self.time.saturating_sub(now) > HOUR as i64;
        let passed = if self.time == i64::MIN { 0 } else { now.saturating_sub(self.time).max(0) as u64 };
        self.time = if wrong { now } else { self.time.max(now) };
        self.score = decayed(self.score, passed, settings.half_life);
        self.theft = decayed(self.theft, passed, settings.half_life);
        let drained = passed as u128 * settings.bytes as u128 / HOUR as u128;
        self.bytes = (self.bytes as u128).saturating_sub(drained) as u64;
    }

    /// Counts a report, and tells whether there are more of them than admitted.
    /// A minute's worth may come at once.
    pub fn report(&mut self, a_minute: u64) -> bool {
        self.last = self.time;
        if a_minute == 0 {
            return false;
        }
        let gap = (MINUTE / a_minute as i64).max(1);
        self.due = self.due.max(self.time).min(self.time.saturating_add(2 * MINUTE)).saturating_add(gap);
        self.due > self.time.saturating_add(MINUTE)
    }

    /// Counts bytes, and tells whether there are more of them than admitted. An
    /// hour's worth may come at once.
    pub fn transfer(&mut self, bytes: u64, an_hour: u64) -> bool {
        if an_hour == 0 {
            return false;
        }
        self.bytes = self.bytes.saturating_add(bytes).min(an_hour.saturating_mul(2));
        self.bytes > an_hour
    }

    /// Adds to the scores.
    pub fn add(&mut self, weight: u64, theft: u64) {
        let sum = |score: u64, weight: u64| score.saturating_add(weight.saturating_mul(UNIT)).min(MAX_SCORE);
        self.score = sum(self.score, weight);
        self.theft = sum(self.theft, theft);
    }

    /// Remembers a value and returns the one that it follows.
    pub fn follow(&mut self, value: Tracked) -> Option<Tracked> {
        let known = &mut self.tracked[..self.count];
        if let Some(t) = known.iter_mut().find(|t| t.id == value.id) {
            return Some(core::mem::replace(t, value));
        }
        if self.count < MAX_TRACKED {
            self.tracked[self.count] = value;
            self.count += 1;
        } else if let Some(oldest) = known.iter_mut().min_by_key(|t| t.time) {
            *oldest = value;
        }
        None
    }
}

/// A score after some time: half of it each half-life, in a straight line
/// between.
fn decayed(score: u64, passed: u64, half_life: u64) -> u64 {
    let half_life = half_life.max(1);
    let halvings = passed / half_life;
    if halvings >= 64 {
        return 0;
    }
    let score = score >> halvings;
    let lost = score as u128 * (passed % half_life) as u128 / (2 * half_life as u128);
    score - lost as u64
}
