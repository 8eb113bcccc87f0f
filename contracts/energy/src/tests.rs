//! Native tests on the SDK's fake host. What the Wasm does on a ledger, the
//! scripts under tests/ ask.

use crate::codes::*;
use crate::limit::Limit;
use crate::message::{Command, Question};
use crate::meter::{self, Day, Flag, Meter, MeterRule, Reading};
use crate::{command, entries, operator};
use postern::fake::{self, Deployed, DeviceRecord, NOTHING};
use postern::{decode, encode, Abort, Hash, Id, List, Status, Text, MALFORMED};

#[path = "meter_tests.rs"]
mod meters;

const OWNER: Hash = [1; 32];
const ANNA: Hash = [0xa1; 32];
const ANNAS_OTHER: Hash = [0xa2; 32];
const BERT: Hash = [0xb1; 32];
const MALLORY: Hash = [0x66; 32];
const INVERTER: Hash = [0xd1; 32];
const OTHER: Hash = [0xd2; 32];
const METER: Hash = [0xe1; 32];

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// A Tuesday, 22:13:20 UTC.
const START: i64 = 1_700_000_000_000;

fn text<const N: usize>(s: &'static str) -> Text<'static, N> {
    Text::new(s).unwrap()
}

fn list<T: postern::Encode>(items: &[T]) -> List<'static, T> {
    decode(encode(items)).unwrap()
}

fn limit() -> Limit {
    Limit { unit: text("W"), min: -10_000, max: 10_000, step: None, alone: 5_000, gap: 0, burst: 1, windows: None }
}

/// A grid with an inverter, another device, a meter and three operators' keys of
/// two persons.
fn grid() -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = START;
        for id in [INVERTER, OTHER, METER] {
            h.devices.insert(id, DeviceRecord::of(OWNER));
        }
    });
    let it = fake::deploy("energy", OWNER, entries(), &NOTHING).unwrap();
    for (account, person) in [(&ANNA, &[1; 32]), (&ANNAS_OTHER, &[1; 32]), (&BERT, &[2; 32])] {
        it.execute(&Command::NameOperator { account: Id(account), person: Id(person) }).unwrap();
    }
    for device in [&INVERTER, &OTHER] {
        it.execute(&Command::AddDevice { device: Id(device), kind: text("inverter") }).unwrap();
    }
    set(&it, limit());
    let rule = MeterRule { max_power: 11_000, low: -11_000, high: 11_000, max_gap: 2 * HOUR as u64 };
    it.execute(&Command::SetMeter { device: Id(&METER), rule: Some(rule) }).unwrap();
    it
}

fn set(it: &Deployed, limit: Limit) {
    it.by(OWNER).execute(&Command::SetLimit { kind: text("inverter"), action: text("charge"), limit: Some(limit) }).unwrap();
}

fn charge(value: i64) -> Command {
    let now = fake::with(|h| h.time);
    Command::Propose { device: Id(&INVERTER), action: text("charge"), value, from: now, until: now + HOUR }
}

fn propose(it: &Deployed, by: Hash, message: Command) -> u64 {
    it.by(by).execute(&message).unwrap().to()
}

fn pending(it: &Deployed, device: &'static Hash) -> Vec<u64> {
    let out = it.query(&Question::Pending { device: Id(device), after: None, limit: 64 }).unwrap();
    let rows: List<(u64, command::Command)> = out.to();
    rows.iter().map(|row| row.unwrap().0).collect()
}

fn state(it: &Deployed, number: u64) -> u8 {
    it.query(&Question::Command { command: number }).unwrap().to::<Option<command::Command>>().unwrap().state
}

fn refused(it: &Deployed, by: Hash, message: &Command, why: Abort) {
    let before = it.state();
    let failure = it.by(by).execute(message).unwrap_err();
    assert!(failure.is(why), "{:?}: {:?}, want {}", message, failure, why);
    assert_eq!(it.state(), before);
}

