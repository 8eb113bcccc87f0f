//! What the scripts of tests/ cannot show: a read in the block of the withdrawal,
//! erasure of many keys, deadlines without number, sums over all accounts, and
//! rates at every offset.

use crate::codes::*;
use crate::id::Id;
use crate::names::Codes;
use crate::settings::{DAY, HOUR};
use crate::{entries, Command, Question};
use postern::fake::{self, Deployed, Failure, NOTHING};
use postern::{code, decode, encode, Bytes, Why};

const OWNER: [u8; 32] = [1; 32];
const HOSPITAL: Id = Id(&[2; 32]);
const PAT: Id = Id(&[3; 32]);
const STUDY: Id = Id(&[4; 32]);
const BANK: Id = Id(&[5; 32]);
const KEY: &[u8] = &[9; 32];
const START: i64 = 1_767_600_000_000;

fn start() -> Deployed {
    fake::reset();
    fake::with(|h| h.time = START);
    fake::deploy("sharing", OWNER, entries(), &NOTHING).unwrap()
}

fn codes(list: &[&str]) -> Codes {
    decode(encode(list)).unwrap()
}

fn name(text: &'static str) -> crate::names::Name {
    postern::Text::new(text).unwrap()
}

fn by(c: Deployed, who: Id, command: Command) -> Result<(), Failure> {
    c.by(*who.0).execute(&command).map(|_| ())
}

fn refused(result: Result<(), Failure>, why: &Why) {
    let failure = result.expect_err("a refusal");
    assert_eq!((failure.code, failure.abort), (code::ABORTED, why.code), "{}", failure.text);
}

fn create(c: Deployed, set: &'static str, subject: Option<Id>) {
    let command = Command::Create {
        dataset: name(set),
        kind: postern::Text::new("record").unwrap(),
        fields: codes(&["a", "b"]),
        custodian: Bytes(KEY),
        subject,
        content: None,
        logged: None,
    };
    by(c, HOSPITAL, command).unwrap();
}

fn grant(c: Deployed, set: &'static str, to: Id) -> Result<(), Failure> {
    let command = Command::Grant {
        dataset: name(set),
        grantee: to,
        purposes: codes(&["research"]),
        fields: codes(&["a"]),
        until: START + 100 * DAY,
        epoch: 1,
        wrapped: Bytes(&[7; 80]),
        from: None,
        rate: None,
        logged: None,
    };
    by(c, HOSPITAL, command)
}

fn read(c: Deployed, number: u64) -> Result<(), Failure> {
    let purpose = postern::Text::new("research").unwrap();
    by(c, STUDY, Command::Read { grant: number, purpose, fields: codes(&["a"]), record: None })
}

