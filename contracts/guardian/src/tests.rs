//! Native tests: what scripts on a ledger cannot bring about to the
//! millisecond, and what needs devices that change hands.

use crate::circle::Circle;
use crate::codes::*;
use crate::mark::Listing;
use crate::rules::Rules;
use crate::state::*;
use crate::{entries, Command, Question};
use postern::fake::{self, Deployed, DeviceRecord};
use postern::{decode, encode, sha256, Bytes, Id, List, Observation, ObservationKind, Role, Status, NOT_PERMITTED};

const PLATFORM: Id = Id(&[9; 32]);
const ANN: Id = Id(&[1; 32]);
const GUS: Id = Id(&[2; 32]);
const GIL: Id = Id(&[3; 32]);
const EVE: Id = Id(&[4; 32]);
const POL: Id = Id(&[5; 32]);
const BIKE: Id = Id(&[0xb0; 32]);
const OTHER: Id = Id(&[0xb1; 32]);
const WHY: Id = Id(&[0x77; 32]);
const MARK: Id = Id(&[0x88; 32]);

/// A full hour.
const START: i64 = 1_767_600_000_000;
const HOUR: i64 = 3_600_000;
const RULES: Rules = Rules { change: 10 * HOUR, freeze: 20 * HOUR, cooling: 3 * HOUR + 1, patience: 5 * HOUR };

fn list(ids: &[Id]) -> List<'static, Id> {
    decode(encode(ids)).unwrap()
}

fn platform(owner: Id) -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = START;
        h.devices.insert(*BIKE.0, DeviceRecord::of(*ANN.0));
        let mut other = DeviceRecord::of(*EVE.0);
        other.serial = "0002".into();
        h.devices.insert(*OTHER.0, other);
    });
    fake::deploy("guardian", *owner.0, entries(), &RULES).unwrap().by(*ANN.0)
}

fn with_circle() -> Deployed {
    let it = platform(PLATFORM);
    it.execute(&circle(&[GUS, GIL], 2)).unwrap();
    it
}

fn circle(members: &[Id], threshold: u8) -> Command {
    Command::SetCircle { members: list(members), threshold }
}

fn open() -> Command {
    Command::Open { device: BIKE, kind: STOLEN, reason: WHY }
}

fn case(it: &Deployed, number: u64) -> Case {
    it.query(&Question::Case { case: number }).unwrap().to::<Option<Case>>().unwrap()
}

fn at(time: i64) {
    fake::with(|h| h.time = time);
}

#[test]
fn a_change_of_guardians_takes_effect_to_the_millisecond() {
    let it = with_circle();
    it.execute(&circle(&[EVE], 1)).unwrap();
    at(START + RULES.change - 1);
    assert!(it.by(*EVE.0).execute(&open()).unwrap_err().is(NOT_PARTY));
    // A freeze at the last moment is in time.
    let freeze = Command::Freeze { owner: ANN };
    it.by(*GUS.0).execute(&freeze).unwrap();
    it.by(*GIL.0).execute(&freeze).unwrap();
    at(START + RULES.change);
    assert!(it.by(*EVE.0).execute(&open()).unwrap_err().is(NOT_PARTY));
    // The freeze lasts to the millisecond, too.
    let frozen = START + RULES.change - 1 + RULES.freeze;
    at(frozen - 1);
    assert!(it.execute(&circle(&[EVE], 1)).unwrap_err().is(FROZEN));
    at(frozen);
    it.execute(&circle(&[EVE], 1)).unwrap();
    at(frozen + RULES.change);
    assert!(it.by(*GUS.0).execute(&freeze).unwrap_err().is(NOT_GUARDIAN), "too late");
    it.by(*EVE.0).execute(&open()).unwrap();
    assert_eq!(case(&it, 1).state, OPENED);
    assert!(fake::advance(1).iter().all(|r| r.is_ok()));
    let now: Option<Circle> = it.query(&Question::Circle { owner: ANN }).unwrap().to();
    assert_eq!(now.map(|c| (c.revision, c.next)), Some((2, None)));
}

