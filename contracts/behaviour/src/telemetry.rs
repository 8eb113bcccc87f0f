//! Judging telemetry, and where a device says it is, by the profile's rules.

use crate::finding::{Finding, Findings, Line};
use crate::profile::{Settings, STRICT_NAMES};
use crate::record::{Record, Tracked};
use crate::rule::{self, Rule, MAX_RULES};
use postern::cbor::Decimal;
use postern::{Abort, Measurement, Observation};

/// Judges the records of an observation. At most one finding a record is told.
#[inline(never)]
pub fn judge(o: &Observation, rules: &[u8], settings: &Settings, record: &mut Record, out: &mut Findings) -> Result<(), Abort> {
    let mut list = [Rule::default(); MAX_RULES];
    let count = rule::read(rules, &mut list);
    for item in o.items::<Measurement>() {
        let m = item?;
        let (mut known, mut told) = (false, false);
        for (place, rule) in list[..count].iter().enumerate() {
            if !rule.concerns(m.name.as_bytes()) {
                continue;
            }
            known = true;
            // Every rule sees the record, since it remembers what came before.
            if let Some((kind, why)) = broken(rule, place, &m, record) {
                let kind = if rule.theft { Finding::SignOfTheft } else { kind };
                let weight = if rule.weight > 0 { rule.weight } else { settings.weight(kind as usize) };
                if !told && weight > 0 {
                    told = true;
                    tell(kind, weight, &m, why, out);
                }
            }
        }
        let weight = settings.weight(Finding::UnknownName as usize);
        if !known && settings.flags & STRICT_NAMES != 0 && weight > 0 {
            tell(Finding::UnknownName, weight, &m, "has a name that no rule knows", out);
        }
    }
    Ok(())
}

/// How a record breaks a rule that concerns it.
#[inline(never)]
fn broken(rule: &Rule, place: usize, m: &Measurement, record: &mut Record) -> Option<(Finding, &'static str)> {
    use Finding::*;
    if rule.unit.map_or(false, |unit| unit != m.unit.as_bytes()) {
        return Some((WrongForm, "has another unit"));
    }
    if let Some(wanted) = rule.bool {
        match m.bool {
            None => return Some((WrongForm, "is not a yes or no")),
            Some(told) if told != wanted => return Some((UnexpectedState, "is not what it should be")),
            _ => {}
        }
    }
    state(rule, place, m, record).or_else(|| value(rule, place, m, record))
}

fn state(rule: &Rule, place: usize, m: &Measurement, record: &mut Record) -> Option<(Finding, &'static str)> {
    rule.texts?;
    let text = match m.text {
        Some(text) => text,
        None => return Some((Finding::WrongForm, "is not a text")),
    };
    let told = match rule.place(text.as_bytes()) {
        Some(told) => told,
        None if rule.stays() => id(text, 0),
        None => return Some((Finding::UnexpectedState, "is none of those expected")),
    };
    let before = record.follow(Tracked { id: id(m.name, place), time: record.time, place: told, ..Tracked::default() });
    let follows = before.map_or(true, |before| rule.follows(before.place, told));
    Some((Finding::UnexpectedState, "may not follow the one before")).filter(|_| !follows)
}

fn value(rule: &Rule, place: usize, m: &Measurement, record: &mut Record) -> Option<(Finding, &'static str)> {
    if rule.least.is_none() && rule.most.is_none() && rule.change.is_none() {
        return None;
    }
    let value = match m.value {
        Some(value) => value,
        None => return Some((Finding::WrongForm, "is not a number")),
    };
    let fast = rule.change.map_or(false, |change| changed_too_fast(change, place, value, m, record));
    if rule.least.map_or(false, |least| value < least) {
        return Some((Finding::ValueOutOfRange, "is below its range"));
    }
    if rule.most.map_or(false, |most| value > most) {
        return Some((Finding::ValueOutOfRange, "is above its range"));
    }
    Some((Finding::ChangeTooFast, "changes too fast")).filter(|_| fast)
}

/// Whether a value differs from the last by more than a change a minute admits.
/// A record's own time counts unless it lies ahead; records of one time are
/// taken to be a millisecond apart, so that no clock hides a jump.
fn changed_too_fast(change: Decimal, place: usize, value: Decimal, m: &Measurement, record: &mut Record) -> bool {
    let time = m.time.unwrap_or(record.time).min(record.time);
    let last = match record.follow(Tracked { id: id(m.name, place), time, value, place: 0 }) {
        Some(last) => last,
        None => return false,
    };
    // Both lie within 2^64 units of 10^-18, so only the product can overflow,
    // and then it is more than any difference.
    let difference = (value.scaled() - last.value.scaled()).unsigned_abs();
    let passed = time.saturating_sub(last.time).max(1) as u128;
    let a_minute = change.scaled().unsigned_abs();
    let admitted = (a_minute / 60_000).saturating_mul(passed).saturating_add((a_minute % 60_000).saturating_mul(passed) / 60_000);
    difference > admitted
}

/// FNV-1a with 32 bits over the rule's place and the name: what is remembered
/// of two names with one hash is taken for one, which at worst is a finding.
fn id(name: &str, place: usize) -> u64 {
    let step = |hash: u32, c: u8| (hash ^ c as u32).wrapping_mul(0x0100_0193);
    name.bytes().fold(step(0x811c_9dc5, place as u8), step) as u64
}

fn tell(kind: Finding, weight: u64, m: &Measurement, why: &str, out: &mut Findings) {
    let mut line = Line::new();
    line.quoted(m.name.as_bytes());
    if let Some(value) = m.value {
        line.text(" = ").decimal(value);
    } else if let Some(text) = m.text {
        line.text(" = ").quoted(text.as_bytes());
    }
    line.text(" ").text(why);
    out.add(kind, weight, &line);
}
