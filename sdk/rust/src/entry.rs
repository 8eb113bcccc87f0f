//! Entry points: from the host's call to a contract's function and back.

use crate::{arena, cbor, host, Code, Input};

/// What an entry point gives back: its output, or why it refused.
pub type Reply = Result<&'static [u8], Abort>;

/// Why a contract refuses: its own code, which stands in the outcome and never
/// changes its meaning, and a text of at most 200 bytes for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// The contract's own code.
    pub code: u16,
    /// What went wrong, for a developer who reads the node's log.
    pub text: &'static str,
}

/// A refusal. It is small, since every function that reads returns one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    why: &'static Why,
    item: u32, // NO_ITEM when no item is meant
}

const NO_ITEM: u32 = u32::MAX;

// Codes that are the same in every contract that uses this SDK; its own lie
// between, from 2 to 0xfeff.

/// The code of a message that is not the canonical CBOR of its form.
pub const MALFORMED: u16 = 1;
/// The code of a state entry that is not there and must be.
pub const MISSING: u16 = 0xff00;
/// The code of a state entry that is not of the type it is read as.
pub const CORRUPT: u16 = 0xff01;
/// The code of a number that grew out of its range: see [`Checked`](crate::Checked).
pub const OVERFLOW: u16 = 0xff02;
/// The code of a call without a caller (a timer), or by one who may not.
pub const NOT_PERMITTED: u16 = 0xff03;
/// The code of a decide entry that holds no policy: the gateway's answer then
/// says so, and denies.
pub const NO_POLICY: u16 = 0xffff;

impl Abort {
    /// A refusal for a reason.
    pub const fn new(why: &'static Why) -> Abort {
        Abort { why, item: NO_ITEM }
    }

    /// The contract's own code.
    pub fn code(&self) -> u16 {
        self.why.code
    }

    /// The same refusal, about one item of the message, counted from 0. The
    /// first that is named stays.
    pub fn of_item(mut self, index: usize) -> Abort {
        if self.item == NO_ITEM {
            self.item = index as u32;
        }
        self
    }

    /// Writes "text" or "text (item N)" and returns its length.
    fn render(&self, out: &mut [u8; 256]) -> usize {
        let text = self.why.text.as_bytes();
        let mut n = text.len().min(200);
        out[..n].copy_from_slice(&text[..n]);
        if self.item != NO_ITEM {
            n = append(out, n, b" (item ");
            n = append_decimal(out, n, self.item);
            n = append(out, n, b")");
        }
        n
    }
}

/// The text that the node's log shows.
#[cfg(not(target_arch = "wasm32"))]
impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mut text = [0; 256];
        let n = self.render(&mut text);
        f.write_str(&String::from_utf8_lossy(&text[..n]))
    }
}

impl From<cbor::Error> for Abort {
    fn from(err: cbor::Error) -> Abort {
        Abort::new(err.why())
    }
}

/// A contract that cannot go on without another ends with the host's code as its
/// own: see [`Contract`](crate::Contract).
impl From<Code> for Abort {
    fn from(code: Code) -> Abort {
        Abort::new(arena::store(Why { code, text: "another contract gave no result; the code is the host's" }))
    }
}

fn append(out: &mut [u8; 256], at: usize, text: &[u8]) -> usize {
    out[at..at + text.len()].copy_from_slice(text);
    at + text.len()
}

fn append_decimal(out: &mut [u8; 256], at: usize, mut v: u32) -> usize {
    let mut digits = [0u8; 10];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (v % 10) as u8;
        v /= 10;
        if v == 0 {
            return append(out, at, &digits[first..]);
        }
    }
}

