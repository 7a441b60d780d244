//! Guests in Rust. The crate needs neither `std` nor an allocator, and depends on nothing.
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! enfilade = { path = "…/rust" }      # `enfilade guest sdk` prints the directory
//! ```
//!
//!     cargo build --release --target wasm32-unknown-unknown
//!
//! Every function waits for the outcome of one hostcall, and fails with [`Refused`], which has the host's text. A module
//! imports only the hostcalls of the functions that it calls; [`hostcall!`] makes the imports of any other. It works with
//! Rust 1.63 and later.

#![no_std]
#![deny(missing_docs)]

mod actor;
mod archive;
mod channel;
mod hostcall;
mod log;
mod net;
mod process;
mod time;

pub use actor::{call, export_state, import_state, receive, register, release, reply, send, take_upgrades, this, whereis};
pub use actor::{Message, Reason};
pub use channel::{Backpressure, Channel, Reader, Writer};
pub use hostcall::{wait, Refused, Result, PENDING, RESULT_MIN};
pub use log::{log, Level};
pub use net::{http, quic, tls_client, tls_server, Connection, Endpoint, Protocol};
pub use process::{demonitor, exit, link, monitor, spawn, trap_exits, unlink, Argument, Child, Spawned};
pub use time::{now, sleep, Time};

#[doc(hidden)]
pub use hostcall::settle;

/// A panic is a trap; the guest ends.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
