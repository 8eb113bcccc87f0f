//! Giving rights and taking them away.

use crate::codes::*;
use crate::right::{check_kind, Giver, Right, Standing, Terms, RIGHTS};
use crate::state::{current, Lock, Seat, ACCOUNT, LOCKS};
use postern::{done, ensure, Abort, Checked, Id, Reply, Topic};

const GRANTED: Topic<(Id, u8, Id, Id)> = Topic::new("granted");
const REVOKED: Topic<(Id, u8, Id, Id)> = Topic::new("revoked");

/// How many rights a resident may have given at a time.
const MAX_GIVEN: u32 = 32;

/// Gives a right: the owner any, a resident within its own.
pub fn grant(time: i64, caller: Id, seat: &Seat, terms: &Terms) -> Reply {
    let (id, kind, guest) = *seat;
    let mut lock = current(id)?;
    let own = granter(&lock, caller, id, time)?;
    check_kind(kind)?;
    terms.check(kind, id, time)?;
    let former = RIGHTS.get(seat)?;
    if let Some(own) = &own {
        within(own, terms, time)?;
        let others = |right: &Right| right.by != caller || right.under != Some(own.number);
        let stands = |right: &Right| Ok::<_, Abort>(right.standing(id, &lock, Some(time))? != Standing::Void);
        if let Some(right) = former.as_ref().filter(|right| others(right)) {
            ensure!(!stands(right)? || right.terms.until.map_or(false, |until| until <= time), TAKEN);
        }
    }
    release(id, &lock, former)?;
    let under = own.map(|own| own.number);
    if under.is_some() {
        count(&(id, ACCOUNT, caller))?;
    }
    let right = Right { by: caller, number: lock.next_right, under, terms: *terms, given: 0 };
    RIGHTS.set(seat, &right);
    lock.next_right = lock.next_right.plus(1)?;
    LOCKS.set(&id, &lock);
    GRANTED.emit(&(id, kind, guest, caller));
    done()
}

/// The resident's own right by which the caller grants; None for the owner.
fn granter(lock: &Lock, caller: Id, id: Id, time: i64) -> Result<Option<Right>, Abort> {
    if caller == lock.owner {
        return Ok(None);
    }
    ensure!(lock.delegation, MAY_NOT_GRANT);
    let own = RIGHTS.get(&(id, ACCOUNT, caller))?.ok_or(MAY_NOT_GRANT)?;
    ensure!(own.under.is_none(), TOO_DEEP);
    ensure!(own.terms.is_resident(), MAY_NOT_GRANT);
    match own.standing(id, lock, Some(time))? {
        Standing::Void | Standing::Expired => Err(MAY_NOT_GRANT),
        _ => Ok(Some(own)),
    }
}

fn within(own: &Right, terms: &Terms, time: i64) -> Result<(), Abort> {
    ensure!(!terms.is_resident(), TOO_DEEP);
    ensure!(terms.within(&own.terms, time), BEYOND_OWN);
    Ok(())
}

/// A right that is replaced or ended counts no more for who gave it.
fn release(id: Id, lock: &Lock, former: Option<Right>) -> Result<(), Abort> {
    let former = match former {
        Some(former) => former,
        None => return Ok(()),
    };
    if let Giver::Resident(mut own) = former.giver(id, lock)? {
        own.given = own.given.saturating_sub(1);
        RIGHTS.set(&(id, ACCOUNT, former.by), &own);
    }
    Ok(())
}

fn count(seat: &Seat) -> Result<(), Abort> {
    let mut own = RIGHTS.load(seat)?;
    ensure!(own.given < MAX_GIVEN, TOO_MANY);
    own.given += 1;
    RIGHTS.set(seat, &own);
    Ok(())
}

/// Takes a right away: the owner any, others what they gave or have. What a
/// resident gave goes with the resident's own.
pub fn revoke(caller: Id, seat: &Seat) -> Reply {
    let (id, kind, guest) = *seat;
    let lock = current(id)?;
    let itself = kind == ACCOUNT && guest == caller;
    let right = RIGHTS.get(seat)?;
    let gave = right.map_or(false, |right| right.by == caller && right.number >= lock.first_right);
    ensure!(caller == lock.owner || itself || gave, NOT_REVOKER);
    ensure!(right.is_some(), NO_RIGHT);
    end(id, &lock, seat, right)?;
    REVOKED.emit(&(id, kind, guest, caller));
    done()
}

/// Deletes a right.
pub fn end(id: Id, lock: &Lock, seat: &Seat, right: Option<Right>) -> Result<(), Abort> {
    release(id, lock, right)?;
    RIGHTS.delete(seat);
    Ok(())
}
