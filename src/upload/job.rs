//! The steps that take time: requests to the platform, and what is recorded of their outcome. Each runs as a task of its own.

use std::sync::Arc;

use super::Outbox;
use super::OutboxError;
use super::run_upload::Step;
use crate::atomscale::ChannelTotal;
use crate::atomscale::OpenError;
use crate::atomscale::Platform;
use crate::atomscale::PlatformError;
use crate::atomscale::open_stream;
use crate::model::ChannelName;
use crate::model::Chunk;
use crate::model::Frozen;
use crate::model::RunId;
use crate::model::with_causes;

/// What came of a step.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The platform answered a question that only asked whether it is there.
    Greeted(Result<(), PlatformError>),
    /// A stream was created and recorded.
    Opened(String),
    /// A stream was created; the outbox could not record it.
    OpenedUnrecorded(String, OutboxError),
    /// No stream was created.
    NotOpened(OpenError),
    /// The chunk is on the platform, but for so many channels, and recorded so.
    Confirmed {
        /// The chunk.
        seq: u64,
        /// Points that are on the platform.
        points: u64,
        /// Channels that were refused.
        refused: u64,
    },
    /// The platform has the chunk; the outbox could not record it.
    Unrecorded(u64, OutboxError),
    /// The platform refused the chunk as a whole.
    Refused(u64, PlatformError),
    /// The platform refused every channel of the chunk, each with these words.
    WhollyRefused(u64, Vec<(ChannelName, String)>),
    /// The chunk did not get through.
    Failed(u64, PlatformError),
    /// The chunk is kept as rejected, with so many channels.
    Rejected(u64, u64),
    /// The end of the stream is recorded.
    Ended,
    /// The stream is finalized (or there was none), and recorded so.
    Finalized,
    /// The stream could not be finalized.
    NotFinalized(PlatformError),
    /// The outbox could not record the step.
    Store(OutboxError),
}

/// Asks the platform whether it is there, without a chunk; and without a key, unless its clock alone is out of order.
pub(super) async fn greet(platform: Arc<dyn Platform>) -> Outcome {
    let answer = platform.gateway_time().await.map(|_| ());
    let clock_alone = matches!(&answer, Err(error) if error.is_transient() && error.status().is_some());
    // Somebody answers. If it is the platform, chunks need not wait for its clock for ever.
    let answer = if clock_alone { platform.growth_instruments().await.map(|_| ()) } else { answer };
    Outcome::Greeted(answer)
}

/// Carries out a step of a run.
pub(super) async fn carry_out(step: Step, run: RunId, outbox: Arc<dyn Outbox>, platform: Arc<dyn Platform>) -> Outcome {
    let result = match step {
        Step::Open(spec) => match open_stream(platform.as_ref(), &spec).await {
            Ok(opened) => Ok(record(outbox.as_ref(), &run, opened.data_id).await),
            Err(error) => Ok(Outcome::NotOpened(error)),
        },
        Step::Record(data_id) => Ok(record(outbox.as_ref(), &run, data_id).await),
        Step::Send(frozen) => Ok(send(outbox.as_ref(), platform.as_ref(), &run, &frozen).await),
        Step::Try(frozen) => Ok(send_by_channel(outbox.as_ref(), platform.as_ref(), &run, &frozen).await),
        Step::Reject(frozen, channels) => {
            let count = channels.len() as u64;
            outbox.settle(&run, frozen.seq, &channels, &[]).await.map(|()| Outcome::Rejected(frozen.seq, count))
        }
        Step::End(data_id, why) => end(outbox.as_ref(), platform.as_ref(), &run, &data_id, &why).await,
        Step::Finalize(data_id) => match platform.finalize(&data_id).await {
            Ok(()) => finalized(outbox.as_ref(), &run).await,
            Err(error) => Ok(Outcome::NotFinalized(error)),
        },
        Step::Close => finalized(outbox.as_ref(), &run).await,
        Step::Take(_) => Err(OutboxError::Run("chunks are fetched by the courier itself".to_owned())),
    };
    result.unwrap_or_else(Outcome::Store)
}

async fn record(outbox: &dyn Outbox, run: &RunId, data_id: String) -> Outcome {
    match outbox.stream_opened(run, &data_id).await {
        Ok(()) => Outcome::Opened(data_id),
        Err(error) => Outcome::OpenedUnrecorded(data_id, error),
    }
}

