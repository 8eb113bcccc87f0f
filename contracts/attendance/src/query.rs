//! What anybody may ask on a node. Nothing here is secret: every node holds the
//! state.

use crate::access;
use crate::message::{Class, Question};
use crate::pupil::MEMBERS;
use crate::school::TEACHERS;
use postern::{reply, Context, Id, Item, Map, Raw, Reply, Rows};

/// Rows of an answer.
const MAX_ROWS: u8 = 64;

/// What is stored is answered as it is stored, under the same prefixes.
const TERM: Item<Raw> = Item::new("term");
const CLASSES: Map<&'static str, Raw> = Map::new("class/");
const PUPILS: Map<Id, Raw> = Map::new("pupil/");
const REWARDS: Map<u32, Raw> = Map::new("reward/");
const HOMEWORK: Map<(u32, &'static str, u32), Raw> = Map::new("homework/");

/// Entries of a pupil in a term.
type OfPupil = Map<(u32, Id, u32), Raw<'static>>;

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Term => reply(&TERM.get()?),
        Question::Class { class } => reply(&CLASSES.get(&class.as_str())?),
        Question::Members { class, after, limit } => accounts(&MEMBERS, class, after, limit),
        Question::Teachers { class, after, limit } => accounts(&TEACHERS, class, after, limit),
        Question::Pupil { pupil } => reply(&PUPILS.get(&pupil)?),
        Question::Days { term, pupil, from, limit } => entries("day/", (term, pupil, from), limit),
        Question::Homework { term, class, from, limit } => homework(term, class, from, limit),
        Question::Work { term, pupil, from, limit } => entries("work/", (term, pupil, from), limit),
        Question::Feedback { term, pupil, from, limit } => entries("feedback/", (term, pupil, from), limit),
        Question::Spent { term, pupil, from, limit } => entries("spent/", (term, pupil, from), limit),
        Question::Rewards { from, limit } => rewards(from, limit),
        Question::MaySee { account, pupil } => reply(&access::right(&c.env, account, &pupil)?),
    }
}

/// The accounts or pupils of a class.
fn accounts(map: &Map<(&'static str, Id), ()>, class: Class, after: Option<Id>, limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in map.iter_from(&(class.as_str(), after.unwrap_or(Id(&[0; 32])))) {
        let ((of, id), ()) = entry?;
        if of != class.as_str() || (Some(id) != after && !rows.add(&id)) {
            break;
        }
    }
    rows.reply()
}

fn entries(prefix: &'static str, start: (u32, Id, u32), limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in OfPupil::new(prefix).iter_from(&start) {
        let ((term, pupil, number), value) = entry?;
        if (term, pupil) != (start.0, start.1) || !rows.add(&(number, value)) {
            break;
        }
    }
    rows.reply()
}

fn homework(term: u32, class: Class, from: u32, limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in HOMEWORK.iter_from(&(term, class.as_str(), from)) {
        let ((of, named, number), value) = entry?;
        if (of, named) != (term, class.as_str()) || !rows.add(&(number, value)) {
            break;
        }
    }
    rows.reply()
}

fn rewards(from: u32, limit: u8) -> Reply {
    let mut rows = Rows::new(limit.min(MAX_ROWS));
    for entry in REWARDS.iter_from(&from) {
        if !rows.add(&entry?) {
            break;
        }
    }
    rows.reply()
}
