//! A platform in memory: each test says how it answers, and everything it was asked is kept with the time.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::atomscale::ChannelTotal;
use crate::atomscale::GatewayTime;
use crate::atomscale::GrowthInstrument;
use crate::atomscale::Named;
use crate::atomscale::NewGrowthInstrument;
use crate::atomscale::Opened;
use crate::atomscale::Platform;
use crate::atomscale::PlatformError;
use crate::model::Chunk;
use crate::model::ChunkChannel;
use crate::model::StreamSpec;

/// A question to the platform.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    Initialize(StreamSpec),
    Multi { data_id: String, index: u64 },
    Channel { data_id: String, index: u64, name: String },
    Finalize(String),
    LinkSample,
    Time,
}

/// What the platform does about a question.
pub(super) enum Answer {
    /// As it should.
    Well,
    /// It does not do it, and says why.
    No(PlatformError),
    /// It does it, and the answer is lost.
    Lost,
}

type Rule = Box<dyn FnMut(&Call, Duration) -> Answer + Send>;

#[derive(Default)]
struct State {
    calls: Vec<(Duration, Call)>,
    /// Channels stored, by stream and chunk.
    stored: BTreeMap<(String, u64), BTreeSet<String>>,
    finalized: BTreeSet<String>,
    opened: usize,
    now: usize,
    most: usize,
}

pub(super) struct FakePlatform {
    began: Instant,
    latency: Duration,
    rule: Mutex<Rule>,
    state: Mutex<State>,
}

pub(super) fn status(status: u16, words: &str) -> PlatformError {
    PlatformError::Status { status, words: words.to_owned(), retry_after: None }
}

pub(super) fn gone() -> PlatformError {
    PlatformError::Gone { status: 409, words: "stream is not active".to_owned() }
}

impl FakePlatform {
    /// A platform that answers after so long, as the rule (question, time since the start) says.
    pub(super) fn new(latency: Duration, rule: impl FnMut(&Call, Duration) -> Answer + Send + 'static) -> Self {
        Self { began: Instant::now(), latency, rule: Mutex::new(Box::new(rule)), state: Mutex::new(State::default()) }
    }

    pub(super) fn calls(&self) -> Vec<(Duration, Call)> {
        self.state.lock().unwrap().calls.clone()
    }

    pub(super) fn count(&self, which: impl Fn(&Call) -> bool) -> usize {
        self.calls().iter().filter(|(_, call)| which(call)).count()
    }

    pub(super) fn opened(&self) -> usize {
        self.state.lock().unwrap().opened
    }

    /// Most questions that were open at one time.
    pub(super) fn most_at_once(&self) -> usize {
        self.state.lock().unwrap().most
    }

    pub(super) fn finalized(&self) -> Vec<String> {
        self.state.lock().unwrap().finalized.iter().cloned().collect()
    }

    /// The chunks that this stream holds.
    pub(super) fn stored(&self, data_id: &str) -> Vec<u64> {
        let state = self.state.lock().unwrap();
        state.stored.keys().filter(|(stream, _)| stream == data_id).map(|(_, index)| *index).collect()
    }

    async fn ask(
        &self,
        call: Call,
        carry_out: impl FnOnce(&mut State) -> Result<(), PlatformError>,
    ) -> Result<(), PlatformError> {
        let at = self.began.elapsed();
        let answer = (self.rule.lock().unwrap())(&call, at);
        let open = Open::new(&self.state, (at, call));
        tokio::time::sleep(self.latency).await;
        drop(open);
        match answer {
            Answer::Well => carry_out(&mut self.state.lock().unwrap()),
            Answer::No(error) => Err(error),
            Answer::Lost => {
                carry_out(&mut self.state.lock().unwrap())?;
                Err(PlatformError::TimedOut)
            }
        }
    }

