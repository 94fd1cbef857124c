//! The law of a channel: sentinels, states, status, cases, curve, plausibility.

use std::ops::Range;
use std::sync::Arc;

use crate::document::Number;
use crate::document::Scalar;
use crate::document::Spanned;
use crate::document::did_you_mean;
use crate::model::Reason;

use super::super::Raw;
use super::super::curve::Scaling;
use super::super::decoding::{Case, Decoding, QualityMap, TextState, UNKNOWN_STATUS, Verdict};
use super::super::raw::{FieldRef, is_name};
use super::super::schema::{CaseFile, ChannelFile, CurveFile, CurveKind, Places};
use super::Compiler;

/// `codes`: the meanings that channels share. `single`: whether the raw value is an `f32`, so that a sentinel such as 9.9E9
/// is compared as one.
pub(super) fn decoding(
    path: &str,
    file: &ChannelFile,
    codes: &Places<Places<Scalar>>,
    single: bool,
    unit: &mut Option<String>,
    compiler: &mut Compiler<'_>,
) -> Decoding {
    let cases: Vec<Case> = file
        .case
        .iter()
        .enumerate()
        .filter_map(|(index, case)| one_case(&format!("{path}.case[{index}]"), case, unit, compiler))
        .collect();
    let law = Law { scale: file.scale.as_ref(), offset: file.offset.as_ref(), curve: file.curve.as_ref() };
    let stated = law.is_stated();
    let scaling = law.scaling(compiler);
    Decoding {
        texts: texts(&file.text, compiler),
        sentinels: sentinels(&file.sentinel, single, compiler),
        quality: file.quality.as_ref().and_then(|quality| quality_map(path, quality, codes, compiler)),
        scaling: if cases.is_empty() || stated { Some(scaling) } else { None },
        cases,
        plausible: file.plausible.as_ref().and_then(|range| plausible(range, compiler)),
        calibration: Vec::new(),
    }
}

/// The keys that state a law.
struct Law<'a> {
    scale: Option<&'a Spanned<Number>>,
    offset: Option<&'a Spanned<Number>>,
    curve: Option<&'a Spanned<CurveFile>>,
}

impl Law<'_> {
    fn is_stated(&self) -> bool {
        self.scale.is_some() || self.offset.is_some() || self.curve.is_some()
    }

    fn scaling(&self, compiler: &mut Compiler<'_>) -> Scaling {
        let [scale, offset] = compiler.numbers([self.scale, self.offset]);
        if let Some(scale) = self.scale.filter(|_| scale == Some(0.0)) {
            compiler.error(scale.span(), "a scale of 0 makes every reading the same", "");
        }
        let Some(curve) = self.curve else {
            return Scaling::Linear { scale: scale.unwrap_or(1.0), offset: offset.unwrap_or(0.0) };
        };
        if let Some(beside) = self.scale.or(self.offset) {
            compiler.error(beside.span(), "a channel has a `curve`, or `scale` and `offset`, not both", "");
        }
        curve_scaling(curve, compiler).unwrap_or(Scaling::IDENTITY)
    }
}

fn curve_scaling(curve: &Spanned<CurveFile>, compiler: &mut Compiler<'_>) -> Option<Scaling> {
    const HELP: &str = "pow10 has `a` and `b`: 10^(a*raw + b); poly has `c`: c0 + c1*raw + ...; table has `points`: [[raw, value], ...]";
    let file = curve.get_ref();
    let Some(kind) = &file.kind else {
        compiler.error(curve.span(), "a curve has no `kind`, or a wrong one", HELP);
        return None;
    };
    let [a, b] = compiler.numbers([file.a.as_ref(), file.b.as_ref()]);
    let given = [file.a.is_some(), file.b.is_some(), file.c.is_some(), file.points.is_some()];
    let wanted = match kind.get_ref() {
        CurveKind::Pow10 => [true, true, false, false],
        CurveKind::Poly => [false, false, true, false],
        CurveKind::Table => [false, false, false, true],
    };
    if given != wanted {
        compiler.error(curve.span(), "the keys of the curve do not go with its `kind`", HELP);
        return None;
    }
    match kind.get_ref() {
        CurveKind::Pow10 => Some(Scaling::Pow10 { a: a?, b: b? }),
        CurveKind::Poly => {
            let c = file.c.as_ref()?;
            if c.get_ref().is_empty() || c.get_ref().iter().any(|c| !c.is_finite()) {
                compiler.error(c.span(), "`c` has to be a list of finite numbers, the constant first", "");
            }
            Some(Scaling::Poly(c.get_ref().clone()))
        }
        CurveKind::Table => {
            let points = file.points.as_ref()?;
            let pairs = points.get_ref().iter().map(|pair| pair.get_ref().as_slice());
            match table(pairs) {
                Ok(scaling) => Some(scaling),
                Err(why) => {
                    compiler.error(points.span(), why, "");
                    None
                }
            }
        }
    }
}

