//! The network: HTTP/1.1, HTTPS and QUIC, as the host's policy allows.

use crate::archive::{ask_u64, u64_at, Archive, Hostcall, Piece};
use crate::channel::detach;
use crate::hostcall;
use crate::hostcall::{Result, RESULT_MIN};

hostcall!(hostcall_tls_server, "selium::net::tls::server_config_create");
hostcall!(hostcall_tls_client, "selium::net::tls::client_config_create");

/// What is spoken: QUIC by the functions of [`quic`], the others by those of [`http`].
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Protocol {
    Quic,
    Http,
    Https,
}

/// A listener or a peer.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// What is spoken.
    pub protocol: Protocol,
    /// A name or an address.
    pub domain: &'a str,
    /// The port.
    pub port: u16,
    /// TLS settings; `None` for the host's own certificate, or the roots that it trusts.
    pub tls: Option<u64>,
}

/// The two halves of a connection, or one HTTP request: where it is read and answered.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The slot that is read.
    pub reader: u32,
    /// The slot that is written.
    pub writer: u32,
}

impl Connection {
    /// Close both halves.
    pub fn close(self) -> Result<()> {
        detach(self.reader).and(detach(self.writer))
    }
}

fn ask(hostcall: Hostcall, endpoint: &Endpoint<'_>, result: &mut [u8]) -> Result<usize> {
    let mut archive = Archive::new();
    let domain = archive.put_text(endpoint.domain)?;
    let root = archive.reserve(32, 8)?;
    archive.write(root, &[endpoint.protocol as u8]);
    archive.write_text(root + 4, domain);
    archive.write(root + 12, &endpoint.port.to_le_bytes());
    archive.write_option(root + 16, endpoint.tls);
    hostcall(archive.bytes(), result)
}

fn halves(result: &[u8], size: usize) -> Connection {
    let root = size - 24;
    Connection { reader: u64_at(result, root) as u32, writer: u64_at(result, root + 8) as u32 }
}

macro_rules! family {
    ($family:ident, $bind:literal, $accept:literal, $connect:literal, $read:literal, $write:literal) => {
        /// The functions of one family. A listener and both halves of a connection are slots of the guest.
        pub mod $family {
            use super::*;

            hostcall!(hostcall_bind, $bind);
            hostcall!(hostcall_accept, $accept);
            hostcall!(hostcall_connect, $connect);
            hostcall!(hostcall_read, $read);
            hostcall!(hostcall_write, $write);

            /// The slot of a listener.
            pub fn bind(at: &Endpoint<'_>) -> Result<u32> {
                let mut result = [0; RESULT_MIN];
                ask(hostcall_bind, at, &mut result)?;
                Ok(u64_at(&result, 0) as u32)
            }

            /// Wait for a connection, or a request.
            pub fn accept(listener: u32) -> Result<Connection> {
                let mut result = [0; RESULT_MIN];
                let size = hostcall_accept(&u64::from(listener).to_le_bytes(), &mut result)?;
                Ok(halves(&result, size))
            }

            /// Connect.
            pub fn connect(to: &Endpoint<'_>) -> Result<Connection> {
                let mut result = [0; RESULT_MIN];
                let size = ask(hostcall_connect, to, &mut result)?;
                Ok(halves(&result, size))
            }

            /// What has arrived, in the buffer, of 256 bytes at least; no bytes at the end.
            pub fn read(reader: u32, buffer: &mut [u8]) -> Result<&[u8]> {
                crate::channel::read_by(hostcall_read, reader, buffer)
            }

            /// Write.
            pub fn write(writer: u32, data: &[u8]) -> Result<()> {
                crate::channel::write_by(hostcall_write, writer, data)
            }
        }
    };
}

family!(
    http,
    "selium::net::http::bind",
    "selium::net::http::accept",
    "selium::net::http::connect",
    "selium::net::http::read",
    "selium::net::http::write"
);
family!(
    quic,
    "selium::net::quic::bind",
    "selium::net::quic::accept",
    "selium::net::quic::connect",
    "selium::net::quic::read",
    "selium::net::quic::write"
);

/// Settings of a TLS server: its certificate chain and key, as PEM. The slot.
pub fn tls_server(chain: &[u8], key: &[u8]) -> Result<u64> {
    let mut archive = Archive::new();
    let pieces: [Piece; 2] = [archive.put(chain, 1)?, archive.put(key, 1)?];
    let root = archive.reserve(44, 4)?;
    archive.point(root, pieces[0]);
    archive.point(root + 8, pieces[1]);
    ask_u64(hostcall_tls_server, archive.bytes())
}

/// Settings of a TLS client: the certificates that it trusts, as PEM, in place of the host's. The slot.
pub fn tls_client(trusted: &[u8]) -> Result<u64> {
    let mut archive = Archive::new();
    let piece = archive.put(trusted, 1)?;
    let root = archive.reserve(48, 4)?;
    archive.write(root, &[1]);
    archive.point(root + 4, piece);
    ask_u64(hostcall_tls_client, archive.bytes())
}
