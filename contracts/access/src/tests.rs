//! Native tests of the parts, with the SDK's fake host. The Go tests beside
//! the sources run the whole contract as Wasm.

use crate::codes::*;
use crate::condition::{self, Facts};
use crate::entity::Record;
use crate::form::Form;
use crate::hours::{self, Standing};
use crate::inherit::Climb;
use crate::keys::Key;
use crate::pages;
use crate::roles;
use crate::rule;
use postern::cbor::{Cursor, Reader, Writer};
use postern::{fake, Abort, Env, Input};

/// Encodes what `write` appends.
fn item(write: impl FnOnce(&mut Writer)) -> &'static [u8] {
    let mut w = Writer::new(4096);
    write(&mut w);
    w.finish().unwrap()
}

fn text(s: &str) -> &'static [u8] {
    item(|w| {
        w.text(s);
    })
}

fn int(v: i64) -> &'static [u8] {
    item(|w| {
        w.int(v);
    })
}

fn decimal(exponent: i64, mantissa: i64) -> &'static [u8] {
    item(|w| {
        w.tag(4).array(2).int(exponent).int(mantissa);
    })
}

fn list(items: &[&[u8]]) -> &'static [u8] {
    item(|w| {
        w.array(items.len());
        items.iter().for_each(|i| {
            w.raw(i);
        });
    })
}

/// Facts with one property, context.x.
struct Fact(Option<&'static [u8]>);

impl Facts<'static> for Fact {
    fn value(&mut self, root: u64, name: &[u8]) -> Option<&'static [u8]> {
        self.0.filter(|_| root == condition::CONTEXT && name == b"x")
    }
}

/// [operator, [context.x], [0, constant]]
fn comparison(op: u64, constant: &[u8]) -> &'static [u8] {
    item(|w| {
        w.array(3).uint(op).array(2).uint(condition::CONTEXT).text("x").array(2).uint(0).raw(constant);
    })
}

fn holds(expression: &'static [u8], x: Option<&'static [u8]>) -> bool {
    let mut r = Form::new(expression);
    condition::check(&mut r);
    r.done();
    let mut c = Cursor::new(expression);
    let result = condition::holds(&mut c, &mut Fact(x));
    assert!(c.rest().is_empty(), "evaluation steps over the whole expression");
    result
}

const EQ: u64 = 1;
const NE: u64 = 2;
const LT: u64 = 3;
const LE: u64 = 4;
const GT: u64 = 5;
const GE: u64 = 6;
const IN: u64 = 7;
const CONTAINS: u64 = 8;

#[test]
fn numbers_have_one_exact_order() {
    let ascending = [
        item(|w| {
            w.int(i64::MIN);
        }),
        int(-1),
        decimal(-1, -5),
        decimal(-18, -1),
        int(0),
        decimal(-18, 1),
        decimal(-2, 9),
        decimal(-1, 1),
        int(1),
        decimal(-1, 11),
        int(i64::MAX),
        item(|w| {
            w.uint(u64::MAX);
        }),
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            let got = [EQ, NE, LT, LE, GT, GE].map(|op| holds(comparison(op, b), Some(a)));
            assert_eq!(got, [i == j, i != j, i < j, i <= j, i > j, i >= j], "{:x?} and {:x?}", a, b);
        }
    }
}

#[test]
fn texts_are_ordered_by_bytes_and_kinds_do_not_mix() {
    assert!(holds(comparison(LT, text("b")), Some(text("a"))));
    assert!(holds(comparison(LT, text("ä")), Some(text("z"))));
    assert!(holds(comparison(GT, text("a")), Some(text("aa"))));
    for op in [LT, LE, GT, GE] {
        for (a, b) in [(text("1"), int(1)), (list(&[]), list(&[])), (&[0xf5][..], &[0xf4][..]), (&[0xf6], &[0xf6])] {
            assert!(!holds(comparison(op, b), Some(a)), "{} {:x?} {:x?}", op, a, b);
        }
    }
}

