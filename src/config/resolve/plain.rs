//! The tables that stand for themselves: platform, stream, run, align, storage, dashboard.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::document::DurationText;
use crate::document::Spanned;
use crate::model::host_of;
use crate::model::is_loopback;

use super::super::file::{FillWord, KeyFile, ModeWord, StartWord};
use super::super::secret::KeySource;
use super::super::{
    Align, AlignMode, Dashboard, Fill, InstrumentConfig, MOST_POINTS, NameTemplate, Platform, Storage, Stream,
    USUAL_NAME, USUAL_POINTS,
};
use super::Resolver;

/// The vendor's public endpoint.
const USUAL_ENDPOINT: &str = "https://api.atomscale.ai";

const USUAL_PORT: u16 = 8730;

/// How long a tick waits for a link. After a lost reply the next answer is held back for up to two seconds where a profile
/// says nothing of `timing.reply`; it should still find its tick.
const USUAL_LATENESS: Duration = Duration::from_secs(3);

/// How long a finished run stays beside its copy on the platform.
const USUAL_KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

/// Some days of a full lab, while somebody sees the warning.
const USUAL_FREE: u64 = 500_000_000;

/// The longest wait for an answer of the platform: as long as the vendor's own client waits.
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a key that is not accepted is tried again.
const USUAL_HOLD: Duration = Duration::from_secs(60);

/// Below this, a platform across an ocean never answers in time.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);

pub(super) const USUAL_GRACE: Duration = Duration::from_secs(20);

const KEY_HELP: &str =
    "{ env = \"AS_API_KEY\" }, { file = \"/etc/mbe-bridge/api-key\" } or { credential = \"atomscale\" }";

