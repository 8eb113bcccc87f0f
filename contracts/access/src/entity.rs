//! Entities: what the policy knows about a subject or a resource.
//!
//! The record is a map: 1 roles (array of text), 2 properties (map with text
//! keys), 3 relations (array of [relation, type, id]), 4 owner (text: an
//! account id in lower-case hex). Only what is there is present.

use crate::codes::*;
use crate::form::Form;
use crate::keys;
use postern::cbor::{Cursor, Kind};
use postern::Why;

/// Bytes of a record: several fit a page of a read-back.
pub const MAX_ENTITY: usize = 8 << 10;
pub const MAX_ROLES: usize = 64;
const MAX_RELATIONS: usize = 256;

/// Type, id and record of an entity as they were written.
pub struct Written<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub record: &'a [u8],
}

/// Reads and checks [type, id, record].
pub fn parse<'a>(r: &mut Form<'a>) -> Written<'a> {
    r.array_of(3);
    let (kind, id) = (keys::name(r), keys::id(r));
    let record = r.raw();
    if record.len() > MAX_ENTITY {
        refuse(TOO_LARGE);
    }
    check(&mut Form::new(record));
    Written { kind, id, record }
}

fn check(r: &mut Form) {
    let mut fields = r.fields();
    while let Some(key) = r.key(&mut fields) {
        match key {
            1 => {
                check_names(r, MAX_ROLES, BAD_ENTITY);
            }
            2 => check_properties(r.raw()),
            3 => check_relations(r, BAD_ENTITY),
            4 => check_account(r.text()),
            _ => refuse(BAD_ENTITY),
        }
    }
}

/// Checks an array of names and returns how many there are.
#[inline(never)]
pub fn check_names(r: &mut Form, max: usize, wrong: &Why) -> usize {
    let count = r.array();
    if count == 0 || count > max {
        refuse(wrong);
    }
    for _ in 0..count {
        keys::name(r);
    }
    count
}

fn check_properties(map: &[u8]) {
    let mut r = Form::new(map);
    for _ in 0..r.map() {
        if r.kind() != Kind::Text {
            refuse(BAD_ENTITY);
        }
        r.raw();
        r.raw();
    }
}

/// Checks an array of [relation, type, id].
#[inline(never)]
pub fn check_relations(r: &mut Form, wrong: &Why) {
    let count = r.array();
    if count == 0 || count > MAX_RELATIONS {
        refuse(wrong);
    }
    for _ in 0..count {
        r.array_of(3);
        keys::name(r);
        keys::name(r);
        keys::id(r);
    }
}

fn check_account(text: &str) {
    let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 64 || !text.bytes().all(hex) {
        refuse(BAD_ENTITY);
    }
}

/// A stored record's fields, each as it is encoded; empty where absent.
#[derive(Clone, Copy, Default)]
pub struct Record<'a> {
    pub roles: &'a [u8],
    pub properties: &'a [u8],
    pub relations: &'a [u8],
    pub owner: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a stored record, which was checked when it was written.
    pub fn stored(raw: &'a [u8]) -> Record<'a> {
        let mut record = Record::default();
        let mut c = Cursor::new(raw);
        for _ in 0..c.uint() {
            match c.uint() {
                1 => record.roles = c.raw(),
                2 => record.properties = c.raw(),
                3 => record.relations = c.raw(),
                _ => record.owner = c.raw(),
            }
        }
        record
    }

    /// Whether the entity has a relation to another.
    pub fn related(&self, relation: &[u8], kind: &[u8], id: &[u8]) -> bool {
        let mut c = Cursor::new(self.relations);
        let count = if self.relations.is_empty() { 0 } else { c.uint() };
        for _ in 0..count {
            c.uint();
            let same = c.bytes() == relation;
            let same = (c.bytes() == kind) & same;
            if (c.bytes() == id) & same {
                return true;
            }
        }
        false
    }
}

/// Reads an array of text and tells whether it shares an item with another
/// encoded one, which may be empty input.
pub fn shares(c: &mut Cursor, list: &[u8]) -> bool {
    let mut found = false;
    for _ in 0..c.uint() {
        let name = c.bytes();
        found = found || !list.is_empty() && contains(list, name);
    }
    found
}

/// Whether an encoded array of text has an item.
pub fn contains(list: &[u8], text: &[u8]) -> bool {
    Cursor::new(list).has(text)
}

/// Finds a property's value in an encoded map with text keys.
pub fn property<'a>(map: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut c = Cursor::new(map);
    let (major, count) = c.head();
    if major != 5 {
        return None;
    }
    for _ in 0..count {
        let found = c.bytes() == name;
        if found {
            return Some(c.raw());
        }
        c.skip();
    }
    None
}
