//! Time, in milliseconds of the host's clock.

use crate::archive::{tell, u64_at};
use crate::hostcall;
use crate::hostcall::{Result, RESULT_MIN};

hostcall!(hostcall_now, "selium::time::now");
hostcall!(hostcall_sleep, "selium::time::sleep");

/// An instant.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// Milliseconds since the first question; it never goes back.
    pub monotonic_ms: u64,
}

/// What time it is.
pub fn now() -> Result<Time> {
    let mut result = [0; RESULT_MIN];
    hostcall_now(&[], &mut result)?;
    Ok(Time { unix_ms: u64_at(&result, 0), monotonic_ms: u64_at(&result, 8) })
}

/// Wait.
pub fn sleep(milliseconds: u64) -> Result<()> {
    tell(hostcall_sleep, &milliseconds.to_le_bytes())
}
