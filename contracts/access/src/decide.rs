//! The decision: deny overrides, and what no rule permits is denied.
//!
//! State is read as late as possible: the active policy and the first page of
//! rules always, the subject's and the resource's record only once a rule asks
//! for them, a delegation only when no rule decides.

use crate::codes::*;
use crate::condition;
use crate::delegation;
use crate::entity::{property, Record};
use crate::hours::{self, Standing};
use crate::keys::{self, Key};
use crate::pages;
use crate::rule::{self, Effect, Match, Request as _};
use postern::cbor::{Cursor, Kind, Reader, Writer};
use postern::{now, state_get, Abort, Input, Reply, ROLE_ENFORCEMENT_POINT};

/// Reason codes of a verdict.
pub const BY_RULE: u64 = 1;
pub const BY_DELEGATION: u64 = 2;
pub const NO_RULE: u64 = 10;
pub const DENY_RULE: u64 = 11;
pub const OUTSIDE_HOURS: u64 = 12;
pub const TIME_UNKNOWN: u64 = 13;

/// A text item: its encoding and its bytes.
#[derive(Clone, Copy, Default)]
struct Text<'a> {
    raw: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Text<'a>, Abort> {
        let (raw, bytes) = r.text_item()?;
        if bytes.is_empty() {
            return Err(BAD_REQUEST);
        }
        Ok(Text { raw, bytes })
    }
}

/// A subject, action or resource of the request. An action has no type.
#[derive(Clone, Copy, Default)]
struct Party<'a> {
    kind: Text<'a>,
    id: Text<'a>,
    /// The properties that were sent; empty when there are none.
    sent: &'a [u8],
    /// The stored record, once it was looked for.
    stored: Option<Record<'a>>,
}

impl<'a> Party<'a> {
    /// Reads a subject or resource, or an action, whose fields are the same
    /// but for the type, which it lacks.
    fn read(&mut self, r: &mut Reader<'a>, typed: bool) -> Result<(), Abort> {
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(r)? {
            match (typed, key) {
                (true, 1) => self.kind = Text::read(r)?,
                (true, 2) | (false, 1) => self.id = Text::read(r)?,
                (true, 3) | (false, 2) => self.sent = map(r)?,
                _ => return Err(BAD_REQUEST),
            }
        }
        if typed && self.kind.bytes.is_empty() || self.id.bytes.is_empty() {
            return Err(BAD_REQUEST);
        }
        Ok(())
    }

    fn record(&mut self, version: u32) -> Record<'a> {
        if let Some(record) = self.stored {
            return record;
        }
        let key = Key::entity(version, self.kind.bytes, self.id.bytes);
        let raw = key.and_then(|key| state_get(key.bytes())).unwrap_or(&[0xa0]);
        *self.stored.insert(Record::stored(raw))
    }
}

fn map<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Abort> {
    if r.kind()? != Kind::Map {
        return Err(BAD_REQUEST);
    }
    Ok(r.raw()?)
}

/// A request with what is known about it.
#[derive(Default)]
struct Question<'a> {
    subject: Party<'a>,
    action: Party<'a>,
    resource: Party<'a>,
    context: &'a [u8],
    /// A device speaks for itself: what the policy knows of the resource
    /// stands against what the device says about it.
    stored_first: bool,
    version: u32,
    zones: &'a [u8],
    /// The request's own bits, those of the roles only once they are known.
    gates: rule::Gates,
    roles_known: bool,
    /// How long, in ms, no hours that were looked at change their answer.
    steady: u64,
}

impl<'a> Question<'a> {
    fn read(&mut self, message: &'a [u8]) -> Result<(), Abort> {
        let mut r = Reader::new(message);
        let mut seen = 0;
        let mut fields = r.fields()?;
        while let Some(key) = fields.next(&mut r)? {
            match key {
                1 => self.subject.read(&mut r, true)?,
                2 => self.action.read(&mut r, false)?,
                3 => self.resource.read(&mut r, true)?,
                4 => self.context = map(&mut r)?,
                _ => return Err(BAD_REQUEST),
            }
            seen |= 1 << key;
        }
        r.done()?;
        if seen & 0b1110 != 0b1110 {
            return Err(BAD_REQUEST);
        }
        self.gates[rule::SUBJECT_TYPE] = rule::gate(self.subject.kind.bytes);
        self.gates[rule::SUBJECT_ID] = rule::gate(self.subject.id.bytes);
        self.gates[rule::RESOURCE_ID] = rule::gate(self.resource.id.bytes);
        Ok(())
    }

