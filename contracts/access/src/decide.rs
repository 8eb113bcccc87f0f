//! The decision: deny overrides, and what no rule permits is denied.
//!
//! State is read as late as possible: the active policy and the first page of
//! rules always, the subject's and the resource's record only once a rule asks
//! for them, a delegation only when no rule decides, a broken glass only where
//! one would permit.

use crate::delegation;
use crate::form::written;
use crate::glass;
use crate::keys::Key;
use crate::pages;
use crate::question::{Clock, Question};
use crate::rule::{self, Effect, Match};
use postern::cbor::{Cursor, Writer};
use postern::{Input, Reply};

/// Reason codes of a verdict.
pub const BY_RULE: u64 = 1;
pub const BY_DELEGATION: u64 = 2;
pub const BY_GLASS: u64 = 3;
pub const NO_RULE: u64 = 10;
pub const DENY_RULE: u64 = 11;
pub const OUTSIDE_HOURS: u64 = 12;
pub const TIME_UNKNOWN: u64 = 13;
/// Breaking the glass, a transaction, would permit it.
pub const BREAK_GLASS: u64 = 14;

/// What the rules say, as far as they were read.
#[derive(Default)]
struct Findings<'a> {
    permit: Option<Effect<'a>>,
    deny: Option<Effect<'a>>,
    /// The first permit that holds once the glass is broken.
    glass: Option<Effect<'a>>,
    /// The first permit that only its hours kept from holding, and whether
    /// the time was known.
    near: Option<(&'a [u8], bool)>,
}

impl<'a> Findings<'a> {
    /// Matches the rules of a page; false once one denies.
    fn read(&mut self, page: &'a [u8], q: &mut Question<'a>) -> bool {
        for entry in pages::entries(page) {
            if !q.passes(&entry) || self.permit.is_some() && rule::permits(entry.body) {
                continue;
            }
            match rule::matches(entry.body, q) {
                Match::No => {}
                Match::Outside(reason, known) => self.near = self.near.or(Some((reason, known))),
                Match::Yes(effect) if effect.glass > 0 => self.glass = self.glass.or(Some(effect)),
                Match::Yes(effect) if effect.permit => self.permit = Some(effect),
                Match::Yes(effect) => {
                    self.deny = Some(effect);
                    return false;
                }
            }
        }
        true
    }
}

/// Decides a request.
pub fn decide(input: &Input) -> Reply {
    let mut q = Question::new(&input.env, Clock::Host);
    q.read(input.message, 0);
    q.use_active_policy();
    let (code, effect) = judge(&mut q);
    verdict(code, effect)
}

/// What the policy says of a request: a reason code and what goes with it.
pub fn judge<'a>(q: &mut Question<'a>) -> (u64, Effect<'a>) {
    let mut findings = Findings::default();
    if let Some(first) = Key::page(q.version, q.action.id.bytes, q.resource.kind.bytes) {
        read_pages(first, q, &mut findings);
    }
    if let Some(deny) = findings.deny {
        return (DENY_RULE, deny);
    }
    if let Some(mut permit) = findings.permit {
        permit.ttl = permit.ttl.min(q.steady);
        return (BY_RULE, permit);
    }
    let delegated = if q.owner().is_empty() { None } else { delegation_of(q) };
    if delegated == Some(true) {
        return (BY_DELEGATION, Effect { permit: true, ..Effect::default() });
    }
    if let Some(permit) = findings.glass {
        return behind_glass(q, permit);
    }
    let (code, reason) = match findings.near {
        Some((reason, true)) => (OUTSIDE_HOURS, reason),
        Some((reason, false)) => (TIME_UNKNOWN, reason),
        None if delegated == Some(false) => (TIME_UNKNOWN, &[][..]),
        None => (NO_RULE, &[][..]),
    };
    (code, Effect { reason, ..Effect::default() })
}

fn read_pages<'a>(first: Key, q: &mut Question<'a>, findings: &mut Findings<'a>) {
    let page = q.page(first, 0);
    let count = pages::count(page);
    let mut go_on = findings.read(page, q);
    for number in 1..count {
        if !go_on {
            return;
        }
        let page = q.page(first.with_page(number), number);
        go_on = findings.read(page, q);
    }
}

/// Whether the resource's owner delegated the action; Some(false) where only
/// the unknown time keeps the delegation from holding.
fn delegation_of(q: &mut Question) -> Option<bool> {
    let owner = Cursor::new(q.owner()).bytes();
    let until = delegation::granted_until(&q.parties(), owner, q.action.id.bytes)?;
    match q.now() {
        Some(now) => Some(true).filter(|_| now < until),
        None => Some(false),
    }
}

/// A permit that holds while the glass is broken; its obligations tell of the
/// alarm.
#[inline(never)]
fn behind_glass<'a>(q: &Question<'a>, mut permit: Effect<'a>) -> (u64, Effect<'a>) {
    let open = glass::find(&q.parties(), q.action.id.bytes);
    match (open, q.now()) {
        (Some(open), Some(now)) if now < open.until => {
            permit.obligations = open.obligations(permit.obligations);
            permit.ttl = permit.ttl.min(q.steady).min((open.until - now) as u64);
            (BY_GLASS, permit)
        }
        (Some(_), None) => (TIME_UNKNOWN, Effect { reason: permit.reason, ..Effect::default() }),
        _ => (BREAK_GLASS, Effect { reason: permit.reason, glass: permit.glass, ..Effect::default() }),
    }
}

/// Writes the verdict: see the host's Verdict for the keys.
fn verdict(code: u64, effect: Effect) -> Reply {
    let mut w = Writer::new(64 + effect.reason.len() + effect.obligations.len());
    let by_transaction = code == BREAK_GLASS;
    let present = [
        !effect.reason.is_empty(),
        !effect.obligations.is_empty(),
        effect.ttl > 0,
        effect.max_staleness.is_some(),
        by_transaction,
    ];
    w.map(2 + present.iter().filter(|&&p| p).count());
    w.uint(1).bool(effect.permit).uint(2).uint(code);
    if present[0] {
        w.uint(3).text_bytes(effect.reason);
    }
    if present[1] {
        w.uint(4).raw(effect.obligations);
    }
    if present[2] {
        w.uint(5).uint(effect.ttl);
    }
    if let Some(max) = effect.max_staleness {
        w.uint(6).uint(max);
    }
    if by_transaction {
        w.uint(8).bool(true);
    }
    Ok(written(w))
}
