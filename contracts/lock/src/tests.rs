//! Native tests: what scripts on a ledger cannot bring about to the
//! millisecond, and what needs other owners or clocks.

use crate::codes::*;
use crate::enter::NOTE;
use crate::history::Entered;
use crate::hours::Zone;
use crate::right::{Right, Terms};
use crate::state::{Entry, Lock, ACCOUNT, CARD};
use crate::{entries, Command, Question};
use postern::fake::{self, Deployed, DeviceRecord};
use postern::{decode, encode, Action, Bytes, DecisionRequest, Entity, Id, List, Properties, Status, Verdict};
use postern::{Observation, ObservationKind, NOT_PERMITTED};

const OWNER: Id = Id(&[1; 32]);
const BOB: Id = Id(&[0xb0; 32]);
const EVE: Id = Id(&[0xee; 32]);
const DOOR: Id = Id(&[0xd0; 32]);
const SHED: Id = Id(&[0xd1; 32]);
const AIDE: Id = Id(&[0xa1; 32]);

/// Monday, 5 January 2026, 08:00 UTC.
const START: i64 = 1_767_600_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn accounts(list: &[Id]) -> List<'static, Id> {
    decode(encode(list)).unwrap()
}

fn set(lock: Id, recipients: &[Id]) -> Command {
    Command::SetLock { lock, delegation: true, retention: DAY, staleness: 1000, recipients: accounts(recipients) }
}

fn home() -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = START;
        h.now = Some(START);
        h.devices.insert(*DOOR.0, DeviceRecord::of(*OWNER.0));
        h.devices.insert(*SHED.0, DeviceRecord::of(*OWNER.0));
    });
    let it = fake::deploy("lock", [9; 32], entries(), &fake::NOTHING).unwrap().by(*OWNER.0);
    it.execute(&set(DOOR, &[])).unwrap();
    it
}

const NO_TERMS: Terms = Terms { from: None, until: None, windows: None, uses: None, resident: None };

fn grant(guest: Id, terms: Terms) -> Command {
    Command::Grant { lock: DOOR, kind: ACCOUNT, guest, terms }
}

fn enter() -> Command {
    Command::Enter { lock: DOOR, note: Bytes(&[]) }
}

fn hex(id: Id) -> &'static str {
    Box::leak(id.0.iter().map(|b| format!("{:02x}", b)).collect::<String>().into_boxed_str())
}

fn ask(kind: &'static str, id: Id, action: &'static str) -> DecisionRequest<'static> {
    DecisionRequest {
        subject: Entity { kind, id: hex(id), ..Default::default() },
        action: Action { name: action, ..Default::default() },
        resource: Entity { kind: "lock", id: hex(DOOR), ..Default::default() },
        context: Properties::default(),
    }
}

fn decided(it: &Deployed, kind: &'static str, id: Id, action: &'static str) -> Verdict<'static> {
    it.decide(&ask(kind, id, action)).unwrap().to()
}

fn at(time: i64) {
    fake::with(|h| {
        h.time = time;
        h.now = Some(time);
    });
}

#[test]
fn a_right_begins_and_ends_to_the_millisecond() {
    let it = home();
    it.execute(&grant(BOB, Terms { from: Some(START + 10), until: Some(START + 20), ..NO_TERMS })).unwrap();
    for (time, refusal, code) in [(9, Some(NOT_YET), reason::NOT_YET), (20, Some(EXPIRED), reason::EXPIRED)] {
        at(START + time);
        assert!(it.by(*BOB.0).execute(&enter()).unwrap_err().is(refusal.unwrap()), "{}", time);
        assert_eq!(decided(&it, "account", BOB, "unlock").reason, code);
    }
    for time in [10, 19] {
        at(START + time);
        it.by(*BOB.0).execute(&enter()).unwrap();
        assert!(decided(&it, "account", BOB, "unlock").permit);
    }
}

