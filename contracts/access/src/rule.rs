//! Rules. A rule is array(2) [target, body]; its target says which requests
//! it concerns, its body is all that a decision needs and is stored once for
//! each action.
//!
//! Target, a map: 1 resource type, 2 actions (array of text), 3 description.
//! Body, a map of which 1 and 2 are always there:
//!
//! ```text
//! 1 id                        8 groups: [[relation, type, id], …], any of them
//! 2 permit (bool)             9 condition
//! 3 subject types            10 hours
//! 4 subject ids              11 reason id, in place of the rule's id
//! 5 subject roles, any       12 obligations (array)
//! 6 resource ids             13 time to live, ms
//! 7 relation that the        14 staleness accepted, ms
//!   subject must have to
//!   the resource
//! ```
//!
//! The order of the fields is the order in which they are tested.

use crate::codes::*;
use crate::condition::{self, Facts};
use crate::entity::{self, Record};
use crate::form::Form;
use crate::hours::{self, Standing};
use crate::keys;
use crate::walk::Walk;
use postern::cbor::{Cursor, Kind};

/// Bytes of a rule's body, and of its obligations.
const MAX_BODY: usize = 4 << 10;
const MAX_OBLIGATIONS: usize = 1 << 10;
const MAX_DESCRIPTION: usize = 512;
/// How many actions a rule names, and how many types, ids, roles or groups.
const MAX_ACTIONS: usize = 32;
const MAX_LIST: usize = 64;
/// A day: how long an answer may be cached, how stale its state may be, and
/// how long a broken glass stays open: for a minute at least.
const MAX_AGE: u64 = 24 * 3600 * 1000;
const MIN_GLASS: u64 = 60 * 1000;

/// The fields of relations that are handed on.
const RELATION_ALONG: u64 = 15;
pub const GROUPS_ALONG: u64 = 16;

/// A rule as it was written.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    /// The encoded array of actions.
    pub actions: &'a [u8],
    pub body: &'a [u8],
    /// The whole rule.
    pub raw: &'a [u8],
}

/// Reads and checks a rule; its hours must name one of the zones.
pub fn parse<'a>(r: &mut Form<'a>, zones: &[u8]) -> Written<'a> {
    let raw = r.raw();
    let mut r = Form::new(raw);
    r.array_of(2);
    let (kind, actions) = parse_target(&mut r);
    let body = r.raw();
    if body.len() > MAX_BODY {
        refuse(TOO_LARGE);
    }
    let id = check_body(&mut Form::new(body), zones);
    Written { id, kind, actions, body, raw }
}

/// A stored rule, which was checked when it was written.
pub fn stored(raw: &[u8]) -> Written {
    let mut c = Walk::new(raw);
    c.uint();
    let mut target = Walk::new(c.raw());
    let body = c.raw();
    target.uint();
    let kind = text(target.next_bytes());
    target.uint();
    Written { id: text(body_id(body)), kind, actions: target.raw(), body, raw }
}

/// The id in a stored body, its first field.
pub fn body_id(body: &[u8]) -> &[u8] {
    let mut c = Walk::new(body);
    c.uint();
    c.next_bytes()
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or("")
}

fn parse_target<'a>(r: &mut Form<'a>) -> (&'a str, &'a [u8]) {
    let (mut kind, mut actions) = ("", &[][..]);
    let mut fields = r.fields();
    while let Some(key) = r.key(&mut fields) {
        match key {
            1 => kind = keys::name(r),
            2 => actions = check_actions(r),
            3 if r.text().len() <= MAX_DESCRIPTION => {}
            _ => refuse(BAD_RULE),
        }
    }
    if kind.is_empty() || actions.is_empty() {
        refuse(BAD_RULE);
    }
    (kind, actions)
}

/// Checks the actions, none of which may stand twice: a rule is stored once
/// for each.
fn check_actions<'a>(r: &mut Form<'a>) -> &'a [u8] {
    let raw = r.raw();
    let mut list = Form::new(raw);
    let count = list.array();
    if count == 0 || count > MAX_ACTIONS {
        refuse(BAD_RULE);
    }
    let mut seen = [""; MAX_ACTIONS];
    for i in 0..count {
        let action = keys::name(&mut list);
        if seen[..i].contains(&action) {
            refuse(BAD_RULE);
        }
        seen[i] = action;
    }
    raw
}