    /// Whether a rule may concern the request, as far as its gates tell.
    fn passes(&mut self, entry: &pages::Entry) -> bool {
        for gate in [rule::SUBJECT_TYPE, rule::SUBJECT_ID, rule::RESOURCE_ID] {
            if !entry.opens(gate, self.gates[gate]) {
                return false;
            }
        }
        entry.is_open(rule::SUBJECT_ROLES) || entry.opens(rule::SUBJECT_ROLES, self.role_bits())
    }

    fn role_bits(&mut self) -> u16 {
        if !self.roles_known {
            self.roles_known = true;
            let roles = self.subject.record(self.version).roles;
            self.gates[rule::SUBJECT_ROLES] = rule::gate_of_list(&mut Cursor::new(roles));
        }
        self.gates[rule::SUBJECT_ROLES]
    }

    /// Reads version and zones of the active policy.
    fn use_active_policy(&mut self) -> Result<(), Abort> {
        let mut c = Cursor::new(state_get(keys::ACTIVE).ok_or(NO_POLICY)?);
        c.uint();
        self.version = c.uint() as u32;
        for _ in 0..4 {
            c.skip();
        }
        self.zones = c.rest();
        Ok(())
    }
}

impl<'a> condition::Facts<'a> for Question<'a> {
    fn value(&mut self, root: u64, name: &[u8]) -> Option<&'a [u8]> {
        match root {
            condition::SUBJECT_TYPE => Some(self.subject.kind.raw),
            condition::SUBJECT_ID => Some(self.subject.id.raw),
            condition::SUBJECT_PROPERTIES => property(self.subject.sent, name)
                .or_else(|| property(self.subject.record(self.version).properties, name)),
            condition::SUBJECT_ROLES => present(self.subject.record(self.version).roles),
            condition::ACTION_NAME => Some(self.action.id.raw),
            condition::ACTION_PROPERTIES => property(self.action.sent, name),
            condition::RESOURCE_TYPE => Some(self.resource.kind.raw),
            condition::RESOURCE_ID => Some(self.resource.id.raw),
            condition::RESOURCE_PROPERTIES if self.stored_first => {
                property(self.resource.record(self.version).properties, name)
                    .or_else(|| property(self.resource.sent, name))
            }
            condition::RESOURCE_PROPERTIES => property(self.resource.sent, name)
                .or_else(|| property(self.resource.record(self.version).properties, name)),
            condition::RESOURCE_OWNER => present(self.resource.record(self.version).owner),
            _ => property(self.context, name),
        }
    }
}

fn present(item: &[u8]) -> Option<&[u8]> {
    Some(item).filter(|item| !item.is_empty())
}

impl<'a> rule::Request<'a> for Question<'a> {
    fn subject_type(&self) -> &'a [u8] {
        self.subject.kind.bytes
    }

    fn subject_id(&self) -> &'a [u8] {
        self.subject.id.bytes
    }

    fn resource_type(&self) -> &'a [u8] {
        self.resource.kind.bytes
    }

    fn resource_id(&self) -> &'a [u8] {
        self.resource.id.bytes
    }

    fn subject_record(&mut self) -> Record<'a> {
        self.subject.record(self.version)
    }

    fn standing(&mut self, hours: &'a [u8]) -> Standing {
        let standing = hours::standing(hours, self.zones, now());
        if let Standing::Inside(left) | Standing::Outside(left) = standing {
            self.steady = self.steady.min(left);
        }
        standing
    }
}

/// What the rules say, as far as they were read.
#[derive(Default)]
struct Findings<'a> {
    permit: Option<Effect<'a>>,
    deny: Option<Effect<'a>>,
    /// The first permit that only its hours kept from holding, and whether
    /// the time was known.
    near: Option<(&'a [u8], bool)>,
}

