//! The market: offers of access to data sets, and purchases whose price is
//! held until the key was delivered and nobody objected.
//!
//! An offer never changes: whoever wants another price makes another one. A
//! purchase has one deadline at a time, the one by which whose turn it is must
//! act; before it only that party acts, from it on only `claim` and the timer.

use crate::codes::*;
use crate::credit::{self, MOST};
use crate::dataset;
use crate::grant::{self, Grant, LONGEST, MOST_OF_ONE};
use crate::id::{self, Env, Id};
use crate::names::{self, Codes, Name};
use crate::rate::{self, Rate};
use crate::settings::{self, DAY};
use crate::state::{out, tell, Key, Out, NOTHING};
use crate::{consent, due};
use postern::Bytes;

/// The bounds of the time to deliver, in ms.
const FASTEST: i64 = 10 * 60 * 1000;
const SLOWEST: i64 = 30 * DAY;
/// The shortest time for which access is sold, in ms.
const BRIEFEST: i64 = 60 * 1000;

row! {
    /// An offer.
    pub struct Offer (9) {
        pub seller: Id,
        pub dataset: &'static str,
        pub purposes: u32,
        pub fields: u32,
        pub price: u64,
        /// For how long access is granted, from the delivery on, in ms.
        pub period: i64,
        pub deliver_within: i64,
        /// SHA-256 of the terms.
        pub terms: Id,
        pub rate: Option<Rate>,
    }
}

/// The price is held; the seller is to deliver.
pub const PAID: u8 = 0;
/// The key is delivered; the buyer may object.
pub const DELIVERED: u8 = 1;
/// The buyer objected; the arbiter is to decide.
pub const DISPUTED: u8 = 2;
/// The seller has the price.
pub const SETTLED: u8 = 3;
/// The buyer has the price back.
pub const REFUNDED: u8 = 4;

row! {
    /// A purchase.
    pub struct Purchase (8) {
        pub offer: u64,
        pub buyer: Id,
        pub seller: Id,
        pub price: u64,
        pub state: u8,
        /// By when whose turn it is must act; absent when all is done.
        pub due: Option<i64>,
        pub grant: Option<u64>,
        /// SHA-256 of the buyer's objection.
        pub objection: Option<Id>,
    }
}

/// How an account's sales go: settled, not delivered, disputed, and disputed
/// and lost.
pub const SALES: [u8; 4] = [SALE, UNDELIVERED, OBJECTED, LOST];
const SALE: u8 = 0;
const UNDELIVERED: u8 = 1;
const OBJECTED: u8 = 2;
const LOST: u8 = 3;

pub fn offer_key(number: u64) -> Key {
    Key::numbered(b"offer/", number)
}

/// The prefix of the offers that were not withdrawn.
pub const OPEN: &[u8] = b"open/";

pub fn purchase_key(number: u64) -> Key {
    Key::numbered(b"purchase/", number)
}

/// An offer, which must be there.
#[inline(never)]
pub fn offer_of(number: u64) -> Offer {
    there(offer_key(number).get(), &NO_OFFER)
}

/// An offer as its message has it.
pub struct Wanted {
    pub purposes: Codes,
    pub fields: Codes,
    pub price: u64,
    pub period: i64,
    pub deliver_within: i64,
    pub terms: Id,
    pub rate: Option<Rate>,
}

/// Makes an offer of a data set of the caller's own.
pub fn offer(env: &Env, name: Name, wanted: Wanted) -> Out {
    let dataset = dataset::own(env, name);
    dataset.require_key();
    must((1..=MOST).contains(&wanted.price), &BAD_AMOUNT);
    must((BRIEFEST..=LONGEST).contains(&wanted.period), &BAD_TIME);
    must((FASTEST..=SLOWEST).contains(&wanted.deliver_within), &BAD_TIME);
    wanted.rate.iter().for_each(rate::check);
    let offer = Offer {
        seller: dataset.owner,
        dataset: name.as_str(),
        purposes: names::set_of(&settings::purposes(), &wanted.purposes),
        fields: names::set_of(&dataset.fields, &wanted.fields),
        price: wanted.price,
        period: wanted.period,
        deliver_within: wanted.deliver_within,
        terms: wanted.terms,
        rate: wanted.rate,
    };
    let number = Key(b"offers").next();
    offer_key(number).set(&offer);
    Key::numbered(OPEN, number).set(&());
    tell("offered", &[&number, &offer.dataset, &offer.seller, &offer.price]);
    out(&number)
}

/// Sells no more by an offer. What was bought stays bought.
pub fn withdraw_offer(env: &Env, number: u64) -> Out {
    let open = Key::numbered(OPEN, number);
    must(open.exists(), &NO_OFFER);
    must(offer_of(number).seller == id::caller(env), &NOT_HOLDER);
    open.delete();
    tell("offer-withdrawn", &[&number]);
    NOTHING
}

pub fn buy(env: &Env, number: u64, price: u64, terms: Id) -> Out {
    let buyer = id::caller(env);
    must(Key::numbered(OPEN, number).exists(), &NO_OFFER);
    let offer = offer_of(number);
    must(offer.price == price && offer.terms == terms, &PRICE_DIFFERS);
    must(offer.seller != buyer, &SELF_DEALING);
    let dataset = dataset::load(offer.dataset);
    dataset.require_active();
    must(grant::held(offer.dataset, &buyer).1 < MOST_OF_ONE, &TOO_MANY);
    consent::ground(env, offer.dataset, &dataset, &buyer, (offer.purposes, offer.fields));
    credit::hold(&buyer, price);
    let mut purchase = Purchase {
        offer: number,
        buyer,
        seller: offer.seller,
        price,
        state: PAID,
        due: None,
        grant: None,
        objection: None,
    };
    let bought = Key(b"purchases").next();
    step(env, bought, &mut purchase, PAID, offer.deliver_within);
    tell("bought", &[&bought, &number, &buyer, &price]);
    out(&bought)
}

