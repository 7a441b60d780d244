//! Messages: what a guest receives from actors, answers, sends, and asks. Actors are slots of the guest.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::archive::{ask_u32, data_at, tell, u32_at, u64_at, Archive};
use crate::hostcall;
use crate::hostcall::{Refused, Result, RESULT_MIN};

hostcall!(hostcall_self, "enfilade::actor::self");
hostcall!(hostcall_send, "enfilade::actor::send");
hostcall!(hostcall_receive, "enfilade::actor::receive");
hostcall!(hostcall_call, "enfilade::actor::call");
hostcall!(hostcall_reply, "enfilade::actor::reply");
hostcall!(hostcall_release, "enfilade::actor::release");
hostcall!(hostcall_whereis, "enfilade::actor::whereis");
hostcall!(hostcall_register, "enfilade::actor::register");
hostcall!(hostcall_export_state, "enfilade::actor::export_state");
hostcall!(hostcall_import_state, "enfilade::actor::import_state");

/// The reason for which a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reason {
    Normal,
    Shutdown,
    Kill,
    Killed,
    NoProcess,
    NoConnection,
    Timeout,
    Trapped,
    Crashed,
    Other,
}

impl Reason {
    fn of(kind: u8) -> Reason {
        use Reason::*;
        let known = [Normal, Shutdown, Kill, Killed, NoProcess, NoConnection, Timeout, Trapped, Crashed];
        known.get(kind as usize).copied().unwrap_or(Other)
    }
}

/// One message; its data lies in the buffer that was given to [`receive`].
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// Sent without expecting a reply.
    Plain {
        /// What the sender chose.
        tag: u64,
        /// The content.
        data: &'a [u8],
    },
    /// The caller waits for [`reply`].
    Request {
        /// The slot of the request.
        slot: u32,
        /// The content.
        data: &'a [u8],
    },
    /// A linked process has ended.
    Exited {
        /// Its slot.
        actor: u32,
        /// The reason.
        reason: Reason,
    },
    /// A monitored process has ended.
    Down {
        /// The monitor that reports it.
        monitor: u64,
        /// The slot of the process.
        actor: u32,
        /// The reason.
        reason: Reason,
    },
    /// Another module is to take this one's place: [`export_state`].
    Upgrade,
}

static TAKES_UPGRADES: AtomicBool = AtomicBool::new(false);

/// Whether [`receive`] takes an upgrade; a guest that can hand its state over says so.
pub fn take_upgrades(take: bool) {
    TAKES_UPGRADES.store(take, Relaxed);
}

/// Wait for a message, at most `timeout_ms` if it is given; `None` on timeout. The buffer has 256 bytes more than the
/// longest message; a longer one makes the receive fail, and stays.
pub fn receive(buffer: &mut [u8], timeout_ms: Option<u64>) -> Result<Option<Message<'_>>> {
    let limit = room(buffer)?;
    let mut archive = Archive::new();
    let root = archive.reserve(48, 8)?;
    archive.write_option(root, timeout_ms);
    if TAKES_UPGRADES.load(Relaxed) {
        archive.write_u32(root + 16, 31); // a bit for each kind; 0 accepts all but an upgrade
    }
    archive.write_u32(root + 40, limit);
    let size = hostcall_receive(archive.bytes(), buffer)?;
    let (result, root) = (&buffer[..size], size - 40);
    if result[root] == 0 {
        return Ok(None);
    }
    Ok(Some(match result[root + 8] {
        0 => Message::Plain { tag: u64_at(result, root + 16), data: data_at(result, root + 24) },
        1 => Message::Request { slot: u32_at(result, root + 12), data: data_at(result, root + 16) },
        2 => Message::Exited { actor: u32_at(result, root + 12), reason: Reason::of(result[root + 16]) },
        3 => Message::Down {
            monitor: u64_at(result, root + 16),
            actor: u32_at(result, root + 24),
            reason: Reason::of(result[root + 28]),
        },
        _ => Message::Upgrade,
    }))
}

