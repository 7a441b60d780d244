//! Channels: bounded rings of frames. A channel, its readers and its writers are slots of the guest.

use crate::archive::{ask_u32, ask_u64, data_at, tell, Archive, Hostcall};
use crate::hostcall;
use crate::hostcall::{Refused, Result, RESULT_MIN};

hostcall!(hostcall_create, "selium::channel::create");
hostcall!(hostcall_delete, "selium::channel::delete");
hostcall!(hostcall_drain, "selium::channel::drain");
hostcall!(hostcall_share, "selium::channel::share");
hostcall!(hostcall_attach, "selium::channel::attach");
hostcall!(hostcall_detach, "selium::channel::detach");
hostcall!(hostcall_strong_reader, "selium::channel::strong_reader_create");
hostcall!(hostcall_weak_reader, "selium::channel::weak_reader_create");
hostcall!(hostcall_strong_read, "selium::channel::strong_read");
hostcall!(hostcall_weak_read, "selium::channel::weak_read");
hostcall!(hostcall_strong_writer, "selium::channel::strong_writer_create");
hostcall!(hostcall_weak_writer, "selium::channel::weak_writer_create");
hostcall!(hostcall_strong_write, "selium::channel::strong_write");
hostcall!(hostcall_weak_write, "selium::channel::weak_write");

/// What a write to a full channel does: wait, or drop the frame.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Backpressure {
    Park,
    Drop,
}

/// A channel. Nothing is freed when it goes out of scope; [`Channel::detach`] does that.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Its slot.
    pub slot: u32,
}

/// A reader. Writers wait for strong readers, not for weak ones.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Its slot.
    pub slot: u32,
    strong: bool,
}

/// A writer.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Its slot.
    pub slot: u32,
    strong: bool,
}

impl Channel {
    /// A new channel of `capacity` bytes.
    pub fn new(capacity: u32, backpressure: Backpressure) -> Result<Channel> {
        let mut archive = Archive::new();
        let root = archive.reserve(8, 4)?;
        archive.write_u32(root, capacity);
        archive.write(root + 4, &[backpressure as u8]);
        Ok(Channel { slot: ask_u32(hostcall_create, archive.bytes())? })
    }

    /// What another guest has shared.
    pub fn attach(handle: u64) -> Result<Channel> {
        Ok(Channel { slot: ask_u32(hostcall_attach, &handle.to_le_bytes())? })
    }

    /// A handle by which other guests attach the channel.
    pub fn share(self) -> Result<u64> {
        ask_u64(hostcall_share, &self.slot.to_le_bytes())
    }

    /// A new reader.
    pub fn reader(self, strong: bool) -> Result<Reader> {
        let hostcall = if strong { hostcall_strong_reader } else { hostcall_weak_reader };
        Ok(Reader { slot: ask_u32(hostcall, &self.slot.to_le_bytes())?, strong })
    }

    /// A new writer.
    pub fn writer(self, strong: bool) -> Result<Writer> {
        let hostcall = if strong { hostcall_strong_writer } else { hostcall_weak_writer };
        Ok(Writer { slot: ask_u32(hostcall, &self.slot.to_le_bytes())?, strong })
    }

    /// End it once its readers have read what it has.
    pub fn drain(self) -> Result<()> {
        tell(hostcall_drain, &self.slot.to_le_bytes())
    }

    /// End it at once.
    pub fn delete(self) -> Result<()> {
        tell(hostcall_delete, &self.slot.to_le_bytes())
    }

    /// Free the slot.
    pub fn detach(self) -> Result<()> {
        detach(self.slot)
    }
}

impl Reader {
    /// The next frame, in the buffer, which has 24 bytes more than the longest frame, and 256 at least.
    pub fn read(self, buffer: &mut [u8]) -> Result<&[u8]> {
        read_by(if self.strong { hostcall_strong_read } else { hostcall_weak_read }, self.slot, buffer)
    }

    /// Free the slot.
    pub fn detach(self) -> Result<()> {
        detach(self.slot)
    }
}

impl Writer {
    /// Write a frame.
    pub fn write(self, data: &[u8]) -> Result<()> {
        write_by(if self.strong { hostcall_strong_write } else { hostcall_weak_write }, self.slot, data)
    }

    /// Free the slot.
    pub fn detach(self) -> Result<()> {
        detach(self.slot)
    }
}

pub(crate) fn detach(slot: u32) -> Result<()> {
    tell(hostcall_detach, &slot.to_le_bytes())
}

pub(crate) fn read_by(hostcall: Hostcall, slot: u32, buffer: &mut [u8]) -> Result<&[u8]> {
    if buffer.len() < RESULT_MIN {
        return Err(Refused::because("the buffer has less than 256 bytes"));
    }
    let mut archive = Archive::new();
    let root = archive.reserve(8, 4)?;
    archive.write_u32(root, slot);
    archive.write_u32(root + 4, buffer.len() as u32 - 24);
    let size = hostcall(archive.bytes(), buffer)?;
    Ok(data_at(&buffer[..size], size - 8))
}

pub(crate) fn write_by(hostcall: Hostcall, slot: u32, data: &[u8]) -> Result<()> {
    let mut archive = Archive::new();
    let payload = archive.put(data, 1)?;
    let root = archive.reserve(12, 4)?;
    archive.write_u32(root, slot);
    archive.point(root + 4, payload);
    tell(hostcall, archive.bytes())
}
