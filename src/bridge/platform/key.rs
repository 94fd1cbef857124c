//! The platform with the key as it is now: when the platform refuses the key, it is read again, and a corrected or
//! rotated one is taken without a restart.
//!
//! Nothing is repeated here. The call that was refused says so, and whoever made it tries again in its own time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use secrecy::ExposeSecret as _;
use secrecy::SecretString;

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

/// Reads the key from where the configuration says; says why it can't.
pub(super) type ReadKey = Box<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// Makes a client that sends this key; says why it can't.
pub(super) type Connect = Box<dyn Fn(&SecretString) -> Result<Arc<dyn Platform>, String> + Send + Sync>;

/// The platform, asked with the newest key.
pub(super) struct WithNewestKey {
    read: ReadKey,
    connect: Connect,
    current: Mutex<Current>,
}

struct Current {
    key: SecretString,
    client: Arc<dyn Platform>,
    /// Why the key could not be read again, so that it is said once.
    said: Option<String>,
}

impl WithNewestKey {
    /// Reads the key for the first time; says why there is none that can be sent.
    pub(super) fn new(read: ReadKey, connect: Connect) -> Result<Self, String> {
        let key = read()?;
        let client = connect(&key)?;
        Ok(Self { read, connect, current: Mutex::new(Current { key, client, said: None }) })
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Arc<dyn Platform> {
        Arc::clone(&self.lock().client)
    }

    /// Passes an answer on. One that refuses the key makes the next call use the key as it is then.
    fn heed<T>(&self, answer: Result<T, PlatformError>) -> Result<T, PlatformError> {
        if matches!(answer, Err(PlatformError::Unauthorized { .. })) {
            self.read_again();
        }
        answer
    }

    fn read_again(&self) {
        let newest = (self.read)();
        let mut current = self.lock();
        let key = match newest {
            Ok(key) if key.expose_secret() == current.key.expose_secret() => return,
            Ok(key) => key,
            Err(why) => return current.say(why),
        };
        match (self.connect)(&key) {
            Ok(client) => {
                tracing::info!("the API key has changed; the new one is used from now on");
                *current = Current { key, client, said: None };
            }
            Err(why) => current.say(why),
        }
    }
}

impl Current {
    fn say(&mut self, why: String) {
        if self.said.as_ref() != Some(&why) {
            tracing::warn!(why, "the platform refuses the API key, and it can't be read again");
            self.said = Some(why);
        }
    }
}

#[async_trait::async_trait]
impl Platform for WithNewestKey {
    async fn initialize(&self, spec: &StreamSpec) -> Result<Opened, PlatformError> {
        self.heed(self.client().initialize(spec).await)
    }

    async fn push_multi(&self, data_id: &str, chunk: &Chunk) -> Result<Vec<ChannelTotal>, PlatformError> {
        self.heed(self.client().push_multi(data_id, chunk).await)
    }

    async fn push_channel(
        &self,
        data_id: &str,
        index: u64,
        channel: &ChunkChannel,
    ) -> Result<ChannelTotal, PlatformError> {
        self.heed(self.client().push_channel(data_id, index, channel).await)
    }

    async fn finalize(&self, data_id: &str) -> Result<(), PlatformError> {
        self.heed(self.client().finalize(data_id).await)
    }

    async fn gateway_time(&self) -> Result<GatewayTime, PlatformError> {
        self.heed(self.client().gateway_time().await)
    }

    async fn growth_instruments(&self) -> Result<Vec<GrowthInstrument>, PlatformError> {
        self.heed(self.client().growth_instruments().await)
    }

    async fn create_growth_instrument(&self, new: &NewGrowthInstrument) -> Result<i64, PlatformError> {
        self.heed(self.client().create_growth_instrument(new).await)
    }

    async fn delete_growth_instrument(&self, synth_source_id: i64) -> Result<(), PlatformError> {
        self.heed(self.client().delete_growth_instrument(synth_source_id).await)
    }

    async fn physical_samples(&self) -> Result<Vec<Named>, PlatformError> {
        self.heed(self.client().physical_samples().await)
    }

    async fn create_physical_sample(&self, name: &str) -> Result<String, PlatformError> {
        self.heed(self.client().create_physical_sample(name).await)
    }

    async fn link_physical_sample(&self, data_id: &str, sample_id: &str) -> Result<(), PlatformError> {
        self.heed(self.client().link_physical_sample(data_id, sample_id).await)
    }

    async fn track_sample(&self, project_id: &str, sample_id: &str) -> Result<(), PlatformError> {
        self.heed(self.client().track_sample(project_id, sample_id).await)
    }

    async fn tags(&self) -> Result<Vec<Named>, PlatformError> {
        self.heed(self.client().tags().await)
    }

    async fn create_tag(&self, name: &str) -> Result<String, PlatformError> {
        self.heed(self.client().create_tag(name).await)
    }

    async fn link_tags(&self, data_id: &str, tag_ids: &[String]) -> Result<(), PlatformError> {
        self.heed(self.client().link_tags(data_id, tag_ids).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomscale::MockPlatform;

    #[tokio::test]
    async fn a_refused_key_is_read_again_and_a_new_one_is_used() {
        let key = Arc::new(Mutex::new(Ok("mistyped")));
        let made = Arc::new(Mutex::new(Vec::new()));
        let (source, clients) = (Arc::clone(&key), Arc::clone(&made));
        let connect = move |key: &SecretString| {
            let good = key.expose_secret() == "right";
            clients.lock().unwrap().push(key.expose_secret().to_owned());
            let mut platform = MockPlatform::new();
            platform.expect_finalize().returning(move |_| match good {
                true => Ok(()),
                false => Err(PlatformError::Unauthorized { status: 401, words: "no".to_owned() }),
            });
            Ok(Arc::new(platform) as Arc<dyn Platform>)
        };
        let read = move || source.lock().unwrap().map(SecretString::from).map_err(str::to_owned);
        let platform = WithNewestKey::new(Box::new(read), Box::new(connect)).unwrap();

        assert!(platform.finalize("d").await.is_err());
        assert_eq!(*made.lock().unwrap(), ["mistyped"], "the same key needs no new client");
        *key.lock().unwrap() = Err("gone");
        assert!(platform.finalize("d").await.is_err());
        *key.lock().unwrap() = Ok("right");
        assert!(platform.finalize("d").await.is_err(), "nothing is repeated here");
        platform.finalize("d").await.unwrap();
        platform.finalize("d").await.unwrap();
        assert_eq!(*made.lock().unwrap(), ["mistyped", "right"]);
    }
}
