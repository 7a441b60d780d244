//! A rate-limiting filter. A request is a key of at most 32 bytes; the answer is "pass", or "wait MILLISECONDS" when the
//! key has been asked for more than `rate` times a second, after `burst` times at once. A longer key is a fault.
//!
//! The state is one instant for each key: when its bucket will be empty. It is gone when a supervisor starts the filter
//! again, and handed over when the filter is moved to another module.

#![no_std]

use core::fmt::Write;

use enfilade::{export_state, import_state, log, now, receive, reply, take_upgrades, Level, Message};

const LONGEST: usize = 32;
const KEYS: usize = 64;
const SIZE: usize = 48; // of a bucket in the exported state

#[derive(Clone, Copy)]
struct Bucket {
    empty_at: u64, // milliseconds
    size: usize,
    key: [u8; LONGEST],
}

const EMPTY: Bucket = Bucket { empty_at: 0, size: 0, key: [0; LONGEST] };

/// The place of a key's bucket; a new key takes that of the one that was empty first.
fn find(buckets: &[Bucket], key: &[u8]) -> usize {
    let mut oldest = 0;
    for (at, bucket) in buckets.iter().enumerate() {
        if bucket.empty_at != 0 && &bucket.key[..bucket.size] == key {
            return at;
        }
        if bucket.empty_at < buckets[oldest].empty_at {
            oldest = at;
        }
    }
    oldest
}

impl Bucket {
    /// Milliseconds to wait, or 0 if the key may pass now.
    fn admit(&mut self, key: &[u8], now: u64, interval: u64, burst: u64) -> u64 {
        if &self.key[..self.size] != key {
            *self = EMPTY;
            self.size = key.len();
            self.key[..key.len()].copy_from_slice(key);
        }
        let empty_at = self.empty_at.max(now);
        let (ahead, allowed) = (empty_at - now, (burst - 1) * interval);
        if ahead > allowed {
            return ahead - allowed;
        }
        self.empty_at = empty_at + interval;
        0
    }
}

/// The buckets as they are exported: when it is empty, 8 bytes; the key's size, 4 bytes; and the key.
fn packed(buckets: &[Bucket; KEYS]) -> [u8; KEYS * SIZE] {
    let mut state = [0; KEYS * SIZE];
    for (place, bucket) in state.chunks_exact_mut(SIZE).zip(buckets) {
        place[..8].copy_from_slice(&bucket.empty_at.to_le_bytes());
        place[8..12].copy_from_slice(&(bucket.size as u32).to_le_bytes());
        place[12..12 + LONGEST].copy_from_slice(&bucket.key);
    }
    state
}

fn unpacked(state: &[u8]) -> [Bucket; KEYS] {
    let mut buckets = [EMPTY; KEYS];
    for (place, bucket) in state.chunks_exact(SIZE).zip(&mut buckets) {
        let (mut empty_at, mut size) = ([0; 8], [0; 4]);
        empty_at.copy_from_slice(&place[..8]);
        size.copy_from_slice(&place[8..12]);
        bucket.empty_at = u64::from_le_bytes(empty_at);
        bucket.size = LONGEST.min(u32::from_le_bytes(size) as usize);
        bucket.key.copy_from_slice(&place[12..12 + LONGEST]);
    }
    buckets
}

/// A short text.
struct Text {
    bytes: [u8; 32],
    size: usize,
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> core::fmt::Result {
        let end = self.size + more.len();
        self.bytes.get_mut(self.size..end).ok_or(core::fmt::Error)?.copy_from_slice(more.as_bytes());
        self.size = end;
        Ok(())
    }
}

#[no_mangle]
pub extern "C" fn start(rate: u32, burst: u32) {
    if rate == 0 || rate > 1000 || burst == 0 {
        let _ = log(Level::Error, "filter", "expected 1 to 1000 a second and a burst of at least 1");
        panic!();
    }
    let interval = 1000 / u64::from(rate);
    let mut buffer = [0; 4096];
    let mut buckets = match import_state(&mut buffer).unwrap() {
        Some(state) => {
            assert!(state.len() == KEYS * SIZE); // nobody may lose the state: the module before goes on
            unpacked(state)
        }
        None => [EMPTY; KEYS],
    };
    take_upgrades(true);
    let _ = log(Level::Info, "filter", "ready");
    loop {
        let (slot, key) = match receive(&mut buffer, None).unwrap() {
            Some(Message::Request { slot, data }) => (slot, data),
            Some(Message::Upgrade) => {
                let _ = export_state(&packed(&buckets));
                continue;
            }
            _ => continue,
        };
        assert!(key.len() <= LONGEST);
        let instant = now().unwrap().monotonic_ms + 1;
        let wait = buckets[find(&buckets, key)].admit(key, instant, interval, burst.into());
        let mut answer = Text { bytes: [0; 32], size: 0 };
        if wait == 0 {
            let _ = answer.write_str("pass");
        } else {
            let _ = log(Level::Debug, "filter", "held back");
            let _ = write!(answer, "wait {}", wait);
        }
        let _ = reply(slot, &answer.bytes[..answer.size]);
    }
}
