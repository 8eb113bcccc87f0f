//! Native tests: trees, and deletion on the SDK's fake host. What a ledger
//! makes of it, the steps in tests/ ask.

use crate::batch;
use crate::{codes, entries};
use postern::fake::{self, Deployed, DeviceRecord, NOTHING};
use postern::{encode, Bytes, Id, List};

const OWNER: [u8; 32] = [1; 32];
const METER: [u8; 32] = [7; 32];
const HOUR: i64 = 3_600_000;

fn leaf(i: u32) -> [u8; 32] {
    postern::sha256(&i.to_be_bytes())
}

fn inner(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    postern::sha256(&[&[1][..], left, right].concat())
}

// The root over leaves, by the definition of RFC 9162, section 2.1.1, and the
// path of one of them.
fn tree(leaves: &[[u8; 32]], at: usize) -> ([u8; 32], Vec<[u8; 32]>) {
    if leaves.len() == 1 {
        return (leaves[0], vec![]);
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (left, mut path) = tree(&leaves[..half], at.min(half - 1));
    let (right, right_path) = tree(&leaves[half..], at.saturating_sub(half));
    if at < half {
        path.push(right);
    } else {
        path = right_path;
        path.push(left);
    }
    (inner(&left, &right), path)
}

fn leads(leaf: [u8; 32], index: u32, count: u32, path: &[[u8; 32]], root: [u8; 32]) -> bool {
    let path: List<Id> = postern::decode(encode(path)).unwrap();
    batch::leads(Id::keep(&leaf), index, count, &path, Id::keep(&root)).unwrap()
}

#[test]
fn every_leaf_of_every_shape_leads_to_its_root_and_nowhere_else() {
    for count in 1..40u32 {
        let leaves: Vec<_> = (0..count).map(leaf).collect();
        for index in 0..count {
            let (root, path) = tree(&leaves, index as usize);
            assert!(leads(leaf(index), index, count, &path, root), "{} of {}", index, count);
            for other in (0..count).filter(|&o| o != index) {
                assert!(!leads(leaf(index), other, count, &path, root), "{} as {} of {}", index, other, count);
            }
            assert!(!leads(leaf(count), index, count, &path, root));
            assert!(!leads(leaf(index), index, count, &[&path[..], &[root]].concat(), root));
            assert!(path.is_empty() || !leads(leaf(index), index, count, &path[1..], root));
        }
    }
}

fn deployed() -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = 1_000 * HOUR;
        h.devices.insert(METER, DeviceRecord::of(OWNER));
    });
    fake::deploy("records", OWNER, entries(), &NOTHING).unwrap()
}

fn notarise(c: Deployed, root: [u8; 32]) -> u64 {
    let now = fake::with(|h| h.time);
    let message = Notarise(METER, root, now);
    c.by(METER).execute(&message).unwrap().to()
}

struct Notarise([u8; 32], [u8; 32], i64);

impl postern::Encode for Notarise {
    fn encode(&self, w: &mut postern::cbor::Writer) {
        w.array(6).uint(1).bytes(&self.0).bytes(&self.1).uint(1).int(self.2).int(self.2);
    }
}

#[test]
fn nothing_stays_of_what_was_deleted() {
    let c = deployed();
    c.execute(&(3u64, None::<u64>, HOUR as u64)).unwrap();
    for i in 0..100 {
        assert_eq!(notarise(c, leaf(i)), i as u64);
    }
    let timers = fake::with(|h| h.timers.len());
    assert_eq!(timers, 1, "one timer for all");
    let mut calls = 0;
    fake::advance(2 * HOUR).into_iter().for_each(|r| drop(r.unwrap()));
    while fake::with(|h| !h.timers.is_empty()) {
        fake::advance(1000).into_iter().for_each(|r| drop(r.unwrap()));
        calls += 1;
        assert!(calls < 10);
    }
    let left: Vec<_> = c.state().into_iter().map(|(k, _)| String::from_utf8_lossy(&k).into_owned()).collect();
    let kept = ["count/", "keep-owner/"];
    assert!(left.iter().all(|k| kept.iter().any(|p| k.starts_with(p))) && left.len() == 2, "{:?}", left);
    assert_eq!(notarise(c, leaf(0)), 100, "numbers are never given twice");
}

#[test]
fn earlier_periods_do_not_pile_up_timers() {
    let c = deployed();
    for hours in (1..=60u64).rev() {
        c.execute(&(3u64, None::<u64>, hours * HOUR as u64)).unwrap();
        notarise(c, leaf(hours as u32));
    }
    assert!(fake::with(|h| h.timers.len()) <= 200);
    for _ in 0..200 {
        fake::advance(HOUR).into_iter().for_each(|r| drop(r.unwrap()));
    }
    assert_eq!(c.topics().iter().filter(|t| *t == "deleted").count(), 60);
}

// Each device's hold ends at once: no call of the timer may begin more scans
// than a call has, or nothing would ever be deleted again.
#[test]
fn many_holds_end_together() {
    let c = deployed();
    c.execute(&(3u64, None::<u64>, HOUR as u64)).unwrap();
    let devices: Vec<[u8; 32]> = (0..20).map(|i| [100 + i; 32]).collect();
    for device in &devices {
        fake::with(|h| h.devices.insert(*device, DeviceRecord::of(OWNER)));
        let now = fake::with(|h| h.time);
        c.by(*device).execute(&Notarise(*device, [5; 32], now)).unwrap();
        c.execute(&(4u64, Bytes(device), true, "case")).unwrap();
    }
    (0..20).for_each(|_| fake::advance(HOUR).into_iter().for_each(|r| drop(r.unwrap())));
    assert!(!c.topics().contains(&"deleted".into()));
    for device in &devices {
        c.execute(&(4u64, Bytes(device), false, "over")).unwrap();
    }
    (0..60).for_each(|_| fake::advance(1000).into_iter().for_each(|r| drop(r.unwrap())));
    assert_eq!(c.topics().iter().filter(|t| *t == "deleted").count(), 20);
    assert!(fake::with(|h| h.timers.is_empty()));
}

#[test]
fn messages_are_read_strictly() {
    let c = deployed();
    assert!(c.execute(&(2u64, Bytes(&[1; 31]), true)).unwrap_err().abort == postern::MALFORMED);
    assert!(c.execute(&(9u64, Bytes(&[1; 32]), true)).unwrap_err().abort == postern::MALFORMED);
    c.execute(&(2u64, Bytes(&[1; 32]), true)).unwrap();
    assert!(c.execute(&(2u64, Bytes(&[1; 32]), true)).unwrap_err().is(codes::NOT_CHANGED));
}
