//! A guest that answers every request with what it was asked, backwards; it ends after a request for "stop".

const enfilade = @import("enfilade");
const std = @import("std");

var buffer: [enfilade.result_min + 1024]u8 align(8) = undefined;
var answer: [1024]u8 = undefined;

export fn start() void {
    while (true) {
        const message = enfilade.receive(&buffer, null) catch @trap();
        switch (message orelse continue) {
            .request => |request| {
                for (request.data, 1..) |byte, place| answer[request.data.len - place] = byte;
                enfilade.reply(request.slot, answer[0..request.data.len]) catch @trap();
                if (std.mem.eql(u8, request.data, "stop")) return;
            },
            else => {},
        }
    }
}
