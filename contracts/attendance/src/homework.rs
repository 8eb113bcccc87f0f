//! Homework: assigned by a teacher, handed in by the pupil or a parent, confirmed
//! by a teacher. What it is and what was handed in are hashes; the texts go
//! another way.

use crate::codes::*;
use crate::message::Class;
use crate::pupil::{self, Pupil, PUPILS};
use crate::reward;
use crate::school::{self, CLASSES};
use postern::{done, ensure, record, reply, Abort, Checked, Env, Id, Item, Map, Reply, Topic};

/// By term, class and number.
pub const HOMEWORK: Map<(u32, &'static str, u32), Homework> = Map::new("homework/");
/// By term, pupil and the homework's number.
pub const WORK: Map<(u32, Id, u32), Work> = Map::new("work/");
const LAST: Item<u32> = Item::new("last-homework");

const ASSIGNED_EVENT: Topic<(Class, u32, i64)> = Topic::new("assigned");
const HANDED_IN_EVENT: Topic<(Id, u32, bool)> = Topic::new("handed-in");
const CONFIRMED_EVENT: Topic<(Id, u32, u32)> = Topic::new("confirmed");

/// How far ahead homework may be due: a term.
const MAX_AHEAD: i64 = 366 * crate::zone::DAY;

record! {
    /// What a class is to do.
    pub struct Homework {
        1 => pub by: Id,
        2 => pub due: i64,
        /// The hash of what it is.
        3 => pub content: Id,
    }
}

record! {
    /// What a pupil handed in.
    pub struct Work {
        1 => pub at: i64,
        2 => pub by: Id,
        /// The hash of it.
        3 => pub work: Option<Id>,
        4 => pub late: bool,
        5 => pub confirmed: Option<i64>,
        6 => pub points: u32,
    }
}

pub fn assign(env: &Env, by: Id, class: Class, due: i64, content: Id) -> Reply {
    ensure!(school::teaches(by, class), NOT_TEACHER);
    ensure!(due > env.time && due <= env.time + MAX_AHEAD, BAD_TIME);
    let class_term = CLASSES.load(&class.as_str())?.term;
    let term = school::term()?.number;
    ensure!(class_term == term, BAD_TERM);
    let number = LAST.get()?.unwrap_or(0).plus(1)?;
    LAST.set(&number);
    HOMEWORK.set(&(term, class.as_str(), number), &Homework { by, due, content });
    ASSIGNED_EVENT.emit(&(class, number, due));
    reply(&number)
}

/// The homework of a pupil's class, in the current term.
fn of(pupil: &Pupil, number: u32) -> Result<(u32, Homework), Abort> {
    let term = school::term()?.number;
    let class = pupil.class.ok_or(UNKNOWN_PUPIL)?;
    let homework = HOMEWORK.get(&(term, class.as_str(), number))?.ok_or(UNKNOWN_HOMEWORK)?;
    Ok((term, homework))
}

/// Hands in, or once more until it is confirmed.
pub fn hand_in(env: &Env, by: Id, id: Id, number: u32, work: Option<Id>) -> Reply {
    let pupil = pupil::find(&id)?;
    pupil::require_own(&pupil, by)?;
    let (term, homework) = of(&pupil, number)?;
    let key = (term, id, number);
    ensure!(WORK.get(&key)?.map_or(true, |w| w.confirmed.is_none()), CONFIRMED);
    let late = env.time > homework.due;
    WORK.set(&key, &Work { at: env.time, by, work, late, confirmed: None, points: 0 });
    HANDED_IN_EVENT.emit(&(id, number, late));
    done()
}

pub fn confirm(env: &Env, by: Id, id: Id, number: u32, points: u32) -> Reply {
    let mut pupil = pupil::find(&id)?;
    reward::require_teacher(&pupil, by)?;
    let (term, _) = of(&pupil, number)?;
    let mut work = WORK.get(&(term, id, number))?.ok_or(NOT_HANDED_IN)?;
    ensure!(work.confirmed.is_none(), CONFIRMED);
    reward::give(&mut pupil, points)?;
    work.confirmed = Some(env.time);
    work.points = points;
    WORK.set(&(term, id, number), &work);
    PUPILS.set(&id, &pupil);
    CONFIRMED_EVENT.emit(&(id, number, points));
    done()
}
