//! Hostcalls: create begins an operation and returns a future, poll fetches its outcome, drop abandons it.

use core::fmt;
use core::ptr::{read_volatile, write_volatile};

/// The value of `poll` while there is no outcome. An error has this bit and others set.
pub const PENDING: u32 = 0x8000_0000;

/// The smallest buffer for a result: room for any error text.
pub const RESULT_MIN: usize = 256;

/// What a hostcall brings back.
pub type Result<T> = core::result::Result<T, Refused>;

/// The host has refused, or data did not fit. It shows the host's text.
#[derive(Clone, Copy)]
pub struct Refused {
    text: [u8; RESULT_MIN],
    size: usize,
}

impl Refused {
    /// A refusal of this crate's own.
    pub(crate) fn because(text: &str) -> Refused {
        let mut bytes = [0; RESULT_MIN];
        let size = text.len().min(RESULT_MIN);
        bytes[..size].copy_from_slice(&text.as_bytes()[..size]);
        Refused { text: bytes, size }
    }

    /// The text.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.text[..self.size]).unwrap_or("a text that is not UTF-8")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.text())
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Refused({:?})", self.text())
    }
}

#[link(wasm_import_module = "selium::async")]
extern "C" {
    fn yield_now();
}

/// Wait until some future that was polled has an outcome, and forget which.
///
/// The mailbox is a ring at a fixed place: a flag at 4, and behind it how much was read and written.
pub fn wait() {
    const FLAG: *mut u32 = 4 as *mut u32;
    const HEAD: *mut u32 = 8 as *mut u32;
    const TAIL: *mut u32 = 12 as *mut u32;
    // SAFETY: the ABI keeps these cells, and nothing of the program lies there.
    unsafe {
        if read_volatile(FLAG) == 0 {
            yield_now();
        }
        write_volatile(HEAD, read_volatile(TAIL));
        write_volatile(FLAG, 0);
    }
}

/// Make room in the mailbox, and forget what it was about; the next `wait` returns at once if there was something.
///
/// A future that is polled when it has its outcome leaves its task there, too.
fn make_room() {
    const HEAD: *mut u32 = 8 as *mut u32;
    const TAIL: *mut u32 = 12 as *mut u32;
    // SAFETY: the ABI keeps these cells, and nothing of the program lies there.
    unsafe { write_volatile(HEAD, read_volatile(TAIL)) }
}

/// Poll until there is an outcome; how many bytes were written to the result.
#[doc(hidden)]
pub fn settle(result: &mut [u8], mut poll: impl FnMut(*mut u8, u32) -> u32) -> Result<usize> {
    loop {
        let word = poll(result.as_mut_ptr(), result.len() as u32);
        if word == PENDING {
            wait();
            continue;
        }
        make_room();
        return if word & PENDING != 0 { Err(refusal(result)) } else { Ok(word as usize) };
    }
}

/// The error in a result: its size, then a text as a field has it.
fn refusal(result: &[u8]) -> Refused {
    let size = crate::archive::u32_at(result, 0) as usize;
    let text = crate::archive::text_at(result, 4 + size - 8);
    Refused::because(core::str::from_utf8(text).unwrap_or("an error that is not UTF-8"))
}

/// A function that makes the hostcall of that import module: it takes the encoded arguments and a buffer for the result,
/// and returns how many bytes were written there.
///
/// ```ignore
/// enfilade::hostcall!(time_now, "selium::time::now");
/// let mut result = [0; enfilade::RESULT_MIN];
/// let size = time_now(&[], &mut result)?;
/// ```
#[macro_export]
macro_rules! hostcall {
    ($name:ident, $module:literal) => {
        fn $name(arguments: &[u8], result: &mut [u8]) -> $crate::Result<usize> {
            #[link(wasm_import_module = $module)]
            extern "C" {
                fn create(arguments: *const u8, size: u32) -> u32;
                fn poll(future: u32, task: u32, result: *mut u8, capacity: u32) -> u32;
            }
            // SAFETY: the host reads and writes no more than these slices.
            unsafe {
                let future = create(arguments.as_ptr(), arguments.len() as u32);
                $crate::settle(result, |to, capacity| poll(future, 1, to, capacity))
            }
        }
    };
}
