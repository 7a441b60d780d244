//! A guest that naps for as many milliseconds as it is told, and traps unless the clock agrees.

const enfilade = @import("enfilade");
const std = @import("std");

const Now = enfilade.Hostcall("selium::time::now");
const Sleep = enfilade.Hostcall("selium::time::sleep");

const Time = extern struct { unix_ms: u64, monotonic_ms: u64 };

fn now() Time {
    var result: [enfilade.result_min]u8 align(8) = undefined;
    const written = Now.call(&.{}, &result) catch @trap();
    return std.mem.bytesToValue(Time, written[0..@sizeOf(Time)]);
}

export fn start(milliseconds: u32) void {
    var result: [enfilade.result_min]u8 align(8) = undefined;
    const duration: u64 = milliseconds;
    const before = now();
    _ = Sleep.call(std.mem.asBytes(&duration), &result) catch @trap();
    if (now().monotonic_ms - before.monotonic_ms < duration) @trap();
}