#[test]
fn a_command_reaches_its_device() {
    let it = grid();
    let n = propose(&it, ANNA, charge(5_000));
    assert_eq!(pending(&it, &INVERTER), [n]);
    assert!(pending(&it, &OTHER).is_empty());
    refused(&it, OTHER, &Command::Confirm { command: n, outcome: 0 }, NOT_ADDRESSED);
    refused(&it, ANNA, &Command::Confirm { command: n, outcome: 0 }, NOT_ADDRESSED);
    assert_eq!(it.by(INVERTER).execute(&Command::Confirm { command: n, outcome: 0 }).unwrap().to::<u8>(), command::EXECUTED);
    assert!(pending(&it, &INVERTER).is_empty());
    refused(&it, INVERTER, &Command::Confirm { command: n, outcome: 0 }, CLOSED);
    refused(&it, ANNA, &Command::Cancel { command: n }, CLOSED);
}

#[test]
fn large_values_need_another_person() {
    let it = grid();
    let n = propose(&it, ANNA, charge(-5_001));
    assert!(pending(&it, &INVERTER).is_empty());
    refused(&it, INVERTER, &Command::Confirm { command: n, outcome: 0 }, NOT_READY);
    refused(&it, ANNA, &Command::Approve { command: n }, SAME_PERSON);
    refused(&it, ANNAS_OTHER, &Command::Approve { command: n }, SAME_PERSON);
    refused(&it, OWNER, &Command::Approve { command: n }, NOT_OPERATOR);
    refused(&it, MALLORY, &Command::Approve { command: n }, NOT_OPERATOR);
    it.by(BERT).execute(&Command::Approve { command: n }).unwrap();
    assert_eq!(pending(&it, &INVERTER), [n]);
    refused(&it, BERT, &Command::Approve { command: n }, NOT_PROPOSED);
}

/// An account that was named before it became a device commands nothing.
#[test]
fn devices_are_no_operators() {
    let it = grid();
    let n = propose(&it, ANNA, charge(9_000));
    fake::with(|h| h.devices.insert(BERT, DeviceRecord::of(OWNER)));
    refused(&it, BERT, &Command::Approve { command: n }, IS_DEVICE);
    refused(&it, BERT, &charge(1), IS_DEVICE);
}

/// A device that is registered anew has the open commands that it had.
#[test]
fn registering_anew_frees_no_place() {
    let it = grid();
    (0..16).for_each(|i| drop(propose(&it, ANNA, charge(i))));
    it.execute(&Command::RemoveDevice { device: Id(&INVERTER) }).unwrap();
    assert!(pending(&it, &INVERTER).is_empty());
    it.execute(&Command::AddDevice { device: Id(&INVERTER), kind: text("inverter") }).unwrap();
    refused(&it, ANNA, &charge(1), TOO_MANY_OPEN);
    assert_eq!(pending(&it, &INVERTER).len(), 16);
}

/// What was approved counts no more when either of the two is no operator.
#[test]
fn removed_operators_approve_nothing() {
    for gone in [&ANNA, &BERT] {
        let it = grid();
        let n = propose(&it, ANNA, charge(9_000));
        it.by(BERT).execute(&Command::Approve { command: n }).unwrap();
        it.by(OWNER).execute(&Command::RemoveOperator { account: Id(gone) }).unwrap();
        assert!(pending(&it, &INVERTER).is_empty());
        assert_eq!(it.by(INVERTER).execute(&Command::Confirm { command: n, outcome: 0 }).unwrap().to::<u8>(), command::LATE);
        assert!(it.topics().contains(&"late".to_string()));
    }
    let it = grid();
    let n = propose(&it, ANNA, charge(9_000));
    it.by(OWNER).execute(&Command::RemoveOperator { account: Id(&ANNA) }).unwrap();
    refused(&it, BERT, &Command::Approve { command: n }, WITHDRAWN);
    // An account that became another person's does not revive it.
    it.by(OWNER).execute(&Command::NameOperator { account: Id(&ANNA), person: Id(&[9; 32]) }).unwrap();
    refused(&it, BERT, &Command::Approve { command: n }, WITHDRAWN);
}

