//! Who may make, bring in, recall and destroy: parties that the owner names.

use crate::codes::*;
use crate::item::Call;
use crate::state::*;
use crate::text::{Digest, Start};
use postern::{done, ensure, Abort, List, Reply};

/// May make items whose ids begin with one of its prefixes.
pub const MAKER: u8 = 1;
/// May bring in items that were made elsewhere.
pub const IMPORTER: u8 = 2;
/// May recall everybody's items.
pub const AUTHORITY: u8 = 4;
/// Gets recalled items, to destroy them.
pub const DESTROYER: u8 = 8;
const ALL: u8 = 15;

/// How many prefixes a maker may have: they are compared one by one.
const MAX_PREFIXES: usize = 8;

/// Names a party, or takes its rights away.
#[inline(never)]
pub fn set(call: &Call, account: Digest, rights: u8, prefixes: List<'static, Start>) -> Reply {
    call.env.require_owner().map_err(|_| NOT_OWNER)?;
    ensure!(rights & !ALL == 0, BAD_PARTY);
    ensure!(prefixes.len() <= MAX_PREFIXES, TOO_MANY);
    for prefix in prefixes.iter() {
        prefix?;
    }
    match rights {
        0 => PARTIES.delete(account.0),
        _ => PARTIES.set(account.0, &Party { rights, prefixes }),
    }
    tell("party-set", &[&account, &rights]);
    done()
}

/// The rights of an account.
#[inline(never)]
pub fn rights(account: Digest) -> Result<u8, Abort> {
    Ok(PARTIES.get(account.0)?.map_or(0, |party| party.rights))
}

/// Refuses a sender that has none of some rights.
#[inline(never)]
pub fn require(call: &Call, rights: u8, refusal: Abort) -> Result<Party, Abort> {
    let party = PARTIES.get(call.sender()?.0)?;
    party.filter(|party| party.rights & rights != 0).ok_or(refusal)
}

impl Party {
    /// Whether an id is within the maker's prefixes.
    pub fn names(&self, id: &str) -> Result<bool, Abort> {
        for prefix in self.prefixes.iter() {
            if id.starts_with(prefix?.0) {
                return Ok(true);
            }
        }
        Ok(self.prefixes.is_empty())
    }
}
