//! Guests in Zig. This file is complete: a guest needs nothing else.
//!
//!   zig build-exe -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic --stack 65536 --global-base=65536 \
//!       --dep enfilade -Mroot=guest.zig "-Menfilade=$(enfilade guest sdk)/zig/enfilade.zig" -femit-bin=guest.wasm
//!
//! Every function waits for the outcome of one hostcall, and fails with `Refused` when the host refuses; `refusal` is the
//! text of the last one. A module imports only the hostcalls of the functions that it calls. `Hostcall` makes the
//! imports of any other, and a function that begins it and waits. It works with Zig 0.15 to 0.17.

const std = @import("std");

/// The value of `poll` while there is no outcome. An error has this bit and others set.
pub const pending: u32 = 0x8000_0000;

/// The smallest buffer for a result: room for any error text.
pub const result_min = 256;

pub const Error = error{Refused};

const yieldNow = @extern(*const fn () callconv(.c) void, .{ .name = "yield_now", .library_name = "selium::async" });

/// Wait until some future that was polled has an outcome, and forget which.
pub fn wait() void {
    const flag: *allowzero volatile u32 = @ptrFromInt(4);
    const head: *volatile u32 = @ptrFromInt(8);
    const tail: *volatile u32 = @ptrFromInt(12);
    if (flag.* == 0) yieldNow();
    head.* = tail.*;
    flag.* = 0;
}

/// Make room in the mailbox, and forget what it was about; the next `wait` returns at once if there was something. A future
/// that is polled when it has its outcome leaves its task there, too.
fn makeRoom() void {
    const head: *volatile u32 = @ptrFromInt(8);
    const tail: *volatile u32 = @ptrFromInt(12);
    head.* = tail.*;
}

/// The hostcall whose import module is `module`.
pub fn Hostcall(comptime module: []const u8) type {
    return struct {
        const create = @extern(*const fn (?*const anyopaque, u32) callconv(.c) u32, .{ .name = "create", .library_name = module });
        const poll = @extern(*const fn (u32, u32, *anyopaque, u32) callconv(.c) u32, .{ .name = "poll", .library_name = module });

        /// Make the hostcall and wait; the part of `result` that was written. An error leaves its text there.
        pub fn call(arguments: []const u8, result: []u8) Error![]const u8 {
            const future = create(arguments.ptr, @intCast(arguments.len));
            while (true) {
                const word = poll(future, 1, result.ptr, @intCast(result.len));
                if (word == pending) {
                    wait();
                    continue;
                }
                makeRoom();
                return if (word & pending != 0) Error.Refused else result[0..word];
            }
        }
    };
}

// --- archives -------------------------------------------------------------------------------------------------------

/// Bytes elsewhere: the offset counts from the field itself.
const Bytes = extern struct { offset: i32 = 0, size: u32 = 0 };
const Option = extern struct { present: u8, value: u64 };
const OptionalBytes = extern struct { present: u8 = 0, bytes: Bytes = .{} };

/// Text of up to 8 bytes lies in the field, filled up with 0xff; of longer text its length and where it is.
const Text = extern struct { words: [2]u32 };

/// Scratch space for outgoing archives; data that does not fit is refused.
pub const longest = 4096;
var scratch: [longest + 128]u8 align(8) = undefined;
var outcome: [result_min]u8 align(8) = undefined;

