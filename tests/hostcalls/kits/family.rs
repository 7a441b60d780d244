//! A parent and its child, in one module: family.c in Rust. It traps where a check fails, and ends with "done".

#![no_std]

use enfilade::{Argument, Backpressure, Channel, Child, Message, Reason, RESULT_MIN};

unsafe fn text<'a>(start: *const u8, size: u32) -> &'a [u8] {
    core::slice::from_raw_parts(start, size as usize)
}

#[no_mangle]
pub unsafe extern "C" fn child(words: *const u8, size: u32, channel: u32, low: u32, high: u32) {
    let words = text(words, size);
    assert!(words == b"greetings" && low == 0x5566_7788 && high == 0x1122_3344);
    Channel { slot: channel }.writer(true).unwrap().write(words).unwrap();
    enfilade::exit(None, Reason::Other, "the child has done its part").unwrap();
}

#[no_mangle]
pub unsafe extern "C" fn start(module: *const u8, size: u32) {
    parent(core::str::from_utf8(text(module, size)).unwrap()).unwrap();
}

fn parent(module: &str) -> enfilade::Result<()> {
    let mut buffer = [0; RESULT_MIN + 64];
    let channel = Channel::new(4096, Backpressure::Park)?;
    let reader = channel.reader(true)?;
    let again = Channel::attach(channel.share()?)?;
    assert!(again.slot != channel.slot);
    again.detach()?;
    assert!(again.detach().unwrap_err().text() == "resource not found");

    assert!(!enfilade::trap_exits(true)?);
    let spawned = enfilade::spawn(&Child {
        module,
        entrypoint: "child",
        capabilities: &[2, 3, 64, 66],
        arguments: &[
            Argument::Buffer(b"greetings"),
            Argument::Resource(channel.slot),
            Argument::U64(0x1122_3344_5566_7788),
        ],
        link: true,
        monitor: true,
    })?;
    assert!(spawned.monitor != 0 && spawned.process != 0);
    assert!(reader.read(&mut buffer)? == b"greetings");
    let mut seen = 0;
    while seen != 3 {
        match enfilade::receive(&mut buffer, None)?.unwrap() {
            Message::Exited { reason: Reason::Other, .. } => seen |= 1,
            Message::Down { reason: Reason::Other, monitor, .. } if monitor == spawned.monitor => seen |= 2,
            _ => panic!(),
        }
    }
    let number = enfilade::monitor(spawned.actor)?; // a notice follows at once, since the child has ended
    assert!(matches!(enfilade::receive(&mut buffer, None)?, Some(Message::Down { monitor, .. }) if monitor == number));
    assert!(enfilade::receive(&mut buffer, Some(0))?.is_none());
    assert!(enfilade::demonitor(number).is_err());
    enfilade::register("the parent", enfilade::this()?)?;
    let me = enfilade::whereis("the parent")?;
    enfilade::send(me, 7, b"a note to myself")?;
    assert!(matches!(enfilade::receive(&mut buffer, None)?, Some(Message::Plain { tag: 7, data: b"a note to myself" })));
    assert!(enfilade::call(me, &[0; 5000], &mut buffer, None).is_err());
    enfilade::release(me)?;
    for _ in 0..20000 {
        enfilade::now()?; // has its answer when it is polled
    }
    let before = enfilade::now()?;
    enfilade::sleep(1)?;
    assert!(enfilade::now()?.monotonic_ms > before.monotonic_ms);
    let (weak, writer) = (channel.reader(false)?, channel.writer(false)?);
    writer.write(b"once more")?;
    assert!(weak.read(&mut buffer)? == b"once more");
    channel.drain()?;
    enfilade::log(enfilade::Level::Warning, "family::parent", "all is well")?;
    enfilade::exit(None, Reason::Other, "done")
}
