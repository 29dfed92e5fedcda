//! How much memory a target takes: input that asks for much more than its own size is an attack.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Bytes of memory for each byte of input.
const EACH: usize = 100;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    let now = NOW.get() + bytes;
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// No layout has more than `isize::MAX` bytes.
#[allow(unsafe_code, reason = "passed on as it comes")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Does something with an input of `length` bytes, on this thread.
///
/// # Panics
/// When it holds more than `base` bytes and a hundred times the input at any moment.
pub fn bounded<T>(length: usize, base: usize, work: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    PEAK.set(before);
    let done = work();
    let peak = usize::try_from(PEAK.get() - before).unwrap_or_default();
    assert!(peak <= base + EACH * length, "{peak} bytes of memory for {length} of input");
    done
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic = "bytes of memory"]
    fn who_takes_more_is_told() {
        super::bounded(1, 50, || drop(Vec::<u8>::with_capacity(151)));
    }

    #[test]
    fn what_is_given_back_does_not_count() {
        super::bounded(0, 100, || (0..10).for_each(|_| drop(Vec::<u8>::with_capacity(99))));
    }
}
