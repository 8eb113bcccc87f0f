//! Relations that are handed on: from a group to its members, from a folder
//! to what lies in it. A rule says along which relation one climbs from the
//! subject, and along which from the resource; it holds where anything that
//! the subject comes to has the relation to anything that the resource does.
//!
//! A climb reads a bounded number of entities. Where that leaves something
//! unseen and nothing was found, it is not known whether the relation is
//! there: a permit then does not hold, and a denial does.

use crate::entity::Record;
use crate::keys::Key;
use crate::walk::Walk;
use postern::state_get;

/// Entities that one climb comes to, where it starts included.
const MAX_SEEN: usize = 16;
/// Steps that a climb goes up.
const MAX_DEPTH: u8 = 8;

/// An entity on the way up: type, id, what it is related to, steps from the
/// start.
#[derive(Clone, Copy)]
struct Seen<'a> {
    kind: &'a [u8],
    id: &'a [u8],
    relations: &'a [u8],
    depth: u8,
}

/// What a climb came to.
pub struct Climb<'a> {
    seen: [Seen<'a>; MAX_SEEN],
    count: usize,
    /// Something was left unseen.
    cut: bool,
    /// Bytes of the records that were read.
    pub weight: usize,
}

impl<'a> Climb<'a> {
    /// Climbs from an entity along a relation; an empty one leads nowhere.
    #[inline(never)]
    pub fn new(version: u32, kind: &'a [u8], id: &'a [u8], from: Record<'a>, along: &[u8]) -> Climb<'a> {
        let start = Seen { kind, id, relations: from.relations, depth: 0 };
        let mut climb = Climb { seen: [start; MAX_SEEN], count: 1, cut: false, weight: 0 };
        let mut at = 0;
        while at < climb.count && !along.is_empty() {
            let Seen { relations, depth, .. } = climb.seen[at];
            each(relations, &mut |relation, kind, id| {
                if relation == along && !climb.has(kind, id) {
                    climb.step(version, kind, id, depth);
                }
                false
            });
            at += 1;
        }
        climb
    }

    fn step(&mut self, version: u32, kind: &'a [u8], id: &'a [u8], depth: u8) {
        if self.count == MAX_SEEN || depth == MAX_DEPTH {
            self.cut = true;
            return;
        }
        let raw = Key::entity(version, kind, id).and_then(|key| state_get(key.bytes())).unwrap_or(&[0xa0]);
        self.weight += raw.len();
        self.seen[self.count] = Seen { kind, id, relations: Record::stored(raw).relations, depth: depth + 1 };
        self.count += 1;
    }

    fn has(&self, kind: &[u8], id: &[u8]) -> bool {
        self.seen[..self.count].iter().any(|s| s.id == id && s.kind == kind)
    }

    /// Whether anything here has a relation to anything there; None: not known.
    pub fn related(&self, relation: &[u8], there: &Climb) -> Option<bool> {
        self.any(&mut |name, kind, id| name == relation && there.has(kind, id), there.cut)
    }

    /// Whether anything here has one of the encoded relations; None: not known.
    pub fn in_any(&self, groups: &[u8]) -> Option<bool> {
        self.any(&mut |name, kind, id| each(groups, &mut |n, k, i| i == id && k == kind && n == name), false)
    }

    fn any(&self, wanted: &mut dyn FnMut(&[u8], &[u8], &[u8]) -> bool, cut: bool) -> Option<bool> {
        let found = self.seen[..self.count].iter().any(|s| each(s.relations, wanted));
        Some(found).filter(|&found| found || !(cut || self.cut))
    }
}

/// Gives each [relation, type, id] of an encoded array, which may be no bytes
/// at all, until one is wanted.
#[inline(never)]
fn each<'a>(relations: &'a [u8], wanted: &mut dyn FnMut(&'a [u8], &'a [u8], &'a [u8]) -> bool) -> bool {
    let mut c = Walk::new(relations);
    for _ in 0..c.count() {
        let (name, kind, id) = (c.next_bytes(), c.bytes(), c.bytes());
        if wanted(name, kind, id) {
            return true;
        }
    }
    false
}