fn account(n: u32) -> Id {
    let mut id = [0xaa; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Id::kept(&id)
}

fn supply(c: Deployed) -> (u64, u64, u64) {
    c.query(&Question::Supply).unwrap().to()
}

fn consent(c: Deployed) {
    let purposes = codes(&["research"]);
    let command =
        Command::Consent { dataset: name("r"), purposes, account: None, class: None, fields: None, until: None };
    by(c, PAT, command).unwrap();
}

#[test]
fn nobody_reads_behind_a_withdrawal_in_its_block() {
    let c = start();
    create(c, "r", Some(PAT));
    consent(c);
    grant(c, "r", STUDY).unwrap();
    read(c, 1).unwrap();
    by(c, PAT, Command::Withdraw { dataset: name("r"), account: None, class: None }).unwrap();
    refused(read(c, 1), &ROTATION_DUE); // the same height and time
    assert_eq!(c.topics().iter().filter(|t| *t == "read").count(), 1);
}

#[test]
fn a_withdrawal_before_any_grant_needs_no_key() {
    let c = start();
    create(c, "r", Some(PAT));
    consent(c);
    by(c, PAT, Command::WithdrawAll { dataset: name("r") }).unwrap();
    refused(grant(c, "r", STUDY), &NO_CONSENT);
    assert!(fake::with(|h| h.timers.is_empty()));
}

#[test]
fn erasure_deletes_all_keys_step_by_step() {
    let c = start();
    create(c, "r", None);
    for n in 0..100 {
        grant(c, "r", account(n)).unwrap();
    }
    let keys = |c: Deployed| c.state().keys().filter(|k| k.starts_with(b"key/")).count();
    assert_eq!(keys(c), 100);
    let statement = encode(&crate::state::Items(&[
        &"postern/sharing/destruction/1",
        &[0xc4u8; 32],
        &"sharing",
        &"r",
        &1u64,
        &None::<Id>,
        &START,
    ]));
    fake::with(|h| h.signatures.push((KEY.to_vec(), statement.to_vec(), vec![8; 64])));
    by(c, HOSPITAL, Command::Erase { dataset: name("r"), destroyed: START, signature: Bytes(&[8; 64]) }).unwrap();
    assert_eq!(keys(c), 68);
    assert_eq!(c.query(&Question::Wrapped { grant: 99 }).unwrap().to::<Option<(u32, Bytes)>>(), None);
    for ran in fake::advance(5 * 60 * 1000) {
        ran.unwrap();
    }
    for left in [4, 0] {
        fake::advance(1000).into_iter().for_each(|ran| assert!(ran.is_ok()));
        assert_eq!(keys(c), left);
    }
    assert!(c.topics().contains(&"purged".to_string()));
    refused(grant(c, "r", STUDY), &ERASED);
    fake::advance(2 * DAY);
    assert!(fake::with(|h| h.timers.is_empty()));
}

#[test]
fn an_account_has_sixteen_grants_of_a_data_set() {
    let c = start();
    create(c, "r", None);
    for _ in 0..16 {
        grant(c, "r", STUDY).unwrap();
    }
    refused(grant(c, "r", STUDY), &TOO_MANY);
    grant(c, "r", account(1)).unwrap();
    create(c, "s", None);
    grant(c, "s", STUDY).unwrap();
    by(c, STUDY, Command::Revoke { grant: 3 }).unwrap();
    grant(c, "r", STUDY).unwrap();
}

// Data sets whose names begin alike have nothing in common.
#[test]
fn names_that_begin_alike_are_apart() {
    let c = start();
    for set in ["a", "ab", "a.b", "a-"] {
        create(c, set, None);
        grant(c, set, STUDY).unwrap();
    }
    by(c, HOSPITAL, Command::Rotate { dataset: name("a"), epoch: 2, content: None }).unwrap();
    let lines = c.query(&Question::Grants { dataset: name("a"), epoch: None, after: None, limit: None });
    assert_eq!(lines.unwrap().to::<postern::List<(u64, u32)>>().len(), 1);
    refused(read(c, 1), &NOT_REWRAPPED);
    for number in 2..5 {
        read(c, number).unwrap();
    }
}

// However many deadlines there are and in whatever order, timers stay few and
// each deadline is met within five minutes.
#[test]
fn many_deadlines_take_few_timers() {
    let c = start();
    market(c, 300);
    for n in (1..=200u64).rev() {
        let within = 600_000 + n as i64 * 60_000;
        offer(c, within);
        buy(c, 201 - n);
        assert!(fake::with(|h| h.timers.len()) <= 45, "{} timers", fake::with(|h| h.timers.len()));
    }
    assert_eq!(supply(c), (300, 0, 200));
    let mut last = START;
    while fake::with(|h| !h.timers.is_empty()) {
        let next = fake::with(|h| h.timers.iter().map(|t| t.due).min().unwrap());
        fake::advance(next - last).into_iter().for_each(|ran| assert!(ran.is_ok()));
        last = next;
        let overdue = c.query(&Question::Deadlines { from: None, limit: Some(1) }).unwrap();
        if let Some(first) = overdue.to::<postern::List<(i64, u8, Bytes)>>().iter().next() {
            assert!(first.unwrap().0 + 8 * 60 * 1000 > last, "a deadline was passed over");
        }
    }
    assert_eq!(supply(c), (300, 0, 0));
    assert_eq!(total(c), 300);
}

fn market(c: Deployed, amount: u64) {
    create(c, "f", None);
    c.execute(&Command::SetIssuer { account: BANK }).unwrap();
    by(c, BANK, Command::Mint { to: STUDY, amount, reason: postern::Text::new("x").unwrap() }).unwrap();
}

fn offer(c: Deployed, deliver_within: i64) {
    let command = Command::Offer {
        dataset: name("f"),
        purposes: codes(&["research"]),
        fields: codes(&["a"]),
        price: 1,
        period: HOUR,
        deliver_within,
        terms: PAT,
        rate: None,
    };
    by(c, HOSPITAL, command).unwrap();
}

fn buy(c: Deployed, offer: u64) {
    by(c, STUDY, Command::Buy { offer, price: 1, terms: PAT }).unwrap();
}

// All balances and what purchases hold.
fn total(c: Deployed) -> u64 {
    let balances = c
        .state()
        .iter()
        .filter(|(k, _)| k.starts_with(b"credit/"))
        .map(|(_, v)| decode::<u64>(v).unwrap())
        .sum::<u64>();
    balances + supply(c).2
}

// A thousand random steps of five accounts: credits never come from nowhere.
#[test]
fn credits_add_up() {
    let c = start();
    market(c, 100);
    for _ in 0..3 {
        offer(c, HOUR);
    }
    let mut seed = 7u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % n
    };
    let people = [STUDY, HOSPITAL, PAT, BANK, account(1)];
    let mut done = 0;
    for _ in 0..1000 {
        let (who, other) = (people[random(5) as usize], people[random(5) as usize]);
        let (purchase, amount) = (1 + random(20), random(30));
        let command = match random(9) {
            0 => Command::Mint { to: other, amount, reason: postern::Text::new("x").unwrap() },
            1 => Command::Burn { amount, reason: postern::Text::new("x").unwrap() },
            2 => Command::Transfer { to: other, amount },
            3 => Command::Buy { offer: 1 + random(4), price: 1, terms: PAT },
            4 => Command::Deliver { purchase, epoch: 1, wrapped: Bytes(&[1]) },
            5 => Command::Accept { purchase },
            6 => Command::Dispute { purchase, objection: PAT },
            7 => Command::Arbitrate { purchase, refund: random(2) == 0 },
            _ => Command::Claim { purchase },
        };
        let who = if let Command::Arbitrate { .. } = command { Id(&OWNER) } else { who };
        done += by(c, who, command).is_ok() as u32;
        fake::advance(random(600_000) as i64 + 1).into_iter().for_each(|ran| assert!(ran.is_ok()));
        let (minted, burned, _) = supply(c);
        assert_eq!(total(c), minted - burned);
    }
    assert!(done > 200, "only {} steps were done", done);
}

// No span as long as the period holds more reads than the rate admits, at
// whatever offset it begins; and reads come back.
#[test]
fn rates_have_no_edges() {
    for period in [1000, 1001, 8_000, 3_600_000] {
        start();
        let rate = Some((5, period));
        let mut taken: Vec<i64> = vec![];
        let mut now = START;
        let mut seed = 3u64;
        while now < START + 20 * period {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            now += 1 + (seed >> 33) as i64 % (period / 7);
            let mut reads = crate::rate::reads(1);
            if reads.left(&rate.unwrap(), now) > 0 {
                crate::rate::take(1, &rate, now);
                taken.push(now);
            }
            let recent = taken.iter().filter(|&&t| t > now - period).count();
            assert!(recent <= 5, "{} reads within {} ms", recent, period);
        }
        assert!(taken.len() > 60, "{} reads in 20 periods", taken.len());
    }
}