/// Arguments and results are rkyv archives: structs in C's layout, with relative offsets to bytes before them. An
/// archive is written in the scratch space, its data first, in the order of the fields, and then the root.
const Archive = struct {
    used: usize = 0,

    const Piece = struct {
        data: []const u8,
        count: usize,

        /// What the field at this address holds to lead to the piece.
        fn seenFrom(piece: Piece, field: *const Bytes) Bytes {
            return .{ .offset = distance(field, piece.data.ptr), .size = @intCast(piece.count) };
        }

        fn textSeenFrom(piece: Piece, field: *const Text) Text {
            var text: Text = .{ .words = .{ 0xffff_ffff, 0xffff_ffff } };
            const size: u32 = @intCast(piece.count);
            if (size <= 8) {
                @memcpy(std.mem.asBytes(&text)[0..size], piece.data);
            } else {
                text.words[0] = (size & 0x3f) | 0x80 | ((size & ~@as(u32, 0x3f)) << 2);
                text.words[1] = @bitCast(distance(field, piece.data.ptr));
            }
            return text;
        }
    };

    fn reserve(archive: *Archive, size: usize, alignment: usize) Error![]u8 {
        const start = std.mem.alignForward(usize, archive.used, alignment);
        if (start > scratch.len or size > scratch.len - start) return Error.Refused;
        @memset(scratch[archive.used..start], 0);
        archive.used = start + size;
        return scratch[start..archive.used];
    }

    fn put(archive: *Archive, data: []const u8, alignment: usize) Error!Piece {
        const place = try archive.reserve(data.len, alignment);
        @memcpy(place, data);
        return .{ .data = place, .count = data.len };
    }

    /// A text that fits its field stays where it is.
    fn putText(archive: *Archive, text: []const u8) Error!Piece {
        return if (text.len > 8) archive.put(text, 1) else .{ .data = text, .count = text.len };
    }

    fn root(archive: *Archive, comptime Root: type) Error!*Root {
        const place = try archive.reserve(@sizeOf(Root), @alignOf(Root));
        @memset(place, 0);
        return @ptrCast(@alignCast(place.ptr));
    }

    fn bytes(archive: Archive) []const u8 {
        return scratch[0..archive.used];
    }
};

fn distance(from: *const anyopaque, to: *const anyopaque) i32 {
    return @bitCast(@as(u32, @intCast(@intFromPtr(to))) -% @as(u32, @intCast(@intFromPtr(from))));
}

/// A number somewhere in a result.
fn number(comptime T: type, from: []const u8, at: usize) T {
    return std.mem.readInt(T, from[at..][0..@sizeOf(T)], .little);
}

/// What the field at the head of `from` leads to.
fn dataOf(from: []const u8) []const u8 {
    const start = @intFromPtr(from.ptr) +% number(u32, from, 0);
    const data: [*]const u8 = @ptrFromInt(start);
    return data[0..number(u32, from, 4)];
}

/// The text of the last refusal of a function that was given no buffer.
pub fn refusal() []const u8 {
    const field = outcome[4 + number(u32, &outcome, 0) - 8 ..];
    if (field[0] & 0xc0 == 0x80) {
        const tagged = number(u32, field, 0);
        const start: [*]const u8 = @ptrFromInt(@intFromPtr(field.ptr) +% number(u32, field, 4));
        return start[0 .. (tagged & 0x3f) | ((tagged & ~@as(u32, 0xff)) >> 2)];
    }
    return std.mem.sliceTo(field[0..8], 0xff);
}

/// A hostcall that turns one number into another, such as a slot into that of a new reader.
fn exchange(comptime Made: type, comptime module: []const u8, given: anytype) Error!Made {
    const written = try Hostcall(module).call(std.mem.asBytes(&given), &outcome);
    return number(Made, written, 0);
}

/// A hostcall that takes a slot and brings nothing back.
fn tell(comptime module: []const u8, slot: u32) Error!void {
    _ = try Hostcall(module).call(std.mem.asBytes(&slot), &outcome);
}

// --- actors ---------------------------------------------------------------------------------------------------------

const Receive = Hostcall("enfilade::actor::receive");
const Reply = Hostcall("enfilade::actor::reply");
const Send = Hostcall("enfilade::actor::send");
const Call = Hostcall("enfilade::actor::call");

/// The reason for which a process ended.
pub const Reason = enum(u8) {
    normal,
    shutdown,
    kill,
    killed,
    no_process,
    no_connection,
    timeout,
    trapped,
    crashed,
    other,
};

/// One message; `data` lies in the buffer that was given to `receive`.
pub const Message = union(enum) {
    /// Sent without expecting a reply.
    plain: struct { tag: u64, data: []const u8 },
    /// The caller waits for `reply`.
    request: struct { slot: u32, data: []const u8 },
    /// A linked process has ended.
    exited: struct { actor: u32, reason: Reason },
    /// A monitored process has ended.
    down: struct { monitor: u64, actor: u32, reason: Reason },
    /// Another module is to take this one's place: `exportState`.
    upgrade: void,
};

/// Whether `receive` takes an upgrade; a guest that can hand its state over sets it.
pub var takes_upgrades = false;

