//! A rate-limiting filter. A request is a key of at most 32 bytes; the answer is "pass", or "wait MILLISECONDS" when the
//! key has been asked for more than `rate` times a second, after `burst` times at once. A longer key is a fault.
//!
//! The state is one instant for each key: when its bucket will be empty. It is gone when a supervisor starts the filter
//! again, and handed over when the filter is moved to another module.

const enfilade = @import("enfilade");
const std = @import("std");

const longest = 32;

const Bucket = extern struct {
    empty_at: u64 = 0, // milliseconds
    size: u32 = 0,
    key: [longest]u8 = @splat(0),

    /// Milliseconds to wait, or 0 if the key may pass now.
    fn admit(bucket: *Bucket, now: u64, interval: u64, burst: u64) u64 {
        const empty_at = @max(bucket.empty_at, now);
        const ahead = empty_at - now;
        const allowed = (burst - 1) * interval;
        if (ahead > allowed) return ahead - allowed;
        bucket.empty_at = empty_at + interval;
        return 0;
    }
};

var buckets: [64]Bucket = @splat(.{});
var buffer: [enfilade.longest]u8 align(8) = undefined;
var text: [32]u8 = undefined;

/// The bucket of a key; a new key takes the place of the one that was empty first.
fn find(key: []const u8) *Bucket {
    var oldest = &buckets[0];
    for (&buckets) |*bucket| {
        if (bucket.empty_at != 0 and std.mem.eql(u8, bucket.key[0..bucket.size], key)) return bucket;
        if (bucket.empty_at < oldest.empty_at) oldest = bucket;
    }
    oldest.* = .{ .size = @intCast(key.len) };
    @memcpy(oldest.key[0..key.len], key);
    return oldest;
}

fn log(level: enfilade.Level, message: []const u8) void {
    enfilade.log(level, "filter", message) catch {};
}

export fn start(rate: u32, burst: u32) void {
    if (rate == 0 or rate > 1000 or burst == 0) {
        log(.err, "expected 1 to 1000 a second and a burst of at least 1");
        @trap();
    }
    if (enfilade.importState(&buffer) catch @trap()) |state| {
        if (state.len != @sizeOf(@TypeOf(buckets))) @trap(); // nobody may lose the state: the module before goes on
        @memcpy(std.mem.asBytes(&buckets), state);
    }
    enfilade.takes_upgrades = true;
    log(.info, "ready");
    while (true) {
        const message = enfilade.receive(&buffer, null) catch @trap();
        switch (message orelse continue) {
            .request => |request| {
                if (request.data.len > longest) @trap();
                const now = enfilade.now() catch @trap();
                const wait = find(request.data).admit(now.monotonic_ms + 1, 1000 / rate, burst);
                if (wait != 0) log(.debug, "held back");
                const answer = if (wait == 0) "pass" else std.fmt.bufPrint(&text, "wait {d}", .{wait}) catch @trap();
                enfilade.reply(request.slot, answer) catch {};
            },
            .upgrade => enfilade.exportState(std.mem.asBytes(&buckets)) catch {},
            else => {},
        }
    }
}
