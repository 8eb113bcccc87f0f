//! How long things take: said once, at deployment, so that nobody shortens them
//! when it would help.

use crate::codes::BAD_RULES;
use postern::{done, ensure, record, Abort, Item, Reply};

const RULES: Item<Rules> = Item::new("rules");

const HOUR: i64 = 3600 * 1000;
/// People need an hour to notice anything, and a month is as long as a thief
/// should be able to keep an owner waiting, or guardians one another.
const SPANS: core::ops::RangeInclusive<i64> = HOUR..=30 * 24 * HOUR;

record! {
    /// Spans in ms.
    pub struct Rules {
        /// From a change of guardians to its effect.
        1 => pub change: i64,
        /// For which guardians freeze the owner's key.
        2 => pub freeze: i64,
        /// From the word that a device is back to the end of its case.
        3 => pub cooling: i64,
        /// How long votes, finds and contests wait for an answer.
        4 => pub patience: i64,
    }
}

pub fn set(rules: Rules) -> Reply {
    for span in [rules.change, rules.freeze, rules.cooling, rules.patience] {
        ensure!(SPANS.contains(&span), BAD_RULES);
    }
    RULES.set(&rules);
    done()
}

pub fn get() -> Result<Rules, Abort> {
    RULES.load()
}