/// Wait for a message, at most `timeout_ms` if it is given; null on timeout. The buffer has 256 bytes more
/// than the longest message.
pub fn receive(buffer: []align(8) u8, timeout_ms: ?u64) Error!?Message {
    if (buffer.len < result_min) return Error.Refused;
    const wanted = extern struct { timeout: Option, kinds: u32, tag: Option, limit: u32 }{
        .timeout = .{ .present = @intFromBool(timeout_ms != null), .value = timeout_ms orelse 0 },
        .kinds = if (takes_upgrades) 31 else 0,
        .tag = .{ .present = 0, .value = 0 },
        .limit = @intCast(buffer.len - result_min),
    };
    const written = try Receive.call(std.mem.asBytes(&wanted), buffer);
    const root = written[written.len - 40 ..];
    if (root[0] == 0) return null;
    return switch (root[8]) {
        0 => .{ .plain = .{ .tag = number(u64, root, 16), .data = dataOf(root[24..]) } },
        1 => .{ .request = .{ .slot = number(u32, root, 12), .data = dataOf(root[16..]) } },
        2 => .{ .exited = .{ .actor = number(u32, root, 12), .reason = @enumFromInt(root[16]) } },
        3 => .{ .down = .{
            .monitor = number(u64, root, 16),
            .actor = number(u32, root, 24),
            .reason = @enumFromInt(root[28]),
        } },
        else => .upgrade,
    };
}

/// Answer a request.
pub fn reply(request: u32, data: []const u8) Error!void {
    var archive: Archive = .{};
    const body = try archive.put(data, 1);
    const resources = try archive.put("", 4);
    const root = try archive.root(extern struct { request: u32, data: Bytes, resources: Bytes });
    root.request = request;
    root.data = body.seenFrom(&root.data);
    root.resources = resources.seenFrom(&root.resources);
    _ = try Reply.call(archive.bytes(), &outcome);
}

/// Send a message to the actor in a slot.
pub fn send(actor: u32, tag: u64, data: []const u8) Error!void {
    var archive: Archive = .{};
    const body = try archive.put(data, 1);
    const resources = try archive.put("", 4);
    const root = try archive.root(extern struct { to: u32, tag: u64, data: Bytes, resources: Bytes });
    root.to = actor;
    root.tag = tag;
    root.data = body.seenFrom(&root.data);
    root.resources = resources.seenFrom(&root.resources);
    _ = try Send.call(archive.bytes(), &outcome);
}

/// Send a request to the actor in a slot and wait for its reply, which lies in the buffer; at most `timeout_ms` if it is
/// given. The buffer is as that of `receive`; a refusal leaves its text there.
pub fn call(actor: u32, request: []const u8, buffer: []align(8) u8, timeout_ms: ?u64) Error![]const u8 {
    if (buffer.len < result_min) return Error.Refused;
    var archive: Archive = .{};
    const body = try archive.put(request, 1);
    const resources = try archive.put("", 4);
    const root = try archive.root(extern struct { to: u32, timeout: Option, data: Bytes, resources: Bytes, limit: u32 });
    root.to = actor;
    root.timeout = .{ .present = @intFromBool(timeout_ms != null), .value = timeout_ms orelse 0 };
    root.data = body.seenFrom(&root.data);
    root.resources = resources.seenFrom(&root.resources);
    root.limit = @intCast(buffer.len - result_min);
    const written = try Call.call(archive.bytes(), buffer);
    return dataOf(written[written.len - 16 ..]);
}

/// The slot of the guest itself.
pub fn self() Error!u32 {
    return number(u32, try Hostcall("enfilade::actor::self").call(&.{}, &outcome), 0);
}

/// Free the slot of an actor or of a request; an unanswered request fails at its caller.
pub fn release(slot: u32) Error!void {
    return tell("enfilade::actor::release", slot);
}

/// The slot of the actor that has this name.
pub fn whereis(name: []const u8) Error!u32 {
    var archive: Archive = .{};
    const text = try archive.putText(name);
    const root = try archive.root(Text);
    root.* = text.textSeenFrom(root);
    return number(u32, try Hostcall("enfilade::actor::whereis").call(archive.bytes(), &outcome), 0);
}