impl Resolver<'_> {
    /// As the file says, or the usual folder.
    pub(super) fn data_dir(&self) -> PathBuf {
        if let Some(given) = &self.document.value.data_dir {
            return self.path(given.get_ref());
        }
        crate::model::usual_data_dir(self.environment)
    }

    pub(super) fn platform(&mut self) -> Option<Platform> {
        let given = &self.document.value.platform;
        let timeout = self.positive("timeout", given.timeout.as_ref(), USUAL_TIMEOUT, SHORTEST_WAIT);
        let hold = self.positive("hold", given.hold.as_ref(), USUAL_HOLD, SHORTEST_WAIT);
        let file = &self.document.value.platform;
        let from_environment = (self.environment)("AS_API_ENDPOINT").filter(|text| !text.trim().is_empty());
        let endpoint = match (&file.endpoint, from_environment) {
            (Some(given), _) => {
                let text = given.get_ref().trim();
                if !text.starts_with("https://") && !text.starts_with("http://") {
                    self.error(given.span(), "an endpoint begins with https:// or http://", "");
                } else if text.starts_with("http://") && !is_loopback(host_of(text)) {
                    self.warning(given.span(), "the API key travels to this endpoint in the clear", "use https://");
                }
                text.to_owned()
            }
            (None, Some(text)) => text,
            (None, None) => USUAL_ENDPOINT.to_owned(),
        };
        let api_key = match &file.api_key {
            Some(given) => self.key("platform.api_key", given),
            None => Some(KeySource::Env("AS_API_KEY".to_owned())),
        };
        let stream_path = file.stream_path.as_ref().map(|path| path.get_ref().clone());
        if let Some(path) = file.stream_path.as_ref().filter(|path| !path.get_ref().starts_with('/')) {
            self.error(path.span(), "`stream_path` begins with a slash", "");
        }
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        Some(Platform { endpoint, stream_path, api_key: api_key?, timeout, hold })
    }

    fn key(&mut self, what: &str, given: &Spanned<KeyFile>) -> Option<KeySource> {
        let place = match given.get_ref() {
            KeyFile::Literal => {
                let message = format!("`{what}` is a secret and does not belong into this file");
                self.error(given.span(), message, format!("say where it is: {KEY_HELP}"));
                return None;
            }
            KeyFile::Place(place) => place,
        };
        match (&place.env, &place.file, &place.credential) {
            (Some(name), None, None) => {
                let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
                if name.get_ref().is_empty() || !name.get_ref().bytes().all(plain) {
                    let help = "capital letters, digits and `_`; the secret itself does not belong here";
                    self.error(name.span(), "this is no name of an environment variable", help);
                    return None;
                }
                Some(KeySource::Env(name.get_ref().clone()))
            }
            (None, Some(path), None) => Some(KeySource::File(self.path(path.get_ref()))),
            (None, None, Some(name)) => {
                if name.get_ref().is_empty() || name.get_ref().contains('/') {
                    self.error(name.span(), "a credential is the name that `LoadCredential=` gives it", "");
                }
                Some(KeySource::Credential(name.get_ref().clone()))
            }
            _ => {
                self.missing(given.span(), &format!("{what}.env"), format!("`{what}` names one place"), KEY_HELP);
                None
            }
        }
    }

    pub(super) fn stream(&mut self) -> Option<Stream> {
        let file = &self.document.value.stream;
        let template = match &file.name {
            None => NameTemplate::parse(USUAL_NAME).ok(),
            Some(given) => match NameTemplate::parse(given.get_ref()) {
                Ok(template) => Some(template),
                Err(why) => {
                    self.error(given.span(), why, "");
                    None
                }
            },
        };
        let points = file.points_per_chunk.as_ref().map_or(USUAL_POINTS, |points| *points.get_ref());
        if let Some(given) = file.points_per_chunk.as_ref().filter(|_| !(1..=MOST_POINTS).contains(&points)) {
            self.error(given.span(), format!("`points_per_chunk` has to be from 1 to {MOST_POINTS}"), "");
        }
        if let Some(id) = file.synth_source_id.as_ref().filter(|id| *id.get_ref() < 0) {
            self.error(id.span(), "`synth_source_id` is not negative", "`mbe-bridge growth-instruments` lists them");
        }
        if let Some(partial) = &file.partial_chunks {
            self.error(
                partial.span(),
                "this version of the bridge does not send partial chunks",
                "leave `partial_chunks` out; the dashboard shows every reading at once",
            );
        }
        let filled =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(ToOwned::to_owned);
        Some(Stream {
            name: template?,
            synth_source_id: file.synth_source_id.as_ref().map(|id| *id.get_ref()),
            physical_sample: filled(&file.physical_sample),
            project_id: filled(&file.project_id),
            tags: file.tags.clone(),
            points_per_chunk: usize::try_from(points).unwrap_or(usize::MAX),
        })
    }

    /// A run begins with the process. What else there will be is refused by name, lest somebody rely on it.
    pub(super) fn run(&mut self) {
        let file = &self.document.value.run;
        if let Some(split) = &file.split_every {
            let help = "leave `split_every` out; a run ends with the process";
            self.error(split.span(), "this version of the bridge does not split runs by itself", help);
        }
        if let Some(start) = file.start.as_ref().filter(|start| *start.get_ref() == StartWord::Manual) {
            let help = "leave `start` out or set it to \"auto\": a run begins and ends with the process";
            self.error(start.span(), "this version of the bridge can't start runs by hand", help);
        }
    }

    /// A duration that can't be zero.
    fn positive(
        &mut self,
        key: &str,
        given: Option<&Spanned<DurationText>>,
        usual: Duration,
        least: Duration,
    ) -> Duration {
        let Some(given) = given else { return usual };
        if given.get_ref().0 < least {
            self.error(given.span(), format!("`{key}` can't be shorter than {}ms", least.as_millis()), "");
        }
        given.get_ref().0
    }

    pub(super) fn align(&mut self) -> Align {
        let file = &self.document.value.align;
        let millisecond = Duration::from_millis(1);
        let period = self.positive("period", file.period.as_ref(), Duration::from_millis(100), millisecond);
        let lateness = self.positive("lateness", file.lateness.as_ref(), USUAL_LATENESS, Duration::ZERO);
        let max_age = self.positive("max_age", file.max_age.as_ref(), Duration::from_secs(5), millisecond);
        let word = file.fill.as_ref().map_or(FillWord::None, |fill| *fill.get_ref());
        if let Some(age) = file.max_age.as_ref().filter(|_| word == FillWord::None) {
            self.warning(age.span(), "`max_age` does nothing with fill = \"none\"", "");
        }
        let mode = match file.mode {
            Some(ModeWord::Native) => {
                let idle = [file.period.as_ref().map(Spanned::span), file.fill.as_ref().map(Spanned::span)];
                for span in idle.into_iter().flatten() {
                    self.warning(span, "this does nothing with mode = \"native\"", "");
                }
                AlignMode::Native
            }
            None | Some(ModeWord::Grid) => {
                let fill = match word {
                    FillWord::None => Fill::None,
                    FillWord::Hold => Fill::Hold { max_age },
                    FillWord::Linear => Fill::Linear { max_age },
                };
                AlignMode::Grid { period, fill }
            }
        };
        Align { mode, lateness }
    }

    /// Warns of a `lateness` with which the first good reading after a lost reply would come too late: it is held back
    /// until the lost one can't come any more, twice the `timing.reply` and the time in which a line falls quiet.
    pub(super) fn check_lateness(&mut self, align: &Align, instruments: &[InstrumentConfig]) {
        let Some(slowest) = instruments.iter().max_by_key(|instrument| instrument.device.timing.reply) else { return };
        let least = slowest.device.timing.reply * 2 + Duration::from_millis(500);
        if align.lateness < least {
            let span = self.document.value.align.lateness.as_ref().map_or(0..0, Spanned::span);
            let message = format!(
                "`align.lateness` of {}ms is too short for `{}`: good readings after a lost reply come too late",
                align.lateness.as_millis(),
                slowest.name
            );
            let help = format!("lateness = \"{}ms\" or more: twice its `timing.reply`, and 500ms", least.as_millis());
            self.warning(span, message, help);
        }
    }

    pub(super) fn storage(&mut self) -> Storage {
        let file = &self.document.value.storage;
        let least = Duration::from_millis(10);
        Storage {
            commit_every: self.positive("commit_every", file.commit_every.as_ref(), Duration::from_secs(1), least),
            resume_within: file.resume_within.map_or(Duration::from_secs(600), |within| within.0),
            max_span: self.positive(
                "max_span",
                file.max_span.as_ref(),
                Duration::from_secs(60),
                Duration::from_secs(1),
            ),
            keep_runs: file.keep_runs.map_or(Some(USUAL_KEEP), |keep| keep.0),
            min_free: file.min_free.map_or(USUAL_FREE, |free| free.0),
        }
    }

    pub(super) fn dashboard(&mut self) -> Option<Dashboard> {
        let file = &self.document.value.dashboard;
        let token = file.token.as_ref().and_then(|token| self.key("dashboard.token", token));
        let Some(given) = &file.listen else {
            return Some(Dashboard { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT)), token });
        };
        let text = given.get_ref().trim();
        if text == "off" {
            return None;
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let Ok(listen) = numeric.as_deref().unwrap_or(text).parse::<SocketAddr>() else {
            self.error(given.span(), format!("`{text}` is no address to listen on"), "\"127.0.0.1:8730\", or \"off\"");
            return None;
        };
        if !listen.ip().is_loopback() && file.token.is_none() {
            let help = "add token = { file = \"/etc/mbe-bridge/token\" }, or listen on 127.0.0.1";
            self.error(given.span(), "a dashboard that other machines can reach needs a `token`", help);
        }
        Some(Dashboard { listen, token })
    }
}
