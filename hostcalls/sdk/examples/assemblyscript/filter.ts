/**
 * A rate-limiting filter. A request is a key of at most 32 bytes; the answer is "pass", or "wait MILLISECONDS" when the
 * key has been asked for more than `rate` times a second, after `burst` times at once. A longer key is a fault.
 *
 * The state is one instant for each key: when its bucket will be empty. It is gone when a supervisor starts the filter
 * again, and handed over when the filter is moved to another module.
 */

import { Kind, Level, exportState, importState, log, monotonic, receive, replyText, takeUpgrades } from "enfilade";

const LONGEST = 32;
const KEYS = 64;
const SIZE = 48; // of a bucket: when it is empty, 8 bytes; the key's size, 4 bytes; and the key

let table = new ArrayBuffer(KEYS * SIZE);

/** Where a key's bucket is; a new key takes the place of the one that was empty first. */
function find(key: ArrayBuffer): usize {
  const size = key.byteLength;
  const first = changetype<usize>(table);
  let oldest = first;
  for (let bucket = first; bucket < first + KEYS * SIZE; bucket += SIZE) {
    const emptyAt = load<u64>(bucket);
    if (emptyAt && load<u32>(bucket, 8) == size && !memory.compare(bucket + 12, changetype<usize>(key), size)) {
      return bucket;
    }
    if (emptyAt < load<u64>(oldest)) oldest = bucket;
  }
  store<u64>(oldest, 0);
  store<u32>(oldest, size, 8);
  memory.copy(oldest + 12, changetype<usize>(key), size);
  return oldest;
}

/** Milliseconds to wait, or 0 if the key may pass now. */
function admit(bucket: usize, now: u64, interval: u64, burst: u64): u64 {
  const emptyAt = max(load<u64>(bucket), now);
  const ahead = emptyAt - now, allowed = (burst - 1) * interval;
  if (ahead > allowed) return ahead - allowed;
  store<u64>(bucket, emptyAt + interval);
  return 0;
}

export function start(rate: u32, burst: u32): void {
  if (rate == 0 || rate > 1000 || burst == 0) {
    log(Level.Error, "filter", "expected 1 to 1000 a second and a burst of at least 1");
    unreachable();
  }
  const state = importState();
  if (state !== null) {
    if (state.byteLength != KEYS * SIZE) unreachable(); // nobody may lose the state: the module before goes on
    table = state;
  }
  takeUpgrades(true);
  log(Level.Info, "filter", "ready");
  while (true) {
    const message = receive()!; // a refusal is a trap
    if (message.kind == Kind.Upgrade) exportState(table);
    if (message.kind != Kind.Request) continue;
    const now = monotonic();
    if (message.data.byteLength > LONGEST || now < 0) unreachable();
    const wait = admit(find(message.data), now + 1, 1000 / rate, burst);
    if (wait) log(Level.Debug, "filter", "held back");
    replyText(message.request, wait ? "wait " + wait.toString() : "pass");
  }
}