/// A table of points, or what is wrong with it.
pub(crate) fn table<'a>(pairs: impl Iterator<Item = &'a [f64]>) -> Result<Scaling, &'static str> {
    let points: Option<Vec<(f64, f64)>> = pairs
        .map(|pair| match pair {
            [raw, value] if raw.is_finite() && value.is_finite() => Some((*raw, *value)),
            _ => None,
        })
        .collect();
    let points = points.ok_or("a table's points are pairs of finite numbers: [[raw, value], ...]")?;
    if points.len() < 2 {
        return Err("a table needs at least two points");
    }
    if points.is_sorted_by(|before, after| before.0 < after.0) {
        Ok(Scaling::Table(points))
    } else {
        Err("a table's raw values have to rise from point to point")
    }
}

fn one_case(
    path: &str,
    entry: &Spanned<CaseFile>,
    unit: &mut Option<String>,
    compiler: &mut Compiler<'_>,
) -> Option<Case> {
    let case = entry.get_ref();
    if case.when.is_empty() {
        compiler.missing(
            &entry.span(),
            &format!("{path}.when"),
            "a case has no `when`",
            "when = { \"status[4..5]\" = 0 }",
        );
        return None;
    }
    if let Some(given) = &case.unit {
        let own = compiler.substituted(given.get_ref());
        if unit.as_ref().is_some_and(|unit| *unit != own) {
            let help = "let each case's `scale` or `curve` convert to the channel's unit";
            compiler.error(given.span(), "a channel has one unit in all its cases", help);
        }
        *unit = Some(own);
    }
    let mut when = Vec::new();
    for (field, code) in &case.when {
        when.push((field_ref(field.get_ref(), &field.span(), compiler)?, raw_code(&code.get_ref().to_string())));
    }
    let law = Law { scale: case.scale.as_ref(), offset: case.offset.as_ref(), curve: case.curve.as_ref() };
    Some(Case { when, scaling: law.scaling(compiler) })
}

/// `shared` are the meanings that `codes` of the profile gives names to; a channel's own come before them.
fn quality_map(
    path: &str,
    quality: &Spanned<Places<Scalar>>,
    shared: &Places<Places<Scalar>>,
    compiler: &mut Compiler<'_>,
) -> Option<QualityMap> {
    let table = quality.get_ref();
    let from = at(table, "from").and_then(|from| field_ref(&from.get_ref().to_string(), &from.span(), compiler));
    let (mut codes, mut other) = verdicts(table, compiler);
    if let Some(named) = at(table, "codes") {
        let name = named.get_ref().to_string();
        match at(shared, &name) {
            Some(meanings) => {
                let (more, rest) = verdicts(meanings.get_ref(), compiler);
                codes.extend(more);
                other = other.or(rest);
            }
            None => {
                let help = did_you_mean(&name, "`[codes]`", shared.keys().map(|known| known.get_ref().as_str()));
                compiler.error(named.span(), format!("the profile has no `[codes.{name}]`"), help);
            }
        }
    }
    if at(table, "from").is_none() {
        compiler.missing(
            &quality.span(),
            &format!("{path}.quality.from"),
            "`quality` has no `from`",
            "from = the field, or the Modbus channel, that holds the status",
        );
    }
    let other = other.unwrap_or_else(|| Verdict::Bad(Reason::named(UNKNOWN_STATUS)));
    Some(QualityMap { from: from?, codes, other })
}