#[test]
fn removed_guardians_do_not_count_while_a_change_waits_for_its_timer() {
    let it = with_circle();
    it.by(*GUS.0).execute(&open()).unwrap();
    it.execute(&circle(&[GIL, EVE], 2)).unwrap();
    at(START + RULES.change + 1);
    // The case has expired by its time, but no timer ran yet: votes are of the new circle.
    it.by(*EVE.0).execute(&Command::Second { case: 1 }).unwrap();
    assert_eq!((case(&it, 1).state, case(&it, 1).votes), (PROPOSED, 2));
    assert!(it.by(*GUS.0).execute(&Command::Second { case: 1 }).unwrap_err().is(NOT_PARTY));
}

#[test]
fn a_recovery_ends_a_moment_after_its_time() {
    let it = platform(PLATFORM);
    it.execute(&open()).unwrap();
    it.execute(&Command::Confirm { case: 1 }).unwrap();
    assert!(fake::advance(3 * HOUR).iter().all(|r| r.is_ok()));
    assert_eq!(case(&it, 1).state, RECOVERING);
    assert!(fake::advance(250).iter().all(|r| r.is_ok()));
    assert_eq!((case(&it, 1).state, case(&it, 1).due), (RECOVERED, None));
    assert_eq!(fake::with(|h| h.timers.len()), 0);
    assert!(it.execute(&Command::Object { case: 1 }).unwrap_err().is(WRONG_STATE));
    // A device may be stolen twice.
    it.execute(&open()).unwrap();
    assert_eq!(case(&it, 2).state, OPENED);
}

#[test]
fn whoever_buys_a_stolen_device_has_no_say() {
    let it = with_circle();
    it.execute(&open()).unwrap();
    fake::with(|h| h.devices.get_mut(BIKE.0).unwrap().owner = *EVE.0);
    let contest = Command::Contest { case: 1, reason: WHY };
    for message in [Command::Confirm { case: 1 }, contest, Command::Object { case: 1 }] {
        assert!(it.by(*EVE.0).execute(&message).unwrap_err().is(NOT_PARTY));
    }
    assert!(it.by(*EVE.0).execute(&open()).unwrap_err().is(BUSY));
    it.execute(&Command::Confirm { case: 1 }).unwrap();
    assert_eq!(case(&it, 1).owner, ANN);
}

#[test]
fn the_ledgers_status_is_the_gravest_that_may_be_set() {
    let status = || fake::with(|h| h.devices[BIKE.0].status);
    let it = platform(PLATFORM);
    it.execute(&open()).unwrap();
    assert_eq!((status(), case(&it, 1).status), (Status::Active, Status::Active as u8), "not this contract's to set");
    let it = platform(ANN);
    it.execute(&open()).unwrap();
    assert_eq!((status(), case(&it, 1).status), (Status::Stolen, Status::Stolen as u8));
    let it = platform(ANN);
    it.execute(&Command::Open { device: BIKE, kind: LOST, reason: WHY }).unwrap();
    assert_eq!(status(), Status::Suspended);
    // What is graver already stays.
    let it = platform(ANN);
    fake::with(|h| h.devices.get_mut(BIKE.0).unwrap().status = Status::Stolen);
    it.execute(&Command::Open { device: BIKE, kind: LOST, reason: WHY }).unwrap();
    assert_eq!(case(&it, 1).status, Status::Stolen as u8);
}

#[test]
fn a_serial_that_an_authority_listed_is_recognised() {
    let it = platform(PLATFORM);
    let serial = Id::keep(&sha256(b"postern/mark/serial\0ACME\x000002\0"));
    let check = || it.query(&Question::Check { device: OTHER }).unwrap().to::<Option<Listing>>();
    assert_eq!(check(), None);
    let pol = it.by(*POL.0).with_role(Role::AUTHORITY);
    pol.execute(&Command::ListMark { mark: serial, reason: WHY }).unwrap();
    assert_eq!(check(), Some(Listing { mark: Some(serial), case: None, device: None, state: None }));
    let known: bool = it.by(*OTHER.0).execute(&Command::Register { device: OTHER, marks: list(&[]) }).unwrap().to();
    assert!(known);
}

