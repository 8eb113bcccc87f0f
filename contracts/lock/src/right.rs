//! A guest's right: when it holds, and on whose word.

use crate::codes::*;
use crate::hours::{self, Window, ZONES};
use crate::state::{Lock, Seat, ACCOUNT, CARD};
use postern::{ensure, record, Abort, Id, List, Map};

pub const RIGHTS: Map<Seat, Right> = Map::new("right/");

/// How far ahead a right may end, in ms: ten years. A time beyond is more
/// likely one in the wrong unit.
const MAX_AHEAD: i64 = 10 * 366 * 24 * 3600 * 1000;
/// How often a counted right may be used.
const MAX_USES: u32 = 1000;

record! {
    /// What a right is given for. All that is absent does not limit it.
    pub struct Terms {
        /// From when, ms since 1970.
        1 => pub from: Option<i64>,
        /// Until when: at that time it is over.
        2 => pub until: Option<i64>,
        /// In which hours.
        3 => pub windows: Option<List<'static, Window>>,
        /// How often: 1 for a one-time guest.
        4 => pub uses: Option<u32>,
        /// The guest is a resident, who may grant, too; absent is false.
        5 => pub resident: Option<bool>,
    }
}

record! {
    /// A right.
    pub struct Right {
        /// Who gave it.
        1 => pub by: Id,
        /// Its number among the lock's.
        2 => pub number: u64,
        /// The number of the resident's right under which it was given.
        3 => pub under: Option<u64>,
        4 => pub terms: Terms,
        /// How many rights the resident has given that still stand.
        5 => pub given: u32,
    }
}

/// How a right stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Holds,
    /// On nobody's word any more.
    Void,
    NotYet,
    Expired,
    Outside,
    Unknown,
}

impl Standing {
    /// Refuses a right that does not hold.
    pub fn require(self) -> Result<(), Abort> {
        Err(match self {
            Standing::Holds => return Ok(()),
            Standing::Void => NO_RIGHT,
            Standing::NotYet => NOT_YET,
            Standing::Expired => EXPIRED,
            Standing::Outside => OUTSIDE_HOURS,
            Standing::Unknown => TIME_UNKNOWN,
        })
    }

    /// The reason of a decision.
    pub fn reason(self) -> u64 {
        match self {
            Standing::Holds => reason::GRANTED,
            Standing::Void => reason::NO_RIGHT,
            Standing::NotYet => reason::NOT_YET,
            Standing::Expired => reason::EXPIRED,
            Standing::Outside => reason::OUTSIDE_HOURS,
            Standing::Unknown => reason::TIME_UNKNOWN,
        }
    }
}

impl Terms {
    /// Whether the guest may grant.
    pub fn is_resident(&self) -> bool {
        self.resident == Some(true)
    }

    /// Refuses terms that could never hold or contradict one another.
    pub fn check(&self, kind: u8, lock: Id, time: i64) -> Result<(), Abort> {
        let until = self.until.unwrap_or(time + 1);
        ensure!(until > time && until > self.from.unwrap_or(i64::MIN), BAD_TERMS);
        ensure!(until - time <= MAX_AHEAD && self.from.unwrap_or(time) <= time + MAX_AHEAD, BAD_TERMS);
        ensure!(self.uses.map_or(true, |n| (1..=MAX_USES).contains(&n)), BAD_TERMS);
        ensure!(!self.is_resident() || kind == ACCOUNT && self.uses.is_none(), BAD_TERMS);
        if let Some(windows) = &self.windows {
            hours::check(windows)?;
            ensure!(ZONES.has(&lock), NO_ZONE);
        }
        Ok(())
    }

    /// Whether these dates lie within others. Hours need no comparison: both
    /// must be open when the right is used.
    pub fn within(&self, own: &Terms, time: i64) -> bool {
        let ends = own.until.map_or(true, |end| self.until.map_or(false, |until| until <= end));
        ends && own.from.map_or(true, |start| self.from.unwrap_or(time) >= start)
    }

    fn standing(&self, lock: Id, now: Option<i64>) -> Result<Standing, Abort> {
        if self.from.is_none() && self.until.is_none() && self.windows.is_none() {
            return Ok(Standing::Holds);
        }
        let now = match now {
            Some(now) => now,
            None => return Ok(Standing::Unknown),
        };
        if self.from.map_or(false, |from| now < from) {
            return Ok(Standing::NotYet);
        }
        if self.until.map_or(false, |until| now >= until) {
            return Ok(Standing::Expired);
        }
        let open = match &self.windows {
            Some(windows) => hours::open(windows, lock, now)?,
            None => Some(true),
        };
        Ok(match open {
            Some(true) => Standing::Holds,
            Some(false) => Standing::Outside,
            None => Standing::Unknown,
        })
    }
}

impl Right {
    /// On whose word it stands, which is nobody's once the lock has another
    /// owner, or the resident who gave it not the same right any more.
    pub fn giver(&self, id: Id, lock: &Lock) -> Result<Giver, Abort> {
        if self.number < lock.first_right {
            return Ok(Giver::Gone);
        }
        let under = match self.under {
            Some(under) => under,
            None => return Ok(Giver::Owner),
        };
        let own = RIGHTS.get(&(id, ACCOUNT, self.by))?;
        let stands = |own: &Right| lock.delegation && own.number == under;
        Ok(own.filter(stands).map_or(Giver::Gone, Giver::Resident))
    }

    /// How it stands at a time, None where the time is not known. A right that
    /// a resident gave holds only while the resident's own does.
    pub fn standing(&self, id: Id, lock: &Lock, now: Option<i64>) -> Result<Standing, Abort> {
        let above = match self.giver(id, lock)? {
            Giver::Gone => return Ok(Standing::Void),
            Giver::Owner => Standing::Holds,
            Giver::Resident(own) => own.terms.standing(id, now)?,
        };
        if above != Standing::Holds {
            return Ok(above);
        }
        self.terms.standing(id, now)
    }
}

/// On whose word a right stands.
pub enum Giver {
    Owner,
    Resident(Right),
    Gone,
}

/// Refuses a kind of guest that there is not.
pub fn check_kind(kind: u8) -> Result<(), Abort> {
    ensure!(kind == ACCOUNT || kind == CARD, BAD_GUEST);
    Ok(())
}
