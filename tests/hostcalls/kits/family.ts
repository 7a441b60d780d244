/** A parent and its child, in one module: family.c in AssemblyScript. It traps where a check fails, and ends with "done". */

import * as enfilade from "enfilade";
import { Argument, Kind, Reason, Type } from "enfilade";

function must(truth: bool): void {
  if (!truth) unreachable();
}

function text(data: ArrayBuffer | null): string {
  return String.UTF8.decode(data!);
}

/** AssemblyScript compiles only what is used; nobody calls this. */
export function network(): void {
  const listener = enfilade.http.bind(enfilade.Protocol.Http, "localhost", 8080, enfilade.tlsServer("", ""));
  const request = enfilade.http.accept(listener)!;
  must(enfilade.http.connect(enfilade.Protocol.Https, "localhost", 443, enfilade.tlsClient("")) !== null);
  must(enfilade.http.write(request.writer, enfilade.http.read(request.reader)!));
  const stream = enfilade.quic.accept(enfilade.quic.bind("localhost", 7000))!;
  must(enfilade.quic.connect("localhost", 7000) !== null);
  must(enfilade.quic.write(stream.writer, enfilade.quic.read(stream.reader)!));
  must(enfilade.remove(0) && enfilade.link(0) && enfilade.unlink(0));
}

export function child(words: usize, size: u32, channel: u32, low: u32, high: u32): void {
  must(String.UTF8.decodeUnsafe(words, size) == "greetings");
  must(low == 0x55667788 && high == 0x11223344);
  must(enfilade.strongWrite(enfilade.strongWriter(channel), String.UTF8.encode("greetings")));
  enfilade.exit(-1, Reason.Other, "the child has done its part");
}

export function start(module: usize, size: u32): void {
  const channel = enfilade.channel(4096);
  const reader = enfilade.strongReader(channel);
  must(channel >= 0 && reader >= 0);
  const again = enfilade.attach(enfilade.share(channel));
  must(again >= 0 && again != channel);
  must(enfilade.detach(again));
  must(!enfilade.detach(again));
  must(enfilade.refusal() == "resource not found");

  must(enfilade.trapExits(true) == 0);
  const wanted = new enfilade.Child(String.UTF8.decodeUnsafe(module, size));
  wanted.entrypoint = "child";
  wanted.capabilities = [2, 3, 64, 66];
  wanted.arguments = [Argument.text("greetings"), Argument.resource(channel), Argument.number(Type.U64, 0x1122334455667788)];
  wanted.link = true;
  wanted.monitor = true;
  const spawned = enfilade.spawn(wanted)!;
  must(spawned.monitor != 0 && spawned.process != 0);
  must(text(enfilade.strongRead(reader)) == "greetings");
  for (let seen = 0; seen != 3; ) {
    const message = enfilade.receive()!;
    must(message.reason == Reason.Other);
    must(message.kind == Kind.Exited || (message.kind == Kind.Down && message.monitor == spawned.monitor));
    seen |= message.kind == Kind.Exited ? 1 : 2;
  }
  const number = enfilade.monitor(spawned.actor); // a notice follows at once, since the child has ended
  must(enfilade.receive()!.monitor == number);
  must(enfilade.receive(0)!.kind == Kind.Nothing);
  must(!enfilade.demonitor(number));
  must(enfilade.register("the parent", enfilade.self()));
  const me = enfilade.whereis("the parent");
  must(me >= 0);
  must(enfilade.send(me, 7, String.UTF8.encode("a note to myself")));
  const note = enfilade.receive()!;
  must(note.tag == 7 && note.text() == "a note to myself");
  must(enfilade.call(me, new ArrayBuffer(5000)) === null);
  must(enfilade.release(me));
  const before = enfilade.monotonic();
  must(enfilade.sleep(1));
  for (let i = 0; i < 20000; i++) enfilade.now(); // each has its answer when it is polled
  must(enfilade.monotonic() > before && enfilade.now() > before);
  const weak = enfilade.weakReader(channel), writer = enfilade.weakWriter(channel);
  must(enfilade.weakWrite(writer, String.UTF8.encode("once more")));
  must(text(enfilade.weakRead(weak)) == "once more");
  must(enfilade.drain(channel));
  must(enfilade.log(enfilade.Level.Warning, "family::parent", "all is well"));
  enfilade.exit(-1, Reason.Other, "done");
}