#[test]
fn recognised_hardware_gets_no_marks_of_its_own() {
    let it = platform(PLATFORM);
    it.execute(&Command::Register { device: BIKE, marks: list(&[MARK]) }).unwrap();
    it.execute(&open()).unwrap();
    let fresh = Id(&[0x99; 32]);
    let again = Command::Register { device: OTHER, marks: list(&[fresh, MARK]) };
    assert!(it.by(*OTHER.0).execute(&again).unwrap().to::<bool>());
    let listed: Option<Listing> = it.query(&Question::Listed { mark: fresh }).unwrap().to();
    assert_eq!(listed, None);
    assert_eq!(it.query(&Question::MarksOf { device: OTHER }).unwrap().0, [0x80]);
    let told: Told = it.event("recognised");
    assert_eq!((told.case, told.device, told.by), (1, BIKE, Some(OTHER)));
}

#[test]
fn a_timer_goes_on_until_all_is_done() {
    let it = platform(PLATFORM);
    for i in 0..40 {
        let device = Id::keep(&[i; 32]);
        fake::with(|h| h.devices.insert(*device.0, DeviceRecord::of(*ANN.0)));
        let number: u64 = it.execute(&Command::Open { device, kind: LOST, reason: WHY }).unwrap().to();
        it.execute(&Command::Confirm { case: number }).unwrap();
    }
    assert_eq!(fake::with(|h| h.timers.len()), 1);
    fake::advance(4 * HOUR);
    let mut blocks = 0;
    while fake::with(|h| h.timers.len()) > 0 {
        assert!(fake::advance(250).iter().all(|r| r.is_ok()));
        blocks += 1;
        assert!(blocks < 5);
    }
    assert!((1..=40).all(|number| case(&it, number).state == RECOVERED));
}

#[test]
fn what_a_lost_timer_left_anybody_does() {
    let it = platform(PLATFORM);
    it.execute(&open()).unwrap();
    it.execute(&Command::Confirm { case: 1 }).unwrap();
    fake::with(|h| h.timers.clear());
    fake::advance(5 * HOUR);
    assert_eq!(case(&it, 1).state, RECOVERING);
    it.by(*EVE.0).execute(&Command::Sweep).unwrap();
    assert_eq!(case(&it, 1).state, RECOVERED);
}

#[test]
fn evidence_has_its_limits() {
    let it = platform(PLATFORM);
    it.execute(&open()).unwrap();
    let evidence = |i: u8| Command::Evidence { case: 1, kind: 0, digest: Id::keep(&[i; 32]), sealed: Bytes(&[]) };
    for (sender, most) in [(EVE, 4), (OTHER, 64), (ANN, 64)] {
        for i in 0..most {
            it.by(*sender.0).execute(&evidence(i)).unwrap();
        }
        assert!(it.by(*sender.0).execute(&evidence(most)).unwrap_err().is(TOO_MUCH));
    }
    let gateway = it.by(*GUS.0).with_role(Role::GATEWAY);
    for i in 0..64 {
        gateway.execute(&evidence(i)).unwrap();
    }
    let acts = it.query(&Question::Acts { case: 1, after: Some(100), limit: 12 }).unwrap();
    let rows: List<(u32, Act)> = decode(acts.0.leak()).unwrap();
    assert_eq!((rows.len(), rows.iter().next().unwrap().unwrap().0), (12, 101));
}

#[test]
fn nobody_acts_in_a_signers_name() {
    let it = platform(PLATFORM);
    let message: &'static [u8] = encode(&open());
    let trick = fake::Entries::new()
        .on("execute", move |_| postern::reply(&postern::call("guardian", message).err().unwrap_or(0)));
    let trick = fake::deploy("trick", *EVE.0, trick, &fake::NOTHING).unwrap();
    assert_eq!(trick.by(*ANN.0).execute(&()).unwrap().to::<u16>(), postern::code::ABORTED);
    let evidence = Observation::new(ObservationKind::Telemetry, *BIKE.0, START, &[0x80]);
    assert_eq!(it.evidence(&evidence).unwrap_err().abort, NOT_PERMITTED);
}

