//! Breaking the glass: a permit that a rule marks so holds only once its
//! subject, or an enforcement point on its behalf, says why by a transaction,
//! and only for a time. That raises an alarm, which an admin who is neither
//! must acknowledge.
//!
//! An alarm's id is the first 8 bytes of its subject's digest and 8 bytes of
//! its number. An alarm is array(12) [acknowledged by (bytes, or null), id,
//! resource type, id, subject type, id, action, reason, by (bytes), at ms,
//! until ms, transaction (bytes)]. It goes once it is acknowledged and its
//! time is over: a timer at its end, or the acknowledgement, deletes it.
//! A broken glass is array(2) [alarm's id, until ms].

use crate::codes::*;
use crate::decide::{judge, BREAK_GLASS, BY_GLASS};
use crate::delegation::{hex, Parties};
use crate::form::{written, Form};
use crate::keys::{self, Key};
use crate::question::{Clock, Question};
use crate::walk::Walk;
use postern::cbor::Writer;
use postern::{emit, schedule, sha256, state_delete, state_get, state_set};
use postern::{Env, Scan, MAX_RESULT, ROLE_ENFORCEMENT_POINT};

/// Bytes of a reason.
const MAX_REASON: usize = 256;
/// Alarms that wait for their end or their acknowledgement: a quarter of the
/// timers that a contract may have, and a tenth for one subject, so that one
/// that was taken over does not keep the others out.
const MAX_ALARMS: u64 = 256;
const MAX_OF_SUBJECT: usize = 24;

/// Bytes of an alarm's id, which is also the message of its timer.
pub const ID: usize = 16;
const NULL: u8 = 0xf6;

/// A glass that was broken.
pub struct Broken {
    id: &'static [u8],
    pub until: i64,
}

/// The glass that was broken for an action, whether its time is over or not.
pub fn find(parties: &Parties, action: &[u8]) -> Option<Broken> {
    let mut c = Walk::new(state_get(key(parties, action).bytes())?);
    Some(Broken { id: c.next_bytes(), until: c.int() })
}

fn key(parties: &Parties, action: &[u8]) -> Key {
    Key::hashed(keys::GLASS, &parties.digest(action))
}

impl Broken {
    /// A rule's obligations with {"alarm": number, "until": ms} behind them.
    pub fn obligations(&self, others: &[u8]) -> &'static [u8] {
        let mut c = Walk::new(others);
        let count = c.count();
        let mut w = Writer::new(others.len() + 48);
        w.array(count + 1).raw(c.rest()).map(2).text("alarm");
        w.uint(number(self.id)).text("until").int(self.until);
        w.finish().unwrap_or(&[0x80])
    }
}

fn number(id: &[u8]) -> u64 {
    id[ID / 2..].iter().fold(0, |v, &c| v << 8 | c as u64)
}

/// [15, request, reason]: breaks the glass for what the request asks for. A
/// caller that is no enforcement point asks for itself.
#[inline(never)]
pub fn break_glass(env: &Env, r: &mut Form) -> &'static [u8] {
    let (request, reason) = (r.raw(), r.text());
    r.done();
    if reason.is_empty() || reason.len() > MAX_REASON {
        refuse(NO_REASON);
    }
    let caller = env.caller.unwrap_or_else(|| refuse(NOT_SUBJECT));
    let mut q = Question::new(env, Clock::At(Some(env.time)));
    q.read(request, 0);
    if env.roles & ROLE_ENFORCEMENT_POINT == 0 {
        let kind = if env.device.is_some() { "device" } else { "account" };
        if q.subject.kind.bytes != kind.as_bytes() || q.subject.id.bytes != hex(caller) {
            refuse(NOT_SUBJECT);
        }
        q.subject.set_sent(env.device.map_or(&[], properties));
    }
    q.use_active_policy();
    let (code, effect) = judge(&mut q);
    if code != BREAK_GLASS {
        refuse(if code == BY_GLASS { BROKEN } else { NO_GLASS });
    }
    raise(env, &q, reason, env.time + effect.glass as i64)
}

/// The properties of a device's record as its decisions get them.
fn properties(record: &[u8]) -> &'static [u8] {
    // Manufacturer, model, serial and labels have the keys 2, 3, 4 and 6.
    let mut fields: [&[u8]; 7] = [&[0x60]; 7];
    fields[6] = &[0xa0];
    let mut c = Walk::new(record);
    for _ in 0..c.uint() {
        let key = c.uint() as usize;
        let value = c.raw();
        if let Some(field) = fields.get_mut(key) {
            *field = value;
        }
    }
    let mut w = Writer::new(record.len() + 64);
    w.map(4).text("model").raw(fields[3]).text("labels").raw(fields[6]);
    w.text("serial").raw(fields[4]).text("manufacturer").raw(fields[2]);
    w.finish().unwrap_or(&[])
}