    async fn store(&self, call: Call, data_id: &str, index: u64, channels: Vec<String>) -> Result<(), PlatformError> {
        self.ask(call, |state| {
            if state.finalized.contains(data_id) {
                return Err(gone());
            }
            state.stored.entry((data_id.to_owned(), index)).or_default().extend(channels);
            Ok(())
        })
        .await
    }
}

/// Counts a question as open, also when the one who asked goes away.
struct Open<'a>(&'a Mutex<State>);

impl<'a> Open<'a> {
    fn new(shared: &'a Mutex<State>, asked: (Duration, Call)) -> Self {
        let mut state = shared.lock().unwrap();
        state.calls.push(asked);
        state.now += 1;
        state.most = state.most.max(state.now);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().now -= 1;
    }
}

#[async_trait::async_trait]
impl Platform for FakePlatform {
    async fn initialize(&self, spec: &StreamSpec) -> Result<Opened, PlatformError> {
        let mut data_id = String::new();
        self.ask(Call::Initialize(spec.clone()), |state| {
            state.opened += 1;
            data_id = format!("stream-{}", state.opened);
            Ok(())
        })
        .await?;
        Ok(Opened { data_id })
    }

    async fn push_multi(&self, data_id: &str, chunk: &Chunk) -> Result<Vec<ChannelTotal>, PlatformError> {
        let call = Call::Multi { data_id: data_id.to_owned(), index: chunk.index };
        let channels = chunk.channels.iter().map(|channel| channel.name.to_string()).collect();
        self.store(call, data_id, chunk.index, channels).await?;
        Ok(Vec::new())
    }

    async fn push_channel(
        &self,
        data_id: &str,
        index: u64,
        channel: &ChunkChannel,
    ) -> Result<ChannelTotal, PlatformError> {
        let name = channel.name.to_string();
        let call = Call::Channel { data_id: data_id.to_owned(), index, name: name.clone() };
        self.store(call, data_id, index, vec![name.clone()]).await?;
        Ok(ChannelTotal { name, total_points: None })
    }

    async fn finalize(&self, data_id: &str) -> Result<(), PlatformError> {
        self.ask(Call::Finalize(data_id.to_owned()), |state| {
            if state.finalized.insert(data_id.to_owned()) { Ok(()) } else { Err(gone()) }
        })
        .await
    }

    async fn gateway_time(&self) -> Result<GatewayTime, PlatformError> {
        self.ask(Call::Time, |_| Ok(())).await?;
        Ok(GatewayTime { received_ms: 0.0, transmitted_ms: 0.0 })
    }

    async fn link_physical_sample(&self, _data_id: &str, _sample_id: &str) -> Result<(), PlatformError> {
        self.ask(Call::LinkSample, |_| Ok(())).await
    }

    async fn physical_samples(&self) -> Result<Vec<Named>, PlatformError> {
        Ok(vec![Named { id: "s-1".to_owned(), name: "sample".to_owned() }])
    }

    async fn create_physical_sample(&self, _name: &str) -> Result<String, PlatformError> {
        Err(status(405, "not here"))
    }

    async fn track_sample(&self, _project_id: &str, _sample_id: &str) -> Result<(), PlatformError> {
        Err(status(405, "not here"))
    }

    async fn tags(&self) -> Result<Vec<Named>, PlatformError> {
        Err(status(405, "not here"))
    }

    async fn create_tag(&self, _name: &str) -> Result<String, PlatformError> {
        Err(status(405, "not here"))
    }

    async fn link_tags(&self, _data_id: &str, _tag_ids: &[String]) -> Result<(), PlatformError> {
        Err(status(405, "not here"))
    }

    async fn growth_instruments(&self) -> Result<Vec<GrowthInstrument>, PlatformError> {
        Err(status(405, "not here"))
    }

    async fn create_growth_instrument(&self, _new: &NewGrowthInstrument) -> Result<i64, PlatformError> {
        Err(status(405, "not here"))
    }

    async fn delete_growth_instrument(&self, _synth_source_id: i64) -> Result<(), PlatformError> {
        Err(status(405, "not here"))
    }
}