// Brings a purchase to a state, with a new deadline.
#[inline(never)]
fn step(env: &Env, number: u64, purchase: &mut Purchase, state: u8, within: i64) {
    due::clear(purchase.due, due::PURCHASE, &number.to_be_bytes());
    let at = env.time + within;
    purchase.state = state;
    purchase.due = Some(at);
    due::set(env, at, due::PURCHASE, &number.to_be_bytes());
    purchase_key(number).set(purchase);
}

/// A purchase, which must be there.
#[inline(never)]
fn load(number: u64) -> Purchase {
    there(purchase_key(number).get(), &NO_PURCHASE)
}

// A purchase in a state, before its deadline.
#[inline(never)]
fn in_time(env: &Env, number: u64, state: u8) -> Purchase {
    let purchase = load(number);
    must(purchase.state == state, &WRONG_STATE);
    must(purchase.due > Some(env.time), &TOO_LATE);
    purchase
}

// A delivered purchase of the caller's.
fn delivered(env: &Env, number: u64) -> Purchase {
    let purchase = in_time(env, number, DELIVERED);
    must(purchase.buyer == id::caller(env), &NOT_PARTY);
    purchase
}

/// The seller wraps the key to the buyer, which makes the grant.
pub fn deliver(env: &Env, number: u64, epoch: u32, wrapped: Bytes<'static>) -> Out {
    let mut purchase = in_time(env, number, PAID);
    must(purchase.seller == id::caller(env), &NOT_PARTY);
    let offer = offer_of(purchase.offer);
    let grant = Grant {
        dataset: offer.dataset,
        grantee: purchase.buyer,
        purposes: offer.purposes,
        fields: offer.fields,
        epoch,
        from: env.time,
        until: env.time + offer.period,
        logged: false,
        rate: offer.rate,
        consent: None,
        ended: None,
        purchase: Some(number),
    };
    let grant = grant::make(env, dataset::load(offer.dataset), grant, wrapped);
    purchase.grant = Some(grant);
    step(env, number, &mut purchase, DELIVERED, settings::limit(settings::DISPUTE));
    tell("delivered", &[&number, &grant]);
    out(&grant)
}

/// The buyer is content: the seller is paid at once.
pub fn accept(env: &Env, number: u64) -> Out {
    settle(number, delivered(env, number));
    NOTHING
}

/// The buyer objects; the arbiter has the word.
pub fn dispute(env: &Env, number: u64, objection: Id) -> Out {
    let mut purchase = delivered(env, number);
    purchase.objection = Some(objection);
    sales(&purchase.seller, OBJECTED).next();
    step(env, number, &mut purchase, DISPUTED, settings::limit(settings::ARBITRATE));
    tell("disputed", &[&number, &objection]);
    NOTHING
}

/// The arbiter decides a dispute that is not its own.
pub fn arbitrate(env: &Env, number: u64, refund_it: bool) -> Out {
    let caller = id::caller(env);
    must(caller == settings::arbiter(env), &NOT_PARTY);
    let purchase = in_time(env, number, DISPUTED);
    must(caller != purchase.buyer && caller != purchase.seller, &SELF_DEALING);
    match refund_it {
        true => refund(env, number, purchase),
        false => settle(number, purchase),
    }
    NOTHING
}

/// Does at a purchase's deadline what its state says; anybody may ask.
pub fn claim(env: &Env, number: u64) -> Out {
    let due = there(load(number).due, &WRONG_STATE);
    must(env.time >= due, &NOT_DUE);
    over(env, number);
    NOTHING
}

/// The same by the timer.
pub fn over(env: &Env, number: u64) {
    let purchase = load(number);
    match purchase.state {
        DELIVERED => settle(number, purchase),
        _ => refund(env, number, purchase),
    }
}

#[inline(never)]
fn settle(number: u64, purchase: Purchase) {
    sales(&purchase.seller, SALE).next();
    finish(number, purchase, SETTLED);
}

// The price goes back; the grant, where there is one, ends.
#[inline(never)]
fn refund(env: &Env, number: u64, purchase: Purchase) {
    match purchase.grant {
        None => {
            sales(&purchase.seller, UNDELIVERED).next();
        }
        Some(granted) => {
            sales(&purchase.seller, LOST).next();
            let grant = grant::load(granted);
            if grant.ended.is_none() {
                grant::end(granted, grant, env.time);
            }
        }
    }
    finish(number, purchase, REFUNDED);
}

// Ends a purchase and gives the price to one of the two.
#[inline(never)]
fn finish(number: u64, mut purchase: Purchase, state: u8) {
    due::clear(purchase.due.take(), due::PURCHASE, &number.to_be_bytes());
    purchase.state = state;
    purchase_key(number).set(&purchase);
    let (to, topic) = match state {
        SETTLED => (purchase.seller, "settled"),
        _ => (purchase.buyer, "refunded"),
    };
    credit::release(&to, purchase.price);
    tell(topic, &[&number, &to, &purchase.price]);
}

/// The entry of how many of an account's sales went so.
#[inline(never)]
pub fn sales(account: &Id, so: u8) -> Key {
    Key::of(&[b"sales/", account.0, &[so]])
}
