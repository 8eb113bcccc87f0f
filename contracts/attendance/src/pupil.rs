//! Pupils, under pseudonyms that the school chose: salted hashes. Which name
//! belongs to which, the school keeps to itself.

use crate::codes::*;
use crate::message::Class;
use crate::school::CLASSES;
use postern::{done, ensure, record, Abort, Id, List, Map, Reply, Topic};

pub const PUPILS: Map<Id, Pupil> = Map::new("pupil/");
pub const MEMBERS: Map<(&'static str, Id), ()> = Map::new("member/");
const PARENTS_EVENT: Topic<(Id, List<'static, Id>)> = Topic::new("parents-changed");

/// Who may act for a pupil, and are told of it.
const MAX_PARENTS: usize = 4;
/// Pupils of a class: an alarm walks all of them.
const MAX_PUPILS: u32 = 64;

/// No parents.
const NOBODY: &[u8] = &[0x80];

record! {
    /// A pupil.
    pub struct Pupil {
        1 => pub class: Option<Class>,
        /// The pupil's own key, where it has one.
        2 => pub account: Option<Id>,
        3 => pub parents: List<'static, Id>,
        4 => pub points: u64,
        /// The number of the last feedback or reward.
        5 => pub last: u32,
    }
}

impl Pupil {
    pub fn has_parent(&self, account: Id) -> bool {
        self.parents.iter().any(|parent| parent == Ok(account))
    }
}

pub fn find(pupil: &Id) -> Result<Pupil, Abort> {
    PUPILS.get(pupil)?.ok_or(UNKNOWN_PUPIL)
}

/// Admits a pupil, or puts it into another class or into none.
pub fn place(id: Id, class: Option<Class>, account: Option<Id>) -> Reply {
    let mut pupil = match PUPILS.get(&id)? {
        Some(pupil) => pupil,
        None => Pupil { class: None, account: None, parents: postern::decode(NOBODY)?, points: 0, last: 0 },
    };
    if pupil.class != class {
        leave(&id, pupil.class)?;
        enter(&id, class)?;
    }
    pupil.class = class;
    pupil.account = account;
    PUPILS.set(&id, &pupil);
    done()
}

fn enter(id: &Id, class: Option<Class>) -> Result<(), Abort> {
    if let Some(class) = class {
        let mut record = CLASSES.get(&class.as_str())?.ok_or(UNKNOWN_CLASS)?;
        ensure!(record.pupils < MAX_PUPILS, CLASS_FULL);
        record.pupils += 1;
        CLASSES.set(&class.as_str(), &record);
        MEMBERS.set(&(class.as_str(), *id), &());
    }
    Ok(())
}

fn leave(id: &Id, class: Option<Class>) -> Result<(), Abort> {
    if let Some(class) = class {
        let mut record = CLASSES.load(&class.as_str())?;
        record.pupils -= 1;
        CLASSES.set(&class.as_str(), &record);
        MEMBERS.delete(&(class.as_str(), *id));
    }
    Ok(())
}

/// Removes a pupil. What is kept of its terms goes with them.
pub fn remove(id: Id) -> Reply {
    let pupil = find(&id)?;
    leave(&id, pupil.class)?;
    PUPILS.delete(&id);
    done()
}

/// Says who the parents are, at once: who was one and is not named any more sees
/// and may nothing from here on.
pub fn set_parents(id: Id, parents: List<'static, Id>) -> Reply {
    ensure!(parents.len() <= MAX_PARENTS, TOO_MANY);
    for parent in parents.iter() {
        parent?;
    }
    let mut pupil = find(&id)?;
    pupil.parents = parents;
    PUPILS.set(&id, &pupil);
    PARENTS_EVENT.emit(&(id, parents));
    done()
}

/// Refuses who is neither a parent nor the pupil itself.
pub fn require_own(pupil: &Pupil, by: Id) -> Result<(), Abort> {
    ensure!(pupil.has_parent(by) || pupil.account == Some(by), NOT_PARENT);
    Ok(())
}