/// Give the actor in a slot a name.
pub fn register(name: []const u8, actor: u32) Error!void {
    var archive: Archive = .{};
    const text = try archive.putText(name);
    const root = try archive.root(extern struct { name: Text, actor: u32 });
    root.name = text.textSeenFrom(&root.name);
    root.actor = actor;
    _ = try Hostcall("enfilade::actor::register").call(archive.bytes(), &outcome);
}

/// After an upgrade was received: hand the guest's state over to the module that takes its place. It returns only if that
/// has failed, and the guest is to go on.
pub fn exportState(state: []const u8) Error!void {
    var archive: Archive = .{};
    const piece = try archive.put(state, 1);
    const root = try archive.root(Bytes);
    root.* = piece.seenFrom(root);
    _ = try Hostcall("enfilade::actor::export_state").call(archive.bytes(), &outcome);
}

/// At the start: the state that the module before has exported, in the buffer, which has 24 bytes more; null if there was
/// none before.
pub fn importState(buffer: []align(8) u8) Error!?[]const u8 {
    const written = try Hostcall("enfilade::actor::import_state").call(&.{}, buffer);
    const root = written[written.len - 12 ..];
    return if (root[0] == 0) null else dataOf(root[4..]);
}

// --- processes ------------------------------------------------------------------------------------------------------

/// An argument of an entrypoint. A resource is a slot of this guest, and becomes one of the child, an i32.
pub const Argument = union(enum) {
    i8: i8,
    u8: u8,
    i16: i16,
    u16: u16,
    i32: i32,
    u32: u32,
    i64: i64,
    u64: u64,
    f32: f32,
    f64: f64,
    buffer: []const u8,
    resource: u32,
};

/// A guest to be started as a child: a module below the module directory, and capabilities that this guest has.
pub const Child = struct {
    module: []const u8,
    entrypoint: []const u8 = "start",
    capabilities: []const u8 = "",
    arguments: []const Argument = &.{},
    link: bool = false,
    monitor: bool = false,
};

/// A child that was started: its slot, its process id, and the number of the monitor.
pub const Spawned = extern struct { actor: u32, process: u64, monitor: u64 };

/// Start a child.
pub fn spawn(child: Child) Error!Spawned {
    var archive: Archive = .{};
    const module = try archive.putText(child.module);
    const entrypoint = try archive.putText(child.entrypoint);
    const capabilities = try archive.put(child.capabilities, 1);
    const parameters = try archive.reserve(2 * child.arguments.len, 1);
    const results = try archive.put("", 1);
    var data = archive.used; // of the buffers among the arguments, one behind the other
    for (child.arguments) |argument| switch (argument) {
        .buffer => |bytes| _ = try archive.put(bytes, 1),
        else => {},
    };
    const arguments = try archive.reserve(24 * child.arguments.len, 8);
    @memset(arguments, 0);
    for (child.arguments, 0..) |argument, at| {
        const parameter = parameters[2 * at ..][0..2];
        const place = arguments[24 * at ..][0..24];
        parameter.* = .{ 0, @intFromEnum(argument) };
        place[8] = @intFromEnum(argument);
        switch (argument) {
            .buffer => |bytes| {
                const field: *Bytes = @ptrCast(@alignCast(place[4..12]));
                const piece: Archive.Piece = .{ .data = scratch[data..][0..bytes.len], .count = bytes.len };
                parameter.* = .{ 1, 0 };
                place[0] = 1;
                field.* = piece.seenFrom(field);
                data += bytes.len;
            },
            .resource => |slot| {
                parameter.* = .{ 0, @intFromEnum(Argument.i32) };
                place[0] = 2;
                std.mem.writeInt(u64, place[8..16], slot, .little);
            },
            inline else => |value| {
                const size = @sizeOf(@TypeOf(value));
                @memcpy(place[8 + size ..][0..size], std.mem.asBytes(&value));
            },
        }
    }
    const Root = extern struct {
        module: Text,
        entrypoint: Text,
        capabilities: Bytes,
        parameters: Bytes,
        results: Bytes,
        arguments: Bytes,
        link: u8,
        monitor: u8,
    };
    const root = try archive.root(Root);
    root.module = module.textSeenFrom(&root.module);
    root.entrypoint = entrypoint.textSeenFrom(&root.entrypoint);
    root.capabilities = capabilities.seenFrom(&root.capabilities);
    root.parameters = (Archive.Piece{ .data = parameters, .count = child.arguments.len }).seenFrom(&root.parameters);
    root.results = results.seenFrom(&root.results);
    root.arguments = (Archive.Piece{ .data = arguments, .count = child.arguments.len }).seenFrom(&root.arguments);
    root.link = @intFromBool(child.link);
    root.monitor = @intFromBool(child.monitor);
    const written = try Hostcall("enfilade::actor::spawn").call(archive.bytes(), &outcome);
    return std.mem.bytesToValue(Spawned, written[0..@sizeOf(Spawned)]);
}

