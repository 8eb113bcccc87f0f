//! A request with what is known about it.
//!
//! State is read as late as possible: the subject's and the resource's record
//! only once a rule asks for them, and once for a request.

use crate::codes::*;
use crate::condition;
use crate::delegation::Parties;
use crate::entity::{property, Record};
use crate::form::{written, Form};
use crate::hours::{self, Standing};
use crate::inherit::Climb;
use crate::keys::{self, Key};
use crate::pages::{self, Kept};
use crate::policy::FIELDS;
use crate::roles;
use crate::rule::{self, Request as _};
use crate::walk::Walk;
use postern::cbor::{Cursor, Kind, Writer};
use postern::{state_get, Env, ROLE_ENFORCEMENT_POINT};

/// A text item: its encoding and its bytes.
#[derive(Clone, Copy, Default)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    pub bytes: &'a [u8],
}

impl<'a> Text<'a> {
    #[inline(never)]
    fn read(r: &mut Form<'a>) -> Text<'a> {
        let (raw, bytes) = r.text_item();
        Text { raw, bytes }
    }

    /// Encodes a text that is known to be one.
    pub fn encode(bytes: &'a [u8]) -> Text<'a> {
        let mut w = Writer::new(bytes.len() + 5);
        w.text_bytes(bytes);
        Text { raw: written(w), bytes }
    }
}

/// A subject, action or resource of the request. An action has no type.
#[derive(Clone, Copy, Default)]
pub struct Party<'a> {
    pub kind: Text<'a>,
    pub id: Text<'a>,
    /// The properties that were sent; empty when there are none.
    sent: &'a [u8],
    /// The stored record, once it was looked for.
    pub stored: Option<Record<'a>>,
}

impl<'a> Party<'a> {
    /// Reads a subject or resource, or an action, whose fields are the same
    /// but for the type, which it lacks.
    #[inline(never)]
    fn read(&mut self, r: &mut Form<'a>, typed: bool) {
        let mut fields = r.fields();
        while let Some(key) = r.key(&mut fields) {
            match (typed, key) {
                (true, 1) => self.kind = Text::read(r),
                (true, 2) | (false, 1) => self.id = Text::read(r),
                (true, 3) | (false, 2) => self.sent = map(r),
                _ => refuse(BAD_REQUEST),
            }
        }
    }

    /// Says for sure what the subject's properties are.
    pub fn set_sent(&mut self, properties: &'a [u8]) {
        self.sent = properties;
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

fn map<'a>(r: &mut Form<'a>) -> &'a [u8] {
    require(r.kind() == Kind::Map, BAD_REQUEST);
    r.raw()
}

/// Parts of a request, as bits: their keys.
pub const SUBJECT: u64 = 1;
pub const ACTION: u64 = 2;
pub const RESOURCE: u64 = 3;

/// Where the time comes from: from the host, or from the message that the
/// ledger made or the block that it stands in.
#[derive(Clone, Copy)]
pub enum Clock {
    Host,
    /// None: not trusted.
    At(Option<i64>),
}

/// A request with what is known about it.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub subject: Party<'a>,
    pub action: Party<'a>,
    pub resource: Party<'a>,
    context: &'a [u8],
    pub clock: Clock,
    /// A device speaks for itself: what the policy knows of the resource
    /// stands against what the device says about it.
    stored_first: bool,
    pub version: u32,
    zones: &'a [u8],
    /// The policy's table of roles, empty where there is none.
    roles: &'a [u8],
    /// The request's own bits, packed; until they are known all of the roles.
    gates: u64,
    roles_known: bool,
    /// How long, in ms, no hours that were looked at change their answer.
    pub steady: u64,
    /// Pages that a search looks at again and again.
    pub kept: Option<&'a Kept>,
    /// Bytes of the records and pages that were read beside the parties' own.
    pub weight: usize,
}

