//! Who sends, and what part the sender has in a case.

use crate::circle::{self, Circle};
use crate::codes::*;
use postern::{ensure, Abort, Env, Id, Role};

/// The sender of a transaction.
pub struct Sender {
    pub id: Id,
    pub time: i64,
    /// What the host vouches for.
    pub env: Env<'static>,
}

/// What part the sender has.
pub enum Part {
    Owner,
    /// A guardian, by the place in the circle.
    Guardian(usize, Circle),
    Authority,
}

impl Sender {
    pub fn of(env: &Env<'static>) -> Result<Sender, Abort> {
        let id = env.caller.and_then(Id::of).ok_or(NOT_DIRECT)?;
        Ok(Sender { id, time: env.time, env: *env })
    }

    /// The sender's part in an owner's matters. An owner whose key is frozen
    /// has none.
    #[inline(never)]
    pub fn part(&self, owner: Id) -> Result<Part, Abort> {
        let circle = circle::current(owner, self.time)?;
        if self.id == owner {
            ensure!(!circle.map_or(false, |c| c.is_frozen(self.time)), FROZEN);
            return Ok(Part::Owner);
        }
        if let Some(circle) = circle {
            if let Some(place) = circle.place(self.id) {
                return Ok(Part::Guardian(place, circle));
            }
        }
        ensure!(self.env.has_role(Role::AUTHORITY), NOT_PARTY);
        Ok(Part::Authority)
    }

    /// Refuses all but authorities.
    pub fn require_authority(&self) -> Result<(), Abort> {
        ensure!(self.env.has_role(Role::AUTHORITY), NOT_AUTHORITY);
        Ok(())
    }
}
