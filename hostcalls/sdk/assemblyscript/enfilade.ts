/**
 * Guests in AssemblyScript. This file is complete: a guest needs nothing else.
 *
 *   asc guest.ts -o guest.wasm --optimize --memoryBase 65536 --use abort= \
 *       --lib "$(enfilade guest sdk)/assemblyscript"
 *
 *   import { receive, reply } from "enfilade";
 *
 * Every function waits for the outcome of one hostcall. One that gives a number answers -1 when the host refuses, one
 * that gives an object null, the others false; `refusal` is the text of the last refusal. A module imports only the
 * hostcalls of the functions that it calls. It works with AssemblyScript 0.27 and 0.28.
 */

// --- hostcalls -------------------------------------------------------------------------------------------------------

/** The value of poll while there is no outcome. An error has this bit and others set. */
const PENDING: u32 = 0x80000000;

/** The smallest buffer for a result: room for any error text. */
const RESULT_MIN: u32 = 256;

/** Bytes that a message, a frame or a reply may have. */
export const LONGEST: u32 = 4096;

/** Where results are written. */
const result: usize = memory.data(4096 + 256, 8);

@external("selium::async", "yield_now")
declare function yieldNow(): void;

/** Wait until some future that was polled has an outcome, and forget which. */
function wait(): void {
  if (load<u32>(4) == 0) yieldNow();
  store<u32>(8, load<u32>(12));
  store<u32>(4, 0);
}

type Poll = (future: u32, task: u32, result: usize, capacity: u32) => u32;

let refused = "";

/** The text of the last refusal. */
export function refusal(): string {
  return refused;
}

/** Wait for a future: how many bytes were written to the result, or -1. */
function settle(future: u32, poll: Poll): i32 {
  while (true) {
    const word = poll(future, 1, result, LONGEST + RESULT_MIN);
    if (word == PENDING) {
      wait();
      continue;
    }
    // A future that is polled when it has its outcome leaves its task in the mailbox, too: make room there. The flag
    // stays, so that the next `wait` returns at once.
    store<u32>(8, load<u32>(12));
    if (word & PENDING) {
      refused = textAt(result + 4 + load<u32>(result) - 8);
      return -1;
    } else {
      return word;
    }
  }
}

// --- archives --------------------------------------------------------------------------------------------------------
//
// Arguments and results are rkyv archives: structs in C's layout, in which a text or an array is a relative offset to
// bytes before the struct. An archive is written data first, in the order of the fields, and then the root.

const scratch: usize = memory.data(4096 + 128, 8);
let used: u32 = 0;

/** Reserve bytes, all zero; where they are, or 0 if they do not fit, and then nothing fits until the next `begin`. */
function reserve(size: u32, align: u32): usize {
  const start = (used + align - 1) & ~(align - 1);
  if (start > LONGEST + 128 || size > LONGEST + 128 - start) {
    refused = "the data is longer than a guest's archive";
    used = LONGEST + 129;
    return 0;
  }
  memory.fill(scratch + used, 0, start + size - used);
  used = start + size;
  return scratch + start;
}

function begin(): void {
  used = 0;
}

function put(data: ArrayBuffer, align: u32 = 1): usize {
  const place = reserve(data.byteLength, align);
  if (place) memory.copy(place, changetype<usize>(data), data.byteLength);
  return place;
}