#[test]
fn limits_hold_to_the_digit() {
    let it = grid();
    refused(&it, ANNA, &charge(10_001), OUT_OF_LIMIT);
    refused(&it, ANNA, &charge(-10_001), OUT_OF_LIMIT);
    refused(&it, ANNA, &charge(i64::MIN), OUT_OF_LIMIT);
    let elsewhere =
        Command::Propose { device: Id(&INVERTER), action: text("melt"), value: 0, from: START, until: START + 1 };
    refused(&it, ANNA, &elsewhere, NO_LIMIT);
    let own = Limit { max: 3_000, ..limit() };
    it.by(OWNER)
        .execute(&Command::SetDeviceLimit { device: Id(&INVERTER), action: text("charge"), limit: Some(own) })
        .unwrap();
    refused(&it, ANNA, &charge(3_001), OUT_OF_LIMIT);
    propose(&it, ANNA, charge(3_000));
}

#[test]
fn a_lowered_limit_holds_for_what_was_approved() {
    let it = grid();
    let n = propose(&it, ANNA, charge(4_000));
    set(&it, Limit { max: 3_999, ..limit() });
    assert!(pending(&it, &INVERTER).is_empty());
    set(&it, Limit { alone: 3_999, ..limit() });
    assert!(pending(&it, &INVERTER).is_empty(), "it needs a second person now");
    set(&it, limit());
    assert_eq!(pending(&it, &INVERTER), [n]);
}

/// Two commands that were each near enough to the value before, but not to one
/// another: the second is no longer shown once the first was carried out.
#[test]
fn steps_are_from_what_was_carried_out() {
    let it = grid();
    set(&it, Limit { step: Some(1_000), ..limit() });
    let zero = propose(&it, ANNA, charge(0));
    it.by(INVERTER).execute(&Command::Confirm { command: zero, outcome: 0 }).unwrap();
    refused(&it, ANNA, &charge(1_001), STEP_TOO_LARGE);
    let up = propose(&it, ANNA, charge(1_000));
    let down = propose(&it, ANNA, charge(-1_000));
    assert_eq!(pending(&it, &INVERTER), [up, down]);
    it.by(INVERTER).execute(&Command::Confirm { command: up, outcome: 0 }).unwrap();
    assert!(pending(&it, &INVERTER).is_empty());
    assert_eq!(it.by(INVERTER).execute(&Command::Confirm { command: down, outcome: 0 }).unwrap().to::<u8>(), command::LATE);
}

#[test]
fn commands_have_a_rate() {
    let it = grid();
    set(&it, Limit { gap: 60_000, burst: 2, ..limit() });
    propose(&it, ANNA, charge(1));
    propose(&it, ANNA, charge(2));
    refused(&it, ANNA, &charge(3), TOO_OFTEN);
    fake::advance(59_999);
    refused(&it, ANNA, &charge(3), TOO_OFTEN);
    fake::advance(1);
    propose(&it, ANNA, charge(3));
}

