//! Native tests: `cargo test`. The scripts in tests/ play the contract's story;
//! here stands what they cannot see.

use crate::arrive::wake;
use crate::message::{Command, New, Question, Use};
use crate::query::View;
use crate::state::{kind, Item, Step};
use crate::text::{Amount, Digest, Id, Name};
use crate::*;
use postern::cbor::Decimal;
use postern::fake::{self, Deployed};
use postern::{decode, encode, Decode, Encode, Hash, List, Raw, MALFORMED};

const OWNER: Hash = [1; 32];
const MAKER: Hash = [2; 32];
const SHOP: Hash = [3; 32];

fn list<T: Decode<'static> + Encode>(items: &[T]) -> List<'static, T> {
    decode(encode(items)).unwrap()
}

fn digest(hash: Hash) -> Digest {
    Digest::keep(&hash)
}

fn named(id: &'static str) -> New {
    New { id: Name(id), class: None, lot: None, quantity: None, unit: None }
}

fn made(things: &[New]) -> Deployed {
    fake::reset();
    fake::with(|h| h.time = 1000);
    let it = fake::deploy("custody", OWNER, entries(), &fake::NOTHING).unwrap();
    it.execute(&Command::SetParty { account: digest(MAKER), rights: 3, prefixes: list(&[]) }).unwrap();
    let it = it.by(MAKER);
    it.execute(&Command::Make { things: list(things), attributes: None, certificate: None }).unwrap();
    it
}

fn view(it: &Deployed, id: &'static str) -> Item {
    let view: View = it.query(&Question::Item { item: Name(id) }).unwrap().to();
    decode(view.item.0).unwrap()
}

fn expect(id: &'static str, due: i64, missing: i64) -> Command {
    Command::Expect { item: Name(id), receiver: digest(SHOP), place: Name("dock"), due, missing }
}

#[test]
fn names_and_quantities_have_their_forms() {
    assert!(decode::<Id>(encode("")).is_err());
    assert!(decode::<Name<3>>(encode("abcd")).is_err() && decode::<Name<3>>(encode("a\0")).is_err());
    assert_eq!(decode::<Name<3>>(encode("abc")), Ok(Name("abc")));
    let amount = |exponent, mantissa| decode::<Amount>(encode(&Decimal { exponent, mantissa }));
    assert_eq!(amount(-1, 2005), Ok(Amount(200_500_000)));
    assert_eq!(amount(-6, 1), Ok(Amount(1)));
    assert_eq!(amount(0, 1_000_000_000_000), Ok(Amount(1_000_000_000_000_000_000)));
    for (exponent, mantissa) in [(-7, 1), (0, 0), (0, -1), (0, 1_000_000_000_001), (0, i64::MAX), (-1, i64::MIN)] {
        assert!(amount(exponent, mantissa).is_err(), "{} {}", exponent, mantissa);
    }
    for millionths in [1, 10, 999_999, 1_000_000, 200_500_000, 1_000_000_000_000_000_000] {
        assert_eq!(decode(encode(&Amount(millionths))), Ok(Amount(millionths)));
    }
}

// An item's head is the hash chain over its steps: who has them can check them
// against the head, and the head is proved by the state.
#[test]
fn the_head_commits_to_every_step() {
    let it = made(&[named("a"), named("box")]);
    it.execute(&Command::Pack { container: Name("box"), items: list(&[Name("a")]) }).unwrap();
    it.execute(&Command::Unpack { container: Name("box"), items: list(&[]) }).unwrap();
    let page: List<(u32, Raw)> = decode(it.query(&Question::Chain { item: Name("a"), after: 0, limit: 64 }).unwrap().0.leak()).unwrap();
    let mut head = postern::sha256(b"a");
    let mut kinds = vec![];
    for entry in page.iter() {
        let (_, step) = entry.unwrap();
        head = postern::sha256(&[&head[..], step.0].concat());
        kinds.push(decode::<Step>(step.0).unwrap().kind);
    }
    assert_eq!(kinds, [kind::MADE, kind::PACKED, kind::UNPACKED]);
    assert_eq!((*view(&it, "a").head.0, view(&it, "a").steps), (head, 3));
}

// However the times are chosen, few timers are set, and each comes in time.
#[test]
fn timers_are_few_and_never_late() {
    for (now, due) in [(0, 1), (0, 7), (0, 8), (5, 100), (1000, 1001), (1_700_000_000_000, 1_731_536_000_000)] {
        let mut at = now;
        let mut hops = 0;
        while at < due {
            let next = wake(at, due);
            assert!(at < next && next <= due, "{} {} {}", at, next, due);
            at = next;
            hops += 1;
        }
        assert!(hops <= 13, "{} timers for {} to {}", hops, now, due);
    }
    let names: Vec<&'static str> = (0..250).map(|i| &*Box::leak(format!("i{}", i).into_boxed_str())).collect();
    let it = made(&[named("first")]);
    for part in names.chunks(50) {
        let things: Vec<New> = part.iter().map(|id| named(id)).collect();
        it.execute(&Command::Make { things: list(&things), attributes: None, certificate: None }).unwrap();
    }
    let year = 365 * 24 * 3600 * 1000;
    for (i, id) in names.iter().enumerate() {
        let due = year - (i as i64) * year / 251;
        it.execute(&expect(id, due, due + 1)).unwrap();
    }
    let timers = fake::with(|h| h.timers.len());
    assert!(timers <= 120, "{} timers for times that come ever nearer", timers);
}

