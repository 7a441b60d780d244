//! Processes: starting guests, links, monitors, exits.

use crate::actor::Reason;
use crate::archive::{ask_u64, tell, u32_at, u64_at, Archive, Piece};
use crate::hostcall;
use crate::hostcall::{Result, RESULT_MIN};

hostcall!(hostcall_spawn, "enfilade::actor::spawn");
hostcall!(hostcall_link, "enfilade::actor::link");
hostcall!(hostcall_unlink, "enfilade::actor::unlink");
hostcall!(hostcall_monitor, "enfilade::actor::monitor");
hostcall!(hostcall_demonitor, "enfilade::actor::demonitor");
hostcall!(hostcall_exit, "enfilade::actor::exit");
hostcall!(hostcall_trap, "enfilade::actor::trap");

/// An argument of an entrypoint. A resource is a slot of this guest, and becomes one of the child, an `i32`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Argument<'a> {
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Buffer(&'a [u8]),
    Resource(u32),
}

impl Argument<'_> {
    /// Of a number: its kind, its size, and its bits, in the low bytes.
    fn number(&self) -> (u8, usize, u64) {
        match *self {
            Argument::I8(value) => (0, 1, value as u64),
            Argument::U8(value) => (1, 1, value.into()),
            Argument::I16(value) => (2, 2, value as u64),
            Argument::U16(value) => (3, 2, value.into()),
            Argument::I32(value) => (4, 4, value as u64),
            Argument::U32(value) => (5, 4, value.into()),
            Argument::I64(value) => (6, 8, value as u64),
            Argument::U64(value) => (7, 8, value),
            Argument::F32(value) => (8, 4, value.to_bits().into()),
            Argument::F64(value) => (9, 8, value.to_bits()),
            Argument::Buffer(_) | Argument::Resource(_) => (4, 4, 0),
        }
    }
}

/// A guest to be started as a child.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    /// Below the module directory.
    pub module: &'a str,
    /// The exported function.
    pub entrypoint: &'a str,
    /// Their numbers; the child may have only what this guest has.
    pub capabilities: &'a [u8],
    /// The arguments.
    pub arguments: &'a [Argument<'a>],
    /// Whether it is linked from its first moment,
    pub link: bool,
    /// or monitored.
    pub monitor: bool,
}

/// A child that was started.
#[derive(Clone, Copy, Debug)]
pub struct Spawned {
    /// Its slot.
    pub actor: u32,
    /// Its process id.
    pub process: u64,
    /// The number of the monitor, 0 without one.
    pub monitor: u64,
}

/// Start a child.
pub fn spawn(child: &Child<'_>) -> Result<Spawned> {
    let count = child.arguments.len();
    let mut archive = Archive::new();
    let module = archive.put_text(child.module)?;
    let entrypoint = archive.put_text(child.entrypoint)?;
    let capabilities = archive.put(child.capabilities, 1)?;
    let parameters = archive.reserve(2 * count, 1)?;
    let results = archive.put(&[], 1)?;
    let mut data = archive.used(); // of the buffers among the arguments, one behind the other
    for argument in child.arguments {
        if let Argument::Buffer(bytes) = argument {
            archive.put(bytes, 1)?;
        }
    }
    let arguments = archive.reserve(24 * count, 8)?;
    for (at, argument) in child.arguments.iter().enumerate() {
        let (parameter, place) = (parameters + 2 * at, arguments + 24 * at);
        let (kind, size, bits) = argument.number();
        match *argument {
            Argument::Buffer(bytes) => {
                archive.write(parameter, &[1, 0]);
                archive.write(place, &[1]);
                archive.point(place + 4, Piece { at: data, count: bytes.len() });
                data += bytes.len();
            }
            Argument::Resource(slot) => {
                archive.write(parameter, &[0, kind]);
                archive.write(place, &[2]);
                archive.write_u64(place + 8, slot.into());
            }
            _ => {
                archive.write(parameter, &[0, kind]);
                archive.write(place + 8, &[kind]);
                archive.write(place + 8 + size, &bits.to_le_bytes()[..size]);
            }
        }
    }
    let root = archive.reserve(52, 4)?;
    archive.write_text(root, module);
    archive.write_text(root + 8, entrypoint);
    archive.point(root + 16, capabilities);
    archive.point(root + 24, Piece { at: parameters, count });
    archive.point(root + 32, results);
    archive.point(root + 40, Piece { at: arguments, count });
    archive.write(root + 48, &[child.link.into(), child.monitor.into()]);
    let mut result = [0; RESULT_MIN];
    hostcall_spawn(archive.bytes(), &mut result)?;
    Ok(Spawned { actor: u32_at(&result, 0), process: u64_at(&result, 8), monitor: u64_at(&result, 16) })
}

/// Link the guest with an actor.
pub fn link(actor: u32) -> Result<()> {
    tell(hostcall_link, &actor.to_le_bytes())
}

/// Take a link down.
pub fn unlink(actor: u32) -> Result<()> {
    tell(hostcall_unlink, &actor.to_le_bytes())
}

/// Watch an actor; the number of the monitor.
pub fn monitor(actor: u32) -> Result<u64> {
    ask_u64(hostcall_monitor, &actor.to_le_bytes())
}

/// Remove a monitor, and a notice of it that waits.
pub fn demonitor(monitor: u64) -> Result<()> {
    let mut archive = Archive::new();
    let root = archive.reserve(16, 8)?;
    archive.write_u64(root, monitor);
    archive.write(root + 8, &[1]);
    tell(hostcall_demonitor, archive.bytes())
}

/// Whether exit signals arrive as messages from now on; what it was before.
pub fn trap_exits(trap: bool) -> Result<bool> {
    let mut result = [0; RESULT_MIN];
    hostcall_trap(&[trap.into()], &mut result)?;
    Ok(result[0] != 0)
}

/// Send an exit signal to an actor, or end the guest itself (`None`). The detail is a text for people.
pub fn exit(actor: Option<u32>, reason: Reason, detail: &str) -> Result<()> {
    let mut archive = Archive::new();
    let text = archive.put_text(detail)?;
    let root = archive.reserve(20, 4)?;
    archive.write(root, &[actor.is_some().into()]);
    archive.write_u32(root + 4, actor.unwrap_or(0));
    archive.write(root + 8, &[reason as u8]);
    archive.write_text(root + 12, text);
    tell(hostcall_exit, archive.bytes())
}