#[test]
fn windows_hold_all_of_a_command() {
    let it = grid();
    // Monday to Friday 22:00 to 06:00, in local time that is an hour ahead.
    it.execute(&Command::SetZone { steps: list(&[(0i64, 60i64)]) }).unwrap();
    set(&it, Limit { windows: Some(list(&[(0x1fu8, 22 * 60u16, 6 * 60u16)])), ..limit() });
    let midnight = START - START % DAY; // Tuesday, UTC
    let at = |from: i64, until: i64| Command::Propose {
        device: Id(&INVERTER),
        action: text("charge"),
        value: 1,
        from: midnight + from,
        until: midnight + until,
    };
    let minute = 60_000;
    propose(&it, ANNA, at(21 * HOUR, 29 * HOUR)); // 22:00 to 06:00 exactly
    propose(&it, ANNA, at(24 * HOUR, 25 * HOUR)); // after midnight, Tuesday's window
    refused(&it, ANNA, &at(21 * HOUR - 1, 29 * HOUR), OUTSIDE_WINDOWS);
    refused(&it, ANNA, &at(21 * HOUR, 29 * HOUR + 1), OUTSIDE_WINDOWS);
    refused(&it, ANNA, &at(30 * HOUR, 31 * HOUR), OUTSIDE_WINDOWS);
    let saturday = 4 * DAY;
    refused(&it, ANNA, &at(saturday + 22 * HOUR, saturday + 23 * HOUR), OUTSIDE_WINDOWS);
    propose(&it, ANNA, at(saturday, saturday + minute)); // 01:00 of Saturday belongs to Friday
}

#[test]
fn times_have_edges() {
    let it = grid();
    let at =
        |from: i64, until: i64| Command::Propose { device: Id(&INVERTER), action: text("charge"), value: 1, from, until };
    refused(&it, ANNA, &at(START, START), BAD_TIME);
    refused(&it, ANNA, &at(START - 2, START), BAD_TIME);
    refused(&it, ANNA, &at(START, START + 31 * DAY + 1), BAD_TIME);
    refused(&it, ANNA, &at(i64::MIN, START + 1), BAD_TIME);
    refused(&it, ANNA, &at(START, i64::MAX), BAD_TIME);
    propose(&it, ANNA, at(START, START + 31 * DAY));
    let n = propose(&it, ANNA, at(START - 1, START + 1_000));
    fake::advance(999);
    assert_eq!(pending(&it, &INVERTER).len(), 2);
    assert!(fake::advance(1).iter().all(Result::is_ok));
    assert_eq!((pending(&it, &INVERTER).len(), state(&it, n)), (1, command::EXPIRED_STATE));
    assert_eq!(it.event::<(u64, Hash)>("expired"), (n, INVERTER));
    refused(&it, BERT, &Command::Approve { command: n }, NOT_PROPOSED);
}

#[test]
fn a_device_may_not_begin_before_its_time() {
    let it = grid();
    let early = Command::Propose {
        device: Id(&INVERTER),
        action: text("charge"),
        value: 1,
        from: START + 1_000,
        until: START + 2_000,
    };
    let n = propose(&it, ANNA, early);
    assert_eq!(it.by(INVERTER).execute(&Command::Confirm { command: n, outcome: 0 }).unwrap().to::<u8>(), command::LATE);
}

#[test]
fn proposals_expire_by_few_timers() {
    let it = grid();
    // Each ends before the one before it, so that each would want a timer.
    for i in 0..16 {
        let until = START + DAY - i * 1_000;
        propose(&it, ANNA, Command::Propose { device: Id(&INVERTER), action: text("charge"), value: 1, from: START, until });
    }
    assert!(fake::with(|h| h.timers.len()) <= 8);
    refused(&it, ANNA, &charge(1), TOO_MANY_OPEN);
    assert!(fake::advance(DAY).iter().all(Result::is_ok));
    for _ in 0..4 {
        assert!(fake::advance(1_000).iter().all(Result::is_ok));
    }
    assert_eq!(it.topics().iter().filter(|t| *t == "expired").count(), 16);
    assert!(fake::with(|h| h.timers.is_empty()));
    propose(&it, ANNA, charge(1));
    assert_eq!(fake::with(|h| h.timers.len()), 1);
}

/// A timer that was lost (its payer had no gas left) is replaced by the next
/// command's.
#[test]
fn a_lost_timer_is_replaced() {
    let it = grid();
    let lost = propose(&it, ANNA, charge(1));
    fake::with(|h| h.timers.clear());
    fake::advance(2 * HOUR);
    assert!(pending(&it, &INVERTER).is_empty());
    propose(&it, ANNA, charge(2));
    assert!(fake::advance(HOUR).iter().all(Result::is_ok));
    assert_eq!(state(&it, lost), command::EXPIRED_STATE);
}

