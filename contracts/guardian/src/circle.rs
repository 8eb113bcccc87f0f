//! An owner's guardians. The first are named at once; every later change waits,
//! so that whoever gets hold of the owner's key cannot be rid of them before
//! they notice. While it waits, as many of them as open a case freeze the key:
//! the change is dropped, and the owner has no say in anything until then.

use crate::codes::*;
use crate::due;
use crate::rules;
use crate::who::Sender;
use postern::{done, ensure, record, Abort, Checked, Device, Id, List, Map, Reply, Topic};

pub const CIRCLES: Map<Id, Circle> = Map::new("circle/");

const SET: Topic<(Id, u32)> = Topic::new("circle-set");
const CHANGES: Topic<(Id, i64)> = Topic::new("circle-changes");
const FROZE: Topic<(Id, i64)> = Topic::new("circle-frozen");
const THAWED: Topic<(Id, Id)> = Topic::new("circle-thawed");

/// One bit each in a byte of votes.
const MAX_MEMBERS: usize = 8;

record! {
    /// Guardians.
    pub struct Circle {
        1 => pub members: List<'static, Id>,
        /// How many of them must agree.
        2 => pub threshold: u8,
        /// Counts changes: votes of an earlier one are void.
        3 => pub revision: u32,
        /// Until when the owner's key is frozen.
        4 => pub frozen: Option<i64>,
        /// Which members want it frozen, and until when that counts.
        5 => pub votes: u8,
        6 => pub votes_until: i64,
        /// The change that waits.
        7 => pub next: Option<Change>,
    }
}

record! {
    /// A change of guardians.
    pub struct Change {
        1 => pub members: List<'static, Id>,
        2 => pub threshold: u8,
        3 => pub due: i64,
    }
}

impl Circle {
    #[inline(never)]
    fn save(&self, owner: Id) {
        CIRCLES.set(&owner, self);
    }

    /// A member's place.
    pub fn place(&self, id: Id) -> Option<usize> {
        self.members.iter().position(|member| member == Ok(id))
    }

    /// Whether the owner's key is frozen.
    pub fn is_frozen(&self, time: i64) -> bool {
        self.frozen.map_or(false, |until| time < until)
    }

    /// Whether votes are enough. No circle without members decides anything.
    pub fn is_enough(&self, votes: u8) -> bool {
        self.threshold > 0 && votes.count_ones() >= self.threshold as u32
    }
}

/// An owner's circle, after the change whose time has come.
#[inline(never)]
pub fn current(owner: Id, time: i64) -> Result<Option<Circle>, Abort> {
    match CIRCLES.get(&owner)? {
        Some(circle) => settle(owner, circle, time).map(Some),
        None => Ok(None),
    }
}

fn settle(owner: Id, circle: Circle, time: i64) -> Result<Circle, Abort> {
    let next = match circle.next {
        Some(next) if next.due <= time => next,
        _ => return Ok(circle),
    };
    due::forget_circle(owner, next.due);
    let revision = circle.revision.plus(1)?;
    let Change { members, threshold, .. } = next;
    let settled = Circle { members, threshold, revision, votes: 0, next: None, ..circle };
    settled.save(owner);
    SET.emit(&(owner, revision));
    Ok(settled)
}

/// Names the sender's guardians.
pub fn name(who: &Sender, members: List<'static, Id>, threshold: u8) -> Reply {
    let owner = who.id;
    ensure!(who.env.device.is_none(), NOT_PARTY);
    let circle = current(owner, who.time)?;
    ensure!(!circle.map_or(false, |c| c.is_frozen(who.time)), FROZEN);
    check(owner, &members, threshold)?;
    let circle = match circle {
        Some(circle) if !circle.members.is_empty() => circle,
        former => return begin(owner, former, members, threshold),
    };
    if let Some(next) = circle.next {
        due::forget_circle(owner, next.due);
    }
    let due = who.time.plus(rules::get()?.change)?;
    Circle { next: Some(Change { members, threshold, due }), ..circle }.save(owner);
    due::add_circle(&who.env, owner, due)?;
    CHANGES.emit(&(owner, due));
    done()
}

fn check(owner: Id, members: &List<'static, Id>, threshold: u8) -> Result<(), Abort> {
    let count = members.len();
    ensure!(count <= MAX_MEMBERS && threshold as usize <= count, BAD_CIRCLE);
    ensure!(threshold > 0 || count == 0, BAD_CIRCLE);
    for (i, member) in members.iter().enumerate() {
        let member = member?;
        let again = members.iter().take(i).any(|other| other == Ok(member));
        ensure!(member != owner && !again && Device::get(member.0).is_none(), BAD_CIRCLE.of_item(i));
    }
    Ok(())
}

/// The first guardians, or the first after none.
fn begin(owner: Id, former: Option<Circle>, members: List<'static, Id>, threshold: u8) -> Reply {
    let revision = former.map_or(0, |circle| circle.revision).plus(1)?;
    let fresh = Circle { members, threshold, revision, frozen: None, votes: 0, votes_until: 0, next: None };
    fresh.save(owner);
    SET.emit(&(owner, revision));
    done()
}

/// A guardian's vote to freeze the owner's key; more votes while it is frozen
/// freeze it longer.
pub fn freeze(who: &Sender, owner: Id) -> Reply {
    let mut circle = current(owner, who.time)?.ok_or(NOT_GUARDIAN)?;
    let place = circle.place(who.id).ok_or(NOT_GUARDIAN)?;
    let rules = rules::get()?;
    if who.time >= circle.votes_until {
        circle.votes = 0;
        circle.votes_until = who.time.plus(rules.patience)?;
    }
    ensure!(circle.votes >> place & 1 == 0, VOTED);
    circle.votes |= 1 << place;
    if circle.is_enough(circle.votes) {
        if let Some(next) = circle.next.take() {
            due::forget_circle(owner, next.due);
        }
        let until = who.time.plus(rules.freeze)?;
        circle.frozen = Some(until);
        circle.votes = 0;
        circle.votes_until = 0;
        FROZE.emit(&(owner, until));
    }
    circle.save(owner);
    done()
}

/// An authority ends a freeze, such as one by guardians who conspire.
pub fn thaw(who: &Sender, owner: Id) -> Reply {
    who.require_authority()?;
    ensure!(who.id != owner, OWN_CASE);
    let circle = current(owner, who.time)?.filter(|c| c.is_frozen(who.time)).ok_or(NOT_FROZEN)?;
    Circle { frozen: None, ..circle }.save(owner);
    THAWED.emit(&(owner, who.id));
    done()
}
