//! Guests in Zig. This file is complete: a guest needs nothing else.
//!
//!   zig build-exe -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic --stack 65536 --global-base=65536 \
//!       --dep enfilade -Mroot=guest.zig "-Menfilade=$(enfilade guest sdk)/zig/enfilade.zig" -femit-bin=guest.wasm
//!
//! `Hostcall` makes the imports of one hostcall, and a function that begins it and waits for the outcome. Arguments and
//! results are rkyv archives: structs in C's layout, with relative offsets to bytes before them. For messages of actors
//! this file has functions that encode and decode them: `receive`, `reply`, `send`.

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
                } else if (word & pending != 0) {
                    return Error.Refused;
                } else {
                    return result[0..word];
                }
            }
        }
    };
}

// --- actors ---------------------------------------------------------------------------------------------------------

const Receive = Hostcall("enfilade::actor::receive");
const Reply = Hostcall("enfilade::actor::reply");
const Send = Hostcall("enfilade::actor::send");

/// One message; `data` lies in the buffer that was given to `receive`.
pub const Message = union(enum) {
    /// Sent without expecting a reply.
    plain: struct { tag: u64, data: []const u8 },
    /// The caller waits for `reply`.
    request: struct { slot: u32, data: []const u8 },
    /// A linked process has ended.
    exited: struct { actor: u32 },
    /// A monitored process has ended.
    down: struct { monitor: u64, actor: u32 },
};

/// Bytes elsewhere: the offset counts from the field itself.
const Bytes = extern struct { offset: i32, size: u32 };
const Option = extern struct { present: u8, value: u64 };

/// Scratch space for outgoing messages; longer messages are refused.
pub const longest = 4096;
var scratch: [longest + 64]u8 align(8) = undefined;
var outcome: [result_min]u8 align(8) = undefined;

/// Wait for a message, at most `timeout_ms` if it is given; null on timeout. The buffer has 256 bytes more
/// than the longest message.
pub fn receive(buffer: []align(8) u8, timeout_ms: ?u64) Error!?Message {
    if (buffer.len < result_min) return Error.Refused;
    const wanted = extern struct { timeout: Option, kinds: u32, tag: Option, limit: u32 }{
        .timeout = .{ .present = @intFromBool(timeout_ms != null), .value = timeout_ms orelse 0 },
        .kinds = 0,
        .tag = .{ .present = 0, .value = 0 },
        .limit = @intCast(buffer.len - result_min),
    };
    const written = try Receive.call(std.mem.asBytes(&wanted), buffer);
    const root = written[written.len - 40 ..];
    if (root[0] == 0) return null;
    return switch (root[8]) {
        0 => .{ .plain = .{ .tag = number(u64, root, 16), .data = bytes(root[24..]) } },
        1 => .{ .request = .{ .slot = number(u32, root, 12), .data = bytes(root[16..]) } },
        2 => .{ .exited = .{ .actor = number(u32, root, 12) } },
        else => .{ .down = .{ .monitor = number(u64, root, 16), .actor = number(u32, root, 24) } },
    };
}

/// Answer a request.
pub fn reply(request: u32, data: []const u8) Error!void {
    const Root = extern struct { request: u32, data: Bytes, resources: Bytes };
    const at = try place(data, 4);
    const root: *Root = @ptrCast(@alignCast(scratch[at..]));
    root.* = .{ .request = request, .data = pointer(at + 4, data.len), .resources = .{ .offset = -12, .size = 0 } };
    _ = try Reply.call(scratch[0 .. at + @sizeOf(Root)], &outcome);
}

/// Send a message to the actor in a slot.
pub fn send(actor: u32, tag: u64, data: []const u8) Error!void {
    const Root = extern struct { to: u32, tag: u64, data: Bytes, resources: Bytes };
    const at = try place(data, 8);
    const root: *Root = @ptrCast(@alignCast(scratch[at..]));
    const nothing = Bytes{ .offset = -24, .size = 0 };
    root.* = .{ .to = actor, .tag = tag, .data = pointer(at + 16, data.len), .resources = nothing };
    _ = try Send.call(scratch[0 .. at + @sizeOf(Root)], &outcome);
}

/// Put data at the beginning of the scratch space; where the root may lie behind it.
fn place(data: []const u8, alignment: usize) Error!usize {
    if (data.len > longest) return Error.Refused;
    @memcpy(scratch[0..data.len], data);
    return std.mem.alignForward(usize, data.len, alignment);
}

/// A field at `at` that leads to the first `size` bytes.
fn pointer(at: usize, size: usize) Bytes {
    return .{ .offset = -@as(i32, @intCast(at)), .size = @intCast(size) };
}

fn number(comptime T: type, from: []const u8, at: usize) T {
    return std.mem.readInt(T, from[at..][0..@sizeOf(T)], .little);
}

/// What the field at the head of `from` leads to.
fn bytes(from: []const u8) []const u8 {
    const offset: i32 = @bitCast(number(u32, from, 0));
    const start = @as(isize, @intCast(@intFromPtr(from.ptr))) + offset;
    const data: [*]const u8 = @ptrFromInt(@as(usize, @intCast(start)));
    return data[0..number(u32, from, 4)];
}
