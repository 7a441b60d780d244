//! A parent and its child, in one module: family.c in Zig. It traps where a check fails, and ends with "done".

const enfilade = @import("enfilade");
const std = @import("std");

comptime { // Zig compiles only what is used
    _ = .{ &enfilade.call, &enfilade.release, &enfilade.link, &enfilade.unlink, &enfilade.demonitor, &enfilade.delete };
    _ = .{ &enfilade.tlsServer, &enfilade.tlsClient };
    for (.{ enfilade.http, enfilade.quic }) |family| {
        _ = .{ &family.bind, &family.accept, &family.connect, &family.read, &family.write };
    }
}

var buffer: [enfilade.result_min + 64]u8 align(8) = undefined;

fn must(truth: bool) void {
    if (!truth) @trap();
}

export fn child(text: [*]const u8, size: u32, channel: u32, low: u32, high: u32) void {
    must(std.mem.eql(u8, text[0..size], "greetings"));
    must(low == 0x55667788 and high == 0x11223344);
    work(text[0..size], channel) catch @trap();
}

fn work(text: []const u8, channel: u32) !void {
    try enfilade.strongWrite(try enfilade.strongWriter(channel), text);
    try enfilade.exit(null, .other, "the child has done its part");
}

export fn start(module: [*]const u8, size: u32) void {
    parent(module[0..size]) catch @trap();
}

fn parent(module: []const u8) !void {
    const channel = try enfilade.channel(4096, .park);
    const reader = try enfilade.strongReader(channel);
    const again = try enfilade.attach(try enfilade.share(channel));
    must(again != channel);
    try enfilade.detach(again);
    must(if (enfilade.detach(again)) |_| false else |_| true);
    must(std.mem.eql(u8, enfilade.refusal(), "resource not found"));

    must(!try enfilade.trapExits(true));
    const spawned = try enfilade.spawn(.{
        .module = module,
        .entrypoint = "child",
        .capabilities = &.{ 2, 3, 64, 66 },
        .arguments = &.{ .{ .buffer = "greetings" }, .{ .resource = channel }, .{ .u64 = 0x1122334455667788 } },
        .link = true,
        .monitor = true,
    });
    must(spawned.monitor != 0);
    must(std.mem.eql(u8, try enfilade.strongRead(reader, &buffer), "greetings"));
    var seen: u8 = 0;
    while (seen != 3) {
        switch ((try enfilade.receive(&buffer, null)).?) {
            .exited => |exited| {
                must(exited.reason == .other);
                seen |= 1;
            },
            .down => |down| {
                must(down.reason == .other and down.monitor == spawned.monitor);
                seen |= 2;
            },
            else => @trap(),
        }
    }
    const number = try enfilade.monitor(spawned.actor); // a notice follows at once, since the child has ended
    must((try enfilade.receive(&buffer, null)).?.down.monitor == number);
    must((try enfilade.receive(&buffer, 0)) == null);
    try enfilade.register("the parent", try enfilade.self());
    const me = try enfilade.whereis("the parent");
    try enfilade.send(me, 7, "a note to myself");
    must((try enfilade.receive(&buffer, null)).?.plain.tag == 7);
    for (0..20000) |_| _ = try enfilade.now(); // each has its answer when it is polled
    const before = try enfilade.now();
    try enfilade.sleep(1);
    must((try enfilade.now()).monotonic_ms > before.monotonic_ms);
    const weak = try enfilade.weakReader(channel);
    try enfilade.weakWrite(try enfilade.weakWriter(channel), "once more");
    must(std.mem.eql(u8, try enfilade.weakRead(weak, &buffer), "once more"));
    try enfilade.drain(channel);
    try enfilade.log(.warning, "family::parent", "all is well");
    try enfilade.exit(null, .other, "done");
}