impl<'a> Question<'a> {
    #[inline(never)]
    pub fn new(env: &Env, clock: Clock) -> Question<'a> {
        let none = Party::default();
        Question {
            subject: none,
            action: none,
            resource: none,
            context: &[],
            clock,
            stored_first: env.device.is_some() && env.roles & ROLE_ENFORCEMENT_POINT == 0,
            version: 0,
            zones: &[],
            roles: &[],
            gates: 0,
            roles_known: false,
            steady: u64::MAX,
            kept: None,
            weight: 0,
        }
    }

    /// Reads a request, which is whole but for the part that is sought: 0 for
    /// none. Of that the id, or the action, is not looked at.
    pub fn read(&mut self, message: &'a [u8], sought: u64) {
        let mut r = Form::new(message);
        let mut fields = r.fields();
        while let Some(key) = r.key(&mut fields) {
            match key {
                SUBJECT => self.subject.read(&mut r, true),
                ACTION => self.action.read(&mut r, false),
                RESOURCE => self.resource.read(&mut r, true),
                4 => self.context = map(&mut r),
                _ => refuse(BAD_REQUEST),
            }
        }
        r.done();
        for (part, key) in [(&self.subject, SUBJECT), (&self.action, ACTION), (&self.resource, RESOURCE)] {
            let typed = key == ACTION || !part.kind.bytes.is_empty();
            let named = key == sought || !part.id.bytes.is_empty();
            require(typed && named, BAD_REQUEST);
        }
        self.set_gates();
    }

    /// Computes the bits of what is known from the request alone.
    pub fn set_gates(&mut self) {
        let mut gates = [u16::MAX; 4];
        gates[rule::SUBJECT_TYPE] = rule::gate(self.subject.kind.bytes);
        gates[rule::SUBJECT_ID] = rule::gate(self.subject.id.bytes);
        gates[rule::RESOURCE_ID] = rule::gate(self.resource.id.bytes);
        self.gates = rule::packed(gates);
    }

    /// Whose rights are asked for, on what.
    pub fn parties(&self) -> Parties<'a> {
        Parties {
            resource: (self.resource.kind.bytes, self.resource.id.bytes),
            subject: (self.subject.kind.bytes, self.subject.id.bytes),
        }
    }

    pub fn now(&self) -> Option<i64> {
        match self.clock {
            Clock::Host => postern::now(),
            Clock::At(time) => time,
        }
    }

    /// The subject's record, its roles with all that they imply.
    pub fn load_subject(&mut self) -> Record<'a> {
        let mut record = self.subject.record(self.version);
        if !self.roles.is_empty() && !record.roles.is_empty() {
            record.roles = roles::with_implied(record.roles, self.roles);
            self.subject.stored = Some(record);
        }
        record
    }

    /// The encoded owner of the resource, empty where it has none.
    pub fn owner(&mut self) -> &'a [u8] {
        self.resource.record(self.version).owner
    }

    /// Reads a page of the rules that may concern the request.
    pub fn page(&mut self, key: Key, number: u16) -> &'a [u8] {
        let kept = self.kept.and_then(|kept| kept.get(number as usize));
        if let Some(page) = kept.and_then(|kept| kept.get()) {
            return page;
        }
        let page = state_get(key.bytes()).unwrap_or(&[]);
        self.weight += page.len();
        if let Some(kept) = kept {
            kept.set(Some(page));
        }
        page
    }

    /// Whether a rule may concern the request, as far as its gates tell. The
    /// subject's record is read only for a rule that asks for roles.
    #[inline(always)]
    pub fn passes(&mut self, entry: &pages::Entry) -> bool {
        rule::open(entry.gates & self.gates)
            && (self.roles_known
                || entry.gates & rule::ROLES == rule::ROLES
                || rule::open(entry.gates & self.learn_roles()))
    }

    /// Adds the roles to the request's bits.
    #[inline(never)]
    fn learn_roles(&mut self) -> u64 {
        self.roles_known = true;
        let mut gates = [u16::MAX; 4];
        gates[rule::SUBJECT_ROLES] = rule::gate_of_list(&mut Cursor::new(self.subject_record().roles));
        self.gates &= rule::packed(gates);
        self.gates
    }

    /// Reads version, zones and roles of the active policy; returns its digest.
    pub fn use_active_policy(&mut self) -> &'static [u8] {
        let mut c = Cursor::new(state_get(keys::ACTIVE).unwrap_or_else(|| refuse(NO_POLICY)));
        let fields = c.uint();
        self.version = c.uint() as u32;
        c.uint();
        let digest = c.bytes();
        c.uint();
        c.bytes();
        self.zones = c.rest();
        if fields > FIELDS as u64 {
            c.skip();
            self.roles = c.rest();
        }
        digest
    }

    /// Climbs from the subject or the resource along a relation.
    fn climb(&mut self, from_subject: bool, along: &[u8]) -> Climb<'a> {
        let (party, record) = match from_subject {
            true => (self.subject, self.subject_record()),
            false if along.is_empty() => (self.resource, Record::default()),
            false => (self.resource, self.resource.record(self.version)),
        };
        let climb = Climb::new(self.version, party.kind.bytes, party.id.bytes, record, along);
        self.weight += climb.weight;
        climb
    }
}

impl<'a> condition::Facts<'a> for Question<'a> {
    fn value(&mut self, root: u64, name: &[u8]) -> Option<&'a [u8]> {
        match root {
            condition::SUBJECT_TYPE => Some(self.subject.kind.raw),
            condition::SUBJECT_ID => Some(self.subject.id.raw),
            condition::SUBJECT_PROPERTIES => {
                property(self.subject.sent, name).or_else(|| property(self.subject_record().properties, name))
            }
            condition::SUBJECT_ROLES => present(self.subject_record().roles),
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
        match self.subject.stored {
            Some(record) => record,
            None => self.load_subject(),
        }
    }

    fn standing(&mut self, hours: &'a [u8]) -> Standing {
        let standing = hours::standing(hours, self.zones, self.now());
        if let Standing::Inside(left) | Standing::Outside(left) = standing {
            self.steady = self.steady.min(left);
        }
        standing
    }

    #[inline(never)]
    fn inherits(&mut self, key: u64, relation: &'a [u8]) -> Option<bool> {
        let mut c = Walk::new(relation);
        c.uint();
        if key == rule::GROUPS_ALONG {
            return self.climb(true, c.bytes()).in_any(c.rest());
        }
        let name = c.bytes();
        let subject = self.climb(true, c.bytes());
        subject.related(name, &self.climb(false, c.bytes()))
    }
}
