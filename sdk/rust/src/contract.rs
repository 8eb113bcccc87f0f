//! Other contracts, and what is told to the world: calls and events.

use crate::codec::{decode, encode, Decode, Encode};
use core::marker::PhantomData;

/// Why another contract gave no result: the host's code, whose names stand in
/// [`code`].
pub type Code = u16;

/// Codes of the host that a contract may meet.
pub mod code {
    use super::Code;

    /// The message is larger than its limit.
    pub const TOO_LARGE: Code = 2;
    /// A field is missing or out of its range.
    pub const BAD_ARGUMENT: Code = 8;
    /// The account may not do this to this record.
    pub const NOT_PERMITTED: Code = 59;
    /// The device is not enrolled.
    pub const UNKNOWN_DEVICE: Code = 102;
    /// No contract has this name.
    pub const UNKNOWN_CONTRACT: Code = 111;
    /// The contract is not active yet.
    pub const CONTRACT_PENDING: Code = 113;
    /// The contract's init failed.
    pub const CONTRACT_FAILED: Code = 114;
    /// The contract has as many timers as it may have.
    pub const TOO_MANY_TIMERS: Code = 117;
    /// The device's status cannot change that way.
    pub const BAD_STATUS: Code = 118;
    /// The other contract refused.
    pub const ABORTED: Code = 150;
    /// The gas is used up.
    pub const OUT_OF_GAS: Code = 151;
    /// The contract trapped.
    pub const TRAP: Code = 153;
    /// The contract does not export this entry point.
    pub const NO_ENTRY_POINT: Code = 156;
    /// The entry point does not have this host function.
    pub const NOT_ALLOWED_HERE: Code = 157;
    /// Contracts call one another too deeply.
    pub const CALL_DEPTH: Code = 158;
    /// A state key or topic is empty or too long.
    pub const KEY_TOO_LONG: Code = 159;
    /// A state value or an event is too long.
    pub const VALUE_TOO_LONG: Code = 160;
    /// A result is longer than its limit.
    pub const RESULT_TOO_LONG: Code = 161;
    /// More events than one transaction may have.
    pub const TOO_MANY_EVENTS: Code = 162;
    /// More scans than one call may have.
    pub const TOO_MANY_SCANS: Code = 163;
    /// The result is not of the form that was asked for.
    pub const BAD_RESULT: Code = 164;
    /// The contract is already running in this chain of calls.
    pub const REENTRANT: Code = 165;
    /// A contract panicked.
    pub const UNREACHABLE: Code = 167;
}

/// Another contract, by its name.
///
/// ```
/// use postern::{code, Contract};
/// let meters = Contract::new("meters");
/// assert_eq!(meters.query::<_, u64>(&"kitchen"), Err(code::UNKNOWN_CONTRACT));
/// ```
///
/// Where the contract cannot go on without the other, `?` ends it with the
/// host's code as its own. To refuse with another, map the error:
///
/// ```
/// # use postern::{code, refusals, reply, Contract, Reply};
/// refusals! { NO_METER = 2, "the meter gives no value" }
/// const METERS: Contract = Contract::new("meters");
///
/// fn bill() -> Reply {
///     let used: u64 = METERS.query(&"kitchen")?;
///     reply(&(used * 3))
/// }
///
/// fn strict_bill() -> Reply {
///     let used: u64 = METERS.query(&"kitchen").map_err(|_| NO_METER)?;
///     reply(&(used * 3))
/// }
/// # assert_eq!(bill().unwrap_err().code(), code::UNKNOWN_CONTRACT);
/// # assert_eq!(strict_bill(), Err(NO_METER));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    name: &'static str,
}

impl Contract {
    /// The contract with a name.
    pub const fn new(name: &'static str) -> Contract {
        Contract { name }
    }

    /// Runs its `execute` with this contract as the parent. Where it fails,
    /// its changes are undone and this contract goes on.
    pub fn call<M: Encode + ?Sized, R: Decode<'static>>(&self, message: &M) -> Result<R, Code> {
        result(crate::call(self.name, encode(message))?)
    }

    /// Runs its `query`, which changes nothing.
    pub fn query<M: Encode + ?Sized, R: Decode<'static>>(&self, message: &M) -> Result<R, Code> {
        result(crate::query(self.name, encode(message))?)
    }
}

fn result<R: Decode<'static>>(raw: &'static [u8]) -> Result<R, Code> {
    decode(raw).map_err(|_| code::BAD_RESULT)
}

/// An event's topic of at most 64 bytes, with the type of its data, which
/// takes at most 4 KiB.
///
/// ```
/// # use postern::{fake, Topic};
/// const TAKEN: Topic<(u32, i64)> = Topic::new("taken");
/// TAKEN.emit(&(7, 1_700_000_000_000));
/// # fake::with(|h| assert_eq!(h.events[0].topic, "taken"));
/// ```
pub struct Topic<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T: Encode> Topic<T> {
    /// The topic with a name.
    pub const fn new(name: &'static str) -> Topic<T> {
        Topic { name, of: PhantomData }
    }

    /// Tells the world what happened; it is heard if the transaction succeeds.
    pub fn emit(&self, data: &T) {
        crate::emit(self.name, encode(data))
    }

    /// The topic's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Runs this contract's `timer` with a message at the first block whose time
/// is at or past `due` (ms since 1970), and returns the timer's number.
pub fn schedule_message<M: Encode + ?Sized>(due: i64, message: &M) -> i64 {
    crate::schedule(due, encode(message))
}