// More than one timer's work is spread over several, and none is forgotten.
#[test]
fn many_alarms_at_once_are_all_raised() {
    let names: Vec<&'static str> = (0..50).map(|i| &*Box::leak(format!("i{}", i).into_boxed_str())).collect();
    let things: Vec<New> = names.iter().map(|id| named(id)).collect();
    let it = made(&things);
    for id in &names {
        it.execute(&expect(id, 5000, 6000)).unwrap();
    }
    let count = |topic: &str| it.topics().iter().filter(|t| *t == topic).count();
    while fake::with(|h| h.time) < 5000 {
        fake::advance(500);
    }
    (0..4).for_each(|_| drop(fake::advance(1)));
    assert_eq!((count("late"), count("missing")), (50, 0));
    fake::advance(1000);
    (0..4).for_each(|_| drop(fake::advance(1)));
    assert_eq!((count("late"), count("missing")), (50, 50));
    assert!(fake::with(|h| h.timers.is_empty()), "timers are left though nothing is due");
}

// A timer that was lost, because who paid for it has no gas, is set anew.
#[test]
fn a_lost_timer_is_set_anew() {
    let it = made(&[named("a"), named("b")]);
    it.execute(&expect("a", 5000, 6000)).unwrap();
    fake::with(|h| h.timers.clear());
    fake::advance(5000);
    assert!(!it.topics().contains(&"late".into()));
    it.by([9; 32]).execute(&Command::Check).unwrap();
    assert!(it.topics().contains(&"late".into()));
    fake::with(|h| h.timers.clear());
    fake::advance(5000);
    it.execute(&expect("b", 99_000, 100_000)).unwrap();
    (0..3).for_each(|_| drop(fake::advance(1)));
    assert!(it.topics().contains(&"missing".into()));
}

// At its expiry an offer is over, a millisecond before it is not.
#[test]
fn offers_end_at_their_millisecond() {
    let it = made(&[named("a"), named("b")]);
    for id in ["a", "b"] {
        it.execute(&Command::Offer { item: Name(id), to: digest(SHOP), expiry: 5000, terms: None }).unwrap();
    }
    fake::advance(3999);
    it.by(SHOP).execute(&Command::Accept { item: Name("a"), offer: 1 }).unwrap();
    fake::advance(1);
    assert!(it.by(SHOP).execute(&Command::Accept { item: Name("b"), offer: 1 }).unwrap_err().is(codes::EXPIRED));
    let again = |expiry| Command::Offer { item: Name("b"), to: digest(SHOP), expiry, terms: None };
    assert!(it.execute(&again(5000)).unwrap_err().is(codes::BAD_TIME));
    it.execute(&again(5001)).unwrap();
}

// What ends leaves nothing behind but its record and its steps.
#[test]
fn what_ends_is_off_all_lists() {
    let it = made(&[named("a"), named("box")]);
    let before = it.state();
    it.execute(&Command::Pack { container: Name("box"), items: list(&[Name("a")]) }).unwrap();
    it.execute(&expect("a", 5000, 6000)).unwrap();
    it.execute(&Command::Destroy { item: Name("a"), quantity: None }).unwrap();
    let left: Vec<Vec<u8>> = it.state().into_keys().filter(|k| !before.contains_key(k) && !k.starts_with(b"s/")).collect();
    assert!(left.iter().all(|k| k.starts_with(b"w/")), "{:?}", left);
    assert_eq!((view(&it, "a").ended, view(&it, "box").children), (Some(kind::DESTROYED), None));
    fake::advance(9000);
    assert!(!it.topics().contains(&"late".into()));
}

#[test]
fn a_device_of_the_holder_attaches_reports() {
    let it = made(&[named("a")]);
    fake::with(|h| h.devices.insert([7; 32], fake::DeviceRecord::of(MAKER)));
    fake::with(|h| h.devices.insert([8; 32], fake::DeviceRecord::of(SHOP)));
    let report = Command::Attach { item: Name("a"), report: digest([5; 32]), breach: false, note: None };
    it.by([7; 32]).execute(&report).unwrap();
    assert!(it.by([8; 32]).execute(&report).unwrap_err().is(codes::NOT_HOLDER));
}

#[test]
fn whatever_bytes_come_nothing_panics() {
    let it = made(&[named("a")]);
    let good = encode(&Command::Transform { inputs: list(&[Use { id: Name("a"), quantity: None }]), outputs: list(&[named("b")]) });
    for i in 0..good.len() {
        for flip in [1, 0x20, 0x80, 0xff] {
            let mut m = good.to_vec();
            m[i] ^= flip;
            if let Err(failure) = it.execute(&Raw(m.leak())) {
                assert_eq!(failure.code, postern::code::ABORTED, "byte {}: {:?}", i, failure);
            }
        }
    }
    assert_eq!(it.execute(&Raw(&[0x80])).unwrap_err().abort, MALFORMED);
    assert_eq!(it.query(&Raw(&[0x82, 1, 0x60])).unwrap_err().abort, MALFORMED);
}
