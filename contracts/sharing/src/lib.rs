//! The sharing contract: data sets whose content lies elsewhere, encrypted;
//! grants by purpose, field, rate and time; consent and its withdrawal; erasure
//! by destroying the key; and a market for access. README.md documents every
//! message and code.
//!
//! What is called from several places stays out of line: the module has 64 KiB.

#![cfg_attr(target_arch = "wasm32", no_std)]

#[macro_use]
mod state;
mod codes;
mod consent;
mod credit;
mod dataset;
mod due;
mod erase;
mod grant;
mod id;
mod names;
mod query;
mod rate;
mod read;
mod rotate;
mod settings;
#[cfg(test)]
mod tests;
mod trade;

use codes::{must, NESTED};
use consent::Target;
use credit::Reason;
use id::{Env, Id};
use names::{Code, Codes, Name};
use postern::{choice, Bytes, Context, List, Reply};
use rate::Rate;
use rotate::Rewrapped;
use state::Out;

postern::entry_points! {
    init => init,
    execute => execute,
    timer => timer,
    query => query,
    decide => decide,
}

choice! {
    /// What transactions may ask.
    pub enum Command {
        1 => SetIssuer { account: Id },
        2 => SetArbiter { account: Id },
        3 => AddPurpose { purpose: Code },
        4 => SetClass { account: Id, class: Option<Code> },
        10 => Create {
            dataset: Name, kind: Code, fields: Codes, custodian: Bytes<'static>,
            subject: Option<Id>, content: Option<Id>, logged: Option<bool>,
        },
        11 => AddRecords { dataset: Name, hashes: List<'static, Id> },
        20 => Grant {
            dataset: Name, grantee: Id, purposes: Codes, fields: Codes, until: i64, epoch: u32, wrapped: Bytes<'static>,
            from: Option<i64>, rate: Option<Rate>, logged: Option<bool>,
        },
        21 => Revoke { grant: u64 },
        22 => Read { grant: u64, purpose: Code, fields: Codes, record: Option<Id> },
        30 => Consent {
            dataset: Name, purposes: Codes, account: Option<Id>, class: Option<Code>, fields: Option<Codes>, until: Option<i64>,
        },
        31 => Withdraw { dataset: Name, account: Option<Id>, class: Option<Code> },
        32 => WithdrawAll { dataset: Name },
        40 => Rotate { dataset: Name, epoch: u32, content: Option<Id> },
        41 => Rewrap { dataset: Name, epoch: u32, keys: List<'static, Rewrapped> },
        50 => DemandErasure { dataset: Name },
        51 => Erase { dataset: Name, destroyed: i64, signature: Bytes<'static> },
        60 => Mint { to: Id, amount: u64, reason: Reason },
        61 => Burn { amount: u64, reason: Reason },
        62 => Transfer { to: Id, amount: u64 },
        70 => Offer {
            dataset: Name, purposes: Codes, fields: Codes, price: u64, period: i64, deliver_within: i64, terms: Id,
            rate: Option<Rate>,
        },
        71 => WithdrawOffer { offer: u64 },
        72 => Buy { offer: u64, price: u64, terms: Id },
        73 => Deliver { purchase: u64, epoch: u32, wrapped: Bytes<'static> },
        74 => Accept { purchase: u64 },
        75 => Dispute { purchase: u64, objection: Id },
        76 => Arbitrate { purchase: u64, refund: bool },
        77 => Claim { purchase: u64 },
    }
}

choice! {
    /// What queries may ask.
    pub enum Question {
        1 => Dataset { dataset: Name },
        2 => Datasets { after: Option<Name>, limit: Option<u32> },
        3 => Records { dataset: Name, after: Option<u64>, limit: Option<u32> },
        4 => Consents { dataset: Name, after: Option<Target>, limit: Option<u32> },
        5 => Class { account: Id },
        6 => Grant { grant: u64 },
        7 => Grants { dataset: Name, epoch: Option<u32>, after: Option<u64>, limit: Option<u32> },
        8 => Wrapped { grant: u64 },
        9 => Destruction { dataset: Name },
        10 => Deadlines { from: Option<i64>, limit: Option<u32> },
        11 => Settings,
        12 => Purposes,
        13 => Balance { account: Id },
        14 => Supply,
        15 => Offer { offer: u64 },
        16 => Offers { after: Option<u64>, limit: Option<u32> },
        17 => Purchase { purchase: u64 },
        18 => Sales { account: Id },
    }
}

pub use due::timer;
pub use query::query;
pub use read::decide;
pub use settings::init;

/// Runs a command of the account that signed it: neither of a contract in its
/// name, nor as what a device gave evidence of.
pub fn execute(c: &Context) -> Reply {
    must(c.env.parent.is_none() && c.env.evidence.is_none(), &NESTED);
    Ok(run(&c.env, c.parse_message()?))
}

fn run(env: &Env, command: Command) -> Out {
    use Command::*;
    match command {
        SetIssuer { account } => settings::appoint(env, settings::ISSUER, account),
        SetArbiter { account } => settings::appoint(env, settings::ARBITER, account),
        AddPurpose { purpose } => settings::add_purpose(env, purpose),
        SetClass { account, class } => consent::set_class(env, account, class),
        AddRecords { dataset, hashes } => dataset::add_records(env, dataset, hashes),
        Revoke { grant } => grant::revoke(env, grant),
        Read { grant, purpose, fields, record } => read::read(env, grant, purpose, fields, record),
        Withdraw { dataset, account, class } => consent::withdraw(env, dataset, account, class),
        WithdrawAll { dataset } => consent::withdraw_all(env, dataset),
        Rotate { dataset, epoch, content } => rotate::rotate(env, dataset, epoch, content),
        Rewrap { dataset, epoch, keys } => rotate::rewrap(env, dataset, epoch, keys),
        DemandErasure { dataset } => erase::demand(env, dataset),
        Erase { dataset, destroyed, signature } => erase::erase(env, dataset, destroyed, signature),
        Mint { to, amount, reason } => credit::mint(env, to, amount, reason),
        Burn { amount, reason } => credit::burn(env, amount, reason),
        Transfer { to, amount } => credit::transfer(env, to, amount),
        WithdrawOffer { offer } => trade::withdraw_offer(env, offer),
        Buy { offer, price, terms } => trade::buy(env, offer, price, terms),
        Deliver { purchase, epoch, wrapped } => trade::deliver(env, purchase, epoch, wrapped),
        Accept { purchase } => trade::accept(env, purchase),
        Dispute { purchase, objection } => trade::dispute(env, purchase, objection),
        Arbitrate { purchase, refund } => trade::arbitrate(env, purchase, refund),
        Claim { purchase } => trade::claim(env, purchase),
        Consent { dataset, purposes, account, class, fields, until } => {
            consent::give(env, dataset, consent::Given { account, class, purposes, fields, until })
        }
        Create { dataset, kind, fields, custodian, subject, content, logged } => {
            dataset::create(env, dataset, dataset::New { kind, fields, custodian, subject, content, logged })
        }
        Grant { dataset, grantee, purposes, fields, until, epoch, wrapped, from, rate, logged } => {
            let wanted = grant::Wanted { grantee, purposes, fields, until, epoch, wrapped, from, rate, logged };
            grant::give(env, dataset, wanted)
        }
        Offer { dataset, purposes, fields, price, period, deliver_within, terms, rate } => {
            let wanted = trade::Wanted { purposes, fields, price, period, deliver_within, terms, rate };
            trade::offer(env, dataset, wanted)
        }
    }
}