/// Link the guest with an actor.
pub fn link(actor: u32) Error!void {
    return tell("enfilade::actor::link", actor);
}

/// Take a link down.
pub fn unlink(actor: u32) Error!void {
    return tell("enfilade::actor::unlink", actor);
}

/// Watch an actor; the number of the monitor.
pub fn monitor(actor: u32) Error!u64 {
    return exchange(u64, "enfilade::actor::monitor", actor);
}

/// Remove a monitor, and a notice of it that waits.
pub fn demonitor(number_: u64) Error!void {
    const arguments: extern struct { monitor: u64, flush: u8 } = .{ .monitor = number_, .flush = 1 };
    _ = try Hostcall("enfilade::actor::demonitor").call(std.mem.asBytes(&arguments), &outcome);
}

/// Whether exit signals arrive as messages from now on; what it was before.
pub fn trapExits(trap: bool) Error!bool {
    const written = try Hostcall("enfilade::actor::trap").call(&.{@intFromBool(trap)}, &outcome);
    return written[0] != 0;
}

/// Send an exit signal to an actor, or end the guest itself (null). The detail is a text for people.
pub fn exit(actor: ?u32, reason: Reason, detail: []const u8) Error!void {
    var archive: Archive = .{};
    const text = try archive.putText(detail);
    const root = try archive.root(extern struct { present: u8, to: u32, kind: u8, detail: Text });
    root.present = @intFromBool(actor != null);
    root.to = actor orelse 0;
    root.kind = @intFromEnum(reason);
    root.detail = text.textSeenFrom(&root.detail);
    _ = try Hostcall("enfilade::actor::exit").call(archive.bytes(), &outcome);
}

// --- time -----------------------------------------------------------------------------------------------------------

/// Milliseconds since 1970, and since the first question; the latter never goes back.
pub const Time = extern struct { unix_ms: u64, monotonic_ms: u64 };

/// What time it is.
pub fn now() Error!Time {
    const written = try Hostcall("selium::time::now").call(&.{}, &outcome);
    return std.mem.bytesToValue(Time, written[0..@sizeOf(Time)]);
}

/// Wait.
pub fn sleep(milliseconds: u64) Error!void {
    _ = try Hostcall("selium::time::sleep").call(std.mem.asBytes(&milliseconds), &outcome);
}

// --- channels -------------------------------------------------------------------------------------------------------

/// What a write to a full channel does: wait, or drop the frame.
pub const Backpressure = enum(u8) { park, drop };

/// A new channel of `capacity` bytes; its slot.
pub fn channel(capacity: u32, backpressure: Backpressure) Error!u32 {
    const Root = extern struct { capacity: u32, backpressure: u8 };
    return exchange(u32, "selium::channel::create", Root{ .capacity = capacity, .backpressure = @intFromEnum(backpressure) });
}

/// A reader or writer of a channel; its slot. Writers wait for strong readers, not for weak ones.
pub fn strongReader(of: u32) Error!u32 {
    return exchange(u32, "selium::channel::strong_reader_create", of);
}

pub fn weakReader(of: u32) Error!u32 {
    return exchange(u32, "selium::channel::weak_reader_create", of);
}

pub fn strongWriter(of: u32) Error!u32 {
    return exchange(u32, "selium::channel::strong_writer_create", of);
}

pub fn weakWriter(of: u32) Error!u32 {
    return exchange(u32, "selium::channel::weak_writer_create", of);
}

/// End a channel at once.
pub fn delete(of: u32) Error!void {
    return tell("selium::channel::delete", of);
}

