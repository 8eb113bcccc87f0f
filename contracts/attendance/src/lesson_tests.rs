//! Native tests of homework, rewards, access and forgetting.

use super::*;

#[test]
fn homework_is_done_and_confirmed_once() {
    let it = school();
    let due = WEDNESDAY + DAY;
    let assign = Command::Assign { class: text("5b"), due, content: Id(&[9; 32]) };
    refused(&it, OTHER_TEACHER, &assign, NOT_TEACHER);
    let n: u32 = it.by(TEACHER).execute(&assign).unwrap().to();
    let hand_in = |number| Command::HandIn { pupil: Id(&KIM), number, work: Some(Id(&[8; 32])) };
    let confirm = |points| Command::Confirm { pupil: Id(&KIM), number: n, points };
    refused(&it, TEACHER, &confirm(5), NOT_HANDED_IN);
    refused(&it, TEACHER, &hand_in(n), NOT_PARENT);
    refused(&it, MOTHER, &hand_in(n + 1), UNKNOWN_HOMEWORK);
    it.by(PUPIL_KEY).execute(&hand_in(n)).unwrap();
    it.by(MOTHER).execute(&hand_in(n)).unwrap();
    refused(&it, OTHER_TEACHER, &confirm(5), NOT_TEACHER);
    refused(&it, MOTHER, &confirm(5), NOT_TEACHER);
    refused(&it, TEACHER, &confirm(101), TOO_MANY_POINTS);
    it.by(TEACHER).execute(&confirm(5)).unwrap();
    refused(&it, TEACHER, &confirm(5), CONFIRMED);
    refused(&it, MOTHER, &hand_in(n), CONFIRMED);
    let rows: List<(u32, Work)> = it.query(&Question::Work { term: 1, pupil: Id(&KIM), from: 0, limit: 9 }).unwrap().to();
    let work = rows.iter().next().unwrap().unwrap().1;
    assert_eq!((work.late, work.points, work.by), (false, 5, Id(&MOTHER)));
    let kim: Option<Pupil> = it.query(&Question::Pupil { pupil: Id(&KIM) }).unwrap().to();
    assert_eq!(kim.unwrap().points, 5);
    for due in [WEDNESDAY, i64::MAX] {
        refused(&it, TEACHER, &Command::Assign { class: text("5b"), due, content: Id(&[9; 32]) }, BAD_TIME);
    }
}

#[test]
fn points_are_given_and_spent() {
    let it = school();
    let praise = |points| Command::Feedback { pupil: Id(&KIM), sealed: Bytes(&[1; 1024]), points };
    for who in [MOTHER, OFFICE, OTHER_TEACHER, PUPIL_KEY] {
        refused(&it, who, &praise(1), NOT_TEACHER);
    }
    refused(&it, TEACHER, &praise(101), TOO_MANY_POINTS);
    refused(&it, TEACHER, &Command::Feedback { pupil: Id(&KIM), sealed: Bytes(&[1; 1025]), points: 1 }, TOO_LONG);
    it.by(TEACHER).execute(&praise(100)).unwrap();
    it.by(OFFICE).execute(&Command::Offer { reward: 1, cost: Some(60), content: Id(&[1; 32]) }).unwrap();
    let spend = |reward| Command::Spend { pupil: Id(&KIM), reward };
    refused(&it, TEACHER, &spend(1), NOT_PARENT);
    refused(&it, MALLORY, &spend(1), NOT_PARENT);
    refused(&it, MOTHER, &spend(2), UNKNOWN_REWARD);
    assert_eq!(it.by(PUPIL_KEY).execute(&spend(1)).unwrap().to::<u64>(), 40);
    refused(&it, PUPIL_KEY, &spend(1), TOO_FEW_POINTS);
    it.by(OFFICE).execute(&Command::Offer { reward: 1, cost: None, content: Id(&[1; 32]) }).unwrap();
    refused(&it, PUPIL_KEY, &spend(1), UNKNOWN_REWARD);
}