impl<'a> Findings<'a> {
    /// Matches the rules of a page; false once one denies.
    fn read(&mut self, page: &'a [u8], q: &mut Question<'a>) -> bool {
        for entry in pages::entries(page) {
            if !q.passes(&entry) || self.permit.is_some() && rule::permits(entry.body) {
                continue;
            }
            match rule::matches(entry.body, q) {
                Match::No => {}
                Match::Outside(reason, known) => self.near = self.near.or(Some((reason, known))),
                Match::Yes(effect) if effect.permit => self.permit = Some(effect),
                Match::Yes(effect) => {
                    self.deny = Some(effect);
                    return false;
                }
            }
        }
        true
    }
}

/// Decides a request.
pub fn decide(input: &Input) -> Reply {
    let env = &input.env;
    let stored_first = env.device.is_some() && env.roles & ROLE_ENFORCEMENT_POINT == 0;
    let mut q = Question { stored_first, steady: u64::MAX, ..Question::default() };
    q.read(input.message)?;
    q.use_active_policy()?;
    let mut findings = Findings::default();
    if let Some(first) = Key::page(q.version, q.action.id.bytes, q.resource.kind.bytes) {
        read_pages(first, &mut q, &mut findings);
    }
    if let Some(deny) = findings.deny {
        return verdict(DENY_RULE, deny);
    }
    if let Some(mut permit) = findings.permit {
        permit.ttl = permit.ttl.min(q.steady);
        return verdict(BY_RULE, permit);
    }
    let delegated = if q.resource.record(q.version).owner.is_empty() { None } else { delegation_of(&mut q) };
    if delegated == Some(true) {
        return verdict(BY_DELEGATION, Effect { permit: true, ..Effect::default() });
    }
    let (code, reason) = match findings.near {
        Some((reason, true)) => (OUTSIDE_HOURS, reason),
        Some((reason, false)) => (TIME_UNKNOWN, reason),
        None if delegated == Some(false) => (TIME_UNKNOWN, &[][..]),
        None => (NO_RULE, &[][..]),
    };
    verdict(code, Effect { reason, ..Effect::default() })
}

fn read_pages<'a>(first: Key, q: &mut Question<'a>, findings: &mut Findings<'a>) {
    let page = state_get(first.bytes()).unwrap_or(&[]);
    let count = pages::count(page);
    let mut go_on = findings.read(page, q);
    for number in 1..count {
        if !go_on {
            return;
        }
        let page = state_get(first.with_page(number).bytes()).unwrap_or(&[]);
        go_on = findings.read(page, q);
    }
}

/// Whether the resource's owner delegated the action; Some(false) where only
/// the unknown time keeps the delegation from holding.
fn delegation_of(q: &mut Question) -> Option<bool> {
    let owner = Cursor::new(q.resource.record(q.version).owner).bytes();
    let parties = delegation::Parties {
        resource: (q.resource_type(), q.resource_id()),
        subject: (q.subject_type(), q.subject_id()),
    };
    let until = delegation::granted_until(&parties, owner, q.action.id.bytes)?;
    match now() {
        Some(now) => Some(true).filter(|_| now < until),
        None => Some(false),
    }
}

/// Writes the verdict: see the host's Verdict for the keys.
fn verdict(code: u64, effect: Effect) -> Reply {
    let mut w = Writer::new(64 + effect.reason.len() + effect.obligations.len());
    let present = [!effect.reason.is_empty(), !effect.obligations.is_empty(), effect.ttl > 0, effect.max_staleness.is_some()];
    w.map(2 + present.iter().filter(|&&p| p).count());
    w.uint(1).bool(effect.permit).uint(2).uint(code);
    if present[0] {
        w.uint(3).text_bytes(effect.reason);
    }
    if present[1] {
        w.uint(4).raw(effect.obligations);
    }
    if present[2] {
        w.uint(5).uint(effect.ttl);
    }
    if let Some(max) = effect.max_staleness {
        w.uint(6).uint(max);
    }
    Ok(w.finish()?)
}