#[test]
fn hours_follow_the_zone_and_deny_where_it_ends() {
    let it = home();
    // From 9 o'clock UTC on the clock is an hour ahead; nothing is known from 12 on.
    let seconds = START / 1000;
    let steps = decode(encode(&[(0i64, 0i64), (seconds + 3600, 3600)][..])).unwrap();
    it.execute(&Command::SetZone { lock: DOOR, until: seconds + 4 * 3600, steps }).unwrap();
    let windows = decode(encode(&[(1u8, 8u16 * 60, 9u16 * 60), (1, 12 * 60, 13 * 60)][..])).unwrap();
    it.execute(&grant(BOB, Terms { windows: Some(windows), ..NO_TERMS })).unwrap();
    for (after, want) in [
        (-1, reason::OUTSIDE_HOURS),
        (0, reason::GRANTED),
        (HOUR - 1, reason::GRANTED),
        (HOUR, reason::OUTSIDE_HOURS),
        (3 * HOUR - 1, reason::OUTSIDE_HOURS),
        (3 * HOUR, reason::GRANTED),
        (4 * HOUR - 1, reason::GRANTED),
        (4 * HOUR, reason::TIME_UNKNOWN),
    ] {
        at(START + after);
        assert_eq!(decided(&it, "account", BOB, "unlock").reason, want, "after {} ms", after);
    }
    at(START - START % DAY - DAY / 2 - 57 * 366 * DAY); // before the first step
    assert_eq!(decided(&it, "account", BOB, "unlock").reason, reason::TIME_UNKNOWN);
}

#[test]
fn hours_over_midnight_belong_to_the_day_they_begin_on() {
    let it = home();
    let steps = decode(encode(&[(0i64, 0i64)][..])).unwrap();
    it.execute(&Command::SetZone { lock: DOOR, until: i64::MAX, steps }).unwrap();
    let windows = decode(encode(&[(1u8, 22u16 * 60, 6u16 * 60)][..])).unwrap();
    it.execute(&grant(BOB, Terms { windows: Some(windows), ..NO_TERMS })).unwrap();
    let monday = START - 8 * HOUR;
    for (hour, open) in [(5, false), (21, false), (22, true), (24, true), (29, true), (30, false), (46, false)] {
        at(monday + hour * HOUR);
        assert_eq!(decided(&it, "account", BOB, "unlock").permit, open, "hour {}", hour);
    }
}

#[test]
fn an_untrusted_clock_denies_what_depends_on_time() {
    let it = home();
    it.execute(&grant(BOB, Terms { until: Some(START + DAY), ..NO_TERMS })).unwrap();
    it.execute(&grant(AIDE, NO_TERMS)).unwrap();
    fake::with(|h| h.now = None);
    assert_eq!(decided(&it, "account", BOB, "unlock").reason, reason::TIME_UNKNOWN);
    assert!(decided(&it, "account", AIDE, "unlock").permit);
}

