//! Two processes written against Selium's own library: one hands out tasks and collects results, the other, which it
//! starts and stops, works on them, choosing between the next task and a timer each time.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{FutureExt, SinkExt, StreamExt};
use selium_userland::{
    abi::{AbiParam, AbiScalarType, AbiScalarValue, AbiSignature, GuestResourceId},
    entrypoint,
    io::{Channel, SharedChannel},
    process::{Capability, ProcessBuilder},
    time,
};
use tracing::info;

const CAPACITY: u32 = 65536;

#[entrypoint]
async fn boss(module: &str, count: u32) -> Result<()> {
    let tasks = Channel::create(CAPACITY).await?;
    let results = Channel::create(CAPACITY).await?;
    let handle = AbiParam::Scalar(AbiScalarType::U64);
    let number = AbiParam::Scalar(AbiScalarType::U32);
    let signature = AbiSignature::new(vec![handle, handle, AbiParam::Buffer, number], Vec::new());
    let worker = ProcessBuilder::new(module, "worker")
        .capability(Capability::ChannelLifecycle)
        .capability(Capability::ChannelReader)
        .capability(Capability::ChannelWriter)
        .capability(Capability::TimeRead)
        .signature(signature)
        .log_uri("sel://probe/worker".to_string())
        .arg_resource(tasks.share().await?.raw())
        .arg_resource(results.share().await?.raw())
        .arg_utf8("w1")
        .arg_scalar(AbiScalarValue::U32(count))
        .start()
        .await
        .context("start the worker")?;
    let mut writer = tasks.publish().await?;
    for id in 0..count {
        time::sleep(Duration::from_millis(7)).await?;
        writer.send(format!("task {id}").into_bytes()).await?;
    }
    writer.flush().await?;
    let mut reader = results.subscribe(CAPACITY).await?;
    for _ in 0..count {
        let frame = reader.next().await.transpose()?.context("results ended early")?;
        info!(writer = frame.writer_id, "{}", String::from_utf8_lossy(&frame.payload));
    }
    // It has returned by now, and must be there to be stopped all the same.
    worker.stop().await.context("stop the worker")?;
    Ok(())
}

#[entrypoint]
async fn worker(tasks: GuestResourceId, results: GuestResourceId, label: &str, count: u32) -> Result<()> {
    let tasks = Channel::attach_shared(unsafe { SharedChannel::from_raw(tasks) }).await?;
    let results = Channel::attach_shared(unsafe { SharedChannel::from_raw(results) }).await?;
    let mut reader = tasks.subscribe(CAPACITY).await?;
    let mut writer = results.publish().await?;
    for _ in 0..count {
        let frame = loop {
            let next = reader.next().fuse();
            let nap = time::sleep(Duration::from_millis(1)).fuse();
            futures::pin_mut!(next, nap);
            futures::select! {
                frame = next => break frame.transpose()?.context("tasks ended early")?,
                _ = nap => continue,
            }
        };
        for line in 0..60 {
            info!(line, "burst");
        }
        let mut done = frame.payload.clone();
        done.extend_from_slice(b" done by ");
        done.extend_from_slice(label.as_bytes());
        writer.send(done).await?;
    }
    writer.flush().await?;
    Ok(())
}