/// Declares refusals: constants of type [`Abort`], each with the contract's
/// own code, from 2 to 0xfeff, and a text.
///
/// ```
/// postern::refusals! {
///     TAKEN = 2, "the locker is taken";
///     NOT_HOLDER = 3, "somebody else holds the locker";
/// }
/// assert_eq!(TAKEN.code(), 2);
/// ```
#[macro_export]
macro_rules! refusals {
    ($($(#[$meta:meta])* $vis:vis $name:ident = $code:literal, $text:literal);+ $(;)?) => {
        $(
            $(#[$meta])*
            $vis const $name: $crate::Abort = $crate::Abort::new(&$crate::Why { code: $code, text: $text });
            const _: () = assert!($code > 1 && $code < 0xff00, "a contract's codes are from 2 to 0xfeff");
        )+
    };
}

/// Refuses unless a condition holds: returns the [`Abort`] that is given.
///
/// ```
/// # postern::refusals! { TAKEN = 2, "the locker is taken" }
/// fn take(free: bool) -> Result<(), postern::Abort> {
///     postern::ensure!(free, TAKEN);
///     Ok(())
/// }
/// assert_eq!(take(false), Err(TAKEN));
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $abort:expr) => {
        if !$condition {
            return Err($abort);
        }
    };
}

/// Runs `handler` on the input at `ptr` and packs its output as
/// pointer << 32 | length. An error ends the call with the host's abort.
#[doc(hidden)]
pub fn enter(ptr: u32, len: u32, handler: fn(&Input<'static>) -> Reply) -> u64 {
    // The host wrote len bytes at ptr, which `allocate` gave it.
    let raw = unsafe { core::slice::from_raw_parts(ptr as usize as *const u8, len as usize) };
    match handler(&Input::parse(raw)) {
        Ok(out) => (out.as_ptr() as usize as u64) << 32 | out.len() as u64,
        Err(abort) => {
            let mut text = [0; 256];
            let n = abort.render(&mut text);
            host::abort(abort.code(), &text[..n])
        }
    }
}

/// The `alloc` export.
#[doc(hidden)]
pub fn allocate(len: u32) -> u32 {
    arena::buffer(len as usize).as_mut_ptr() as usize as u32
}

/// Declares the module's exports: `alloc`, the entry points named on the left
/// of each `=>` (init, migrate, execute, timer, query, search, decide,
/// observe), and a panic handler, which logs why and where (feature
/// `panic-messages`) and traps. On the right stands a
/// `fn(&Context) -> Reply`. In native builds it declares `entries()`, by which
/// tests deploy the contract on the [`fake`](crate::fake) host.
#[macro_export]
macro_rules! entry_points {
    ($($name:ident => $handler:ident),+ $(,)?) => {
        /// The contract's entry points, for tests on the fake host.
        #[cfg(not(target_arch = "wasm32"))]
        pub fn entries() -> $crate::fake::Entries {
            $crate::fake::Entries::new()$(.on(stringify!($name), $handler))+
        }

        #[cfg(target_arch = "wasm32")]
        mod exports {
            #[no_mangle]
            extern "C" fn alloc(len: u32) -> u32 {
                $crate::allocate(len)
            }
            $(
                #[no_mangle]
                extern "C" fn $name(ptr: u32, len: u32) -> u64 {
                    $crate::enter(ptr, len, super::$handler)
                }
            )+
            #[panic_handler]
            fn panic(info: &core::panic::PanicInfo) -> ! {
                $crate::panicked(info)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(abort: Abort) -> String {
        let mut out = [0; 256];
        let n = abort.render(&mut out);
        String::from_utf8(out[..n].to_vec()).unwrap()
    }

    #[test]
    fn abort_text_names_the_item() {
        const NO: Abort = Abort::new(&Why { code: 7, text: "no" });
        assert_eq!(rendered(NO), "no");
        assert_eq!(rendered(NO.of_item(0)), "no (item 0)");
        assert_eq!(rendered(NO.of_item(4294967294)), "no (item 4294967294)");
        assert_eq!(rendered(NO.of_item(3).of_item(9)), "no (item 3)");
    }
}
