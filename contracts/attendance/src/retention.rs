//! Forgetting: all that is kept of a past term, in bounded steps. Blocks keep the
//! transactions for as long as their nodes do.

use crate::codes::*;
use crate::message::Tick;
use crate::school;
use postern::storage::Key;
use postern::{done, ensure, Abort, Env, Id, Map, Raw, Reply, Topic};

const FORGOTTEN_EVENT: Topic<u32> = Topic::new("forgotten");

/// Entries of a term, whatever they hold, by their prefixes.
const OF_PUPILS: [Map<(u32, Id, u32), Raw>; 4] =
    [Map::new("day/"), Map::new("work/"), Map::new("feedback/"), Map::new("spent/")];
const OF_CLASSES: Map<(u32, &'static str, u32), Raw> = Map::new("homework/");

/// Entries that one step deletes.
const STEP: usize = 64;

/// Begins to forget a past term, or goes on where a timer was lost.
pub fn forget(env: &Env, term: u32) -> Reply {
    ensure!(term < school::term()?.number, NOT_PAST);
    step(env, term)
}

/// Deletes some entries, and has a timer go on if there are more.
pub fn step(env: &Env, term: u32) -> Reply {
    let mut left = STEP;
    for map in &OF_PUPILS {
        delete(map, term, &mut left)?;
    }
    delete(&OF_CLASSES, term, &mut left)?;
    if left == 0 {
        postern::schedule_message(env.time + 1, &Tick::Forget { term });
    } else {
        FORGOTTEN_EVENT.emit(&term);
    }
    done()
}

fn delete<B: Key>(map: &Map<(u32, B, u32), Raw<'static>>, term: u32, left: &mut usize) -> Result<(), Abort> {
    for entry in map.iter_of(&term).take(*left) {
        map.delete(&entry?.0);
        *left -= 1;
    }
    Ok(())
}
