//! What transactions and queries may ask.

use crate::limit::Limit;
use crate::meter::{MeterRule, Reading};
use postern::{choice, Id, List, Text};

/// An action, such as "switch" or "charge".
pub type Action = Text<'static, 24>;
/// A kind of devices, such as "inverter".
pub type Kind = Text<'static, 32>;
/// Why, for people; it names nobody.
pub type Reason = Text<'static, 96>;

choice! {
    /// What transactions may ask; README.md says of whom.
    pub enum Command {
        /// The offset from UTC in minutes from each time on, ascending.
        1 => SetZone { steps: List<'static, (i64, i64)> },
        /// Names an account an operator's; person tells whose.
        2 => NameOperator { account: Id, person: Id },
        3 => RemoveOperator { account: Id },
        4 => AddDevice { device: Id, kind: Kind },
        5 => RemoveDevice { device: Id },
        /// What devices of a kind may be told; null takes the limit away.
        6 => SetLimit { kind: Kind, action: Action, limit: Option<Limit> },
        /// What one device may be told, in place of its kind's limit.
        7 => SetDeviceLimit { device: Id, action: Action, limit: Option<Limit> },
        8 => SetMeter { device: Id, rule: Option<MeterRule> },
        9 => Propose { device: Id, action: Action, value: i64, from: i64, until: i64 },
        10 => Approve { command: u64 },
        11 => Cancel { command: u64 },
        12 => Confirm { command: u64, outcome: u8 },
        13 => Stop { reason: Reason },
        14 => Lift { stop: u64 },
        15 => Read { readings: List<'static, Reading> },
        16 => ProposeCorrection { meter: Id, day: u32, energy: i64, counter: Option<u64>, reason: Reason },
        17 => ApproveCorrection { correction: u64 },
    }
}

choice! {
    /// What queries may ask; README.md says what they answer.
    pub enum Question {
        1 => Command { command: u64 },
        2 => Pending { device: Id, after: Option<u64>, limit: u8 },
        3 => Open { device: Id, after: Option<u64>, limit: u8 },
        4 => Limit { device: Id, action: Action },
        5 => Stop,
        6 => Device { device: Id },
        7 => Operators { after: Option<Id>, limit: u8 },
        8 => Meter { meter: Id },
        9 => Days { meter: Id, from: u32, limit: u8 },
        10 => Total { meter: Id, from: u32, to: u32 },
        11 => Flags { meter: Id, after: Option<u8>, limit: u8 },
        12 => Correction { correction: u64 },
    }
}
