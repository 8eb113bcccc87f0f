//! Feedback of teachers, the points that come with it, and what they are spent
//! on. Feedback is sealed for who may read it, or a hash: all nodes hold it.

use crate::codes::*;
use crate::pupil::{self, Pupil, PUPILS};
use crate::school;
use postern::{done, ensure, record, reply, Abort, Bytes, Checked, Env, Id, Map, Reply, Topic};

/// By term, pupil and number.
pub const FEEDBACK: Map<(u32, Id, u32), Feedback> = Map::new("feedback/");
pub const SPENT: Map<(u32, Id, u32), Spent> = Map::new("spent/");
pub const REWARDS: Map<u32, Reward> = Map::new("reward/");

const FEEDBACK_EVENT: Topic<(Id, u32, u32)> = Topic::new("feedback");
const SPENT_EVENT: Topic<(Id, u32, u32)> = Topic::new("spent");

/// Points that a teacher may give at once.
const MAX_POINTS: u32 = 100;
/// Bytes of sealed feedback: a page of text.
const MAX_SEALED: usize = 1 << 10;

record! {
    /// What a teacher said.
    pub struct Feedback {
        1 => pub at: i64,
        2 => pub by: Id,
        3 => pub sealed: Bytes<'static>,
        4 => pub points: u32,
    }
}

record! {
    /// What points may be spent on.
    pub struct Reward {
        1 => pub cost: u32,
        /// The hash of what it is.
        2 => pub content: Id,
    }
}

record! {
    /// What points were spent on.
    pub struct Spent {
        1 => pub at: i64,
        2 => pub by: Id,
        3 => pub reward: u32,
        4 => pub cost: u32,
    }
}

/// Refuses who does not teach the pupil's class.
pub fn require_teacher(pupil: &Pupil, by: Id) -> Result<(), Abort> {
    ensure!(school::teaches(by, pupil.class.ok_or(UNKNOWN_PUPIL)?), NOT_TEACHER);
    Ok(())
}

/// Adds points to a pupil's.
pub fn give(pupil: &mut Pupil, points: u32) -> Result<(), Abort> {
    ensure!(points <= MAX_POINTS, TOO_MANY_POINTS);
    pupil.points = pupil.points.plus(points as u64)?;
    Ok(())
}

pub fn feedback(env: &Env, by: Id, id: Id, sealed: Bytes<'static>, points: u32) -> Reply {
    let mut pupil = pupil::find(&id)?;
    require_teacher(&pupil, by)?;
    ensure!(sealed.0.len() <= MAX_SEALED, TOO_LONG);
    give(&mut pupil, points)?;
    pupil.last = pupil.last.plus(1)?;
    FEEDBACK.set(&(school::term()?.number, id, pupil.last), &Feedback { at: env.time, by, sealed, points });
    PUPILS.set(&id, &pupil);
    FEEDBACK_EVENT.emit(&(id, pupil.last, points));
    reply(&pupil.last)
}

/// Offers a reward, changes its cost, or takes it back.
pub fn offer(reward: u32, cost: Option<u32>, content: Id) -> Reply {
    match cost {
        Some(cost) => REWARDS.set(&reward, &Reward { cost, content }),
        None => REWARDS.delete(&reward),
    }
    done()
}

/// Spends a pupil's points, by a parent or itself. Answers what is left.
pub fn spend(env: &Env, by: Id, id: Id, number: u32) -> Reply {
    let mut pupil = pupil::find(&id)?;
    pupil::require_own(&pupil, by)?;
    let reward = REWARDS.get(&number)?.ok_or(UNKNOWN_REWARD)?;
    ensure!(pupil.points >= reward.cost as u64, TOO_FEW_POINTS);
    pupil.points -= reward.cost as u64;
    pupil.last = pupil.last.plus(1)?;
    let spent = Spent { at: env.time, by, reward: number, cost: reward.cost };
    SPENT.set(&(school::term()?.number, id, pupil.last), &spent);
    PUPILS.set(&id, &pupil);
    SPENT_EVENT.emit(&(id, number, reward.cost));
    reply(&pupil.points)
}
