//! What transactions, timers and queries may ask.

use postern::{choice, Bytes, Id, List, Text};

/// A class, such as "5b".
pub type Class = Text<'static, 16>;
/// Weekdays (bits from Monday), from and to in local minutes of the day.
pub type Hours = (u8, u16, u16);

choice! {
    /// What transactions may ask; README.md says of whom.
    pub enum Command {
        /// An account is the office's, or is no more.
        1 => NameOffice { account: Id, on: bool },
        /// The offset from UTC in minutes from each time on, ascending.
        2 => SetZone { steps: List<'static, (i64, i64)> },
        /// Days are given by any time of theirs.
        3 => SetTerm { number: u32, first: i64, last: i64 },
        4 => SetDaysOff { days: List<'static, i64>, off: bool },
        5 => NameReader { device: Id, on: bool },
        6 => SetClass { class: Class, hours: List<'static, Hours>, grace: u16, early: u16 },
        7 => NameTeacher { class: Class, account: Id, on: bool },
        8 => Place { pupil: Id, class: Option<Class>, account: Option<Id> },
        9 => Remove { pupil: Id },
        10 => SetParents { pupil: Id, parents: List<'static, Id> },
        11 => Sight { sightings: List<'static, (Id, i64)> },
        12 => Excuse { pupil: Id, from: i64, to: i64, excused: bool, note: Option<Bytes<'static>> },
        13 => Assign { class: Class, due: i64, content: Id },
        14 => HandIn { pupil: Id, number: u32, work: Option<Id> },
        15 => Confirm { pupil: Id, number: u32, points: u32 },
        16 => Feedback { pupil: Id, sealed: Bytes<'static>, points: u32 },
        17 => Offer { reward: u32, cost: Option<u32>, content: Id },
        18 => Spend { pupil: Id, reward: u32 },
        19 => Forget { term: u32 },
    }
}

choice! {
    /// What timers do.
    pub enum Tick {
        /// Looks who is missing.
        1 => Alarm,
        /// Forgets some more of a term.
        2 => Forget { term: u32 },
    }
}

choice! {
    /// What queries may ask; README.md says what they answer.
    pub enum Question {
        1 => Term,
        2 => Class { class: Class },
        3 => Members { class: Class, after: Option<Id>, limit: u8 },
        4 => Teachers { class: Class, after: Option<Id>, limit: u8 },
        5 => Pupil { pupil: Id },
        6 => Days { term: u32, pupil: Id, from: u32, limit: u8 },
        7 => Homework { term: u32, class: Class, from: u32, limit: u8 },
        8 => Work { term: u32, pupil: Id, from: u32, limit: u8 },
        9 => Feedback { term: u32, pupil: Id, from: u32, limit: u8 },
        10 => Spent { term: u32, pupil: Id, from: u32, limit: u8 },
        11 => Rewards { from: u32, limit: u8 },
        12 => MaySee { account: Id, pupil: Id },
    }
}
