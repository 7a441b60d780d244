//! Guests in Zig: this file is all that is needed.
//!
//!   zig build-exe guest.zig -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic \
//!       --stack 65536 --global-base=65536
//!
//! `Hostcall` makes the imports of one hostcall, and a function that begins it and waits for the outcome. Arguments and
//! results are encoded as rkyv has it: structs as C lays them out, with relative offsets to bytes that lie before them.

const std = @import("std");

/// What `poll` returns while there is no outcome; an error has this bit and others set.
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