#[test]
fn what_is_missing_satisfies_no_comparison() {
    for op in EQ..=CONTAINS {
        assert!(!holds(comparison(op, list(&[])), None), "operator {}", op);
    }
}

#[test]
fn membership() {
    let two = list(&[text("a"), int(1)]);
    assert!(holds(comparison(IN, two), Some(text("a"))));
    assert!(!holds(comparison(IN, two), Some(text("b"))));
    assert!(!holds(comparison(IN, text("a")), Some(text("a"))));
    assert!(holds(comparison(CONTAINS, int(1)), Some(two)));
    assert!(!holds(comparison(CONTAINS, int(2)), Some(two)));
    assert!(holds(comparison(CONTAINS, text("ell")), Some(text("hello"))));
    assert!(holds(comparison(CONTAINS, text("")), Some(text(""))));
    assert!(!holds(comparison(CONTAINS, text("hello")), Some(text("ell"))));
    assert!(!holds(comparison(CONTAINS, int(1)), Some(text("1"))));
}

#[test]
fn all_any_and_not() {
    let yes = comparison(EQ, int(1));
    let no = comparison(EQ, int(2));
    let join = |op: u64, terms: &[&'static [u8]]| {
        item(|w| {
            w.array(1 + terms.len()).uint(op);
            terms.iter().for_each(|t| {
                w.raw(t);
            });
        })
    };
    let x = Some(int(1));
    let (all, any, not) = (10, 11, 12);
    for (terms, every, some) in
        [(&[yes, yes][..], true, true), (&[yes, no], false, true), (&[no, yes], false, true), (&[no, no], false, false)]
    {
        assert_eq!(holds(join(all, terms), x), every);
        assert_eq!(holds(join(any, terms), x), some);
        assert_eq!(holds(join(not, &[join(all, terms)]), x), !every);
    }
}

#[test]
fn malformed_conditions_are_refused() {
    let bad: &[&[u8]] = &[
        &[0x80],
        &[0x81, 1],
        &[0x82, 0, 0x82, 11, 0x61, b'x'],
        &[0x82, 13, 0x82, 11, 0x61, b'x'],
        &[0x82, 9, 0x81, 11],
        &[0x82, 9, 0x82, 1, 0x61, b'x'],
        &[0x82, 9, 0x82, 12, 0x61, b'x'],
        &[0x82, 9, 0x82, 11, 0x41, b'x'],
        &[0x82, 9, 0x80],
        &[0x83, 12, 0x82, 9, 0x81, 1, 0x82, 9, 0x81, 1],
        &[0x82, 1, 0x81, 1],
        &[0x81, 10],
    ];
    for raw in bad {
        let refused = std::panic::catch_unwind(|| condition::check(&mut Form::new(raw))).is_err();
        assert!(refused, "{:x?}", raw);
    }
}

/// A zone with clocks forward at 1000000 s and back at 2000000 s, known until
/// 3000000 s.
fn zones() -> &'static [u8] {
    item(|w| {
        w.array(1).array(3).text("Z").int(3_000_000).array(6);
        w.int(0).int(3600).int(1_000_000).int(7200).int(2_000_000).int(3600);
    })
}

fn window(days: u64, from: u64, to: u64) -> &'static [u8] {
    let raw = item(|w| {
        w.array(4).text("Z").uint(days).uint(from).uint(to);
    });
    hours::check(&mut Form::new(raw), zones());
    raw
}

/// Milliseconds at a local day (0 is Thursday, 1970-01-01) and minute.
fn at(day: i64, minute: i64) -> Option<i64> {
    let local = day * 86_400 + minute * 60;
    Some((local - if local - 3600 >= 1_000_000 { 7200 } else { 3600 }) * 1000)
}

fn inside(window: &[u8], now: Option<i64>) -> bool {
    matches!(hours::standing(window, zones(), now), Standing::Inside(_))
}

