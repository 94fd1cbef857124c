//! Names of streams with the start of the run in them: `GEN10 {start:%Y-%m-%d %H:%M}`.

use jiff::Timestamp;
use jiff::Zoned;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::model::Stamp;

/// A name with places for the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A format of `strftime`.
    Start(String),
}

impl NameTemplate {
    /// Reads a template, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, next) = after.split_once('}').ok_or_else(|| format!("`{{{after}` is not closed"))?;
            let format = match inside.split_once(':') {
                Some(("start", format)) => format,
                None if inside == "start" => "%Y-%m-%d %H:%M",
                _ => return Err(format!("`{{{inside}}}` is unknown; there is {{start:%Y-%m-%d %H:%M}}")),
            };
            strtime::format(format, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
                .map_err(|error| format!("`{format}` is no format of a time: {error}"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Start(format.to_owned()));
            rest = next;
        }
        parts.push(Part::Text(rest.to_owned()));
        let blank = parts.iter().all(|part| matches!(part, Part::Text(text) if text.trim().is_empty()));
        if blank { Err("the name is blank".to_owned()) } else { Ok(Self(parts)) }
    }

    /// The name of a run that started then, in the local time of this machine.
    pub fn at(&self, start: Stamp) -> String {
        self.in_zone(start, TimeZone::system())
    }

    fn in_zone(&self, start: Stamp, zone: TimeZone) -> String {
        let instant = Timestamp::from_nanosecond(i128::from(start.as_nanos())).unwrap_or(Timestamp::UNIX_EPOCH);
        let local: Zoned = instant.to_zoned(zone);
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Start(format) => strtime::format(format, &local).unwrap_or_default(),
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_goes_into_the_name() {
        let at = Stamp::from_nanos(1_795_356_481_000_000_000);
        let name = |text: &str| NameTemplate::parse(text).unwrap().in_zone(at, TimeZone::UTC);
        assert_eq!(name("GEN10 {start:%Y-%m-%d %H:%M}"), "GEN10 2026-11-22 14:08");
        assert_eq!(name("{start}: {start:%S}s"), "2026-11-22 14:08: 01s");
        assert_eq!(name("plain"), "plain");
    }

    #[test]
    fn wrong_templates_say_why() {
        for (text, why) in [
            ("a {start", "not closed"),
            ("{stop:%Y}", "unknown"),
            ("{start:%!}", "no format of a time"),
            ("  ", "blank"),
        ] {
            let error = NameTemplate::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
