//! Decoding: from a raw value to an outcome, in the order that profiles rely on, and back for simulators.
//!
//! The order: text states and sentinels; the instrument's own status; case; curve, or scale and offset; plausibility;
//! the lab's calibration. Sentinels, states and a bad status yield a reason and no number. Plausibility lowers the
//! quality and drops nothing.

use std::sync::Arc;

use crate::model::Finite;
use crate::model::Outcome;
use crate::model::Quality;
use crate::model::Reason;

use super::curve::Scaling;
use super::raw::FieldRef;
use super::{Fields, Raw};

/// The reason of a status that the profile's `quality` does not list: nobody knows what it means, so it is no value.
pub const UNKNOWN_STATUS: &str = "unknown_status";

/// The reason where a setting that says what the raw value means (its unit, say) could not be read.
pub(super) const UNKNOWN_SETTING: &str = "unknown_setting";

/// How a channel's raw value becomes an outcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoding {
    /// Words that mean "no value", and why.
    pub texts: Vec<(TextState, Reason)>,
    /// Raw numbers that mean "no value", and why.
    pub sentinels: Vec<(f64, Reason)>,
    /// The instrument's own status.
    pub quality: Option<QualityMap>,
    /// Laws that hold only in some states; the first that fits counts.
    pub cases: Vec<Case>,
    /// The law where there are no cases, or none fits. None where a reading outside all cases is no value.
    pub scaling: Option<Scaling>,
    /// Least and greatest plausible value, in the channel's unit.
    pub plausible: Option<(f64, f64)>,
    /// The lab's calibration, applied last; its unit is that of the channel.
    pub calibration: Vec<Scaling>,
}

/// A word, or the beginning of one (`LO<*` in the profile).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextState {
    /// The word, without the `*`.
    pub word: Arc<str>,
    /// Whether more may follow.
    pub open: bool,
}

/// What the codes of a status field mean.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityMap {
    /// The field that holds the status.
    pub from: FieldRef,
    /// Codes and what they mean.
    pub codes: Vec<(Raw, Verdict)>,
    /// What all other codes mean.
    pub other: Verdict,
}

/// What a status says about a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As the instrument means it.
    Good,
    /// A number to be doubted.
    Uncertain(Reason),
    /// No number.
    Bad(Reason),
}

/// A law that holds where all conditions do.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Fields and the codes that they must have.
    pub when: Vec<(FieldRef, Raw)>,
    /// The law.
    pub scaling: Scaling,
}

/// Why a simulator can't show an outcome.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unencodable {
    /// No sentinel, state or status of the profile has this reason.
    #[error("the profile has no sentinel, text or status for `{0}`")]
    Reason(Reason),
    /// No raw value gives this number.
    #[error("no raw value gives {0}")]
    Value(f64),
}

impl TextState {
    fn is(&self, text: &str) -> bool {
        match (self.open, &*self.word) {
            // `*` alone is any word that is no number.
            (true, "") => Raw::text(text).number().is_none(),
            (true, word) => text.starts_with(word),
            (false, word) => text == word,
        }
    }
}

impl QualityMap {
    fn verdict(&self, fields: &Fields) -> &Verdict {
        let Some(raw) = self.from.of(fields) else { return &self.other };
        self.codes.iter().find(|(code, _)| same(code, &raw)).map_or(&self.other, |(_, verdict)| verdict)
    }
}

/// Whether a code of a profile is what the instrument sent: `0` in the profile is `0` and `"0"` on the wire.
fn same(code: &Raw, raw: &Raw) -> bool {
    match (code, raw) {
        (Raw::Text(code), Raw::Text(text)) => code == text,
        _ => code.number().is_some_and(|code| raw.number() == Some(code)),
    }
}