#[test]
fn hours_within_a_day() {
    let thursday = window(1 << 3, 420, 1080);
    assert!(!inside(thursday, at(0, 419)));
    assert!(inside(thursday, at(0, 420)));
    assert!(inside(thursday, at(0, 1079)));
    assert!(!inside(thursday, at(0, 1080)));
    assert!(!inside(thursday, at(1, 500)));
    assert!(inside(thursday, at(7, 500)), "a week later");
    assert!(inside(thursday, at(14, 500)), "in summer time");
    assert!(!inside(thursday, at(14, 419)), "in summer time");
}

#[test]
fn hours_across_midnight_belong_to_their_first_day() {
    let thursday = window(1 << 3, 1320, 360);
    assert!(!inside(thursday, at(0, 61)), "Wednesday's night is not meant");
    assert!(inside(thursday, at(0, 1320)));
    assert!(inside(thursday, at(1, 0)));
    assert!(inside(thursday, at(1, 359)));
    assert!(!inside(thursday, at(1, 360)));
    assert!(!inside(thursday, at(1, 1320)));
    let sunday = window(1 << 6, 1320, 360);
    assert!(inside(sunday, at(4, 100)), "into Monday");
}

#[test]
fn whole_days() {
    let friday = window(1 << 4, 0, 1440);
    assert!(inside(friday, at(1, 0)) && inside(friday, at(1, 1439)));
    assert!(!inside(friday, at(0, 1439)) && !inside(friday, at(2, 0)));
}

#[test]
fn unknown_times() {
    let always = window(0x7f, 0, 1440);
    for now in [None, Some(-1), Some(3_000_000_000), Some(i64::MAX)] {
        assert_eq!(hours::standing(always, zones(), now), Standing::Unknown, "{:?}", now);
    }
    assert!(inside(always, Some(0)) && inside(always, Some(2_999_999_999)));
}

#[test]
fn steadiness_ends_at_the_next_edge() {
    let thursday = window(1 << 3, 420, 1080);
    let standing = |now: i64| hours::standing(thursday, zones(), Some(now));
    assert_eq!(standing(at(0, 420).unwrap()), Standing::Inside(660 * 60_000));
    assert_eq!(standing(at(0, 420).unwrap() + 1), Standing::Inside(660 * 60_000 - 1));
    assert_eq!(standing(at(0, 1080).unwrap()), Standing::Outside(360 * 60_000), "until midnight");
    assert_eq!(standing(999_999_000), Standing::Outside(1000), "until the clocks change");
}

#[test]
fn zone_tables_are_checked() {
    let zone = |until: i64, steps: &[i64]| {
        let raw = item(|w| {
            w.array(3).text("Z").int(until).array(steps.len());
            steps.iter().for_each(|&s| {
                w.int(s);
            });
        });
        std::panic::catch_unwind(|| hours::check_zone(&mut Form::new(raw)) == "Z").unwrap_or(false)
    };
    assert!(zone(10, &[0, 0, 5, 3600]));
    for steps in [&[][..], &[0], &[0, 0, 0, 0], &[5, 0, 4, 0], &[0, 100_000], &[10, 0]] {
        assert!(!zone(10, steps), "{:?}", steps);
    }
}

