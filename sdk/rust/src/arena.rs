//! The only allocator of a guest: it bumps a pointer from the end of the
//! module's data through the memory's first pages, then grows the memory.
//! Nothing is ever freed: the host restores memory after each call.
//!
//! Each page that the memory grows by costs as much gas as a write to the
//! state, so what runs often should fit the initial memory.

/// Borrows `len` zeroed bytes for the rest of the call.
pub fn buffer(len: usize) -> &'static mut [u8] {
    imp::allocate(len)
}

/// Borrows what `get` writes. It is told where, and that `cap` bytes fit; it
/// returns how many there are, or less than 0, which is the error. Room for
/// the longest value is made first, so that one call of `get` is enough.
pub(crate) fn fill(cap: usize, get: impl FnOnce(*mut u8, usize) -> i64) -> Result<&'static [u8], i64> {
    let room = imp::reserve(cap);
    let len = get(room, cap);
    if len < 0 {
        return Err(len);
    }
    Ok(imp::keep(room, (len as usize).min(cap)))
}

/// Keeps a value for the rest of the call.
pub(crate) fn store<T: Copy>(value: T) -> &'static T {
    imp::store(value)
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use core::arch::wasm32;

    extern "C" {
        static __heap_base: u8;
    }

    const PAGE: usize = 64 << 10;
    // Bump pointer, 0 before the first allocation. A guest has one thread.
    static mut NEXT: usize = 0;

    // Where the next buffer starts; eight-byte steps keep them aligned.
    fn next() -> usize {
        unsafe {
            if NEXT == 0 {
                NEXT = &__heap_base as *const u8 as usize;
            }
            (NEXT + 7) & !7
        }
    }

    fn end() -> usize {
        wasm32::memory_size(0) * PAGE
    }

    /// Makes sure that the next `len` bytes exist and tells where they start.
    pub fn reserve(len: usize) -> *mut u8 {
        let start = next();
        let stop = match start.checked_add(len) {
            Some(stop) => stop,
            None => wasm32::unreachable(),
        };
        if stop > end() {
            let pages = (stop - end() + PAGE - 1) / PAGE;
            if wasm32::memory_grow(0, pages) == usize::MAX {
                wasm32::unreachable();
            }
        }
        start as *mut u8
    }

    pub fn allocate(len: usize) -> &'static mut [u8] {
        keep(reserve(len), len)
    }

    pub fn store<T: Copy>(value: T) -> &'static T {
        let room = allocate(core::mem::size_of::<T>()).as_mut_ptr() as *mut T;
        // No type of the SDK needs more than the eight bytes of alignment that
        // every buffer has, and nothing else holds this one.
        unsafe {
            room.write(value);
            &*room
        }
    }

    /// Takes the first `len` bytes of what was reserved last.
    pub fn keep(start: *mut u8, len: usize) -> &'static mut [u8] {
        // The range lies past all earlier ones and inside the memory, and is
        // zero: memory starts so, and no allocation is handed out twice.
        unsafe {
            NEXT = start as usize + len;
            core::slice::from_raw_parts_mut(start, len)
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    pub fn reserve(len: usize) -> *mut u8 {
        Box::leak(vec![0; len].into_boxed_slice()).as_mut_ptr()
    }

    pub fn allocate(len: usize) -> &'static mut [u8] {
        keep(reserve(len), len)
    }

    pub fn store<T: Copy>(value: T) -> &'static T {
        Box::leak(Box::new(value))
    }

    /// Takes the first `len` bytes of what was reserved there.
    pub fn keep(start: *mut u8, len: usize) -> &'static mut [u8] {
        // The range was leaked by reserve and is kept once.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}