#[test]
fn a_counted_right_is_used_once_however_many_ask() {
    let it = home();
    it.execute(&grant(BOB, Terms { uses: Some(1), ..NO_TERMS })).unwrap();
    for _ in 0..2 {
        let v = decided(&it, "account", BOB, "unlock");
        assert_eq!((v.permit, v.by_transaction, v.reason), (false, true, reason::BY_TRANSACTION));
    }
    assert!(decided(&it, "account", BOB, "lock").permit, "locking uses nothing");
    assert!(it.by(*EVE.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    it.by(*BOB.0).execute(&enter()).unwrap();
    assert!(it.by(*BOB.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    let admit = Command::Admit { kind: ACCOUNT, guest: BOB, note: Bytes(&[]) };
    assert!(it.by(*DOOR.0).execute(&admit).unwrap_err().is(NO_RIGHT));
}

#[test]
fn a_cards_right_is_no_accounts() {
    let it = home();
    it.execute(&Command::Grant { lock: DOOR, kind: CARD, guest: BOB, terms: NO_TERMS }).unwrap();
    assert!(it.by(*BOB.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    assert!(!decided(&it, "account", BOB, "unlock").permit);
    assert!(decided(&it, "card", BOB, "unlock").permit);
}

#[test]
fn no_right_outlives_its_owner() {
    let it = home();
    it.execute(&grant(BOB, Terms { resident: Some(true), ..NO_TERMS })).unwrap();
    it.by(*BOB.0).execute(&grant(AIDE, NO_TERMS)).unwrap();
    let sell = |to: Id| fake::with(|h| h.devices.get_mut(DOOR.0).unwrap().owner = *to.0);
    sell(EVE);
    for guest in [OWNER, BOB, AIDE, EVE] {
        assert_eq!(decided(&it, "account", guest, "unlock").reason, reason::UNKNOWN_LOCK);
        assert!(it.by(*guest.0).execute(&enter()).unwrap_err().is(UNKNOWN_LOCK));
    }
    assert!(it.execute(&set(DOOR, &[])).unwrap_err().is(NOT_OWNER));
    assert!(it.execute(&grant(AIDE, NO_TERMS)).unwrap_err().is(UNKNOWN_LOCK));
    it.by(*EVE.0).execute(&set(DOOR, &[])).unwrap();
    for guest in [OWNER, BOB, AIDE] {
        assert!(it.by(*guest.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    }
    it.by(*EVE.0).execute(&enter()).unwrap();
    // Nor does it come back with the owner.
    sell(OWNER);
    it.execute(&set(DOOR, &[])).unwrap();
    it.execute(&enter()).unwrap();
    for guest in [BOB, AIDE, EVE] {
        assert!(it.by(*guest.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    }
}

#[test]
fn what_residents_gave_stands_and_falls_with_them() {
    let it = home();
    let resident = Terms { resident: Some(true), until: Some(START + DAY), ..NO_TERMS };
    let guest = Terms { until: Some(START + DAY), ..NO_TERMS };
    it.execute(&grant(BOB, resident)).unwrap();
    it.by(*BOB.0).execute(&grant(AIDE, guest)).unwrap();
    it.by(*AIDE.0).execute(&enter()).unwrap();
    // Shortened, and given anew: the old word is gone both times.
    it.execute(&grant(BOB, Terms { until: Some(START + HOUR), ..resident })).unwrap();
    assert!(it.by(*AIDE.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    it.execute(&grant(BOB, resident)).unwrap();
    assert!(it.by(*AIDE.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    // Without delegation nothing that residents gave holds; with it, again.
    it.by(*BOB.0).execute(&grant(AIDE, guest)).unwrap();
    let nobody = accounts(&[]);
    let without = Command::SetLock { lock: DOOR, delegation: false, retention: DAY, staleness: 1, recipients: nobody };
    it.execute(&without).unwrap();
    assert!(it.by(*AIDE.0).execute(&enter()).unwrap_err().is(NO_RIGHT));
    assert!(it.by(*BOB.0).execute(&grant(EVE, guest)).unwrap_err().is(MAY_NOT_GRANT));
    it.execute(&set(DOOR, &[])).unwrap();
    it.by(*AIDE.0).execute(&enter()).unwrap();
    // At the end of the resident's time the guest's is over, too.
    at(START + DAY);
    assert!(it.by(*AIDE.0).execute(&enter()).unwrap_err().is(EXPIRED));
    assert!(it.by(*BOB.0).execute(&grant(EVE, guest)).unwrap_err().is(MAY_NOT_GRANT));
}

#[test]
fn a_residents_hours_bound_what_the_resident_gave() {
    let it = home();
    let steps = decode(encode(&[(0i64, 0i64)][..])).unwrap();
    it.execute(&Command::SetZone { lock: DOOR, until: i64::MAX, steps }).unwrap();
    let windows = decode(encode(&[(0x7fu8, 8u16 * 60, 9u16 * 60)][..])).unwrap();
    it.execute(&grant(BOB, Terms { resident: Some(true), windows: Some(windows), ..NO_TERMS })).unwrap();
    it.by(*BOB.0).execute(&grant(AIDE, NO_TERMS)).unwrap();
    assert!(decided(&it, "account", AIDE, "unlock").permit);
    at(START + HOUR);
    assert_eq!(decided(&it, "account", AIDE, "unlock").reason, reason::OUTSIDE_HOURS);
}

#[test]
fn what_a_resident_gave_is_counted_right() {
    let it = home();
    it.execute(&grant(BOB, Terms { resident: Some(true), ..NO_TERMS })).unwrap();
    let given = || {
        let right: Option<Right> = it.query(&Question::Right { lock: DOOR, kind: ACCOUNT, guest: BOB }).unwrap().to();
        right.unwrap().given
    };
    it.by(*BOB.0).execute(&grant(AIDE, Terms { uses: Some(1), ..NO_TERMS })).unwrap();
    it.by(*BOB.0).execute(&grant(AIDE, Terms { uses: Some(2), ..NO_TERMS })).unwrap();
    assert_eq!(given(), 1, "the same guest anew");
    it.by(*AIDE.0).execute(&enter()).unwrap();
    assert_eq!(given(), 1);
    it.by(*AIDE.0).execute(&enter()).unwrap();
    assert_eq!(given(), 0, "used up");
    it.by(*BOB.0).execute(&grant(EVE, NO_TERMS)).unwrap();
    it.execute(&grant(EVE, NO_TERMS)).unwrap();
    assert_eq!(given(), 0, "the owner gave it anew");
}

#[test]
fn duress_looks_like_any_other_entry() {
    let it = home();
    it.execute(&set(DOOR, &[AIDE, OWNER])).unwrap();
    let seen: Vec<_> = [[0u8; 2 * NOTE], [0xff; 2 * NOTE]]
        .iter()
        .map(|note| {
            let note: &'static [u8] = note.to_vec().leak();
            let before = fake::with(|h| h.events.len());
            let number = it.by(*DOOR.0).execute(&Command::Report { how: 3, guest: BOB, note: Bytes(note) }).unwrap();
            let told = fake::with(|h| h.events[before..].to_vec());
            let entered: Entered = decode(told[0].data.clone().leak()).unwrap();
            assert_eq!(entered.note.0, note);
            (number.0.len(), told.len(), told[0].topic.clone(), told[0].data.len())
        })
        .collect();
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn history_ends_with_its_time() {
    let it = home();
    let kept = || {
        let all = it.query(&Question::Entries { lock: DOOR, after: None, limit: 32 }).unwrap();
        let rows: List<(u64, Entry)> = decode(all.0.leak()).unwrap();
        rows.len()
    };
    for _ in 0..20 {
        it.execute(&enter()).unwrap();
    }
    assert_eq!(fake::with(|h| h.timers.len()), 1);
    at(START + DAY - 1);
    it.execute(&Command::Sweep).unwrap();
    assert_eq!(kept(), 20);
    at(START + DAY);
    it.execute(&enter()).unwrap();
    assert_eq!(kept(), 19, "an entry deletes two");
    for ms in [16 * HOUR, 250, 250, 250] {
        assert!(fake::advance(ms).iter().all(|r| r.is_ok()));
    }
    assert_eq!(kept(), 1);
    let lock: Option<Lock> = it.query(&Question::Lock { lock: DOOR }).unwrap().to();
    assert_eq!(lock.map(|l| (l.oldest, l.next_entry)), Some((21, 22)));
    fake::advance(2 * DAY);
    assert_eq!((kept(), fake::with(|h| h.timers.len())), (0, 0));
    assert_eq!(it.state().len(), 1, "nothing is left but the lock");
}

#[test]
fn a_timer_goes_on_until_all_locks_are_swept() {
    let it = home();
    for i in 0..20 {
        let lock = Id::keep(&[i; 32]);
        fake::with(|h| h.devices.insert(*lock.0, DeviceRecord::of(*OWNER.0)));
        it.execute(&set(lock, &[])).unwrap();
        for _ in 0..20 {
            it.execute(&Command::Enter { lock, note: Bytes(&[]) }).unwrap();
        }
    }
    fake::advance(2 * DAY);
    let mut blocks = 0;
    while fake::with(|h| h.timers.len()) > 0 {
        assert!(fake::advance(250).iter().all(|r| r.is_ok()));
        blocks += 1;
        assert!(blocks < 10);
    }
    assert_eq!(it.state().len(), 21, "the locks alone are left");
}

#[test]
fn an_owner_may_shorten_how_long_history_is_kept() {
    let it = home();
    let (retention, recipients) = (366 * DAY, accounts(&[]));
    let long = Command::SetLock { lock: DOOR, delegation: true, retention, staleness: 1, recipients };
    it.execute(&long).unwrap();
    it.execute(&enter()).unwrap();
    it.execute(&set(DOOR, &[])).unwrap();
    fake::advance(2 * DAY);
    let all = it.query(&Question::EntriesOf { lock: DOOR, guest: OWNER, after: None, limit: 1 }).unwrap();
    assert_eq!(all.0, [0x80]);
}

#[test]
fn locks_know_nothing_of_one_another() {
    let it = home();
    it.execute(&set(SHED, &[])).unwrap();
    it.execute(&grant(BOB, NO_TERMS)).unwrap();
    assert!(it.by(*BOB.0).execute(&Command::Enter { lock: SHED, note: Bytes(&[]) }).unwrap_err().is(NO_RIGHT));
    it.by(*SHED.0).execute(&Command::Report { how: 4, guest: BOB, note: Bytes(&[]) }).unwrap();
    let none = it.query(&Question::Entries { lock: DOOR, after: None, limit: 32 }).unwrap();
    assert_eq!(none.0, [0x80]);
    let rights = it.query(&Question::Rights { lock: SHED, after: None, limit: 64 }).unwrap();
    assert_eq!(rights.0, [0x80]);
}

#[test]
fn a_lock_that_was_stolen_opens_to_nobody() {
    let it = home();
    fake::with(|h| h.devices.get_mut(DOOR.0).unwrap().status = Status::Stolen);
    assert_eq!(decided(&it, "account", OWNER, "unlock").reason, reason::LOCK_INACTIVE);
    assert!(it.execute(&enter()).unwrap_err().is(LOCK_INACTIVE));
}

#[test]
fn zones_have_their_limits() {
    let zone = |until: i64, steps: &[(i64, i64)]| Zone { until, steps: decode(encode(steps)).unwrap() };
    assert!(zone(1, &[(0, 26 * 3600)]).check().is_ok());
    for bad in [zone(0, &[(0, 0)]), zone(9, &[(0, 93_601)]), zone(9, &[(1, 0), (1, 0)]), zone(9, &[])] {
        assert_eq!(bad.check().map_err(|e| e.code()), Err(BAD_ZONE.code()));
    }
    assert!(zone(i64::MAX, &[(i64::MIN, 0)]).check().is_err(), "a step at the beginning of time is none");
}

#[test]
fn nobody_acts_in_a_signers_name() {
    let it = home();
    let message: &'static [u8] = encode(&grant(EVE, NO_TERMS));
    let trick = fake::Entries::new().on("execute", move |_| {
        postern::reply(&postern::call("lock", message).err().unwrap_or(0))
    });
    let trick = fake::deploy("trick", *EVE.0, trick, &fake::NOTHING).unwrap();
    let code: u16 = trick.by(*OWNER.0).execute(&()).unwrap().to();
    assert_eq!(code, postern::code::ABORTED);
    let evidence = Observation::new(ObservationKind::Telemetry, *DOOR.0, START, &[0x80]);
    assert_eq!(it.evidence(&evidence).unwrap_err().abort, NOT_PERMITTED);
}

#[test]
fn a_page_ends_where_an_answer_does() {
    let it = home();
    it.execute(&set(DOOR, &[AIDE, AIDE, AIDE, AIDE])).unwrap();
    for _ in 0..64 {
        it.by(*DOOR.0).execute(&Command::Report { how: 3, guest: BOB, note: Bytes(&[7; 4 * NOTE]) }).unwrap();
    }
    let (mut after, mut pages, mut seen) = (None, 0, 0);
    loop {
        let page = it.query(&Question::Entries { lock: DOOR, after, limit: 64 }).unwrap();
        let rows: List<(u64, Entry)> = decode(page.0.leak()).unwrap();
        match rows.iter().last() {
            Some(last) => after = Some(last.unwrap().0),
            None => break,
        }
        (pages, seen) = (pages + 1, seen + rows.len());
    }
    assert_eq!((pages, seen), (2, 64));
}

/// Numbers that look random: xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

const PEOPLE: [Id; 4] = [OWNER, BOB, AIDE, EVE];

fn random_message(d: &mut Dice, time: i64) -> Command {
    let (kind, guest) = (d.below(2) as u8, PEOPLE[d.below(4) as usize]);
    let soon = |d: &mut Dice| Some(time + d.below(10) as i64 * HOUR).filter(|_| d.below(2) == 0);
    match d.below(10) {
        0..=3 => {
            let terms = Terms {
                from: soon(d),
                until: soon(d),
                windows: None,
                uses: Some(1 + d.below(2) as u32).filter(|_| d.below(2) == 0),
                resident: Some(true).filter(|_| d.below(2) == 0),
            };
            Command::Grant { lock: DOOR, kind, guest, terms }
        }
        4 => Command::Revoke { lock: DOOR, kind, guest },
        5 => Command::Enter { lock: DOOR, note: Bytes(&[]) },
        6 => Command::Admit { kind, guest, note: Bytes(&[]) },
        7 => Command::Report { how: 3 + d.below(3) as u8, guest, note: Bytes(&[]) },
        8 => set(DOOR, &[]),
        _ => Command::Sweep,
    }
}

/// What must hold of the state whatever was done: entries without a gap, each
/// once by guest; a day in the index where there are some, and a timer for it.
fn check_state(it: &Deployed) {
    let state = it.state();
    let keys = |prefix: &str| state.keys().filter(|k| k.starts_with(prefix.as_bytes())).count();
    let lock: Lock = it.query(&Question::Lock { lock: DOOR }).unwrap().to::<Option<Lock>>().unwrap();
    let kept = (lock.next_entry - lock.oldest) as usize;
    assert_eq!((keys("entry/"), keys("guest/")), (kept, kept));
    assert_eq!((keys("due/") == 1, lock.due.is_some()), (kept > 0, kept > 0));
    assert!(kept == 0 || fake::with(|h| !h.timers.is_empty()), "nothing would wake it");
    let rights = it.query(&Question::Rights { lock: DOOR, after: None, limit: 64 }).unwrap();
    let rows: List<(u8, Id, Right)> = decode(rights.0.leak()).unwrap();
    let rights: Vec<_> = rows.iter().map(|row| row.unwrap()).collect();
    for (kind, guest, own) in rights.iter().filter(|(kind, ..)| *kind == ACCOUNT) {
        let given = rights.iter().filter(|(.., right)| right.by == *guest && right.under == Some(own.number));
        assert_eq!(own.given as usize, given.count(), "of kind {}", kind);
    }
}

#[test]
fn whatever_happens_the_state_holds_together() {
    for seed in 1..12 {
        let mut d = Dice(seed * 0x9e37_79b9);
        let it = home();
        for _ in 0..120 {
            let sender = [OWNER, BOB, AIDE, EVE, DOOR, DOOR, SHED][d.below(7) as usize];
            let _ = it.by(*sender.0).execute(&random_message(&mut d, fake::with(|h| h.time)));
            if d.below(6) == 0 {
                assert!(fake::advance(d.below(8) as i64 * HOUR).iter().all(|r| r.is_ok()));
            }
            check_state(&it);
        }
    }
}