#[test]
fn without_guardians_nobody_but_owner_and_authority_begins_a_case() {
    let it = platform(PLATFORM);
    it.execute(&circle(&[], 0)).unwrap();
    for sender in [GUS, EVE, PLATFORM] {
        assert!(it.by(*sender.0).execute(&open()).unwrap_err().is(NOT_PARTY));
    }
    it.by(*POL.0).with_role(Role::AUTHORITY).execute(&open()).unwrap();
    assert!(case(&it, 1).by_others);
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

const PEOPLE: [Id; 6] = [ANN, GUS, GIL, EVE, POL, PLATFORM];

fn random_message(d: &mut Dice, newest: u64) -> Command {
    let device = [BIKE, OTHER][d.below(2) as usize];
    let case = newest.saturating_sub(d.below(2));
    let owner = [ANN, EVE][d.below(2) as usize];
    let digest = Id::keep(&[d.below(4) as u8; 32]);
    match d.below(17) {
        0 => circle(&PEOPLE[1..][..1 + d.below(3) as usize], 1 + d.below(2) as u8),
        1 => Command::Freeze { owner },
        2 => Command::Thaw { owner },
        3 => Command::Register { device, marks: list(&[digest]) },
        4 | 5 => Command::Open { device, kind: d.below(2) as u8, reason: digest },
        6 => Command::Second { case },
        7 => Command::Evidence { case, kind: d.below(2) as u8, digest, sealed: Bytes(&[]) },
        8 => Command::Found { case, digest, sealed: Bytes(&[]) },
        9 => Command::Confirm { case },
        10 => Command::Object { case },
        11 => Command::Contest { case, reason: digest },
        12 => Command::Rule { case, outcome: d.below(3) as u8, reason: digest },
        13 | 14 => Command::Register { device, marks: list(&[digest]) },
        15 => Command::Contest { case, reason: digest },
        _ => Command::Sweep,
    }
}

/// What must hold of the state whatever was done: a device has one case that is
/// not closed, what is due stands in the index once, and no timer is missing.
fn check_state(it: &Deployed) {
    let state = it.state();
    let keys = |prefix: &str| state.keys().filter(|k| k.starts_with(prefix.as_bytes())).count();
    let (mut live, mut due) = (0, 0);
    for number in 1.. {
        let case: Case = match it.query(&Question::Case { case: number }).unwrap().to() {
            Some(case) => case,
            None => break,
        };
        let open: Option<u64> = it.query(&Question::CaseOf { device: case.device }).unwrap().to();
        assert_eq!(open == Some(number), !case.is_closed(), "case {}", number);
        let waits = matches!(case.state, PROPOSED | FOUND | CONTESTED | RECOVERING);
        assert_eq!(case.due.is_some(), waits, "case {} in state {}", number, case.state);
        live += !case.is_closed() as usize;
        due += case.due.is_some() as usize;
    }
    assert_eq!((keys("open/"), keys("due/")), (live, due));
    if keys("due/") + keys("turn/") > 0 {
        assert!(fake::with(|h| !h.timers.is_empty()), "nothing would wake it");
    }
}

#[test]
fn whatever_happens_the_state_holds_together() {
    let mut told = std::collections::BTreeSet::new();
    for seed in 1..9 {
        let mut d = Dice(seed * 0x9e37_79b9);
        let it = with_circle();
        it.by(*EVE.0).execute(&circle(&[GUS, GIL], 2)).unwrap();
        for _ in 0..150 {
            // Owners do most.
            let sender = [ANN, EVE, ANN, EVE, GUS, GIL, POL, PLATFORM][d.below(8) as usize];
            let by = it.by(*sender.0);
            let by = if sender == POL { by.with_role(Role::AUTHORITY) } else { by };
            let newest = it.query(&Question::Cases { after: None, limit: 64 }).unwrap().to::<List<(u64, Case)>>().len();
            let _ = by.execute(&random_message(&mut d, newest as u64));
            if d.below(8) == 0 {
                assert!(fake::advance(d.below(8) as i64 * HOUR / 2).iter().all(|r| r.is_ok()));
            }
            check_state(&it);
        }
        told.extend(it.topics());
    }
    assert!(told.len() >= 16, "the dice reach too little: {:?}", told);
}
