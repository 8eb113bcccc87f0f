//! Native tests: `cargo test`. The node's host is replaced by one in memory.

use crate::*;
use postern::fake::{self, Deployed, NOTHING};
use postern::{Action, Entity, MALFORMED};

const OWNER: Hash = [1; 32];
const ALICE: Hash = [0xa1; 32];
const BOB: Hash = [0xb0; 32];

fn lockers() -> Deployed {
    fake::reset();
    fake::with(|h| h.time = 1000);
    fake::deploy("locker", OWNER, entries(), &10u32).unwrap()
}

fn take(locker: u32) -> Command {
    Command::Take { locker, until: 5000, note: Text::new("bag") }
}

#[test]
fn a_locker_has_one_holder() {
    let it = lockers();
    it.by(ALICE).execute(&take(7)).unwrap();
    assert_eq!(it.event::<(u32, Hash)>("taken"), (7, ALICE));
    assert!(it.by(BOB).execute(&take(7)).unwrap_err().is(IS_HELD));
    let held: Option<Held> = it.query(&Question::Holder { locker: 7 }).unwrap().to();
    assert_eq!(held, Some(Held { holder: ALICE, until: 5000, note: Text::new("bag") }));
}

#[test]
fn what_is_wrong_is_refused() {
    let it = lockers().by(ALICE);
    assert!(it.execute(&take(10)).unwrap_err().is(NO_LOCKER));
    assert!(it.execute(&Command::Take { locker: 1, until: 1000, note: None }).unwrap_err().is(BAD_TIME));
    assert_eq!(it.execute(&NOTHING).unwrap_err().abort, MALFORMED);
    it.execute(&take(1)).unwrap();
    assert!(it.by(BOB).execute(&Command::Release { locker: 1 }).unwrap_err().is(NOT_HOLDER));
    it.by(OWNER).execute(&Command::Release { locker: 1 }).unwrap();
    assert_eq!(it.topics(), ["taken", "released"]);
}

#[test]
fn lockers_are_listed_in_order() {
    let it = lockers().by(ALICE);
    for locker in [9, 3, 5] {
        it.execute(&take(locker)).unwrap();
    }
    let listed = it.query(&Question::List { from: 4 }).unwrap();
    assert_eq!(listed.0, postern::encode(&[5u32, 9][..]));
}

#[test]
fn a_locker_is_free_when_its_time_is_over() {
    let it = lockers().by(ALICE);
    it.execute(&take(7)).unwrap();
    assert!(fake::advance(3999).is_empty());
    assert!(fake::advance(1)[0].is_ok());
    it.by(BOB).execute(&Command::Take { locker: 7, until: 9000, note: None }).unwrap();
}

#[test]
fn its_holder_may_open_it() {
    let it = lockers();
    it.by(ALICE).execute(&take(7)).unwrap();
    let (alice, bob) = ("a1".repeat(32), "b0".repeat(32));
    for (id, action, locker, permit) in
        [(&alice, "open", "7", true), (&alice, "open", "8", false), (&alice, "burn", "7", false), (&bob, "open", "7", false)]
    {
        let q = DecisionRequest {
            subject: Entity { kind: "user", id, ..Default::default() },
            action: Action { name: action, ..Default::default() },
            resource: Entity { kind: "locker", id: locker, ..Default::default() },
            ..Default::default()
        };
        assert_eq!(it.decide(&q).unwrap().to::<Verdict>().permit, permit, "{} {} {}", id, action, locker);
    }
}

#[test]
fn an_upgrade_keeps_what_is_held() {
    let it = lockers();
    it.by(ALICE).execute(&take(7)).unwrap();
    it.upgrade(entries(), &20u32).unwrap();
    assert!(it.by(BOB).execute(&take(7)).unwrap_err().is(IS_HELD));
    it.by(BOB).execute(&take(19)).unwrap();
}
