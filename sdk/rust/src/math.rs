//! Arithmetic that refuses instead of wrapping around.

use crate::entry::{Abort, Why, OVERFLOW};

const OUT_OF_RANGE: Abort = Abort::new(&Why { code: OVERFLOW, text: "a number grew out of its range" });

/// Arithmetic whose result must fit; else it is a refusal with
/// [`OVERFLOW`](crate::OVERFLOW).
///
/// ```
/// use postern::Checked;
/// assert_eq!(5u64.plus(2), Ok(7));
/// assert!(5u64.minus(6).is_err() && u64::MAX.times(2).is_err() && 1i64.over(0).is_err());
/// ```
pub trait Checked: Sized {
    /// The sum.
    fn plus(self, other: Self) -> Result<Self, Abort>;
    /// The difference.
    fn minus(self, other: Self) -> Result<Self, Abort>;
    /// The product.
    fn times(self, other: Self) -> Result<Self, Abort>;
    /// The quotient, towards zero; of a division by zero there is none.
    fn over(self, other: Self) -> Result<Self, Abort>;
}

macro_rules! checked {
    ($($t:ty),+) => {$(
        impl Checked for $t {
            fn plus(self, other: $t) -> Result<$t, Abort> {
                self.checked_add(other).ok_or(OUT_OF_RANGE)
            }

            fn minus(self, other: $t) -> Result<$t, Abort> {
                self.checked_sub(other).ok_or(OUT_OF_RANGE)
            }

            fn times(self, other: $t) -> Result<$t, Abort> {
                self.checked_mul(other).ok_or(OUT_OF_RANGE)
            }

            fn over(self, other: $t) -> Result<$t, Abort> {
                self.checked_div(other).ok_or(OUT_OF_RANGE)
            }
        }
    )+};
}

checked!(u8, u16, u32, u64, i32, i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(i64::MIN.over(-1).unwrap_err().code(), OVERFLOW);
        assert!(u8::MAX.plus(1).is_err() && 0u32.minus(1).is_err() && i32::MAX.times(2).is_err());
        assert_eq!((250u8.plus(5), 7i64.over(-2), 3u16.times(4)), (Ok(255), Ok(-3), Ok(12)));
    }
}
