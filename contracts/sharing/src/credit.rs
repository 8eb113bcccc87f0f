//! Credits: whole units that an issuer makes and destroys. What was made and
//! not destroyed is what accounts have and what purchases hold.

use crate::codes::*;
use crate::id::{self, Env, Id};
use crate::settings::ISSUER;
use crate::state::{tell, Key, Out, NOTHING};
use postern::Text;

/// More credits than this there never are, so that every sum of them fits a
/// signed integer of 64 bits.
pub const MOST: u64 = i64::MAX as u64;

/// Why credits come or go.
pub type Reason = Text<'static, 64>;

/// All credits that were made, that were destroyed, and that purchases hold.
pub const MINTED: Key = Key(b"minted");
pub const BURNED: Key = Key(b"burned");
pub const ESCROW: Key = Key(b"escrow");

/// The entry of an account's balance.
pub fn key(account: &Id) -> Key {
    Key::of(&[b"credit/", account.0])
}

// No balance exceeds what was ever made, so a sum of two fits.
#[inline(never)]
fn add(account: &Id, amount: u64) {
    key(account).set(&(key(account).count() + amount));
}

#[inline(never)]
fn take(account: &Id, amount: u64) {
    let have = key(account).count();
    must(amount > 0, &BAD_AMOUNT);
    must(have >= amount, &TOO_FEW);
    match have - amount {
        0 => key(account).delete(),
        left => key(account).set(&left),
    }
}

#[inline(never)]
fn issuer(env: &Env, reason: &Reason) -> Id {
    let caller = id::caller(env);
    must(ISSUER.get() == Some(caller), &NOT_ISSUER);
    must(!reason.as_str().is_empty(), &NO_REASON);
    caller
}

pub fn mint(env: &Env, to: Id, amount: u64, reason: Reason) -> Out {
    issuer(env, &reason);
    let minted = MINTED.count();
    must(amount > 0 && amount <= MOST - minted, &BAD_AMOUNT);
    MINTED.set(&(minted + amount));
    add(&to, amount);
    tell("minted", &[&to, &amount, &reason]);
    NOTHING
}

/// Destroys credits of the issuer's own: those of others it cannot touch.
pub fn burn(env: &Env, amount: u64, reason: Reason) -> Out {
    let issuer = issuer(env, &reason);
    take(&issuer, amount);
    BURNED.set(&(BURNED.count() + amount));
    tell("burned", &[&issuer, &amount, &reason]);
    NOTHING
}

pub fn transfer(env: &Env, to: Id, amount: u64) -> Out {
    let from = id::caller(env);
    take(&from, amount);
    add(&to, amount);
    tell("transferred", &[&from, &to, &amount]);
    NOTHING
}

/// Takes a price off an account and holds it.
pub fn hold(account: &Id, price: u64) {
    take(account, price);
    ESCROW.set(&(ESCROW.count() + price));
}

/// Gives a price that is held to an account.
pub fn release(account: &Id, price: u64) {
    ESCROW.set(&(ESCROW.count() - price));
    add(account, price);
}
