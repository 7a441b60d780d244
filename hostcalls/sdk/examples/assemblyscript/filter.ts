/**
 * A rate-limiting filter. A request is a key of at most 32 bytes; the answer is "pass", or "wait MILLISECONDS" when the
 * key has been asked for more than `rate` times a second, after `burst` times at once. A longer key is a fault.
 *
 * The state is one instant for each key: when its bucket will be empty. It is gone when a supervisor starts the filter
 * again.
 */

import { Kind, Level, log, monotonic, receive, replyText } from "enfilade";

const LONGEST = 32;
const KEYS = 256;

/** When the bucket of each key will be empty, in milliseconds. */
const buckets = new Map<string, i64>();

/** Make room for a new key: forget the bucket that is empty first. */
function forgetOne(): void {
  const keys = buckets.keys();
  let oldest = keys[0];
  for (let at = 1; at < keys.length; at++) {
    if (buckets.get(keys[at]) < buckets.get(oldest)) oldest = keys[at];
  }
  buckets.delete(oldest);
}

/** Milliseconds to wait, or 0 if the key may pass now. */
function admit(key: string, now: i64, interval: i64, burst: i64): i64 {
  if (!buckets.has(key)) {
    if (buckets.size == KEYS) forgetOne();
    buckets.set(key, 0);
  }
  const emptyAt = max(buckets.get(key), now);
  const ahead = emptyAt - now, allowed = (burst - 1) * interval;
  if (ahead > allowed) return ahead - allowed;
  buckets.set(key, emptyAt + interval);
  return 0;
}

export function start(rate: u32, burst: u32): void {
  if (rate == 0 || rate > 1000 || burst == 0) {
    log(Level.Error, "filter", "expected 1 to 1000 a second and a burst of at least 1");
    unreachable();
  }
  log(Level.Info, "filter", "ready");
  while (true) {
    const message = receive()!; // a refusal is a trap
    if (message.kind != Kind.Request) continue;
    const now = monotonic();
    if (message.data.byteLength > LONGEST || now < 0) unreachable();
    const wait = admit(message.text(), now + 1, 1000 / rate, burst);
    if (wait) log(Level.Debug, "filter", "held back");
    replyText(message.request, wait ? "wait " + wait.toString() : "pass");
  }
}
