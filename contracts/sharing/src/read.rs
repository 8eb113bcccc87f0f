//! Reading: by a decision of a gateway, or where reads are logged or counted
//! by a transaction, whose commit is the answer.

use crate::codes::*;
use crate::dataset::{self, Dataset};
use crate::grant::{self, Grant};
use crate::id::{self, Env, Id};
use crate::names::{self, Code, Codes};
use crate::state::{out, tell, Items, Out};
use crate::{rate, settings};
use postern::cbor::Writer;
use postern::{Bytes, Context, DecisionRequest, Reply, Verdict, Why};

/// For how many ms a permit is kept that rests on nobody's consent. One that
/// does is not kept: withdrawal is to be felt at once.
const TTL: u64 = 5_000;
/// By how many ms a gateway that permits may be behind the chain.
const STALENESS: u64 = 30_000;

/// A read, which is counted and told to the world. It returns [data set, epoch,
/// wrapped key, content's hash or null, reads that are left or null].
pub fn read(env: &Env, number: u64, purpose: Code, fields: Codes, record: Option<Id>) -> Out {
    let caller = id::caller(env);
    let grant = grant::load(number);
    must(grant.grantee == caller, &NOT_GRANTEE);
    let (name, dataset) = (grant.dataset, dataset::load(grant.dataset));
    let purpose_bit = there(names::bit(&settings::purposes(), purpose.as_str()), &UNKNOWN_CODE);
    let set = names::set_of(&dataset.fields, &fields);
    pass(grant.refused(&dataset, purpose_bit, set, env.time));
    let mut reads = rate::take(number, &grant.rate, env.time);
    tell("read", &[&number, &name, &caller, &purpose, &fields, &grant.epoch, &reads.total, &record]);
    let wrapped: Bytes = there(grant::wrapped_key(name, number).get(), &NO_GRANT);
    let left = grant.rate.map(|rate| reads.left(&rate, env.time));
    out(&Items(&[&name, &grant.epoch, &wrapped, &dataset.content, &left]))
}

/// Whether the subject, an account in hexadecimal digits, reads fields of a
/// data set for a purpose.
pub fn decide(c: &Context) -> Reply {
    let q: DecisionRequest = c.parse_message()?;
    let verdict = match asked(&q) {
        Ok(asked) => judge(&asked),
        Err(why) => Verdict::deny(why.code as u64),
    };
    verdict.reply()
}

// What is asked: a decision's request in the contract's own terms.
struct Asked {
    name: &'static str,
    dataset: Dataset,
    account: Id,
    purpose: u32,
    fields: u32,
    now: i64,
}

fn asked(q: &DecisionRequest<'static>) -> Result<Asked, &'static Why> {
    if q.action.name != "read" || q.resource.kind != "dataset" {
        return Err(&NOT_A_READ);
    }
    let purpose: Code = q.context.get("purpose").ok_or(&NOT_A_READ)?;
    let fields: Codes = q.context.get("fields").ok_or(&NOT_A_READ)?;
    let dataset = dataset::key(q.resource.id).get::<Dataset>().ok_or(&NO_DATASET)?;
    Ok(Asked {
        name: q.resource.id,
        account: account(q.subject.id).ok_or(&NO_GRANT)?,
        purpose: names::bit(&settings::purposes(), purpose.as_str()).ok_or(&UNKNOWN_CODE)?,
        fields: names::set(&dataset.fields, &fields).ok_or(&UNKNOWN_CODE)?,
        now: postern::now().ok_or(&NO_CLOCK)?,
        dataset,
    })
}

// The first grant that permits decides; if none does, the last that there is
// tells why.
fn judge(asked: &Asked) -> Verdict<'static> {
    let mut why = &NO_GRANT;
    let (numbers, count) = grant::held(asked.name, &asked.account);
    for number in numbers.iter().take(count) {
        let grant = grant::load(*number);
        match grant.refused(&asked.dataset, asked.purpose, asked.fields, asked.now) {
            None => return permit(asked, &grant, *number),
            Some(refused) => why = refused,
        }
    }
    Verdict::deny(why.code as u64)
}

fn permit(asked: &Asked, grant: &Grant, number: u64) -> Verdict<'static> {
    if grant.logged || asked.dataset.logged {
        return Verdict { obligations: obligation(number), ..Verdict::by_transaction(BY_TRANSACTION) };
    }
    let left = grant.until.saturating_sub(asked.now).max(0) as u64;
    let ttl = if grant.consent.is_some() { 0 } else { left.min(TTL) };
    Verdict { ttl, max_staleness: Some(STALENESS), ..Verdict::permit(PERMITTED) }
}

// [["read", grant]]: the asker sends the message `read` of this grant.
fn obligation(number: u64) -> &'static [u8] {
    let mut w = Writer::new(24);
    w.array(1).array(2).text("read").uint(number);
    sound(w.finish())
}

// An account's id of 64 hexadecimal digits.
fn account(hex: &str) -> Option<Id> {
    let mut id = [0; 32];
    if hex.len() != 2 * id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Id::kept(&id))
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}
