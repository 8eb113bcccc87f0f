//! The last words of a contract that panics.

use core::panic::PanicInfo;

/// Logs why and where, and traps.
#[cfg(feature = "panic-messages")]
pub fn panicked(info: &PanicInfo) -> ! {
    use core::fmt::Write;
    let mut line = Line { text: [0; 256], len: 0 };
    let _ = write!(line, "{}", info);
    crate::host::log_bytes(&line.text[..line.len]);
    core::arch::wasm32::unreachable()
}

/// Traps.
#[cfg(not(feature = "panic-messages"))]
pub fn panicked(_: &PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

/// A line of the log. What does not fit is left out.
#[cfg(feature = "panic-messages")]
struct Line {
    text: [u8; 256],
    len: usize,
}

#[cfg(feature = "panic-messages")]
impl core::fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        for (slot, &c) in self.text[self.len..].iter_mut().zip(s.as_bytes()) {
            *slot = c;
            self.len += 1;
        }
        Ok(())
    }
}