/// End a channel once its readers have read what it has.
pub fn drain(of: u32) Error!void {
    return tell("selium::channel::drain", of);
}

/// Free a slot.
pub fn detach(slot: u32) Error!void {
    return tell("selium::channel::detach", slot);
}

/// A handle by which other guests attach what is in the slot.
pub fn share(slot: u32) Error!u64 {
    return exchange(u64, "selium::channel::share", slot);
}

/// A slot for what another guest has shared.
pub fn attach(handle: u64) Error!u32 {
    return exchange(u32, "selium::channel::attach", handle);
}

/// Read by the hostcall `module`; the buffer has 24 bytes more than the longest frame, and 256 at least.
fn readBy(comptime module: []const u8, slot: u32, buffer: []align(8) u8) Error![]const u8 {
    if (buffer.len < result_min) return Error.Refused;
    const arguments: extern struct { slot: u32, longest: u32 } = .{ .slot = slot, .longest = @intCast(buffer.len - 24) };
    const written = try Hostcall(module).call(std.mem.asBytes(&arguments), buffer);
    return dataOf(written[written.len - 8 ..]);
}

fn writeBy(comptime module: []const u8, slot: u32, data: []const u8) Error!void {
    var archive: Archive = .{};
    const payload = try archive.put(data, 1);
    const root = try archive.root(extern struct { slot: u32, payload: Bytes });
    root.slot = slot;
    root.payload = payload.seenFrom(&root.payload);
    _ = try Hostcall(module).call(archive.bytes(), &outcome);
}

/// The next frame, in the buffer, which has 24 bytes more than the longest frame, and 256 at least.
pub fn strongRead(reader: u32, buffer: []align(8) u8) Error![]const u8 {
    return readBy("selium::channel::strong_read", reader, buffer);
}

pub fn weakRead(reader: u32, buffer: []align(8) u8) Error![]const u8 {
    return readBy("selium::channel::weak_read", reader, buffer);
}

/// Write a frame.
pub fn strongWrite(writer: u32, data: []const u8) Error!void {
    return writeBy("selium::channel::strong_write", writer, data);
}

pub fn weakWrite(writer: u32, data: []const u8) Error!void {
    return writeBy("selium::channel::weak_write", writer, data);
}

// --- the log --------------------------------------------------------------------------------------------------------

pub const Level = enum(u8) { trace, debug, info, warning, err };

/// Bytes of the log channel; records beyond it are dropped and do not hold up the guest.
pub const log_capacity = 16384;

var log_writer: ?u32 = null;
var log_count: u64 = 0;

fn openLog() Error!u32 {
    const made = try channel(log_capacity, .drop);
    const handle = try share(made);
    _ = try Hostcall("selium::process::register_log_channel").call(std.mem.asBytes(&handle), &outcome);
    return strongWriter(made);
}

/// Write a record, which the host forwards to its logging tree. `target` names a place in the guest, such as
/// "filter::table"; it becomes a logger below enfilade.guest. It needs ChannelLifecycle and ChannelWriter.
pub fn log(level: Level, target: []const u8, message: []const u8) Error!void {
    // A FlatBuffers table: a vtable says where each of the six fields is, 0 if it is absent.
    const Record = extern struct {
        root: u32 = 20,
        vtable: [8]u16 = .{ 16, 24, 20, 4, 8, 0, 0, 12 },
        back: i32 = 16,
        target: u32 = 0,
        message: u32 = 0,
        timestamp_ms: u64 = 0,
        level: u8 = 0,
    };
    const writer = log_writer orelse try openLog();
    log_writer = writer;
    log_count += 1;
    var archive: Archive = .{};
    const record = try archive.root(Record);
    record.* = .{ .timestamp_ms = log_count, .level = @intFromEnum(level) };
    for ([_]*u32{ &record.target, &record.message }, [_][]const u8{ target, message }) |field, text| {
        const place = try archive.reserve(4 + text.len + 1, 4);
        std.mem.writeInt(u32, place[0..4], @intCast(text.len), .little);
        @memcpy(place[4..][0..text.len], text);
        place[4 + text.len] = 0;
        field.* = @bitCast(distance(field, place.ptr));
    }
    const piece: Archive.Piece = .{ .data = archive.bytes(), .count = archive.used };
    const root = try archive.root(extern struct { slot: u32, payload: Bytes });
    root.slot = writer;
    root.payload = piece.seenFrom(&root.payload);
    _ = try Hostcall("selium::channel::strong_write").call(archive.bytes(), &outcome);
}

