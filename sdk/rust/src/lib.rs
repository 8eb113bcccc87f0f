//! The Rust SDK for Postern contracts: the allocator, a strict CBOR codec that
//! borrows from its input, the host's functions and the entry points.
//!
//! A contract is a `cdylib` without `std`. It declares its entry points once:
//!
//! ```text
//! #![no_std]
//! use postern::{Abort, Input, Why};
//!
//! postern::entry_points! { execute => execute, query => query }
//!
//! fn execute(input: &Input) -> Result<&'static [u8], Abort> {
//!     postern::state_set(b"greeting", input.message);
//!     Ok(&[])
//! }
//!
//! fn query(_: &Input) -> Result<&'static [u8], Abort> {
//!     const NOTHING: Abort = Abort::new(&Why { code: 2, text: "nothing was set" });
//!     postern::state_get(b"greeting").ok_or(NOTHING)
//! }
//! ```
//!
//! A contract's duties: it treats `Input::message` as hostile, returns an
//! [`Abort`] instead of panicking, keeps nothing in memory between calls (the
//! host restores memory after each), and uses no floats.
//!
//! Built for another target than wasm32, the host is [`fake`]: the same
//! functions over a map, so that a contract's logic is tested natively.

#![cfg_attr(target_arch = "wasm32", no_std)]
#![deny(missing_docs)]

mod arena;
pub mod cbor;
mod entry;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
#[cfg(not(target_arch = "wasm32"))]
mod fake_sha256;
mod host;
mod input;

pub use arena::buffer;
pub use entry::{Abort, Reply, Why, MALFORMED};
pub use host::*;
pub use input::{Env, Input};

#[doc(hidden)]
pub use entry::{allocate, enter};

/// Bytes of the longest state key that the host admits.
pub const MAX_KEY: usize = 256;
/// Bytes of the longest state value that the host admits.
pub const MAX_VALUE: usize = 16 << 10;
/// Bytes that an entry point may return.
pub const MAX_RESULT: usize = 16 << 10;

/// Role bit of an enforcement point, an account that asks about others.
pub const ROLE_ENFORCEMENT_POINT: u64 = 1 << 8;
