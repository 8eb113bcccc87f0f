//! Roles that imply roles. A policy may hold a table [[role, [implied, …]],
//! …], ascending by role; a subject has what its own roles imply, what those
//! imply, and so on. Roles that imply each other are the same.

use crate::codes::*;
use crate::entity::check_names;
use crate::form::Form;
use crate::keys;
use crate::walk::Walk;
use postern::cbor::{Kind, Writer};

/// Rows of a table, and roles that all its rows imply together: they bound
/// what a decision may have to look through.
const MAX_ROWS: usize = 64;
const MAX_IMPLIED: usize = 128;
/// Roles that a subject can come to: an entity's own and all that are implied.
const MAX_HELD: usize = crate::entity::MAX_ROLES + MAX_IMPLIED;

/// Checks a table, or null for none.
pub fn check_any<'a>(r: &mut Form<'a>) -> &'a [u8] {
    match r.kind() {
        Kind::Null => &r.raw()[1..],
        _ => check(r),
    }
}

/// Checks a table and returns its encoding; an empty one is no bytes.
pub fn check<'a>(r: &mut Form<'a>) -> &'a [u8] {
    let raw = r.raw();
    let mut r = Form::new(raw);
    let rows = r.array();
    let (mut last, mut implied) = ("", 0);
    for _ in 0..rows {
        r.array_of(2);
        let role = keys::name(&mut r);
        implied += check_names(&mut r, MAX_IMPLIED, BAD_ROLES);
        if role <= last || rows > MAX_ROWS || implied > MAX_IMPLIED {
            refuse(BAD_ROLES);
        }
        last = role;
    }
    if rows == 0 {
        &[]
    } else {
        raw
    }
}

/// The roles that a subject holds, each once.
struct Held<'a> {
    names: [&'a [u8]; MAX_HELD],
    count: usize,
}

impl<'a> Held<'a> {
    /// Takes an encoded array of roles.
    fn take(&mut self, list: &mut Walk<'a>) {
        for _ in 0..list.uint() {
            let name = list.bytes();
            let known = self.names[..self.count].contains(&name);
            if !known && self.count < MAX_HELD {
                self.names[self.count] = name;
                self.count += 1;
            }
        }
    }
}

/// An encoded array of roles with all that they imply.
#[inline(never)]
pub fn with_implied<'a>(own: &'a [u8], table: &'a [u8]) -> &'a [u8] {
    let mut held = Held { names: [&[]; MAX_HELD], count: 0 };
    held.take(&mut Walk::new(own));
    let mut at = 0;
    while at < held.count {
        let mut rows = Walk::new(table);
        for _ in 0..rows.uint() {
            if rows.next_bytes() == held.names[at] {
                held.take(&mut rows);
                break;
            }
            rows.raw();
        }
        at += 1;
    }
    let names = &held.names[..held.count];
    let mut w = Writer::new(3 + names.iter().map(|name| 2 + name.len()).sum::<usize>());
    w.array(names.len());
    for name in names {
        w.text_bytes(name);
    }
    w.finish().unwrap_or(own)
}