#[test]
fn a_stop_voids_what_came_before() {
    let it = grid();
    let n = propose(&it, ANNA, charge(1));
    refused(&it, MALLORY, &Command::Stop { reason: text("x") }, NOT_OPERATOR);
    let stop: u64 = it.by(BERT).execute(&Command::Stop { reason: text("smoke") }).unwrap().to();
    assert!(pending(&it, &INVERTER).is_empty());
    refused(&it, ANNA, &charge(1), STOPPED);
    refused(&it, ANNA, &Command::Lift { stop: stop + 1 }, NOT_STOPPED);
    assert!(!it.by(ANNA).execute(&Command::Lift { stop }).unwrap().to::<bool>());
    refused(&it, ANNA, &Command::Lift { stop }, SAME_PERSON);
    refused(&it, ANNAS_OTHER, &Command::Lift { stop }, SAME_PERSON);
    assert!(it.by(BERT).execute(&Command::Lift { stop }).unwrap().to::<bool>());
    refused(&it, BERT, &Command::Lift { stop }, NOT_STOPPED);
    assert!(pending(&it, &INVERTER).is_empty(), "what came before the stop stays void");
    assert_eq!(it.by(INVERTER).execute(&Command::Confirm { command: n, outcome: 0 }).unwrap().to::<u8>(), command::LATE);
    propose(&it, ANNA, charge(1));
}

#[test]
fn who_asked_to_lift_and_was_removed_counts_no_more() {
    let it = grid();
    let stop: u64 = it.by(BERT).execute(&Command::Stop { reason: text("smoke") }).unwrap().to();
    it.by(ANNA).execute(&Command::Lift { stop }).unwrap();
    it.by(OWNER).execute(&Command::RemoveOperator { account: Id(&ANNA) }).unwrap();
    assert!(!it.by(BERT).execute(&Command::Lift { stop }).unwrap().to::<bool>());
    let again: u64 = it.by(BERT).execute(&Command::Stop { reason: text("fire") }).unwrap().to();
    refused(&it, ANNAS_OTHER, &Command::Lift { stop }, NOT_STOPPED);
    assert!(!it.by(ANNAS_OTHER).execute(&Command::Lift { stop: again }).unwrap().to::<bool>());
    let newest: operator::Stop = it.query(&Question::Stop).unwrap().to::<Option<operator::Stop>>().unwrap();
    assert_eq!((newest.number, newest.lifter), (2, Some(Id(&ANNAS_OTHER))));
}

#[test]
fn only_the_owner_arranges() {
    let it = grid();
    let messages = [
        Command::SetZone { steps: list(&[(0i64, 0i64)]) },
        Command::NameOperator { account: Id(&MALLORY), person: Id(&MALLORY) },
        Command::RemoveOperator { account: Id(&BERT) },
        Command::AddDevice { device: Id(&OTHER), kind: text("x") },
        Command::RemoveDevice { device: Id(&OTHER) },
        Command::SetLimit { kind: text("inverter"), action: text("charge"), limit: None },
        Command::SetDeviceLimit { device: Id(&INVERTER), action: text("charge"), limit: None },
        Command::SetMeter { device: Id(&METER), rule: None },
    ];
    for message in &messages {
        for who in [ANNA, INVERTER, MALLORY] {
            refused(&it, who, message, NOT_OWNER);
        }
        it.execute(message).unwrap();
    }
}

