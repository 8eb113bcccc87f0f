//! Conditions. An expression is an array [operator, operand…]; an operand of
//! a comparison is [0, constant] or [root, path…]:
//!
//! ```text
//! 1 eq   2 ne   3 lt   4 le   5 gt   6 ge   7 in   8 contains   (two operands)
//! 9 exists (one operand)   10 all   11 any (expressions)   12 not (one)
//! ```
//!
//! A comparison with a property that is missing, or between values that have
//! no order, is false; so is `ne`. Equal means the same canonical encoding.

use crate::codes::{refuse, BAD_CONDITION};
use crate::form::Form;
use core::cmp::Ordering;
use postern::cbor::{Cursor, Kind, Reader, TAG_DECIMAL};

/// How deeply expressions may nest, and how many a rule may hold.
const MAX_DEPTH: usize = 8;
const MAX_NODES: usize = 64;
/// Names in a path behind its root.
const MAX_PATH: usize = 8;

const EQ: u64 = 1;
const NE: u64 = 2;
const LT: u64 = 3;
const LE: u64 = 4;
const GT: u64 = 5;
const IN: u64 = 7;
const CONTAINS: u64 = 8;
const EXISTS: u64 = 9;
const ALL: u64 = 10;
const ANY: u64 = 11;
const NOT: u64 = 12;

/// Where a path starts. Only the roots of maps have a path behind them.
pub const CONSTANT: u64 = 0;
pub const SUBJECT_TYPE: u64 = 1;
pub const SUBJECT_ID: u64 = 2;
pub const SUBJECT_PROPERTIES: u64 = 3;
pub const SUBJECT_ROLES: u64 = 4;
pub const ACTION_NAME: u64 = 5;
pub const ACTION_PROPERTIES: u64 = 6;
pub const RESOURCE_TYPE: u64 = 7;
pub const RESOURCE_ID: u64 = 8;
pub const RESOURCE_PROPERTIES: u64 = 9;
pub const RESOURCE_OWNER: u64 = 10;
pub const CONTEXT: u64 = 11;

fn is_map(root: u64) -> bool {
    matches!(root, SUBJECT_PROPERTIES | ACTION_PROPERTIES | RESOURCE_PROPERTIES | CONTEXT)
}

/// Checks an expression as it arrives.
pub fn check(r: &mut Form) {
    let mut nodes = 0;
    check_expression(r, 0, &mut nodes)
}

fn check_expression(r: &mut Form, depth: usize, nodes: &mut usize) {
    *nodes += 1;
    if depth >= MAX_DEPTH || *nodes > MAX_NODES {
        refuse(BAD_CONDITION);
    }
    let count = r.array();
    if count < 2 {
        refuse(BAD_CONDITION);
    }
    match (r.uint(), count) {
        (EQ..=CONTAINS, 3) => {
            check_operand(r);
            check_operand(r)
        }
        (EXISTS, 2) => check_operand(r),
        (NOT, 2) => check_expression(r, depth + 1, nodes),
        (ALL | ANY, _) => {
            for _ in 1..count {
                check_expression(r, depth + 1, nodes);
            }
        }
        _ => refuse(BAD_CONDITION),
    }
}

fn check_operand(r: &mut Form) {
    let count = r.array();
    if count == 0 {
        refuse(BAD_CONDITION);
    }
    let root = r.uint();
    if root == CONSTANT && count == 2 {
        r.raw();
        return;
    }
    let path = if is_map(root) { 2..=1 + MAX_PATH } else { 1..=1 };
    if root == CONSTANT || root > CONTEXT || !path.contains(&count) {
        refuse(BAD_CONDITION);
    }
    for _ in 1..count {
        r.text();
    }
}

/// Where conditions find what a request is about.
pub trait Facts<'a> {
    /// The encoded value at a root; for the root of a map, that of the
    /// property with the name.
    fn value(&mut self, root: u64, name: &[u8]) -> Option<&'a [u8]>;
}

/// Evaluates an expression that was checked before, and steps over it.
pub fn holds<'a>(c: &mut Cursor<'a>, facts: &mut dyn Facts<'a>) -> bool {
    let operands = c.uint().saturating_sub(1);
    match c.uint() {
        EXISTS => operand(c, facts).is_some(),
        NOT => !holds(c, facts),
        op @ (ALL | ANY) => {
            // An operand that no longer matters is only stepped over.
            let mut result = op == ALL;
            for _ in 0..operands {
                if result == (op == ALL) {
                    result = holds(c, facts);
                } else {
                    c.skip();
                }
            }
            result
        }
        op => {
            let (left, right) = (operand(c, facts), operand(c, facts));
            matches!((left, right), (Some(a), Some(b)) if compare(op, a, b))
        }
    }
}

fn operand<'a>(c: &mut Cursor<'a>, facts: &mut dyn Facts<'a>) -> Option<&'a [u8]> {
    let names = c.uint().saturating_sub(1);
    let root = c.uint();
    if root == CONSTANT {
        return Some(c.raw());
    }
    let first = if names > 0 { c.bytes() } else { &[] };
    let mut value = facts.value(root, first);
    for _ in 1..names {
        let name = c.bytes();
        value = value.and_then(|map| crate::entity::property(map, name));
    }
    value
}

fn compare(op: u64, a: &[u8], b: &[u8]) -> bool {
    match op {
        EQ => a == b,
        NE => a != b,
        IN => has(b, a),
        CONTAINS => has(a, b) || within(a, b),
        _ => match order(a, b) {
            Some(Ordering::Less) => op == LT || op == LE,
            Some(Ordering::Greater) => op >= GT,
            Some(Ordering::Equal) => op != LT && op != GT,
            None => false,
        },
    }
}

/// Whether the encoded array has the item.
fn has(list: &[u8], item: &[u8]) -> bool {
    let mut c = Cursor::new(list);
    let (major, count) = c.head();
    major == 4 && (0..count).any(|_| c.raw() == item)
}

/// Whether the encoded text has the other as a part.
fn within(text: &[u8], part: &[u8]) -> bool {
    let both = Kind::Text;
    if Reader::new(text).kind() != Ok(both) || Reader::new(part).kind() != Ok(both) {
        return false;
    }
    let (text, part) = (Cursor::new(text).bytes(), Cursor::new(part).bytes());
    part.is_empty() || text.windows(part.len()).any(|w| w == part)
}

/// The order of two numbers, texts or byte strings; None for other kinds and
/// for kinds that differ.
fn order(a: &[u8], b: &[u8]) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Some(a.cmp(&b));
    }
    let (a_kind, b_kind) = (Reader::new(a).kind().ok()?, Reader::new(b).kind().ok()?);
    if a_kind != b_kind || !matches!(a_kind, Kind::Text | Kind::Bytes) {
        return None;
    }
    Some(Cursor::new(a).bytes().cmp(Cursor::new(b).bytes()))
}

/// A number in units of 10^-18: at most 2^64 * 10^18, below 2^124.
fn number(item: &[u8]) -> Option<i128> {
    const UNIT: i128 = 1_000_000_000_000_000_000;
    let mut c = Cursor::new(item);
    match c.head() {
        (0, v) => Some(v as i128 * UNIT),
        (1, v) => Some((-1 - v as i128) * UNIT),
        (6, TAG_DECIMAL) => {
            c.uint();
            let (exponent, mantissa) = (c.int(), c.int());
            Some(mantissa as i128 * 10i128.pow((18 + exponent).clamp(0, 18) as u32))
        }
        _ => None,
    }
}