#[test]
fn pages_with_wrong_lengths_end() {
    let count = |page: &[u8]| pages::entries(page).count();
    for page in [&[][..], &[0], &[0, 1], &[0, 1, 0, 0], &[0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(count(page), 0, "{:x?}", page);
    }
    let two = [0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xff];
    let bodies: Vec<&[u8]> = pages::entries(&two).map(|e| e.body).collect();
    assert_eq!(bodies, [&[9][..], &[]]);
}

#[test]
fn gates_open_for_what_a_rule_names() {
    let body = item(|w| {
        w.map(4).uint(1).text("r").uint(2).bool(true);
        w.uint(4).array(2).text("ann").text("bob").uint(5).array(1).text("");
    });
    let gates = rule::gates(body);
    assert_eq!(gates[rule::SUBJECT_ID], rule::gate(b"ann") | rule::gate(b"bob"));
    assert_eq!(gates[rule::SUBJECT_ROLES], rule::gate(b""));
    assert_eq!((gates[rule::SUBJECT_TYPE], gates[rule::RESOURCE_ID]), (u16::MAX, u16::MAX));
}

#[test]
fn packed_gates_are_tested_together() {
    let packed = |t, i, r, e| rule::packed([t, i, r, e]);
    let all = packed(u16::MAX, u16::MAX, u16::MAX, u16::MAX);
    assert_eq!(all, u64::MAX);
    for gate in 0..4 {
        for bit in 0..16 {
            let mut one = [u16::MAX; 4];
            one[gate] = 1 << bit;
            assert!(rule::open(all & rule::packed(one)), "gate {} bit {}", gate, bit);
            let mut other = one;
            other[gate] = !one[gate];
            assert!(!rule::open(rule::packed(other) & rule::packed(one)), "gate {} bit {}", gate, bit);
        }
    }
    assert!(!rule::open(0) && !rule::open(packed(1, 1, 0, 1)) && rule::open(packed(1, 0x8000, 0x100, 0x80)));
    assert_eq!(packed(0, 0, u16::MAX, 0), rule::ROLES);
    // As a page holds them: numbers big-endian, one behind the other.
    assert_eq!(packed(0x0102, 0x0304, 0x0506, 0x0708).to_le_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

fn roles_of(own: &[&str], table: &[(&str, &[&str])]) -> Vec<String> {
    let list = |names: &[&str]| list(&names.iter().map(|n| text(n)).collect::<Vec<_>>());
    let rows: Vec<&[u8]> = table
        .iter()
        .map(|(role, implied)| {
            item(|w| {
                w.array(2).text(role).raw(list(implied));
            })
        })
        .collect();
    let rows = list_of(&rows);
    let mut c = Cursor::new(roles::with_implied(list(own), roles::check(&mut Form::new(rows))));
    (0..c.uint()).map(|_| String::from_utf8(c.bytes().to_vec()).unwrap()).collect()
}

fn list_of(items: &[&[u8]]) -> &'static [u8] {
    list(items)
}

#[test]
fn roles_imply_roles() {
    let table: &[(&str, &[&str])] = &[("a", &["b", "x"]), ("b", &["c"]), ("c", &["a"])];
    assert_eq!(roles_of(&["a"], table), ["a", "b", "x", "c"]);
    assert_eq!(roles_of(&["c", "z"], table), ["c", "z", "a", "b", "x"]);
    assert_eq!(roles_of(&["z"], table), ["z"]);
    assert_eq!(roles_of(&["x", "x"], table), ["x"]);
}

#[test]
fn the_most_roles_fit() {
    let own: Vec<String> = (0..64).map(|i| format!("own{:02}", i)).collect();
    let implied: Vec<String> = (0..128).map(|i| format!("implied{:03}", i)).collect();
    let own: Vec<&str> = own.iter().map(|s| &s[..]).collect();
    let implied: Vec<&str> = implied.iter().map(|s| &s[..]).collect();
    let rows: Vec<(&str, &[&str])> = (0..64).map(|i| (own[i], &implied[2 * i..2 * i + 2])).collect();
    assert_eq!(roles_of(&own, &rows).len(), 192);
}

#[test]
fn a_climb_is_bounded() {
    fake::reset();
    let related = |to: &[(&str, &str)]| {
        item(|w| {
            w.map(1).uint(3).array(to.len());
            for (kind, id) in to {
                w.array(3).text("up").text(kind).text(id);
            }
        })
    };
    // A chain, and a fan beside it.
    for i in 0..12 {
        let next = format!("n{}", i + 1);
        let key = Key::entity(1, b"t", format!("n{}", i).as_bytes()).unwrap();
        postern::state_set(key.bytes(), related(&[("t", &next), ("t", "n0")]));
    }
    let climb = |from: &'static [u8]| {
        let record = Record::stored(from);
        Climb::new(1, b"t", b"start", record, b"up")
    };
    let there = |id: &'static str| Climb::new(1, b"t", id.as_bytes(), Record::default(), b"");
    let chain = climb(related(&[("t", "n0")]));
    assert_eq!(chain.related(b"up", &there("n8")), Some(true), "eight steps up, and what the last is related to");
    assert_eq!(chain.related(b"up", &there("n9")), None, "nine");
    assert_eq!(chain.related(b"down", &there("n1")), None, "not seen to its end");
    let short = climb(related(&[("t", "n11")]));
    assert_eq!(short.related(b"up", &there("nowhere")), None, "n11 leads back to n0");
    let none = climb(related(&[("t", "nobody")]));
    assert_eq!(none.related(b"up", &there("nowhere")), Some(false));
    assert_eq!(none.related(b"up", &there("nobody")), Some(true));
}

const OWNER: &[u8] = &[1; 32];

fn execute(message: &'static [u8]) -> Result<&'static [u8], Abort> {
    let env = Env { owner: OWNER, caller: Some(OWNER), time: 1, ..Env::default() };
    crate::execute(&Input { env, message })
}

/// Loads one rule that permits "open" on locks to those with role "staff", and
/// the user "ann" who has it.
fn load() {
    fake::reset();
    let begin = item(|w| {
        w.array(4).uint(1).uint(1).text("").raw(zones());
    });
    let entities = item(|w| {
        w.array(3).uint(2).uint(1).array(1).array(3).text("user").text("ann").map(1).uint(1).array(1).text("staff");
    });
    let rules = item(|w| {
        w.array(3).uint(3).uint(1).array(1).array(2);
        w.map(2).uint(1).text("lock").uint(2).array(1).text("open");
        w.map(3).uint(1).text("r").uint(2).bool(true).uint(5).array(1).text("staff");
    });
    let mut receipt = &[][..];
    for message in [begin, entities, rules] {
        receipt = execute(message).unwrap();
    }
    let mut r = Reader::new(receipt);
    r.array_of(3).unwrap();
    let (version, count, digest) = (r.uint().unwrap(), r.uint().unwrap(), r.bytes().unwrap());
    execute(item(|w| {
        w.array(5).uint(4).uint(version).uint(0).uint(count).bytes(digest);
    }))
    .unwrap();
}

fn decide(subject: &str, resource: &str) -> bool {
    let message = item(|w| {
        w.map(3).uint(1).map(2).uint(1).text("user").uint(2).text(subject);
        w.uint(2).map(1).uint(1).text("open");
        w.uint(3).map(2).uint(1).text("lock").uint(2).text(resource);
    });
    fake::with(|h| h.reads = 0);
    let verdict = crate::decide(&Input { env: Env::default(), message }).unwrap();
    // map(2 or 3) {1: permit, …}
    verdict[2] == 0xf5
}

#[test]
fn a_decision_reads_as_little_as_it_can() {
    load();
    assert!(decide("ann", "front"));
    assert_eq!(fake::with(|h| h.reads), 3, "policy, page, subject");
    assert!(!decide("bob", "front"));
    assert_eq!(fake::with(|h| h.reads), 4, "and the resource, for its owner");
}

#[test]
fn requests_that_lack_a_part_are_refused() {
    load();
    let empty = item(|w| {
        w.map(0);
    });
    let odd = item(|w| {
        w.map(1).uint(2).map(1).uint(0).text("open");
    });
    for message in [empty, odd] {
        let refused = std::panic::catch_unwind(|| crate::decide(&Input { env: Env::default(), message })).unwrap_err();
        let text = refused.downcast::<String>().unwrap();
        assert!(text.contains(BAD_REQUEST.text), "{}", text);
    }
}