fn check_body<'a>(r: &mut Form<'a>, zones: &[u8]) -> &'a str {
    let (mut id, mut effect, mut permit) = ("", false, false);
    let mut fields = r.fields();
    while let Some(key) = r.key(&mut fields) {
        match key {
            1 => id = keys::name(r),
            2 => {
                permit = r.bool();
                effect = true
            }
            3 | 5 => {
                entity::check_names(r, MAX_LIST, BAD_RULE);
            }
            4 | 6 => check_ids(r),
            7 | 11 => {
                keys::name(r);
            }
            8 => entity::check_relations(r, BAD_RULE),
            9 => condition::check(r),
            10 => hours::check(r, zones),
            12 => check_obligations(r),
            13 | 14 => {
                r.uint_max(MAX_AGE);
            }
            RELATION_ALONG => {
                r.array_of(3);
                keys::name(r);
                check_along(r);
                check_along(r)
            }
            GROUPS_ALONG => {
                r.array_of(2);
                check_along(r);
                entity::check_relations(r, BAD_RULE)
            }
            17 if r.uint_max(MAX_AGE) >= MIN_GLASS && permit => {}
            _ => refuse(BAD_RULE),
        }
    }
    if id.is_empty() || !effect {
        refuse(BAD_RULE);
    }
    id
}

/// Checks the name of a relation, which may be empty.
fn check_along(r: &mut Form) {
    require(r.text().len() <= keys::MAX_NAME, BAD_RULE)
}

fn check_ids(r: &mut Form) {
    let count = r.array();
    if count == 0 || count > MAX_LIST {
        refuse(BAD_RULE);
    }
    for _ in 0..count {
        keys::id(r);
    }
}

fn check_obligations(r: &mut Form) {
    if r.kind() != Kind::Array || r.raw().len() > MAX_OBLIGATIONS {
        refuse(BAD_RULE);
    }
}

/// Bits that tell cheaply which rules cannot concern a request: one set for
/// each of subject type, subject id, subject roles and resource id. A rule's
/// sets hold a bit for each text that it names, and all bits where it has no
/// such test; it can match only if each shares a bit with the request's.
pub type Gates = [u16; 4];

pub const SUBJECT_TYPE: usize = 0;
pub const SUBJECT_ID: usize = 1;
pub const SUBJECT_ROLES: usize = 2;
pub const RESOURCE_ID: usize = 3;

/// Gates as a page holds them, in one number, so that all are tested at once.
pub fn packed(gates: Gates) -> u64 {
    gates.iter().rev().fold(0, |all, gate| all << 16 | gate.swap_bytes() as u64)
}

/// The gate of the roles in packed gates.
pub const ROLES: u64 = 0xffff << (16 * SUBJECT_ROLES);

/// Whether each of the gates that two have in common is open: no 16 bits of
/// them are all zero.
#[inline(always)]
pub fn open(common: u64) -> bool {
    const LOWEST: u64 = 0x0001_0001_0001_0001;
    common.wrapping_sub(LOWEST) & !common & LOWEST << 15 == 0
}

/// The bit of a text. Texts that share one cost time, nothing else.
pub fn gate(text: &[u8]) -> u16 {
    match text {
        [first, .., last] => 1 << (text.len() + 5 * *first as usize + 11 * *last as usize) % 16,
        _ => 1,
    }
}

/// The bits of an encoded array of texts.
pub fn gate_of_list(c: &mut Cursor) -> u16 {
    (0..c.uint()).fold(0, |bits, _| bits | gate(c.bytes()))
}

/// The gates of a body.
pub fn gates(body: &[u8]) -> Gates {
    let mut gates = [u16::MAX; 4];
    let mut c = Cursor::new(body);
    for _ in 0..c.uint() {
        match c.uint() {
            3 => gates[SUBJECT_TYPE] = gate_of_list(&mut c),
            4 => gates[SUBJECT_ID] = gate_of_list(&mut c),
            5 => gates[SUBJECT_ROLES] = gate_of_list(&mut c),
            6 => gates[RESOURCE_ID] = gate_of_list(&mut c),
            _ => c.skip(),
        }
    }
    gates
}