async fn finalized(outbox: &dyn Outbox, run: &RunId) -> Result<Outcome, OutboxError> {
    outbox.stream_finalized(run).await.map(|()| Outcome::Finalized)
}

async fn end(
    outbox: &dyn Outbox,
    platform: &dyn Platform,
    run: &RunId,
    data_id: &str,
    why: &str,
) -> Result<Outcome, OutboxError> {
    outbox.stream_ended(run, why).await?;
    // Should the platform have meant something else by its refusals, the stream must not stay open for ever.
    if let Err(error) = platform.finalize(data_id).await {
        tracing::debug!(%run, data_id, error = %with_causes(&error), "the ended stream was not finalized");
    }
    Ok(Outcome::Ended)
}

async fn send(outbox: &dyn Outbox, platform: &dyn Platform, run: &RunId, frozen: &Frozen) -> Outcome {
    let seq = frozen.seq;
    if frozen.chunk.points() == 0 {
        return settle(outbox, run, seq, 0, &[], &[]).await;
    }
    match platform.push_multi(&frozen.data_id, &frozen.chunk).await {
        Ok(totals) => {
            let said: Vec<_> = totals.iter().filter_map(|total| said(&frozen.chunk, total)).collect();
            settle(outbox, run, seq, frozen.chunk.points() as u64, &[], &said).await
        }
        Err(error) if is_refusal(&error) => {
            note(outbox, run, seq, &error).await;
            Outcome::Refused(seq, error)
        }
        Err(error) => {
            note(outbox, run, seq, &error).await;
            Outcome::Failed(seq, error)
        }
    }
}

async fn send_by_channel(outbox: &dyn Outbox, platform: &dyn Platform, run: &RunId, frozen: &Frozen) -> Outcome {
    let seq = frozen.seq;
    let mut points = 0;
    let mut passed = 0;
    let mut refused = Vec::new();
    let mut said = Vec::new();
    for channel in frozen.chunk.channels.iter().filter(|channel| !channel.values.is_empty()) {
        match platform.push_channel(&frozen.data_id, frozen.chunk.index, channel).await {
            Ok(total) => {
                said.extend(total.total_points.map(|points| (channel.name.clone(), points)));
                passed += 1;
                points += channel.values.len() as u64;
            }
            Err(error) if is_refusal(&error) => refused.push((channel.name.clone(), error.words())),
            Err(error) => {
                note(outbox, run, seq, &error).await;
                return Outcome::Failed(seq, error);
            }
        }
    }
    if passed == 0 && !refused.is_empty() {
        return Outcome::WhollyRefused(seq, refused);
    }
    for (channel, words) in &refused {
        tracing::warn!(%run, seq, %channel, words, "the platform refuses a channel of a chunk; it is kept as rejected");
    }
    settle(outbox, run, seq, points, &refused, &said).await
}

async fn settle(
    outbox: &dyn Outbox,
    run: &RunId,
    seq: u64,
    points: u64,
    refused: &[(ChannelName, String)],
    said: &[(ChannelName, u64)],
) -> Outcome {
    match outbox.settle(run, seq, refused, said).await {
        Ok(()) => Outcome::Confirmed { seq, points, refused: refused.len() as u64 },
        Err(error) => Outcome::Unrecorded(seq, error),
    }
}

/// Counts a failed attempt in the run file. Should the disk fail too, the chunk is none the worse for it.
async fn note(outbox: &dyn Outbox, run: &RunId, seq: u64, error: &PlatformError) {
    if let Err(store) = outbox.attempt_failed(run, seq, &with_causes(&error)).await {
        tracing::debug!(%run, seq, error = %store, "a failed attempt was not recorded");
    }
}

/// Whether it is the content that the platform does not want: sent again as it is, it would be refused again.
fn is_refusal(error: &PlatformError) -> bool {
    match error {
        PlatformError::TooLarge { .. } | PlatformError::Encode(_) => true,
        PlatformError::Status { .. } => !error.is_transient(),
        _ => false,
    }
}

/// The points that the platform says to hold now of a channel of this chunk.
fn said(chunk: &Chunk, total: &ChannelTotal) -> Option<(ChannelName, u64)> {
    let channel = chunk.channels.iter().find(|channel| channel.name.as_str() == total.name)?;
    Some((channel.name.clone(), total.total_points?))
}
