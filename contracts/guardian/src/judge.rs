//! False reports: the owner contests what others opened, and an authority that
//! had no part in it decides.

use crate::case;
use crate::circle;
use crate::codes::*;
use crate::due;
use crate::rules;
use crate::state::*;
use crate::who::{Part, Sender};
use postern::{done, ensure, Checked, Id, Reply};

/// What an authority decides.
pub const UPHOLD: u8 = 0;
pub const DISMISS: u8 = 1;
pub const RETURN: u8 = 2;

/// The owner says that there was no theft. Where no authority decides, time
/// does: for the owner, unless the owner's key is frozen then.
pub fn contest(who: &Sender, number: u64, reason: Id) -> Reply {
    let mut case = Case::load(number)?;
    ensure!(matches!(who.part(case.owner)?, Part::Owner), NOT_PARTY);
    ensure!(case.by_others && (case.state == OPENED || case.state == FOUND), WRONG_STATE);
    case.turn(CONTESTED);
    due::set_case(&who.env, number, &mut case, who.time.plus(rules::get()?.patience)?)?;
    case.add(number, Deed::Contested, Act { digest: Some(reason), ..act(who.time, Some(who.id)) })?;
    case.save(number);
    done()
}

/// An authority decides: the case goes on, was none, or the device is back.
pub fn rule(who: &Sender, number: u64, outcome: u8, reason: Id) -> Reply {
    who.require_authority()?;
    let mut case = Case::load(number)?;
    ensure!((OPENED..=RECOVERING).contains(&case.state), WRONG_STATE);
    let guards = circle::current(case.owner, who.time)?.map_or(false, |c| c.place(who.id).is_some());
    let acted = who.id == case.owner || who.id == case.opener || Some(who.id) == case.finder;
    ensure!(!guards && !acted, OWN_CASE);
    case.add(number, Deed::Ruled, Act { digest: Some(reason), ..act(who.time, Some(who.id)) })?;
    let by = act(who.time, Some(who.id));
    match outcome {
        UPHOLD => {
            case.turn(OPENED);
            // What is settled is not contested again.
            case.by_others = false;
            due::clear_case(number, &mut case);
        }
        DISMISS => {
            case::close(number, &mut case, DISMISSED)?;
            case.add(number, Deed::Dismissed, by)?;
        }
        RETURN => {
            case::close(number, &mut case, RECOVERED)?;
            case.add(number, Deed::Recovered, by)?;
        }
        _ => return Err(BAD_KIND),
    }
    case.save(number);
    done()
}