fn asks(it: &Deployed, who: Hash, action: &str, kind: &str, id: &str) -> (bool, u64) {
    let hex = |h: &Hash| h.iter().map(|b| format!("{:02x}", b)).collect::<String>();
    let q = DecisionRequest {
        subject: Entity { kind: "account", id: &hex(&who), ..Default::default() },
        action: Action { name: action, ..Default::default() },
        resource: Entity { kind, id, ..Default::default() },
        ..Default::default()
    };
    let v: Verdict = it.decide(&q).unwrap().to();
    assert_eq!((v.ttl, v.max_staleness), (0, Some(30_000)), "an answer is not to be kept");
    (v.permit, v.reason)
}

#[test]
fn who_may_see_whose_record() {
    let it = school();
    let kim = "a1".repeat(32);
    let view = |who| asks(&it, who, "view", "record", &kim);
    assert_eq!(view(MOTHER), (true, access::PARENT));
    assert_eq!(view(TEACHER), (true, access::TEACHER));
    assert_eq!(view(OFFICE), (true, access::OFFICE));
    assert_eq!(view(OWNER), (true, access::OFFICE));
    assert_eq!(view(PUPIL_KEY), (true, access::SELF));
    for who in [OTHER_TEACHER, MALLORY, READER, LEE, KIM] {
        assert_eq!(view(who), (false, access::NO_RIGHT));
    }
    assert_eq!(asks(&it, MOTHER, "view", "record", &"a2".repeat(32)), (false, access::NO_RIGHT));
    for (action, kind, id) in
        [("change", "record", &kim[..]), ("view", "door", &kim), ("view", "record", "kim"), ("view", "record", &kim[2..])]
    {
        assert_eq!(asks(&it, MOTHER, action, kind, id), (false, access::UNKNOWN));
    }
    assert_eq!(asks(&it, MOTHER, "view", "record", &kim.to_uppercase()), (false, access::UNKNOWN));
    // Custody changes, a teacher leaves, the pupil changes class: at once.
    it.by(OFFICE).execute(&Command::SetParents { pupil: Id(&KIM), parents: list(&[Id(&FATHER)]) }).unwrap();
    assert_eq!(view(MOTHER), (false, access::NO_RIGHT));
    assert_eq!(view(FATHER), (true, access::PARENT));
    it.by(OFFICE).execute(&Command::Place { pupil: Id(&KIM), class: None, account: None }).unwrap();
    assert_eq!(view(TEACHER), (false, access::NO_RIGHT));
    assert_eq!(view(PUPIL_KEY), (false, access::NO_RIGHT));
    assert_eq!(it.query(&Question::MaySee { account: Id(&FATHER), pupil: Id(&KIM) }).unwrap().to::<u64>(), access::PARENT);
    it.by(OFFICE).execute(&Command::Remove { pupil: Id(&KIM) }).unwrap();
    assert_eq!(view(FATHER), (false, access::NO_RIGHT));
}

#[test]
fn a_past_term_is_forgotten_in_steps() {
    let it = school();
    for i in 0..100 {
        it.by(TEACHER).execute(&Command::Feedback { pupil: Id(&KIM), sealed: Bytes(&[1]), points: (i % 2) as u32 }).unwrap();
    }
    see(&it, &KIM, 6 * HOUR);
    it.by(TEACHER).execute(&Command::Assign { class: text("5b"), due: WEDNESDAY + DAY, content: Id(&[9; 32]) }).unwrap();
    refused(&it, OFFICE, &Command::Forget { term: 1 }, NOT_PAST);
    it.by(OFFICE).execute(&Command::SetTerm { number: 2, first: noon(TODAY), last: noon(TODAY + 9) }).unwrap();
    it.by(TEACHER).execute(&Command::Feedback { pupil: Id(&KIM), sealed: Bytes(&[1]), points: 1 }).unwrap();
    refused(&it, TEACHER, &Command::Forget { term: 1 }, NOT_OFFICE);
    it.by(OFFICE).execute(&Command::Forget { term: 1 }).unwrap();
    assert!(!it.topics().contains(&"forgotten".to_string()));
    assert!(fake::advance(1).iter().all(Result::is_ok));
    assert_eq!(it.event::<u32>("forgotten"), 1);
    let left = |prefix: &str| it.state().keys().filter(|k| k.starts_with(prefix.as_bytes())).count();
    assert_eq!((left("day/"), left("feedback/"), left("homework/")), (0, 1, 0));
}