/// Stores the broken glass and its alarm, and tells of it.
#[inline(never)]
fn raise(env: &Env, q: &Question, reason: &str, until: i64) -> &'static [u8] {
    let parties = q.parties();
    let (last, count) = counts();
    let mut subject = Writer::new(8 + parties.subject.0.len() + parties.subject.1.len());
    subject.array(2).text_bytes(parties.subject.0).text_bytes(parties.subject.1);
    let mut id = [0; ID];
    id[..ID / 2].copy_from_slice(&sha256(written(subject))[..ID / 2]);
    id[ID / 2..].copy_from_slice(&(last + 1).to_be_bytes());
    let mine = Key::hashed(keys::ALARM, &id[..ID / 2]);
    let mut others = Scan::new(mine.bytes(), mine.bytes());
    if count >= MAX_ALARMS || (0..MAX_OF_SUBJECT).all(|_| others.next().is_some()) {
        refuse(TOO_MANY_ALARMS);
    }
    let mut w = Writer::new(1024);
    w.array(12).null().bytes(&id);
    parties.write(&mut w);
    w.text_bytes(q.action.id.bytes).text(reason).bytes(env.caller.unwrap_or(&[]));
    w.int(env.time).int(until).bytes(env.transaction.unwrap_or(&[]));
    let alarm = written(w);
    state_set(Key::hashed(keys::ALARM, &id).bytes(), alarm);
    let mut w = Writer::new(48);
    w.array(2).bytes(&id).int(until);
    state_set(key(&parties, q.action.id.bytes).bytes(), written(w));
    set_counts(last + 1, count + 1);
    schedule(until, &id);
    emit("broke-glass", alarm);
    alarm
}

/// How many alarms there ever were, and how many there are.
fn counts() -> (u64, u64) {
    let mut c = Walk::new(state_get(keys::ALARMS).unwrap_or(&[0x82, 0, 0]));
    c.uint();
    (c.uint(), c.uint())
}

fn set_counts(last: u64, count: u64) {
    let mut w = Writer::new(24);
    w.array(2).uint(last).uint(count);
    state_set(keys::ALARMS, written(w));
}

/// An alarm as it is stored.
struct Alarm {
    key: Key,
    id: &'static [u8],
    acknowledged: bool,
    /// All behind the first item.
    rest: &'static [u8],
    subject: &'static [u8],
    by: &'static [u8],
    until: i64,
    /// The glass that was broken.
    glass: Key,
}

impl Alarm {
    fn read(id: &[u8]) -> Option<Alarm> {
        let key = Key::hashed(keys::ALARM, id);
        let mut c = Walk::new(state_get(key.bytes())?);
        c.uint();
        let acknowledged = c.raw() != [NULL];
        let rest = c.rest();
        let id = c.bytes();
        let parties = Parties { resource: (c.bytes(), c.bytes()), subject: (c.bytes(), c.bytes()) };
        let glass = self::key(&parties, c.bytes());
        c.bytes();
        let by = c.bytes();
        c.int();
        Some(Alarm { key, id, acknowledged, rest, subject: parties.subject.1, by, until: c.int(), glass })
    }

    /// Mends the glass, unless it was broken again since.
    fn mend(&self) {
        if state_get(self.glass.bytes()).map_or(false, |open| open.get(2..2 + ID) == Some(self.id)) {
            state_delete(self.glass.bytes());
        }
    }

    fn remove(&self) {
        let (last, count) = counts();
        state_delete(self.key.bytes());
        set_counts(last, count.saturating_sub(1))
    }
}

/// [16, alarm's id, close]: an admin has seen the alarm; the glass is mended at
/// once where it says so.
#[inline(never)]
pub fn acknowledge(env: &Env, r: &mut Form) -> &'static [u8] {
    let (id, close) = (r.bytes_of(ID), r.bool());
    r.done();
    let alarm = Alarm::read(id).unwrap_or_else(|| refuse(NOT_FOUND));
    let caller = env.caller.unwrap_or_else(|| refuse(OWN_ALARM));
    if caller == alarm.by || hex(caller) == alarm.subject {
        refuse(OWN_ALARM);
    }
    let over = close || env.time >= alarm.until;
    if over {
        alarm.mend();
        alarm.remove();
    } else {
        let mut w = Writer::new(alarm.rest.len() + 64);
        w.array(12).bytes(caller).raw(alarm.rest);
        state_set(alarm.key.bytes(), written(w));
    }
    let mut w = Writer::new(64);
    w.array(3).bytes(id).bytes(caller).bool(close);
    emit("alarm-acknowledged", written(w));
    &[]
}

/// Mends a glass when its time is over; its alarm stays until somebody has
/// acknowledged it.
pub fn expire(id: &[u8]) -> &'static [u8] {
    if let Some(alarm) = Alarm::read(id) {
        alarm.mend();
        if alarm.acknowledged {
            alarm.remove();
        }
    }
    &[]
}

/// [8, alarm's id, limit]: the alarms behind an id (empty: from the first), in
/// the order of their ids; as many as fit.
#[inline(never)]
pub fn list(r: &mut Form) -> &'static [u8] {
    let (after, limit) = (r.bytes(), r.uint());
    r.done();
    let prefix = [keys::ALARM];
    let mut w = Writer::new(MAX_RESULT - 8);
    let mut count = 0;
    let mut scan = Scan::new(&prefix, Key::hashed(keys::ALARM, after.get(..ID).unwrap_or(&[])).bytes());
    while let Some((key, alarm)) = scan.next() {
        if count as u64 >= limit || w.room() < alarm.len() {
            break;
        }
        if &key[1..] != after {
            w.raw(alarm);
            count += 1;
        }
    }
    let alarms = written(w);
    let mut w = Writer::new(MAX_RESULT);
    w.array(count).raw(alarms);
    written(w)
}
