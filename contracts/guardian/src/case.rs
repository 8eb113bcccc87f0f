//! How a case begins: by the owner's word, by an authority's, or by as many
//! guardians as the owner asked for.

use crate::circle::Circle;
use crate::codes::*;
use crate::due;
use crate::rules;
use crate::state::*;
use crate::who::{Part, Sender};
use postern::{device_set_status, ensure, Abort, Checked, Device, Id, Reply};

/// What the ledger shows as the reason of the device's status.
const REASON: &str = "a case of theft or loss is open";

/// Begins a case and returns its number.
pub fn open(who: &Sender, device: Id, kind: u8, reason: Id) -> Reply {
    let owner = Id::keep(&Device::get(device.0).ok_or(NOT_PARTY)?.owner());
    let part = who.part(owner)?;
    ensure!(kind <= LOST, BAD_KIND);
    ensure!(!OPEN.has(&device), BUSY);
    let number = NEXT.get()?.unwrap_or(1);
    NEXT.set(&number.plus(1)?);
    let mut case = Case {
        device,
        owner,
        kind,
        state: PROPOSED,
        opener: who.id,
        by_others: !matches!(part, Part::Owner),
        at: who.time,
        status: 0,
        finder: None,
        due: None,
        votes: 0,
        revision: 0,
        acts: 0,
    };
    OPEN.set(&device, &number);
    OF.set(&(owner, number), &());
    let act = Act { digest: Some(reason), ..act(who.time, Some(who.id)) };
    case.add(number, Deed::Proposed, act)?;
    agree(who, part, number, &mut case)?;
    case.save(number);
    postern::reply(&number)
}

/// Supports a case that was proposed.
pub fn second(who: &Sender, number: u64) -> Reply {
    let mut case = Case::load(number)?;
    let part = who.part(case.owner)?;
    ensure!(case.state == PROPOSED, WRONG_STATE);
    if matches!(part, Part::Owner) {
        case.by_others = false;
    }
    agree(who, part, number, &mut case)?;
    case.save(number);
    postern::done()
}

/// Opens the case, or counts a guardian's vote for it.
fn agree(who: &Sender, part: Part, number: u64, case: &mut Case) -> Result<(), Abort> {
    if let Part::Guardian(place, circle) = part {
        if !vote(case, place, &circle)? {
            case.add(number, Deed::Voted, act(who.time, Some(who.id)))?;
            let due = who.time.plus(rules::get()?.patience)?;
            return due::set_case(&who.env, number, case, case.due.unwrap_or(due));
        }
    }
    case.turn(OPENED);
    due::clear_case(number, case);
    case.status = hold(case.device, case.kind);
    case.add(number, Deed::Opened, act(who.time, Some(who.id)))
}

/// Counts a guardian's vote on what the case is about now, and tells whether
/// they are enough. Votes from before a change of guardians are void.
pub fn vote(case: &mut Case, place: usize, circle: &Circle) -> Result<bool, Abort> {
    if case.revision != circle.revision {
        case.revision = circle.revision;
        case.votes = 0;
    }
    ensure!(case.votes >> place & 1 == 0, VOTED);
    case.votes |= 1 << place;
    Ok(circle.is_enough(case.votes))
}

/// Sets the gravest status of the kind that the ledger lets this contract set,
/// and returns the one that the device has then. A contract of the owner's may
/// say stolen, one that is bound to the device quarantined, others nothing.
pub fn hold(device: Id, kind: u8) -> u8 {
    for &status in statuses(kind) {
        if device_set_status(device.0, status, REASON).is_ok() {
            break;
        }
    }
    Device::get(device.0).map_or(0, |d| d.status() as u8)
}

/// Ends a case. The ledger's status stays: people end it, with a reason.
pub fn close(number: u64, case: &mut Case, state: u8) -> Result<(), Abort> {
    case.turn(state);
    due::clear_case(number, case);
    OPEN.delete(&case.device);
    Ok(())
}
