//! What a lock tells of itself.

use crate::codes::*;
use crate::state::{working, Health, HEALTH};
use postern::{done, ensure, Id, Reply, Topic};

const BATTERY_LOW: Topic<(Id, u8)> = Topic::new("battery-low");
const TAMPERED: Topic<Id> = Topic::new("tampered");

/// Percent at which people are told.
const LOW: u8 = 20;

/// Keeps the lock's last word, and tells people where they should look.
pub fn tell(time: i64, id: Id, battery: u8, tampered: bool) -> Reply {
    working(id)?;
    ensure!(battery <= 100, BAD_REPORT);
    HEALTH.set(&id, &Health { at: time, battery, tampered });
    if battery <= LOW {
        BATTERY_LOW.emit(&(id, battery));
    }
    if tampered {
        TAMPERED.emit(&id);
    }
    done()
}