// --- the network ----------------------------------------------------------------------------------------------------

/// The two halves of a connection, or one HTTP request: where it is read and answered.
pub const Connection = struct { reader: u32, writer: u32 };

pub const Protocol = enum(u8) { quic, http, https };

/// A listener or a peer. `tls` is the slot of TLS settings; null for the host's own certificate, or the roots it trusts.
pub const Endpoint = struct { protocol: Protocol, domain: []const u8, port: u16, tls: ?u64 = null };

/// `http` serves HTTP and HTTPS, `quic` serves QUIC. A listener, both halves of a connection and TLS settings are slots of
/// the guest; `detach` closes them.
pub const http = Family("http");
pub const quic = Family("quic");

fn Family(comptime family: []const u8) type {
    return struct {
        const module = "selium::net::" ++ family ++ "::";

        /// The slot of a listener.
        pub fn bind(at: Endpoint) Error!u32 {
            const written = try ask("bind", at);
            return @intCast(number(u64, written, 0));
        }

        /// Wait for a connection, or a request.
        pub fn accept(listener: u32) Error!Connection {
            const handle: u64 = listener;
            return halves(try Hostcall(module ++ "accept").call(std.mem.asBytes(&handle), &outcome));
        }

        /// Connect.
        pub fn connect(to: Endpoint) Error!Connection {
            return halves(try ask("connect", to));
        }

        /// As `strongRead`; no bytes at the end.
        pub fn read(reader: u32, buffer: []align(8) u8) Error![]const u8 {
            return readBy(module ++ "read", reader, buffer);
        }

        /// Write.
        pub fn write(writer: u32, data: []const u8) Error!void {
            return writeBy(module ++ "write", writer, data);
        }

        fn ask(comptime name: []const u8, endpoint: Endpoint) Error![]const u8 {
            var archive: Archive = .{};
            const domain = try archive.putText(endpoint.domain);
            const root = try archive.root(extern struct { protocol: u8, domain: Text, port: u16, tls: Option });
            root.protocol = @intFromEnum(endpoint.protocol);
            root.domain = domain.textSeenFrom(&root.domain);
            root.port = endpoint.port;
            root.tls = .{ .present = @intFromBool(endpoint.tls != null), .value = endpoint.tls orelse 0 };
            return Hostcall(module ++ name).call(archive.bytes(), &outcome);
        }

        fn halves(written: []const u8) Connection {
            const root = written[written.len - 24 ..];
            return .{ .reader = @intCast(number(u64, root, 0)), .writer = @intCast(number(u64, root, 8)) };
        }
    };
}

/// Settings of a TLS server: its certificate chain and key, as PEM. The slot.
pub fn tlsServer(chain: []const u8, key: []const u8) Error!u64 {
    const Root = extern struct {
        chain: Bytes,
        key: Bytes,
        client_ca: OptionalBytes,
        protocols: OptionalBytes,
        require_client: u8,
    };
    var archive: Archive = .{};
    const pieces = [_]Archive.Piece{ try archive.put(chain, 1), try archive.put(key, 1) };
    const root = try archive.root(Root);
    root.chain = pieces[0].seenFrom(&root.chain);
    root.key = pieces[1].seenFrom(&root.key);
    return number(u64, try Hostcall("selium::net::tls::server_config_create").call(archive.bytes(), &outcome), 0);
}

/// Settings of a TLS client: the certificates that it trusts, as PEM, in place of the host's. The slot.
pub fn tlsClient(trusted: []const u8) Error!u64 {
    const Root = extern struct { trusted: OptionalBytes, chain: OptionalBytes, key: OptionalBytes, protocols: OptionalBytes };
    var archive: Archive = .{};
    const piece = try archive.put(trusted, 1);
    const root = try archive.root(Root);
    root.trusted.present = 1;
    root.trusted.bytes = piece.seenFrom(&root.trusted.bytes);
    return number(u64, try Hostcall("selium::net::tls::client_config_create").call(archive.bytes(), &outcome), 0);
}