#[test]
fn what_the_owner_writes_is_checked() {
    let it = grid();
    let own = |limit: Limit, why| {
        refused(&it, OWNER, &Command::SetLimit { kind: text("inverter"), action: text("charge"), limit: Some(limit) }, why)
    };
    own(Limit { min: 2, max: 1, ..limit() }, BAD_LIMIT);
    own(Limit { max: i64::MAX, ..limit() }, BAD_LIMIT);
    own(Limit { alone: -2, ..limit() }, BAD_LIMIT);
    own(Limit { gap: u64::MAX, ..limit() }, BAD_LIMIT);
    own(Limit { gap: 1, burst: 0, ..limit() }, BAD_LIMIT);
    own(Limit { windows: Some(list(&[(0u8, 0u16, 1u16); 0])), ..limit() }, TOO_MANY);
    own(Limit { windows: Some(list(&[(1u8, 0u16, 1u16); 17])), ..limit() }, TOO_MANY);
    own(Limit { windows: Some(list(&[(128u8, 0u16, 1u16)])), ..limit() }, BAD_LIMIT);
    own(Limit { windows: Some(list(&[(1u8, 1440u16, 1u16)])), ..limit() }, BAD_LIMIT);
    refused(&it, OWNER, &Command::SetLimit { kind: text(""), action: text("x"), limit: None }, BAD_NAME);
    refused(&it, OWNER, &Command::AddDevice { device: Id(&MALLORY), kind: text("x") }, NOT_ACTIVE);
    refused(&it, OWNER, &Command::AddDevice { device: Id(&OTHER), kind: text("") }, BAD_NAME);
    refused(&it, OWNER, &Command::NameOperator { account: Id(&INVERTER), person: Id(&[1; 32]) }, IS_DEVICE);
    refused(&it, OWNER, &Command::SetDeviceLimit { device: Id(&MALLORY), action: text("x"), limit: None }, UNKNOWN_DEVICE);
    let rule = MeterRule { max_power: u64::MAX, low: 0, high: 0, max_gap: 1 };
    refused(&it, OWNER, &Command::SetMeter { device: Id(&METER), rule: Some(rule) }, BAD_LIMIT);
    for steps in [list(&[(0i64, 841i64)]), list(&[(5i64, 0i64), (5, 0)])] {
        refused(&it, OWNER, &Command::SetZone { steps }, BAD_ZONE);
    }
    refused(&it, OWNER, &Command::SetZone { steps: list::<(i64, i64)>(&[]) }, TOO_MANY);
    it.execute(&Command::SetZone { steps: list(&[(START + 1, 0i64)]) }).unwrap();
    refused(&it, ANNA, &meters::correction(1, None), NO_OFFSET);
}

#[test]
fn malformed_messages_are_refused() {
    let it = grid();
    for message in [&[][..], &[0xff], &[0x80], &[0x81, 0x18, 0x63], &[0x82, 9, 1], &[0xa0], &[0x9f], &[0x82, 13, 0x78]] {
        let failure = it.by(ANNA).execute(&postern::Raw(message)).unwrap_err();
        assert_eq!(failure.abort, MALFORMED, "{:x?}", message);
    }
    let n = propose(&it, ANNA, charge(1));
    assert_eq!(it.by(INVERTER).execute(&Command::Confirm { command: n, outcome: 3 }).unwrap_err().abort, MALFORMED);
}

/// Neither another contract nor evidence acts in its signer's name.
#[test]
fn nobody_acts_in_a_signers_name() {
    let it = grid();
    let forward = |c: &postern::Context| match postern::call("energy", c.message) {
        Ok(out) => Ok(out),
        Err(code) => Err(code.into()),
    };
    let trap = fake::deploy("trap", MALLORY, fake::Entries::new().on("execute", forward), &NOTHING).unwrap();
    assert!(trap.by(ANNA).execute(&charge(1)).is_err());
    assert!(trap.by(OWNER).execute(&Command::RemoveOperator { account: Id(&BERT) }).is_err());
    let o = postern::Observation::new(postern::ObservationKind::Telemetry, METER, START, &[0x80]);
    assert!(it.by(OWNER).evidence(&o).unwrap_err().is(NESTED));
}