function encoded(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

/** A text of up to 8 bytes lies in its field, and nothing is put. */
function putText(text: ArrayBuffer): usize {
  return text.byteLength > 8 ? put(text) : 0;
}

function point(field: usize, place: usize, count: u32): void {
  store<i32>(field, <i32>(place - field));
  store<u32>(field, count, 4);
}

function setText(field: usize, text: ArrayBuffer, place: usize): void {
  const size: u32 = text.byteLength;
  if (size > 8) {
    store<u32>(field, (size & 0x3f) | 0x80 | ((size & ~0x3f) << 2));
    store<i32>(field, <i32>(place - field), 4);
  } else {
    store<u64>(field, u64.MAX_VALUE);
    memory.copy(field, changetype<usize>(text), size);
  }
}

function textAt(field: usize): string {
  if ((load<u8>(field) & 0xc0) == 0x80) {
    const tagged = load<u32>(field);
    const size = (tagged & 0x3f) | ((tagged & ~0xff) >> 2);
    return String.UTF8.decodeUnsafe(field + load<i32>(field, 4), size);
  }
  let size: usize = 0;
  while (size < 8 && load<u8>(field + size) != 0xff) size++;
  return String.UTF8.decodeUnsafe(field, size);
}

function dataAt(field: usize): ArrayBuffer {
  const size = load<u32>(field, 4);
  const data = new ArrayBuffer(size);
  memory.copy(changetype<usize>(data), field + load<i32>(field), size);
  return data;
}

/** An argument that is one number: where it lies. */
function one(slot: u32): usize {
  begin();
  const place = reserve(4, 4);
  store<u32>(place, slot);
  return place;
}

function slotOf(size: i32): i32 {
  return size < 0 ? -1 : load<i32>(result);
}

// --- actors ----------------------------------------------------------------------------------------------------------

@external("enfilade::actor::self", "create") declare function self_create(at: usize, size: u32): u32;
@external("enfilade::actor::self", "poll") declare function self_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::send", "create") declare function send_create(at: usize, size: u32): u32;
@external("enfilade::actor::send", "poll") declare function send_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::receive", "create") declare function receive_create(at: usize, size: u32): u32;
@external("enfilade::actor::receive", "poll") declare function receive_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::call", "create") declare function call_create(at: usize, size: u32): u32;
@external("enfilade::actor::call", "poll") declare function call_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::reply", "create") declare function reply_create(at: usize, size: u32): u32;
@external("enfilade::actor::reply", "poll") declare function reply_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::release", "create") declare function release_create(at: usize, size: u32): u32;
@external("enfilade::actor::release", "poll") declare function release_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::whereis", "create") declare function whereis_create(at: usize, size: u32): u32;
@external("enfilade::actor::whereis", "poll") declare function whereis_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::register", "create") declare function register_create(at: usize, size: u32): u32;
@external("enfilade::actor::register", "poll") declare function register_poll(f: u32, t: u32, r: usize, c: u32): u32;

@external("enfilade::actor::export_state", "create") declare function export_create(at: usize, size: u32): u32;
@external("enfilade::actor::export_state", "poll") declare function export_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::import_state", "create") declare function import_create(at: usize, size: u32): u32;
@external("enfilade::actor::import_state", "poll") declare function import_poll(f: u32, t: u32, r: usize, c: u32): u32;

/** The kinds of message. */
export enum Kind {
  /** Sent without expecting a reply. */
  Plain,
  /** The caller waits for `reply`. */
  Request,
  /** A linked process has ended. */
  Exited,
  /** A monitored process has ended. */
  Down,
  /** Another module is to take this one's place: `exportState`. */
  Upgrade,
  /** The time was over. */
  Nothing,
}

/** The reason for which a process ended. */
export enum Reason {
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

/** One message. */
export class Message {
  kind: Kind = Kind.Nothing;
  /** The content of a message or a request. */
  data: ArrayBuffer = new ArrayBuffer(0);
  /** What the sender of a message chose. */
  tag: u64 = 0;
  /** The slot of a request. */
  request: u32 = 0;
  /** The slot of a process that has ended, */
  actor: u32 = 0;
  /** the reason, */
  reason: Reason = Reason.Normal;
  /** and the monitor that reported it. */
  monitor: u64 = 0;

  /** The content, as text. */
  text(): string {
    return String.UTF8.decode(this.data);
  }
}

let takesUpgrades = false;

/** Whether `receive` takes an upgrade; a guest that can hand its state over says so. */
export function takeUpgrades(take: bool): void {
  takesUpgrades = take;
}

/** Wait for a message, at most `timeout` milliseconds if it is not negative; null if the receive was refused. */
export function receive(timeout: i64 = -1): Message | null {
  begin();
  const root = reserve(48, 8);
  store<u8>(root, timeout >= 0 ? 1 : 0);
  store<u64>(root, timeout >= 0 ? timeout : 0, 8);
  store<u32>(root, takesUpgrades ? 31 : 0, 16); // a bit for each kind; 0 accepts all but an upgrade
  store<u32>(root, LONGEST, 40);
  const size = settle(receive_create(scratch, used), receive_poll);
  if (size < 0) return null;
  const message = new Message();
  const at = result + size - 40;
  if (load<u8>(at) == 0) return message;
  message.kind = load<u8>(at, 8);
  switch (message.kind) {
    case Kind.Plain:
      message.tag = load<u64>(at, 16);
      message.data = dataAt(at + 24);
      break;
    case Kind.Request:
      message.request = load<u32>(at, 12);
      message.data = dataAt(at + 16);
      break;
    case Kind.Exited:
      message.actor = load<u32>(at, 12);
      message.reason = load<u8>(at, 16);
      break;
    case Kind.Upgrade:
      break;
    default:
      message.monitor = load<u64>(at, 16);
      message.actor = load<u32>(at, 24);
      message.reason = load<u8>(at, 28);
  }
  return message;
}

/** Answer a request. */
export function reply(request: u32, data: ArrayBuffer): bool {
  begin();
  const body = put(data);
  const resources = reserve(0, 4);
  const root = reserve(20, 4);
  if (!root) return false;
  store<u32>(root, request);
  point(root + 4, body, data.byteLength);
  point(root + 12, resources, 0);
  return settle(reply_create(scratch, used), reply_poll) >= 0;
}

/** Answer a request with a text. */
export function replyText(request: u32, text: string): bool {
  return reply(request, encoded(text));
}

/** Send a message to the actor in a slot. */
export function send(actor: u32, tag: u64, data: ArrayBuffer): bool {
  begin();
  const body = put(data);
  const resources = reserve(0, 4);
  const root = reserve(32, 8);
  if (!root) return false;
  store<u32>(root, actor);
  store<u64>(root, tag, 8);
  point(root + 16, body, data.byteLength);
  point(root + 24, resources, 0);
  return settle(send_create(scratch, used), send_poll) >= 0;
}

/** Send a request to the actor in a slot and wait for its reply, at most `timeout` milliseconds if not negative. */
export function call(actor: u32, request: ArrayBuffer, timeout: i64 = -1): ArrayBuffer | null {
  begin();
  const body = put(request);
  const resources = reserve(0, 4);
  const root = reserve(48, 8);
  if (!root) return null;
  store<u32>(root, actor);
  store<u8>(root, timeout >= 0 ? 1 : 0, 8);
  store<u64>(root, timeout >= 0 ? timeout : 0, 16);
  point(root + 24, body, request.byteLength);
  point(root + 32, resources, 0);
  store<u32>(root, LONGEST, 40);
  const size = settle(call_create(scratch, used), call_poll);
  return size < 0 ? null : dataAt(result + size - 16);
}

/** The slot of the guest itself, or -1. */
export function self(): i32 {
  return slotOf(settle(self_create(scratch, 0), self_poll));
}

/** Free the slot of an actor or of a request; an unanswered request fails at its caller. */
export function release(slot: u32): bool {
  return settle(release_create(one(slot), 4), release_poll) >= 0;
}

/** The slot of the actor that has this name, or -1. */
export function whereis(name: string): i32 {
  begin();
  const text = encoded(name);
  const place = putText(text);
  const root = reserve(8, 4);
  if (!root) return -1;
  setText(root, text, place);
  return slotOf(settle(whereis_create(scratch, used), whereis_poll));
}

/** Give the actor in a slot a name. */
export function register(name: string, actor: u32): bool {
  begin();
  const text = encoded(name);
  const place = putText(text);
  const root = reserve(12, 4);
  if (!root) return false;
  setText(root, text, place);
  store<u32>(root, actor, 8);
  return settle(register_create(scratch, used), register_poll) >= 0;
}

/**
 * After an upgrade was received: hand the guest's state over to the module that takes its place. It returns only if that
 * has failed, and the guest is to go on.
 */
export function exportState(state: ArrayBuffer): bool {
  begin();
  const place = put(state);
  const root = reserve(8, 4);
  if (!root) return false;
  point(root, place, state.byteLength);
  return settle(export_create(scratch, used), export_poll) >= 0;
}

/**
 * At the start: the state that the module before has exported; null if there was none before. A refusal is a trap: a guest
 * that took it for no state would lose what it was to be given.
 */
export function importState(): ArrayBuffer | null {
  const size = settle(import_create(scratch, 0), import_poll);
  if (size < 0) unreachable();
  return load<u8>(result + size - 12) == 0 ? null : dataAt(result + size - 8);
}

// --- processes -------------------------------------------------------------------------------------------------------

@external("enfilade::actor::spawn", "create") declare function spawn_create(at: usize, size: u32): u32;
@external("enfilade::actor::spawn", "poll") declare function spawn_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::link", "create") declare function link_create(at: usize, size: u32): u32;
@external("enfilade::actor::link", "poll") declare function link_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::unlink", "create") declare function unlink_create(at: usize, size: u32): u32;
@external("enfilade::actor::unlink", "poll") declare function unlink_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::monitor", "create") declare function monitor_create(at: usize, size: u32): u32;
@external("enfilade::actor::monitor", "poll") declare function monitor_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::demonitor", "create") declare function demonitor_create(at: usize, size: u32): u32;
@external("enfilade::actor::demonitor", "poll") declare function demonitor_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::exit", "create") declare function exit_create(at: usize, size: u32): u32;
@external("enfilade::actor::exit", "poll") declare function exit_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("enfilade::actor::trap", "create") declare function trap_create(at: usize, size: u32): u32;
@external("enfilade::actor::trap", "poll") declare function trap_poll(f: u32, t: u32, r: usize, c: u32): u32;

/** What an argument of an entrypoint is; a number has the bits of its kind. */
export enum Type { I8, U8, I16, U16, I32, U32, I64, U64, F32, F64, Buffer, Resource }

/** An argument of an entrypoint. A resource is a slot of this guest, and becomes one of the child, an i32. */
export class Argument {
  constructor(public type: Type, public bits: u64, public data: ArrayBuffer = new ArrayBuffer(0)) {}

  static text(text: string): Argument {
    return new Argument(Type.Buffer, 0, encoded(text));
  }

  static number(type: Type, bits: u64): Argument {
    return new Argument(type, bits);
  }

  static resource(slot: u32): Argument {
    return new Argument(Type.Resource, slot);
  }
}

/** A guest to be started as a child: a module below the module directory, and capabilities that this guest has. */
export class Child {
  entrypoint: string = "start";
  capabilities: u8[] = [];
  arguments: Argument[] = [];
  link: bool = false;
  monitor: bool = false;

  constructor(public module: string) {}
}

/** A child that was started: its slot, its process id, and the number of the monitor. */
export class Spawned {
  constructor(public actor: u32, public process: u64, public monitor: u64) {}
}

/** Start a child; null if it was refused. */
export function spawn(child: Child): Spawned | null {
  begin();
  const module = encoded(child.module), entrypoint = encoded(child.entrypoint);
  const count = child.arguments.length;
  const moduleAt = putText(module), entrypointAt = putText(entrypoint);
  const capabilities = reserve(child.capabilities.length, 1);
  const parameters = reserve(2 * count, 1);
  const results = reserve(0, 1);
  let data = scratch + used; // of the buffers among the arguments, one behind the other
  for (let at = 0; at < count; at++) {
    if (child.arguments[at].type == Type.Buffer) put(child.arguments[at].data);
  }
  const list = reserve(24 * count, 8);
  const root = reserve(52, 4);
  if (!root) return null;
  for (let at = 0; at < child.capabilities.length; at++) store<u8>(capabilities + at, child.capabilities[at]);
  for (let at = 0; at < count; at++) {
    const argument = child.arguments[at];
    const parameter = parameters + 2 * at, place = list + 24 * at;
    if (argument.type == Type.Buffer) {
      store<u8>(parameter, 1);
      store<u8>(place, 1);
      point(place + 4, data, argument.data.byteLength);
      data += argument.data.byteLength;
    } else if (argument.type == Type.Resource) {
      store<u8>(parameter, Type.I32, 1);
      store<u8>(place, 2);
      store<u64>(place, argument.bits, 8);
    } else {
      store<u8>(parameter, argument.type, 1);
      store<u8>(place, argument.type, 8);
      switch (argument.type) {
        case Type.I8:
        case Type.U8:
          store<u8>(place, <u8>argument.bits, 9);
          break;
        case Type.I16:
        case Type.U16:
          store<u16>(place, <u16>argument.bits, 10);
          break;
        case Type.I32:
        case Type.U32:
        case Type.F32:
          store<u32>(place, <u32>argument.bits, 12);
          break;
        default:
          store<u64>(place, argument.bits, 16);
      }
    }
  }
  setText(root, module, moduleAt);
  setText(root + 8, entrypoint, entrypointAt);
  point(root + 16, capabilities, child.capabilities.length);
  point(root + 24, parameters, count);
  point(root + 32, results, 0);
  point(root + 40, list, count);
  store<u8>(root, child.link ? 1 : 0, 48);
  store<u8>(root, child.monitor ? 1 : 0, 49);
  if (settle(spawn_create(scratch, used), spawn_poll) < 0) return null;
  return new Spawned(load<u32>(result), load<u64>(result, 8), load<u64>(result, 16));
}

/** Link the guest with an actor. */
export function link(actor: u32): bool {
  return settle(link_create(one(actor), 4), link_poll) >= 0;
}

/** Take a link down. */
export function unlink(actor: u32): bool {
  return settle(unlink_create(one(actor), 4), unlink_poll) >= 0;
}

/** Watch an actor; the number of the monitor, or 0. */
export function monitor(actor: u32): u64 {
  return settle(monitor_create(one(actor), 4), monitor_poll) < 0 ? 0 : load<u64>(result);
}

/** Remove a monitor, and a notice of it that waits. */
export function demonitor(monitor: u64): bool {
  begin();
  const root = reserve(16, 8);
  store<u64>(root, monitor);
  store<u8>(root, 1, 8);
  return settle(demonitor_create(scratch, used), demonitor_poll) >= 0;
}

/** Whether exit signals arrive as messages from now on; what it was before, 0 or 1, or -1. */
export function trapExits(trap: bool): i32 {
  begin();
  store<u8>(reserve(1, 1), trap ? 1 : 0);
  return settle(trap_create(scratch, used), trap_poll) < 0 ? -1 : load<u8>(result);
}

/** Send an exit signal to an actor, or end the guest itself (-1). The detail is a text for people. */
export function exit(actor: i32, reason: Reason, detail: string): bool {
  begin();
  const text = encoded(detail);
  const place = putText(text);
  const root = reserve(20, 4);
  if (!root) return false;
  store<u8>(root, actor >= 0 ? 1 : 0);
  store<u32>(root, actor >= 0 ? actor : 0, 4);
  store<u8>(root, reason, 8);
  setText(root + 12, text, place);
  return settle(exit_create(scratch, used), exit_poll) >= 0;
}

// --- time ------------------------------------------------------------------------------------------------------------

@external("selium::time::now", "create") declare function now_create(at: usize, size: u32): u32;
@external("selium::time::now", "poll") declare function now_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::time::sleep", "create") declare function sleep_create(at: usize, size: u32): u32;
@external("selium::time::sleep", "poll") declare function sleep_poll(f: u32, t: u32, r: usize, c: u32): u32;

/** Milliseconds since 1970, or -1. */
export function now(): i64 {
  return settle(now_create(scratch, 0), now_poll) < 0 ? -1 : load<i64>(result);
}

/** Milliseconds since the first question; they never go back. Or -1. */
export function monotonic(): i64 {
  return settle(now_create(scratch, 0), now_poll) < 0 ? -1 : load<i64>(result, 8);
}

/** Wait. */
export function sleep(milliseconds: u64): bool {
  begin();
  store<u64>(reserve(8, 8), milliseconds);
  return settle(sleep_create(scratch, used), sleep_poll) >= 0;
}

// --- channels --------------------------------------------------------------------------------------------------------

@external("selium::channel::create", "create") declare function channel_create(at: usize, size: u32): u32;
@external("selium::channel::create", "poll") declare function channel_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::delete", "create") declare function delete_create(at: usize, size: u32): u32;
@external("selium::channel::delete", "poll") declare function delete_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::drain", "create") declare function drain_create(at: usize, size: u32): u32;
@external("selium::channel::drain", "poll") declare function drain_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::share", "create") declare function share_create(at: usize, size: u32): u32;
@external("selium::channel::share", "poll") declare function share_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::attach", "create") declare function attach_create(at: usize, size: u32): u32;
@external("selium::channel::attach", "poll") declare function attach_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::detach", "create") declare function detach_create(at: usize, size: u32): u32;
@external("selium::channel::detach", "poll") declare function detach_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::strong_reader_create", "create") declare function sr_create(at: usize, size: u32): u32;
@external("selium::channel::strong_reader_create", "poll") declare function sr_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::weak_reader_create", "create") declare function wr_create(at: usize, size: u32): u32;
@external("selium::channel::weak_reader_create", "poll") declare function wr_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::strong_writer_create", "create") declare function sw_create(at: usize, size: u32): u32;
@external("selium::channel::strong_writer_create", "poll") declare function sw_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::weak_writer_create", "create") declare function ww_create(at: usize, size: u32): u32;
@external("selium::channel::weak_writer_create", "poll") declare function ww_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::strong_read", "create") declare function sread_create(at: usize, size: u32): u32;
@external("selium::channel::strong_read", "poll") declare function sread_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::weak_read", "create") declare function wread_create(at: usize, size: u32): u32;
@external("selium::channel::weak_read", "poll") declare function wread_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::strong_write", "create") declare function swrite_create(at: usize, size: u32): u32;
@external("selium::channel::strong_write", "poll") declare function swrite_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::channel::weak_write", "create") declare function wwrite_create(at: usize, size: u32): u32;
@external("selium::channel::weak_write", "poll") declare function wwrite_poll(f: u32, t: u32, r: usize, c: u32): u32;

/** What a write to a full channel does: wait, or drop the frame. */
export enum Backpressure { Park, Drop }

/** A new channel of `capacity` bytes; its slot, or -1. */
export function channel(capacity: u32, backpressure: Backpressure = Backpressure.Park): i32 {
  begin();
  const root = reserve(8, 4);
  store<u32>(root, capacity);
  store<u8>(root, backpressure, 4);
  return slotOf(settle(channel_create(scratch, used), channel_poll));
}

/** A reader or writer of a channel; its slot, or -1. Writers wait for strong readers, not for weak ones. */
export function strongReader(channel: u32): i32 {
  return slotOf(settle(sr_create(one(channel), 4), sr_poll));
}

export function weakReader(channel: u32): i32 {
  return slotOf(settle(wr_create(one(channel), 4), wr_poll));
}

export function strongWriter(channel: u32): i32 {
  return slotOf(settle(sw_create(one(channel), 4), sw_poll));
}

export function weakWriter(channel: u32): i32 {
  return slotOf(settle(ww_create(one(channel), 4), ww_poll));
}

/** End a channel at once. */
export function remove(channel: u32): bool {
  return settle(delete_create(one(channel), 4), delete_poll) >= 0;
}

/** End a channel once its readers have read what it has. */
export function drain(channel: u32): bool {
  return settle(drain_create(one(channel), 4), drain_poll) >= 0;
}

/** Free a slot. */
export function detach(slot: u32): bool {
  return settle(detach_create(one(slot), 4), detach_poll) >= 0;
}

/** A handle by which other guests attach what is in the slot; 0 if it was refused, and see `refusal`. */
export function share(slot: u32): u64 {
  return settle(share_create(one(slot), 4), share_poll) < 0 ? 0 : load<u64>(result);
}

/** A slot for what another guest has shared, or -1. */
export function attach(handle: u64): i32 {
  begin();
  store<u64>(reserve(8, 8), handle);
  return slotOf(settle(attach_create(scratch, used), attach_poll));
}

/** What a read takes, into the scratch space. */
function putRead(slot: u32): void {
  begin();
  const root = reserve(8, 4);
  store<u32>(root, slot);
  store<u32>(root, LONGEST, 4);
}

function frame(size: i32): ArrayBuffer | null {
  return size < 0 ? null : dataAt(result + size - 8);
}

/** What a write takes, into the scratch space; whether it fits. */
function putWrite(slot: u32, data: ArrayBuffer): bool {
  begin();
  const payload = put(data);
  const root = reserve(12, 4);
  if (!root) return false;
  store<u32>(root, slot);
  point(root + 4, payload, data.byteLength);
  return true;
}

/** The next frame, or null. */
export function strongRead(reader: u32): ArrayBuffer | null {
  putRead(reader);
  return frame(settle(sread_create(scratch, used), sread_poll));
}

export function weakRead(reader: u32): ArrayBuffer | null {
  putRead(reader);
  return frame(settle(wread_create(scratch, used), wread_poll));
}

/** Write a frame. */
export function strongWrite(writer: u32, data: ArrayBuffer): bool {
  return putWrite(writer, data) && settle(swrite_create(scratch, used), swrite_poll) >= 0;
}

export function weakWrite(writer: u32, data: ArrayBuffer): bool {
  return putWrite(writer, data) && settle(wwrite_create(scratch, used), wwrite_poll) >= 0;
}

// --- the log ---------------------------------------------------------------------------------------------------------

@external("selium::process::register_log_channel", "create") declare function rlog_create(at: usize, size: u32): u32;
@external("selium::process::register_log_channel", "poll") declare function rlog_poll(f: u32, t: u32, r: usize, c: u32): u32;

export enum Level { Trace, Debug, Info, Warning, Error }

/** Bytes of the log channel; records beyond it are dropped and do not hold up the guest. */
const LOG_CAPACITY: u32 = 16384;

let logWriter: i32 = -1;
let logCount: u64 = 0;

function openLog(): bool {
  const made = channel(LOG_CAPACITY, Backpressure.Drop);
  if (made < 0 || settle(share_create(one(made), 4), share_poll) < 0) return false;
  const handle = load<u64>(result);
  begin();
  store<u64>(reserve(8, 8), handle);
  if (settle(rlog_create(scratch, used), rlog_poll) < 0) return false;
  logWriter = strongWriter(made);
  return logWriter >= 0;
}

/**
 * Write a record, which the host forwards to its logging tree. `target` names a place in the guest, such as
 * "filter::table"; it becomes a logger below enfilade.guest. It needs ChannelLifecycle and ChannelWriter.
 */
export function log(level: Level, target: string, message: string): bool {
  if (logWriter < 0 && !openLog()) return false;
  begin();
  const record = reserve(48, 8);
  // A FlatBuffers table at 20: the vtable before it says where each of the six fields is, 0 if it is absent.
  const vtable: u16[] = [16, 24, 20, 4, 8, 0, 0, 12];
  store<u32>(record, 20);
  for (let at = 0; at < 8; at++) store<u16>(record + 2 * at, vtable[at], 4);
  store<u32>(record, 16, 20);
  store<u64>(record, ++logCount, 32);
  store<u8>(record, level, 40);
  for (let at = 0; at < 2; at++) {
    const text = encoded(at ? message : target);
    const field = record + 24 + 4 * at;
    const place = reserve(4 + text.byteLength + 1, 4);
    if (!place) return false;
    store<u32>(place, text.byteLength);
    memory.copy(place + 4, changetype<usize>(text), text.byteLength);
    store<u32>(field, <u32>(place - field));
  }
  const size = used;
  const root = reserve(12, 4);
  if (!root) return false;
  store<u32>(root, logWriter);
  point(root + 4, record, size);
  return settle(swrite_create(scratch, used), swrite_poll) >= 0;
}

// --- the network -----------------------------------------------------------------------------------------------------

@external("selium::net::http::bind", "create") declare function hbind_create(at: usize, size: u32): u32;
@external("selium::net::http::bind", "poll") declare function hbind_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::http::accept", "create") declare function haccept_create(at: usize, size: u32): u32;
@external("selium::net::http::accept", "poll") declare function haccept_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::http::connect", "create") declare function hconnect_create(at: usize, size: u32): u32;
@external("selium::net::http::connect", "poll") declare function hconnect_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::http::read", "create") declare function hread_create(at: usize, size: u32): u32;
@external("selium::net::http::read", "poll") declare function hread_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::http::write", "create") declare function hwrite_create(at: usize, size: u32): u32;
@external("selium::net::http::write", "poll") declare function hwrite_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::quic::bind", "create") declare function qbind_create(at: usize, size: u32): u32;
@external("selium::net::quic::bind", "poll") declare function qbind_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::quic::accept", "create") declare function qaccept_create(at: usize, size: u32): u32;
@external("selium::net::quic::accept", "poll") declare function qaccept_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::quic::connect", "create") declare function qconnect_create(at: usize, size: u32): u32;
@external("selium::net::quic::connect", "poll") declare function qconnect_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::quic::read", "create") declare function qread_create(at: usize, size: u32): u32;
@external("selium::net::quic::read", "poll") declare function qread_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::quic::write", "create") declare function qwrite_create(at: usize, size: u32): u32;
@external("selium::net::quic::write", "poll") declare function qwrite_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::tls::server_config_create", "create") declare function tserver_create(at: usize, size: u32): u32;
@external("selium::net::tls::server_config_create", "poll") declare function tserver_poll(f: u32, t: u32, r: usize, c: u32): u32;
@external("selium::net::tls::client_config_create", "create") declare function tclient_create(at: usize, size: u32): u32;
@external("selium::net::tls::client_config_create", "poll") declare function tclient_poll(f: u32, t: u32, r: usize, c: u32): u32;

export enum Protocol { Quic, Http, Https }

/** The two halves of a connection, or one HTTP request: the slots where it is read and answered. `detach` closes them. */
export class Connection {
  constructor(public reader: u32, public writer: u32) {}
}

/** What bind and connect take, into the scratch space; whether it fits. `tls` is the slot of settings, or -1. */
function putEndpoint(protocol: Protocol, domain: string, port: u16, tls: i64): bool {
  begin();
  const text = encoded(domain);
  const place = putText(text);
  const root = reserve(32, 8);
  if (!root) return false;
  store<u8>(root, protocol);
  setText(root + 4, text, place);
  store<u16>(root, port, 12);
  store<u8>(root, tls >= 0 ? 1 : 0, 16);
  store<u64>(root, tls >= 0 ? tls : 0, 24);
  return true;
}

function putHandle(handle: u64): void {
  begin();
  store<u64>(reserve(8, 8), handle);
}

function halves(size: i32): Connection | null {
  if (size < 0) return null;
  const root = result + size - 24;
  return new Connection(<u32>load<u64>(root), <u32>load<u64>(root, 8));
}

/** HTTP and HTTPS. */
export namespace http {
  /** The slot of a listener, or -1. */
  export function bind(protocol: Protocol, domain: string, port: u16, tls: i64 = -1): i32 {
    return putEndpoint(protocol, domain, port, tls) ? slotOf(settle(hbind_create(scratch, used), hbind_poll)) : -1;
  }

  /** Wait for a request. */
  export function accept(listener: u32): Connection | null {
    putHandle(listener);
    return halves(settle(haccept_create(scratch, used), haccept_poll));
  }

  export function connect(protocol: Protocol, domain: string, port: u16, tls: i64 = -1): Connection | null {
    return putEndpoint(protocol, domain, port, tls) ? halves(settle(hconnect_create(scratch, used), hconnect_poll)) : null;
  }

  /** What has arrived; no bytes at the end. */
  export function read(reader: u32): ArrayBuffer | null {
    putRead(reader);
    return frame(settle(hread_create(scratch, used), hread_poll));
  }

  export function write(writer: u32, data: ArrayBuffer): bool {
    return putWrite(writer, data) && settle(hwrite_create(scratch, used), hwrite_poll) >= 0;
  }
}

/** QUIC: one stream of bytes a connection. */
export namespace quic {
  /** The slot of a listener, or -1. */
  export function bind(domain: string, port: u16, tls: i64 = -1): i32 {
    return putEndpoint(Protocol.Quic, domain, port, tls) ? slotOf(settle(qbind_create(scratch, used), qbind_poll)) : -1;
  }

  /** Wait for a connection. */
  export function accept(listener: u32): Connection | null {
    putHandle(listener);
    return halves(settle(qaccept_create(scratch, used), qaccept_poll));
  }

  export function connect(domain: string, port: u16, tls: i64 = -1): Connection | null {
    return putEndpoint(Protocol.Quic, domain, port, tls)
      ? halves(settle(qconnect_create(scratch, used), qconnect_poll))
      : null;
  }

  /** What has arrived; no bytes at the end. */
  export function read(reader: u32): ArrayBuffer | null {
    putRead(reader);
    return frame(settle(qread_create(scratch, used), qread_poll));
  }

  export function write(writer: u32, data: ArrayBuffer): bool {
    return putWrite(writer, data) && settle(qwrite_create(scratch, used), qwrite_poll) >= 0;
  }
}

/** Settings of a TLS server: its certificate chain and key, as PEM. The slot, or -1. */
export function tlsServer(chain: string, key: string): i32 {
  begin();
  const texts = [encoded(chain), encoded(key)];
  const chainAt = put(texts[0]), keyAt = put(texts[1]);
  const root = reserve(44, 4);
  if (!root) return -1;
  point(root, chainAt, texts[0].byteLength);
  point(root + 8, keyAt, texts[1].byteLength);
  return slotOf(settle(tserver_create(scratch, used), tserver_poll));
}

/** Settings of a TLS client: the certificates that it trusts, as PEM, in place of the host's. The slot, or -1. */
export function tlsClient(trusted: string): i32 {
  begin();
  const text = encoded(trusted);
  const place = put(text);
  const root = reserve(48, 4);
  if (!root) return -1;
  store<u8>(root, 1);
  point(root + 4, place, text.byteLength);
  return slotOf(settle(tclient_create(scratch, used), tclient_poll));
}
