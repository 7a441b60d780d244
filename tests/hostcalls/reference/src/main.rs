//! Decodes what it is given, a type's name and hexadecimal bytes on each line, with the crates that guests are built
//! with; answers with the bytes of what came of it, encoded again, or with a dash where they are refused.

use std::io::{BufRead, Write, stdin, stdout};

use rkyv::{
    Archive, Deserialize, Serialize,
    api::high::{HighDeserializer, HighSerializer, HighValidator},
    bytecheck::CheckBytes,
    from_bytes,
    rancor::Error,
    ser::allocator::ArenaHandle,
    to_bytes,
    util::AlignedVec,
};
use selium_abi::*;

fn again<T>(data: &[u8]) -> Option<Vec<u8>>
where
    T: Archive + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, Error>> + Deserialize<T, HighDeserializer<Error>>,
{
    let mut aligned: AlignedVec = AlignedVec::new();
    aligned.extend_from_slice(data);
    let value = from_bytes::<T, Error>(&aligned).ok()?;
    Some(to_bytes::<Error>(&value).ok()?.into_vec())
}

macro_rules! dispatch {
    ($name:expr, $data:expr, $($type:ident)*) => {
        match $name {
            $(stringify!($type) => again::<$type>($data),)*
            other => panic!("no type {other}"),
        }
    };
}

fn main() {
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line = line.unwrap();
        let (name, digits) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let data: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let answer = dispatch!(name, &data,
            AbiParam AbiScalarType AbiScalarValue AbiSignature AbiValue ChannelCreate EntrypointArg
            EntrypointInvocation IoFrame IoRead IoWrite NetAccept NetAcceptReply NetConnect NetConnectReply
            NetCreateListener NetCreateListenerReply NetTlsClientConfig NetTlsConfigReply NetTlsServerConfig
            ProcessLogLookup ProcessLogRegistration ProcessStart SessionCreate SessionEntitlement SessionRemove
            SessionResource SingletonLookup SingletonRegister String TimeNow TimeSleep bool u32 u64);
        match answer {
            Some(bytes) => writeln!(out, "{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()).unwrap(),
            None => writeln!(out, "-").unwrap(),
        }
    }
}
