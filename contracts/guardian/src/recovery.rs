//! The way back: the owner or the guardians say that the device is back, then
//! there is time to object, and a timer ends the case.

use crate::case::vote;
use crate::codes::*;
use crate::due;
use crate::rules;
use crate::state::*;
use crate::who::{Part, Sender};
use postern::{done, ensure, Checked, Reply};

/// Agrees that the device is back. Whoever found it has said so already.
pub fn confirm(who: &Sender, number: u64) -> Reply {
    let mut case = Case::load(number)?;
    let part = who.part(case.owner)?;
    ensure!(case.state == OPENED || case.state == FOUND, WRONG_STATE);
    let enough = match part {
        Part::Owner => true,
        Part::Guardian(place, circle) => {
            ensure!(case.finder != Some(who.id), OWN_CASE);
            vote(&mut case, place, &circle)?
        }
        Part::Authority => return Err(NOT_PARTY),
    };
    let by = act(who.time, Some(who.id));
    if enough {
        case.turn(RECOVERING);
        due::set_case(&who.env, number, &mut case, who.time.plus(rules::get()?.cooling)?)?;
        case.add(number, Deed::Confirmed, by)?;
    } else {
        case.add(number, Deed::Voted, by)?;
    }
    case.save(number);
    done()
}

/// Any one party's word that it is not back: the case is as open as before.
pub fn object(who: &Sender, number: u64) -> Reply {
    let mut case = Case::load(number)?;
    who.part(case.owner)?;
    ensure!(case.state == FOUND || case.state == RECOVERING, WRONG_STATE);
    case.turn(OPENED);
    case.finder = None;
    due::clear_case(number, &mut case);
    case.add(number, Deed::Objected, act(who.time, Some(who.id)))?;
    case.save(number);
    done()
}