/// What a rule that concerns a request leaves in the verdict.
#[derive(Clone, Copy, Default)]
pub struct Effect<'a> {
    pub permit: bool,
    pub reason: &'a [u8],
    /// Encoded; empty when there are none.
    pub obligations: &'a [u8],
    pub ttl: u64,
    /// None: any staleness.
    pub max_staleness: Option<u64>,
    /// How long, in ms, breaking the glass opens a permit that does not hold
    /// without; 0 where it does.
    pub glass: u64,
}

/// How a rule stands to a request.
pub enum Match<'a> {
    /// It does not concern the request.
    No,
    /// It does.
    Yes(Effect<'a>),
    /// It is a permit that would, but for its hours (None: the time is not
    /// known). The reason's id.
    Outside(&'a [u8], bool),
}

/// What rules are matched against.
pub trait Request<'a>: Facts<'a> {
    fn subject_type(&self) -> &'a [u8];
    fn subject_id(&self) -> &'a [u8];
    fn resource_type(&self) -> &'a [u8];
    fn resource_id(&self) -> &'a [u8];
    fn subject_record(&mut self) -> Record<'a>;
    /// How encoded hours stand to the time of the decision.
    fn standing(&mut self, hours: &'a [u8]) -> Standing;
    /// Whether the encoded relation to the resource, or one of the groups, was
    /// handed on to the subject; None where that is not known.
    fn inherits(&mut self, key: u64, relation: &'a [u8]) -> Option<bool>;
}

/// Whether a stored body is a permit, which is its second field.
pub fn permits(body: &[u8]) -> bool {
    let mut c = Cursor::new(body);
    c.uint();
    c.uint();
    c.bytes();
    c.uint();
    c.bool()
}

/// Matches a stored body against a request.
pub fn matches<'a, R: Request<'a>>(body: &'a [u8], q: &mut R) -> Match<'a> {
    let mut effect = Effect::default();
    let mut standing = None;
    let mut c = Cursor::new(body);
    for _ in 0..c.uint() {
        let concerned = match c.uint() {
            1 => {
                effect.reason = c.bytes();
                true
            }
            2 => {
                effect.permit = c.bool();
                true
            }
            3 => c.has(q.subject_type()),
            4 => c.has(q.subject_id()),
            5 => entity::shares(&mut c, q.subject_record().roles),
            6 => c.has(q.resource_id()),
            7 => {
                let (kind, id) = (q.resource_type(), q.resource_id());
                q.subject_record().related(c.bytes(), kind, id)
            }
            8 => in_group(&mut c, q.subject_record()),
            9 => condition::holds(&mut c, q),
            10 => {
                standing = Some(q.standing(c.raw()));
                true
            }
            11 => {
                effect.reason = c.bytes();
                true
            }
            12 => {
                effect.obligations = c.raw();
                true
            }
            13 => {
                effect.ttl = c.uint();
                true
            }
            14 => {
                effect.max_staleness = Some(c.uint());
                true
            }
            17 => {
                effect.glass = c.uint();
                true
            }
            key => q.inherits(key, c.raw()).unwrap_or(!effect.permit),
        };
        if !concerned {
            return Match::No;
        }
    }
    conclude(effect, standing)
}

/// Applies the hours: where the time is not known, a denial holds and a
/// permit does not.
fn conclude(effect: Effect, standing: Option<Standing>) -> Match {
    match standing {
        Some(Standing::Outside(_)) if effect.permit => Match::Outside(effect.reason, true),
        Some(Standing::Unknown) if effect.permit => Match::Outside(effect.reason, false),
        Some(Standing::Outside(_)) => Match::No,
        _ => Match::Yes(effect),
    }
}

fn in_group(c: &mut Cursor, subject: Record) -> bool {
    let mut groups = Cursor::new(c.raw());
    for _ in 0..groups.uint() {
        groups.uint();
        if subject.related(groups.bytes(), groups.bytes(), groups.bytes()) {
            return true;
        }
    }
    false
}
