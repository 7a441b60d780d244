//! A guest that naps for as many milliseconds as it is told, and traps unless the clock agrees.

const enfilade = @import("enfilade");
export fn start(milliseconds: u32) void {
    const before = enfilade.now() catch @trap();
    enfilade.sleep(milliseconds) catch @trap();
    const after = enfilade.now() catch @trap();
    if (after.monotonic_ms - before.monotonic_ms < milliseconds) @trap();
}
