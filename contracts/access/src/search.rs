//! Search: which subjects, resources or actions would be permitted. Each
//! candidate is judged by the same code as a decision, so that both agree.
//!
//! Candidates are the entities of the type that is sought, and the actions of
//! the rules on the resource's type and those that its owner delegated. A call
//! looks at a bounded number of them; the cursor says where the next goes on.

use crate::codes::*;
use crate::decide::judge;
use crate::delegation;
use crate::entity::Record;
use crate::form::{written, Form};
use crate::keys::{self, Key};
use crate::pages::{MAX_PAGES, NONE};
use crate::question::{Clock, Question, Text, ACTION, RESOURCE, SUBJECT};
use postern::cbor::Writer;
use postern::{state_has, Input, Reply, Scan, MAX_KEY, MAX_RESULT};

/// Rows that one call looks at, and bytes that it reads of other records and
/// rules before it ends: that bounds its gas and its memory.
const MAX_ROWS: usize = 64;
const MAX_WEIGHT: usize = 256 << 10;
/// Results of one call: they fit an answer whatever their ids.
const MAX_FOUND: u64 = 64;
/// What a cursor begins with: the first bytes of the policy's digest.
const STAMP: usize = 8;
/// Where the cursor stands once the rules' actions are through.
const GRANTS: &[u8] = &[0xff];

/// [what, request, cursor, limit, now]: answers [[id or action, …], next
/// cursor or null]. What is 1 for subjects, 2 for actions, 3 for resources; now
/// is below 0 where the clock is not trusted.
pub fn search(input: &Input) -> Reply {
    let mut r = Form::new(input.message);
    r.array_of(5);
    let (what, request, cursor, limit) = (r.uint(), r.raw(), r.bytes(), r.uint());
    let now = Some(r.int()).filter(|&now| now >= 0);
    r.done();
    if !(SUBJECT..=RESOURCE).contains(&what) || cursor.len() > MAX_KEY {
        refuse(BAD_REQUEST);
    }
    let kept = [NONE; MAX_PAGES as usize];
    let mut q = Question::new(&input.env, Clock::At(now));
    q.read(request, what);
    let stamp = &q.use_active_policy()[..STAMP];
    let from = match cursor.get(..STAMP) {
        None => &[][..],
        Some(old) if old == stamp => &cursor[STAMP..],
        Some(_) => refuse(CHANGED),
    };
    if what != ACTION {
        q.kept = Some(&kept);
    }
    let mut found = Found { items: Writer::new(MAX_RESULT - MAX_KEY - 16), count: 0, limit: limit.clamp(1, MAX_FOUND) };
    let next = candidates(&q, what, from, &mut found);
    let mut w = Writer::new(MAX_RESULT);
    w.array(2).array(found.count as usize).raw(written(found.items));
    match next {
        None => w.null(),
        Some(tail) => {
            let cursor = postern::buffer(STAMP + tail.len());
            cursor[..STAMP].copy_from_slice(stamp);
            cursor[STAMP..].copy_from_slice(tail);
            w.bytes(cursor)
        }
    };
    Ok(written(w))
}

/// What was found.
struct Found {
    items: Writer,
    count: u64,
    limit: u64,
}

impl Found {
    /// Judges a candidate and takes it if it is permitted. Returns the bytes
    /// that this read.
    fn judge(&mut self, mut q: Question, text: &[u8]) -> usize {
        if judge(&mut q).1.permit {
            self.items.text_bytes(text);
            self.count += 1;
        }
        q.weight
    }
}

/// Judges the candidates from a key's tail on; returns where to go on.
fn candidates(q: &Question, what: u64, from: &[u8], found: &mut Found) -> Option<&'static [u8]> {
    if from != GRANTS {
        if let Some(tail) = rows(q, what, from, found) {
            return Some(tail);
        }
    }
    if what != ACTION {
        return None;
    }
    // At most 32 grants: they fit, or all go into the next call.
    if found.count > 0 && found.limit - found.count < delegation::MAX_GRANTS as u64 {
        return Some(GRANTS);
    }
    grants(q, found);
    None
}

/// Judges what the state holds: entities, or the actions of rules.
#[inline(never)]
fn rows(q: &Question, what: u64, from: &[u8], found: &mut Found) -> Option<&'static [u8]> {
    let kind = if what == SUBJECT { q.subject.kind } else { q.resource.kind }.bytes;
    let prefix = match what {
        ACTION => Some(Key::kind(q.version, keys::PAGE)),
        _ => Key::entity(q.version, kind, &[]),
    };
    let prefix = prefix?;
    let start = prefix.and(from);
    let mut scan = Scan::new(prefix.bytes(), start.bytes());
    let (mut seen, mut weight) = (0, 0);
    while let Some((key, value)) = scan.next() {
        let tail = &key[prefix.bytes().len()..];
        if seen == MAX_ROWS || weight > MAX_WEIGHT || found.count == found.limit {
            return Some(Key::hashed(tail[0], &tail[1..]).bytes());
        }
        seen += 1;
        weight += row(q, what, kind, tail, value, found);
    }
    None
}

fn row(q: &Question, what: u64, kind: &[u8], tail: &[u8], value: &[u8], found: &mut Found) -> usize {
    let mut q = *q;
    let text = if what == ACTION { action_of(tail, kind) } else { tail };
    if text.is_empty() {
        return 0;
    }
    let item = Text::encode(text);
    match what {
        SUBJECT => {
            q.subject.id = item;
            q.subject.stored = Some(Record::stored(value));
            q.load_subject();
        }
        ACTION => q.action.id = item,
        _ => {
            q.resource.id = item;
            q.resource.stored = Some(Record::stored(value));
        }
    }
    q.set_gates();
    found.judge(q, text)
}

/// The action in a page's key, if it is the first page of a list on the type.
fn action_of<'a>(tail: &'a [u8], kind: &[u8]) -> &'a [u8] {
    let (action, rest) = tail[1..].split_at(tail[0] as usize);
    match rest {
        [_, rest @ .., 0, 0] if rest == kind => action,
        _ => &[],
    }
}

/// Judges the actions that the resource's owner delegated and no rule is about.
#[inline(never)]
fn grants(q: &Question, found: &mut Found) {
    delegation::each_action(&q.parties(), |action| {
        let ruled = Key::page(q.version, action, q.resource.kind.bytes).map_or(true, |key| state_has(key.bytes()));
        if !ruled {
            let mut q = *q;
            q.action.id = Text::encode(action);
            found.judge(q, action);
        }
    });
}
