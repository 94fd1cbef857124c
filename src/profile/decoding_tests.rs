//! The order of evaluation, and its inverse.

use proptest::prelude::*;

use super::*;

fn fields(pairs: &[(&str, Raw)]) -> Fields {
    let mut fields = Fields::new();
    for (name, raw) in pairs {
        fields.set(&(*name).into(), raw.clone());
    }
    fields
}

fn bad(reason: &str) -> Outcome {
    Outcome::Bad(Reason::named(reason))
}

/// A temperature in tenths with a status beside it.
fn decoding() -> Decoding {
    Decoding {
        texts: vec![
            (TextState { word: "OFF".into(), open: false }, Reason::named("off")),
            (TextState { word: "LO<".into(), open: true }, Reason::named("under_range")),
        ],
        sentinels: vec![(88_880.0, Reason::named("over_range"))],
        quality: Some(QualityMap {
            from: FieldRef::parse("st[4..7]").unwrap(),
            codes: vec![
                (Raw::Integer(0), Verdict::Good),
                (Raw::Integer(5), Verdict::Uncertain(Reason::named("pirani_badly_adjusted"))),
                (Raw::Integer(8), Verdict::Bad(Reason::named("hot_cathode"))),
            ],
            other: Verdict::Bad(Reason::named(UNKNOWN_STATUS)),
        }),
        scaling: Some(Scaling::Linear { scale: 0.1, offset: 0.0 }),
        plausible: Some((0.0, 2000.0)),
        ..Decoding::default()
    }
}

#[test]
fn each_stage_comes_in_its_turn() {
    let status = |code: i128| fields(&[("st", Raw::Integer(code << 4))]);
    let evaluate = |raw: Raw, code| decoding().evaluate(&raw, &status(code));
    assert_eq!(evaluate(Raw::Integer(2563), 0), Outcome::good(256.3));
    // A word counts before the status, a sentinel before the status, the status before the number.
    assert_eq!(evaluate(Raw::text("OFF"), 8), bad("off"));
    assert_eq!(evaluate(Raw::text("LO<E-11"), 0), bad("under_range"));
    assert_eq!(evaluate(Raw::text("OFFX"), 0), Outcome::Bad(Reason::MALFORMED));
    assert_eq!(evaluate(Raw::Integer(88_880), 8), bad("over_range"));
    assert_eq!(evaluate(Raw::text("88880"), 0), bad("over_range"));
    assert_eq!(evaluate(Raw::Integer(2563), 8), bad("hot_cathode"));
    // No code that nobody has listed is good, and neither is a status that did not come.
    assert_eq!(evaluate(Raw::Integer(2563), 1), bad(UNKNOWN_STATUS));
    assert_eq!(decoding().evaluate(&Raw::Integer(2563), &Fields::new()), bad(UNKNOWN_STATUS));
    assert_eq!(evaluate(Raw::Float(f64::NAN), 0), Outcome::Bad(Reason::NOT_A_NUMBER));
}

#[test]
fn plausibility_lowers_the_quality_and_drops_nothing() {
    let outcome = decoding().evaluate(&Raw::Integer(-10), &fields(&[("st", Raw::Integer(0))]));
    let Outcome::Value { value, quality } = outcome else { panic!("dropped") };
    assert_eq!((value.get(), quality), (-1.0, Quality::Uncertain(Reason::IMPLAUSIBLE)));
    // The instrument's own doubt is the more telling one.
    let outcome = decoding().evaluate(&Raw::Integer(-10), &fields(&[("st", Raw::Integer(0x50))]));
    let Outcome::Value { quality, .. } = outcome else { panic!("dropped") };
    assert_eq!(quality, Quality::Uncertain(Reason::named("pirani_badly_adjusted")));
}

#[test]
fn a_case_chooses_the_law() {
    let case = |code, b| Case {
        when: vec![(FieldRef::parse("st[4..5]").unwrap(), Raw::Integer(code))],
        scaling: Scaling::Pow10 { a: 0.00025, b },
    };
    let decoding = Decoding { cases: vec![case(0, -12.5), case(2, -14.5)], scaling: None, ..Decoding::default() };
    let evaluate = |status| decoding.evaluate(&Raw::Integer(0xF230), &fields(&[("st", Raw::Integer(status))]));
    assert!((evaluate(0x00).value().unwrap().get() - 1000.0).abs() < 1e-9);
    assert!((evaluate(0x20).value().unwrap().get() - 10.0).abs() < 1e-11);
    assert_eq!(evaluate(0x10), bad(UNKNOWN_STATUS));
}

#[test]
fn the_labs_calibration_is_the_last_step() {
    let decoding =
        Decoding { calibration: vec![Scaling::Linear { scale: 2.0, offset: -5000.0 }], quality: None, ..decoding() };
    // Plausible before the calibration, so not doubted after it.
    assert_eq!(decoding.evaluate(&Raw::Integer(10_000), &Fields::new()), Outcome::good(-3000.0));
}

#[test]
fn every_reason_can_be_shown_by_a_simulator() {
    let own: Arc<str> = "t".into();
    for reason in ["off", "under_range", "over_range", "hot_cathode"] {
        let mut shown = fields(&[("t", Raw::Integer(2563)), ("st", Raw::Integer(0))]);
        decoding().encode(&bad(reason), &own, &mut shown).unwrap();
        assert_eq!(decoding().evaluate(shown.get("t").unwrap(), &shown), bad(reason));
    }
    let refused = decoding().encode(&bad("no_such"), &own, &mut Fields::new());
    assert_eq!(refused, Err(Unencodable::Reason(Reason::named("no_such"))));
}

proptest! {
    #[test]
    fn encoding_is_the_mirror_of_decoding(value in 0.0_f64..2000.0, doubt in any::<bool>()) {
        let own: Arc<str> = "t".into();
        let quality = if doubt { Quality::Uncertain(Reason::named("pirani_badly_adjusted")) } else { Quality::Good };
        let wanted = Outcome::Value { value: Finite::new(value).unwrap(), quality: quality.clone() };
        let mut shown = Fields::new();
        decoding().encode(&wanted, &own, &mut shown).unwrap();
        let Outcome::Value { value: got, quality: seen } = decoding().evaluate(shown.get("t").unwrap(), &shown) else {
            return Err(TestCaseError::fail("the value was lost"));
        };
        prop_assert!((got.get() - value).abs() < 1e-9 * value.max(1.0));
        prop_assert_eq!(seen, quality);
    }

    #[test]
    fn nothing_makes_evaluation_panic_or_invent(number in any::<f64>(), status in any::<i64>()) {
        let outcome = decoding().evaluate(&Raw::Float(number), &fields(&[("st", Raw::Integer(status.into()))]));
        if let Some(value) = outcome.value() {
            prop_assert!((value.get() - number * 0.1).abs() <= number.abs() * 1e-12);
        }
    }
}