fn at<'a, T>(table: &'a Places<T>, name: &str) -> Option<&'a Spanned<T>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// What codes mean, and what all others do, if that is said.
fn verdicts(table: &Places<Scalar>, compiler: &mut Compiler<'_>) -> (Vec<(Raw, Verdict)>, Option<Verdict>) {
    let mut codes = Vec::new();
    let mut other = None;
    for (key, value) in table.iter().filter(|(key, _)| !matches!(key.get_ref().as_str(), "from" | "codes")) {
        let text = value.get_ref().to_string();
        let Some(verdict) = verdict(&text) else {
            compiler.error(
                value.span(),
                format!("`{text}` says nothing about a value"),
                "\"good\", \"uncertain:reason\" or \"bad:reason\"",
            );
            continue;
        };
        if key.get_ref() == "other" {
            other = Some(verdict);
        } else {
            codes.push((raw_code(key.get_ref()), verdict));
        }
    }
    (codes, other)
}

fn verdict(text: &str) -> Option<Verdict> {
    match text {
        "good" => Some(Verdict::Good),
        "uncertain" => Some(Verdict::Uncertain(Reason::named("doubted_by_instrument"))),
        _ => match text.strip_prefix("uncertain:") {
            Some(reason) => is_name(reason).then(|| Verdict::Uncertain(Reason::named(reason))),
            None => reason(text).map(Verdict::Bad),
        },
    }
}

/// A reason, with `bad:` before it or without.
fn reason(text: &str) -> Option<Reason> {
    let reason = text.strip_prefix("bad:").unwrap_or(text);
    (is_name(reason) && reason != "good" && reason != "uncertain").then(|| Reason::named(reason))
}

fn reason_at(text: &Spanned<String>, compiler: &mut Compiler<'_>) -> Option<Reason> {
    let reason = reason(text.get_ref());
    if reason.is_none() {
        compiler.error(
            text.span(),
            format!("`{}` is no reason", text.get_ref()),
            "one word of letters, digits and `_`, such as \"over_range\"",
        );
    }
    reason
}

fn sentinels(sentinel: &Places<String>, single: bool, compiler: &mut Compiler<'_>) -> Vec<(f64, Reason)> {
    let mut made = Vec::new();
    for (key, value) in sentinel {
        let text = compiler.substituted(key.get_ref());
        let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite());
        match (number, reason_at(value, compiler)) {
            (Some(number), Some(reason)) => made.push((if single { as_single(number) } else { number }, reason)),
            (None, _) => compiler.error(key.span(), format!("`{text}` is no number"), "words go into `text`"),
            (_, None) => {}
        }
    }
    made
}

#[expect(clippy::cast_possible_truncation, reason = "the f32 that the instrument sends for this number")]
fn as_single(number: f64) -> f64 {
    f64::from(number as f32)
}

fn texts(text: &Places<String>, compiler: &mut Compiler<'_>) -> Vec<(TextState, Reason)> {
    let mut made: Vec<(TextState, Reason)> = Vec::new();
    for (key, value) in text {
        let word = key.get_ref();
        let (word, open) = word.strip_suffix('*').map_or((word.as_str(), false), |word| (word, true));
        if let Some(reason) = reason_at(value, compiler) {
            made.push((TextState { word: Arc::from(word), open }, reason));
        }
    }
    // Of a whole word and a beginning that both fit, the longer one is meant.
    made.sort_by_key(|(state, _)| (state.open, std::cmp::Reverse(state.word.len())));
    made
}

fn plausible(range: &Spanned<Vec<f64>>, compiler: &mut Compiler<'_>) -> Option<(f64, f64)> {
    match range.get_ref().as_slice() {
        [least, greatest] if least < greatest => Some((*least, *greatest)),
        _ => {
            compiler.error(range.span(), "`plausible` has to be [least, greatest]", "");
            None
        }
    }
}

fn field_ref(text: &str, span: &Range<usize>, compiler: &mut Compiler<'_>) -> Option<FieldRef> {
    let parsed = FieldRef::parse(text);
    if parsed.is_none() {
        compiler.error(span.clone(), format!("`{text}` names no field"), "\"name\", \"name[4]\" or \"name[4..7]\"");
    }
    parsed
}

/// A code as profiles write it: a whole number, also as `0x10`, or a word.
fn raw_code(text: &str) -> Raw {
    let whole = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    whole.map_or_else(|| Raw::text(text), Raw::Integer)
}