/// Bytes of data for which a buffer has room.
fn room(buffer: &[u8]) -> Result<u32> {
    match buffer.len().checked_sub(RESULT_MIN) {
        Some(room) => Ok(room as u32),
        None => Err(Refused::because("the buffer has less than 256 bytes")),
    }
}

/// Answer a request.
pub fn reply(request: u32, data: &[u8]) -> Result<()> {
    let mut archive = Archive::new();
    let (body, resources) = (archive.put(data, 1)?, archive.put(&[], 4)?);
    let root = archive.reserve(20, 4)?;
    archive.write_u32(root, request);
    archive.point(root + 4, body);
    archive.point(root + 12, resources);
    tell(hostcall_reply, archive.bytes())
}

/// Send a message to the actor in a slot.
pub fn send(actor: u32, tag: u64, data: &[u8]) -> Result<()> {
    let mut archive = Archive::new();
    let (body, resources) = (archive.put(data, 1)?, archive.put(&[], 4)?);
    let root = archive.reserve(32, 8)?;
    archive.write_u32(root, actor);
    archive.write_u64(root + 8, tag);
    archive.point(root + 16, body);
    archive.point(root + 24, resources);
    tell(hostcall_send, archive.bytes())
}

/// Send a request to the actor in a slot and wait for its reply, which lies in the buffer; at most `timeout_ms` if it is
/// given. The buffer is as that of [`receive`].
pub fn call<'a>(actor: u32, request: &[u8], buffer: &'a mut [u8], timeout_ms: Option<u64>) -> Result<&'a [u8]> {
    let limit = room(buffer)?;
    let mut archive = Archive::new();
    let (body, resources) = (archive.put(request, 1)?, archive.put(&[], 4)?);
    let root = archive.reserve(48, 8)?;
    archive.write_u32(root, actor);
    archive.write_option(root + 8, timeout_ms);
    archive.point(root + 24, body);
    archive.point(root + 32, resources);
    archive.write_u32(root + 40, limit);
    let size = hostcall_call(archive.bytes(), buffer)?;
    Ok(data_at(&buffer[..size], size - 16))
}

/// The slot of the guest itself.
pub fn this() -> Result<u32> {
    ask_u32(hostcall_self, &[])
}

/// Free the slot of an actor or of a request; an unanswered request fails at its caller.
pub fn release(slot: u32) -> Result<()> {
    tell(hostcall_release, &slot.to_le_bytes())
}

/// The slot of the actor that has this name.
pub fn whereis(name: &str) -> Result<u32> {
    let mut archive = Archive::new();
    let text = archive.put_text(name)?;
    let root = archive.reserve(8, 4)?;
    archive.write_text(root, text);
    ask_u32(hostcall_whereis, archive.bytes())
}

/// Give the actor in a slot a name.
pub fn register(name: &str, actor: u32) -> Result<()> {
    let mut archive = Archive::new();
    let text = archive.put_text(name)?;
    let root = archive.reserve(12, 4)?;
    archive.write_text(root, text);
    archive.write_u32(root + 8, actor);
    tell(hostcall_register, archive.bytes())
}

/// After [`Message::Upgrade`]: hand the guest's state over to the module that takes its place. It returns only if that has
/// failed, and the guest is to go on.
pub fn export_state(state: &[u8]) -> Result<()> {
    let mut archive = Archive::new();
    let piece = archive.put(state, 1)?;
    let root = archive.reserve(8, 4)?;
    archive.point(root, piece);
    tell(hostcall_export_state, archive.bytes())
}

/// At the start: the state that the module before has exported, in the buffer, which has 24 bytes more; `None` if there was
/// none before.
pub fn import_state(buffer: &mut [u8]) -> Result<Option<&[u8]>> {
    let size = hostcall_import_state(&[], buffer)?;
    let root = size - 12;
    Ok(if buffer[root] == 0 { None } else { Some(data_at(&buffer[..size], root + 4)) })
}
