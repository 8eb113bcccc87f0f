//! How a lock works: its owner's choice.

use crate::codes::*;
use crate::due;
use crate::history;
use crate::hours::{Step, Zone, ZONES};
use crate::state::{require_owner, Lock, LOCKS};
use postern::{done, ensure, Abort, Env, Id, List, Reply, Topic};

const LOCK_SET: Topic<(Id, Id)> = Topic::new("lock-set");

/// Retention in ms: a day to a year. Nobody needs to know longer who came.
const RETENTION: core::ops::RangeInclusive<i64> = DAY..=366 * DAY;
const DAY: i64 = 24 * 3600 * 1000;
/// A gateway that is an hour behind cannot know of a revocation.
const MAX_STALENESS: u64 = 3600 * 1000;
/// Each adds to the bytes of every entry.
pub const MAX_RECIPIENTS: usize = 4;

/// What an owner may choose.
pub struct Wanted {
    pub delegation: bool,
    pub retention: i64,
    pub staleness: u64,
    pub recipients: List<'static, Id>,
}

impl Wanted {
    fn check(&self) -> Result<(), Abort> {
        ensure!(RETENTION.contains(&self.retention), BAD_SETTINGS);
        ensure!((1..=MAX_STALENESS).contains(&self.staleness), BAD_SETTINGS);
        ensure!(self.recipients.len() <= MAX_RECIPIENTS, BAD_SETTINGS);
        for recipient in self.recipients.iter() {
            recipient?;
        }
        Ok(())
    }
}

/// Numbers go on and history stays under a new owner, but no right does.
pub fn set_lock(env: &Env, caller: Id, id: Id, wanted: Wanted) -> Reply {
    require_owner(caller, id)?;
    wanted.check()?;
    let Wanted { delegation, retention, staleness, recipients } = wanted;
    let owner = caller;
    let lock = match LOCKS.get(&id)? {
        Some(former) => Lock {
            first_right: if former.owner == owner { former.first_right } else { former.next_right },
            ..Lock { owner, delegation, retention, staleness, recipients, ..former }
        },
        None => Lock {
            owner,
            delegation,
            retention,
            staleness,
            recipients,
            first_right: 1,
            next_right: 1,
            oldest: 1,
            next_entry: 1,
            due: None,
        },
    };
    let lock = history::requeue(id, lock, env.time)?;
    due::arm(env, lock.due)?;
    LOCKS.set(&id, &lock);
    LOCK_SET.emit(&(id, caller));
    done()
}

pub fn set_zone(caller: Id, id: Id, until: i64, steps: List<'static, Step>) -> Reply {
    require_owner(caller, id)?;
    let zone = Zone { until, steps };
    zone.check()?;
    ZONES.set(&id, &zone);
    done()
}
