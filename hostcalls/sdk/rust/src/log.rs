//! The log. A guest has one log channel, which the host forwards to its logging tree.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::archive::{tell, Archive};
use crate::channel::{write_by, Backpressure, Channel};
use crate::hostcall;
use crate::hostcall::{Refused, Result};

hostcall!(hostcall_register_log_channel, "selium::process::register_log_channel");
hostcall!(hostcall_write, "selium::channel::strong_write");

/// How much a record matters.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
}

/// Bytes of the log channel; records beyond it are dropped and do not hold up the guest.
const CAPACITY: u32 = 16384;

/// Bytes of one record: the longest that a write has room for.
const LONGEST: usize = crate::archive::LONGEST;

/// The slot of the writer, plus one; 0 before the first record.
static WRITER: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

fn writer() -> Result<u32> {
    if WRITER.load(Relaxed) == 0 {
        let channel = Channel::new(CAPACITY, Backpressure::Drop)?;
        tell(hostcall_register_log_channel, &channel.share()?.to_le_bytes())?;
        WRITER.store(channel.writer(true)?.slot + 1, Relaxed);
    }
    Ok(WRITER.load(Relaxed) - 1)
}

/// Write a record. `target` names a place in the guest, such as `filter::table`; it becomes a logger below
/// `enfilade.guest`. It needs the capabilities ChannelLifecycle and ChannelWriter.
pub fn log(level: Level, target: &str, message: &str) -> Result<()> {
    // A FlatBuffers table: a vtable says where each of the six fields is, 0 if it is absent.
    const VTABLE: [u16; 8] = [16, 24, 20, 4, 8, 0, 0, 12];
    const TABLE: usize = 20;
    let slot = writer()?;
    let mut record = Archive::new();
    record.reserve(48, 8)?;
    record.write_u32(0, TABLE as u32);
    for (at, entry) in VTABLE.iter().enumerate() {
        record.write(4 + 2 * at, &entry.to_le_bytes());
    }
    record.write_u32(TABLE, TABLE as u32 - 4);
    record.write_u64(TABLE + 12, COUNT.fetch_add(1, Relaxed).into());
    record.write(TABLE + 20, &[level as u8]);
    for (field, text) in [(TABLE + 4, target), (TABLE + 8, message)] {
        let at = record.reserve(4 + text.len() + 1, 4)?;
        record.write_u32(at, text.len() as u32);
        record.write(at + 4, text.as_bytes());
        record.write_u32(field, (at - field) as u32);
    }
    if record.used() > LONGEST {
        return Err(Refused::because("the record is longer than a guest's archive"));
    }
    write_by(hostcall_write, slot, record.bytes())
}
