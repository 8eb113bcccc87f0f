//! The Rust SDK for Postern contracts.
//!
//! A contract is a `cdylib` without `std`. It declares its entry points once:
//!
//! ```
//! # #![allow(unused)]
//! #![cfg_attr(target_arch = "wasm32", no_std)]
//! use postern::{choice, done, ensure, refusals, reply, Context, Hash, Item, Map, Reply, Topic};
//!
//! const HOLDERS: Map<u32, Hash> = Map::new("holder/");
//! const TAKEN: Topic<u32> = Topic::new("taken");
//!
//! refusals! { IS_TAKEN = 2, "the locker is taken" }
//!
//! choice! {
//!     pub enum Command {
//!         1 => Take { locker: u32 },
//!     }
//! }
//!
//! postern::entry_points! { execute => execute, query => query }
//!
//! fn execute(c: &Context) -> Reply {
//!     let Command::Take { locker } = c.parse_message()?;
//!     ensure!(!HOLDERS.has(&locker), IS_TAKEN);
//!     HOLDERS.set(&locker, &c.env.caller()?);
//!     TAKEN.emit(&locker);
//!     done()
//! }
//!
//! fn query(c: &Context) -> Reply {
//!     reply(&HOLDERS.get(&c.parse_message()?)?)
//! }
//!
//! # fn main() {
//! use postern::fake;
//! let lockers = fake::deploy("lockers", [1; 32], entries(), &fake::NOTHING).unwrap();
//! lockers.by([2; 32]).execute(&Command::Take { locker: 7 }).unwrap();
//! assert!(lockers.execute(&Command::Take { locker: 7 }).unwrap_err().is(IS_TAKEN));
//! assert_eq!(lockers.query(&7u32).unwrap().to::<Option<Hash>>(), Some([2; 32]));
//! assert_eq!(lockers.event::<u32>("taken"), 7);
//! # }
//! ```
//!
//! A contract's duties: it treats `Input::message` as hostile, returns an
//! [`Abort`] instead of panicking, keeps nothing in memory between calls (the
//! host restores memory after each), and uses no floats.
//!
//! | what | where |
//! | --- | --- |
//! | entry points, messages, results | [`entry_points!`], [`Context`], [`choice!`], [`record!`], [`reply`], [`done`] |
//! | state | [`Item`], [`Map`] |
//! | refusing | [`Abort`], [`refusals!`], [`ensure!`], [`Checked`] |
//! | who calls | [`Env`], [`Role`], [`Device`] |
//! | events, other contracts, timers | [`Topic`], [`Contract`], [`schedule_message`], [`Alarm`] |
//! | ids without copies, pages of answers | [`Id`], [`Rows`] |
//! | decisions | [`DecisionRequest`], [`Verdict`] |
//! | behaviour | [`Observation`], [`Judgement`], [`local_get`], [`local_set`] |
//! | bytes | [`cbor`], [`Encode`], [`Decode`], [`buffer`], `state_get` … `abort` |
//! | tests | [`fake`] |
//!
//! Built for another target than wasm32, the host is [`fake`]: the same
//! functions over a ledger in memory, so that a contract is tested natively.

#![cfg_attr(target_arch = "wasm32", no_std)]
#![deny(missing_docs)]

mod alarm;
mod arena;
pub mod cbor;
mod codec;
mod contract;
mod decision;
mod device;
mod entry;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
#[cfg(not(target_arch = "wasm32"))]
mod fake_sha256;
mod host;
#[cfg(test)]
mod hostile_tests;
mod id;
mod input;
mod math;
mod observation;
#[cfg(target_arch = "wasm32")]
mod panic;
#[cfg(test)]
mod parts_tests;
mod role;
mod rows;
pub mod storage;

pub use alarm::Alarm;
pub use arena::buffer;
pub use codec::{decode, done, encode, reply, Bytes, Decode, Encode, Hash, List, Raw, Text};
pub use contract::{code, schedule_message, Code, Contract, Topic};
pub use decision::{Action, DecisionRequest, Entity, Properties, Verdict};
pub use device::{Device, Status};
pub use entry::{Abort, Reply, Why, CORRUPT, MALFORMED, MISSING, NOT_PERMITTED, NO_POLICY, OVERFLOW};
pub use host::*;
pub use id::Id;
pub use input::{Context, Env, Input};
pub use math::Checked;
pub use observation::{Denial, Flow, Items, Judgement, Level, Measurement, Observation, ObservationKind, Silence};
pub use role::Role;
pub use rows::Rows;
pub use storage::{Item, Map};

#[doc(hidden)]
pub use codec::ascending;
#[doc(hidden)]
pub use entry::{allocate, enter};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use panic::panicked;

/// Bytes of the longest state key that the host admits.
pub const MAX_KEY: usize = 256;
/// Bytes of the longest state value that the host admits.
pub const MAX_VALUE: usize = 16 << 10;
/// Bytes of a gateway's own record of a device.
pub const MAX_LOCAL: usize = 4 << 10;
/// Bytes that an entry point may return.
pub const MAX_RESULT: usize = 16 << 10;

/// Role bit of an enforcement point, an account that asks about others.
pub const ROLE_ENFORCEMENT_POINT: u64 = 1 << 8;