impl Decoding {
    /// Makes an outcome of a raw value; `others` are the fields of the same exchange.
    pub fn evaluate(&self, raw: &Raw, others: &Fields) -> Outcome {
        if let Raw::Text(text) = raw
            && let Some((_, reason)) = self.texts.iter().find(|(state, _)| state.is(text))
        {
            return Outcome::Bad(reason.clone());
        }
        let number = raw.number();
        if let Some((_, reason)) = self.sentinels.iter().find(|(sentinel, _)| number == Some(*sentinel)) {
            return Outcome::Bad(reason.clone());
        }
        let verdict = self.quality.as_ref().map_or(&Verdict::Good, |quality| quality.verdict(others));
        if let Verdict::Bad(reason) = verdict {
            return Outcome::Bad(reason.clone());
        }
        let Some(number) = number else { return Outcome::Bad(Reason::MALFORMED) };
        let Some(scaling) = self.law(others) else { return Outcome::Bad(Reason::named(UNKNOWN_STATUS)) };
        let value = match scaling.apply(number) {
            Ok(value) => value,
            Err(reason) => return Outcome::Bad(reason),
        };
        let mut quality = match verdict {
            Verdict::Uncertain(reason) => Quality::Uncertain(reason.clone()),
            _ => Quality::Good,
        };
        if let Some((least, greatest)) = self.plausible
            && quality == Quality::Good
            && !(least..=greatest).contains(&value)
        {
            quality = Quality::Uncertain(Reason::IMPLAUSIBLE);
        }
        let calibrated = self.calibration.iter().try_fold(value, |value, step| step.apply(value));
        match calibrated.map(Finite::new) {
            Ok(Some(value)) => Outcome::Value { value, quality },
            Ok(None) => Outcome::Bad(Reason::NOT_A_NUMBER),
            Err(reason) => Outcome::Bad(reason),
        }
    }

    /// Why the status of an exchange says that there is no value. A status that is not there says nothing.
    pub(super) fn objection(&self, others: &Fields) -> Option<Reason> {
        let quality = self.quality.as_ref()?;
        quality.from.of(others)?;
        match quality.verdict(others) {
            Verdict::Bad(reason) => Some(reason.clone()),
            Verdict::Good | Verdict::Uncertain(_) => None,
        }
    }

    fn law(&self, others: &Fields) -> Option<&Scaling> {
        let fits =
            |case: &&Case| case.when.iter().all(|(field, code)| field.of(others).is_some_and(|raw| same(code, &raw)));
        self.cases.iter().find(fits).map(|case| &case.scaling).or(self.scaling.as_ref())
    }

    /// The names of the fields that evaluation looks at beside the channel's own.
    pub fn needs(&self) -> impl Iterator<Item = &Arc<str>> {
        let conditions = self.cases.iter().flat_map(|case| case.when.iter().map(|(field, _)| &field.name));
        self.quality.iter().map(|quality| &quality.from.name).chain(conditions)
    }

    /// Sets the fields so that evaluation gives this outcome: `own` to the raw value, and the status beside it. Fields that
    /// already say which case holds are left as they are.
    pub fn encode(&self, outcome: &Outcome, own: &Arc<str>, fields: &mut Fields) -> Result<(), Unencodable> {
        match outcome {
            Outcome::Bad(reason) => self.encode_bad(reason, own, fields),
            Outcome::Value { value, quality } => {
                if let Some(map) = &self.quality {
                    let wanted = match quality {
                        Quality::Good => Verdict::Good,
                        Quality::Uncertain(reason) if *reason == Reason::IMPLAUSIBLE => Verdict::Good,
                        Quality::Uncertain(reason) => Verdict::Uncertain(reason.clone()),
                    };
                    map.set(&wanted, fields);
                }
                let scaling = match (self.law(fields), self.cases.first()) {
                    (None, Some(case)) => {
                        for (field, code) in &case.when {
                            field.set(fields, code);
                        }
                        Some(&case.scaling)
                    }
                    (law, _) => law,
                };
                let value = value.get();
                let mut raw = value;
                for step in self.calibration.iter().rev().chain(scaling) {
                    raw = step.invert(raw).ok_or(Unencodable::Value(value))?;
                }
                fields.set(own, Raw::Float(raw));
                Ok(())
            }
        }
    }

    fn encode_bad(&self, reason: &Reason, own: &Arc<str>, fields: &mut Fields) -> Result<(), Unencodable> {
        if let Some((sentinel, _)) = self.sentinels.iter().find(|(_, named)| named == reason) {
            fields.set(own, Raw::Float(*sentinel));
            return Ok(());
        }
        if let Some((state, _)) = self.texts.iter().find(|(state, named)| named == reason && !state.word.is_empty()) {
            fields.set(own, Raw::Text(Arc::clone(&state.word)));
            return Ok(());
        }
        let set = self.quality.as_ref().is_some_and(|map| map.set(&Verdict::Bad(reason.clone()), fields));
        if set { Ok(()) } else { Err(Unencodable::Reason(reason.clone())) }
    }
}

impl QualityMap {
    /// Sets the status to a code with this meaning, if there is one.
    fn set(&self, wanted: &Verdict, fields: &mut Fields) -> bool {
        let code = self.codes.iter().find(|(_, verdict)| verdict == wanted).map(|(code, _)| code);
        if let Some(code) = code {
            self.from.set(fields, code);
        }
        code.is_some()
    }
}

#[cfg(test)]
#[path = "decoding_tests.rs"]
mod tests;
