//! What the simulated chamber goes through: values as a pure function of time.
//!
//! The growth is a plausible one, not a physical model: a heater programme with the lag of a controller and of a
//! substrate, shutters that disturb the temperature and let in beam flux, a chamber that outgases in the ramp. Its numbers
//! are chosen to look like molecular-beam epitaxy and to exercise what reads them: four decades of pressure, steps,
//! slopes and noise. Nothing here knows an instrument: resolution and range are the profile's business.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Kind;

use super::recording::{Playing, Recording};

/// Lowest and highest chamber pressure of a growth, in mbar.
const PRESSURE_RANGE: (f64, f64) = (1e-10, 1e-7);
/// Temperature between growths, in degC.
const IDLE: f64 = 150.0;
/// Growth temperature, in degC.
const GROWTH: f64 = 620.0;
/// The programme: fraction of the whole time, setpoint in degC; straight lines between.
const PROGRAMME: [(f64, f64); 6] =
    [(0.0, IDLE), (0.05, IDLE), (0.30, GROWTH), (0.78, GROWTH), (0.93, IDLE), (1.0, IDLE)];
/// When shutters work, in fractions of the whole time, and how many layers are grown in it.
const SHUTTERS: (f64, f64) = (0.40, 0.78);
const LAYERS: f64 = 8.0;
/// The share of a layer's time with the shutter open.
const OPEN: f64 = 0.7;
/// Time constants, in fractions of the whole time, of the controller's thermocouple and of the substrate.
const CONTROLLER_LAG: f64 = 0.005;
const SUBSTRATE_LAG: f64 = 0.012;
/// Noise is drawn anew this often and runs straight between.
const NOISE_STEP: Duration = Duration::from_millis(200);

/// The course of everything that the instruments of a chamber measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    course: Course,
}

#[derive(Debug, Clone, PartialEq)]
enum Course {
    Growth { total: Duration },
    Recorded { recording: Arc<Recording>, playing: Playing, others: Duration },
    Constant(f64),
    Sweep { low: f64, high: f64, period: Duration },
}

impl Scenario {
    /// One growth in `total`: idle at 150 degC, ramp, soak and growth at 620 degC, cool-down; then the next one.
    pub fn growth(total: Duration) -> Self {
        Self { course: Course::Growth { total: total.max(Duration::from_millis(1)) } }
    }

    /// Every channel has this value, in its own unit, at all times.
    pub fn constant(value: f64) -> Self {
        Self { course: Course::Constant(value) }
    }

    /// Every channel goes from `low` to `high` and back in `period`, in its own unit, in straight lines; by decades, where
    /// both are above zero and at least two decades apart.
    pub fn sweep(low: f64, high: f64, period: Duration) -> Self {
        Self { course: Course::Sweep { low, high, period: period.max(Duration::from_millis(1)) } }
    }

    /// What was recorded elsewhere; channels without a column go through a growth in `others`.
    pub fn recorded(recording: Recording, playing: Playing, others: Duration) -> Self {
        let others = others.max(Duration::from_millis(1));
        Self { course: Course::Recorded { recording: Arc::new(recording), playing, others } }
    }

    /// Whether its values are made up, and not what somebody has asked for.
    pub(super) fn is_made_up(&self) -> bool {
        matches!(self.course, Course::Growth { .. })
    }

    /// What the signal is at a time since the start, in the signal's unit. Always finite.
    pub fn value(&self, signal: &Signal, at: Duration) -> f64 {
        match &self.course {
            Course::Recorded { recording, playing, others } => recording
                .value(&signal.id, at, *playing)
                .unwrap_or_else(|| signal.scale.in_unit(growth(signal, fraction(at, *others), at))),
            Course::Constant(value) => *value,
            &Course::Sweep { low, high, period } => {
                let phase = fraction(at, period);
                let up = if phase < 0.5 { 2.0 * phase } else { 2.0 - 2.0 * phase };
                if low > 0.0 && high / low >= 100.0 { low * (high / low).powf(up) } else { low + (high - low) * up }
            }
            Course::Growth { total } => signal.scale.in_unit(growth(signal, fraction(at, *total), at)),
        }
    }
}

/// How far a time is into its period, from 0 to (not quite) 1.
fn fraction(at: Duration, period: Duration) -> f64 {
    (at.as_secs_f64() / period.as_secs_f64()).fract()
}

/// What a channel measures, as far as a scenario tells one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Substrate,
    Controller,
    Setpoint,
    Ambient,
    Output,
    Pressure,
    PumpCurrent,
    Photocurrent,
    Voltage,
    Emissivity,
    Seconds,
    State,
}

/// Units, from the base that a scenario counts in: degC, mbar, and plain numbers for the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    factor: f64,
    offset: f64,
}

impl Scale {
    fn of(unit: Option<&str>) -> Self {
        let (factor, offset) = match unit {
            Some("degF") => (1.8, 32.0),
            Some("K") => (1.0, 273.15),
            Some("Torr" | "torr") => (0.750_061_683, 0.0),
            Some("Pa") => (100.0, 0.0),
            Some("bar") => (1e-3, 0.0),
            Some("micron" | "mTorr") => (750.061_683, 0.0),
            Some("mA") => (1e3, 0.0),
            Some("uA") => (1e6, 0.0),
            Some("kV") => (1e-3, 0.0),
            _ => (1.0, 0.0),
        };
        Self { factor, offset }
    }

    fn in_unit(self, value: f64) -> f64 {
        value * self.factor + self.offset
    }
}

/// One channel, as a scenario sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The channel's id.
    id: Arc<str>,
    quantity: Quantity,
    scale: Scale,
    /// Tells the noise of one channel from that of the next.
    seed: u64,
    /// The place among like channels, from 0: the number at the end of the id less one.
    rank: u8,
}

impl Signal {
    /// The signal of a channel, by what its id, unit and kind say. `seed` keeps the noise of two instruments apart.
    pub fn of(id: &str, unit: Option<&str>, kind: Kind, seed: u64) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| id.contains(word));
        let quantity = match (kind, unit) {
            (Kind::State | Kind::Info, _) => Quantity::State,
            (Kind::Counter, _) => Quantity::Seconds,
            (Kind::Setting, None | Some("%" | "1")) => Quantity::Emissivity,
            (_, Some("degC" | "degF" | "K")) if has(&["setpoint", "target", "_sp", "sp_"]) || id == "sp" => {
                Quantity::Setpoint
            }
            (_, Some("degC" | "degF" | "K"))
                if has(&["ambient", "internal", "head", "chassis", "cjc", "device", "detector"]) =>
            {
                Quantity::Ambient
            }
            (_, Some("degC" | "degF" | "K")) if has(&["process", "controller", "_pv", "pv_"]) || id == "pv" => {
                Quantity::Controller
            }
            (_, Some("degC" | "degF" | "K")) => Quantity::Substrate,
            (_, Some("mbar" | "hPa" | "Torr" | "torr" | "Pa" | "bar" | "micron" | "mTorr")) => Quantity::Pressure,
            (_, Some("%")) => Quantity::Output,
            (_, Some("A" | "mA" | "uA")) if has(&["photo", "signal", "detector"]) => Quantity::Photocurrent,
            (_, Some("A" | "mA" | "uA")) => Quantity::PumpCurrent,
            (_, Some("V" | "kV")) => Quantity::Voltage,
            _ if has(&["emissivity", "transmittance"]) => Quantity::Emissivity,
            _ if has(&["output", "power"]) => Quantity::Output,
            _ if has(&["pressure"]) => Quantity::Pressure,
            _ if has(&["temperature"]) => Quantity::Substrate,
            _ => Quantity::State,
        };
        let digits = id.len() - id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number = id.get(id.len() - digits..).and_then(|digits| digits.parse::<u8>().ok()).unwrap_or(1);
        let seed = id.bytes().fold(seed, |seed, byte| mixed(seed ^ u64::from(byte)));
        Self { id: id.into(), quantity, scale: Scale::of(unit), seed, rank: number.saturating_sub(1).min(9) }
    }

    /// Noise between -1 and 1 (three draws averaged: small deviations are the frequent ones).
    fn noise(&self, at: Duration) -> f64 {
        let steps = at.as_secs_f64() / NOISE_STEP.as_secs_f64();
        let cell = at.as_nanos() / NOISE_STEP.as_nanos();
        let draw = |cell: u128| {
            let cell = u64::try_from(cell & u128::from(u64::MAX)).unwrap_or_default();
            let mut rng = fastrand::Rng::with_seed(mixed(self.seed ^ mixed(cell)));
            (rng.f64() + rng.f64() + rng.f64()) * 2.0 / 3.0 - 1.0
        };
        let between = steps.fract();
        draw(cell) * (1.0 - between) + draw(cell + 1) * between
    }
}

/// Spreads the bits of a number (the finalizer of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A signal of the growth, in base units, at fraction `x` of the whole.
fn growth(signal: &Signal, x: f64, at: Duration) -> f64 {
    let rank = f64::from(signal.rank);
    match signal.quantity {
        Quantity::Substrate => substrate(x) + 3.0 * rank + 0.25 * signal.noise(at),
        Quantity::Controller => controller(x) + 3.0 * rank + 0.1 * signal.noise(at),
        Quantity::Setpoint => setpoint(x).0,
        Quantity::Ambient => 24.0 + 6.0 * (substrate(x) - IDLE) / (GROWTH - IDLE) + 0.05 * signal.noise(at),
        Quantity::Output => {
            let (target, slope) = setpoint(x);
            let holding = 8.0 + 34.0 * (target - IDLE) / (GROWTH - IDLE);
            (holding + slope * 0.008 + 0.3 * signal.noise(at)).clamp(0.0, 100.0)
        }
        Quantity::Pressure => {
            (pressure(x) * 10_f64.powf(0.08 * rank + 0.02 * signal.noise(at))).clamp(PRESSURE_RANGE.0, PRESSURE_RANGE.1)
        }
        Quantity::PumpCurrent => pressure(x) * 15.0 * 10_f64.powf(0.02 * signal.noise(at)),
        Quantity::Photocurrent => {
            // Wien's law at 900 nm: what makes a pyrometer's signal span decades.
            let kelvin = substrate(x) + 273.15;
            1e-7 * (14_388.0 / 0.9 * (1.0 / 893.15 - 1.0 / kelvin)).exp() * 10_f64.powf(0.003 * signal.noise(at))
        }
        Quantity::Voltage => 5_600.0 + 4.0 * signal.noise(at),
        Quantity::Emissivity => 0.68,
        Quantity::Seconds => at.as_secs_f64().floor(),
        Quantity::State => 0.0,
    }
}

/// The programme at `x`: degC, and degC per whole time.
fn setpoint(x: f64) -> (f64, f64) {
    segments().find(|segment| x < segment.end).map_or((IDLE, 0.0), |s| (s.from + s.slope * (x - s.start), s.slope))
}

/// A straight piece of the programme.
struct Segment {
    start: f64,
    end: f64,
    from: f64,
    slope: f64,
}

fn segments() -> impl Iterator<Item = Segment> {
    PROGRAMME.iter().zip(PROGRAMME.iter().skip(1)).map(|(&(start, from), &(end, to))| Segment {
        start,
        end,
        from,
        slope: (to - from) / (end - start),
    })
}

/// What follows the programme with a first-order lag, exactly: in a straight piece of slope r the error tends to r*lag.
fn lagging(x: f64, lag: f64) -> f64 {
    let mut error = 0.0;
    for segment in segments() {
        let final_error = segment.slope * lag;
        let within = x.min(segment.end) - segment.start;
        error = final_error + (error - final_error) * (-within / lag).exp();
        if x < segment.end {
            break;
        }
    }
    setpoint(x).0 - error
}

fn controller(x: f64) -> f64 {
    lagging(x, CONTROLLER_LAG) + 0.4 * shutter(x)
}

fn substrate(x: f64) -> f64 {
    lagging(x, SUBSTRATE_LAG) + 2.0 * shutter(x)
}

/// How much of the beam's effect has set in: towards 1 while the shutter is open, towards 0 while it is closed.
fn shutter(x: f64) -> f64 {
    let (from, to) = SHUTTERS;
    if x < from || x >= to {
        return 0.0;
    }
    let settling = 0.06;
    let layer = ((x - from) / (to - from) * LAYERS).fract();
    let opened = 1.0 - (-layer.min(OPEN) / settling).exp();
    opened * (-(layer - OPEN).max(0.0) / settling).exp()
}

/// Chamber pressure in mbar: base, what the hot parts give off, the outgassing peak of the ramp, beam flux.
fn pressure(x: f64) -> f64 {
    let hot = (lagging(x, SUBSTRATE_LAG) - IDLE) / (GROWTH - IDLE);
    let outgassing = 3e-8 * (-((x - 0.20) / 0.045).powi(2) / 2.0).exp();
    2.5e-10 + 9e-10 * hot + outgassing + 6e-9 * shutter(x)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: Duration = Duration::from_secs(30);

    fn signal(id: &str, unit: &str) -> Signal {
        Signal::of(id, Some(unit), Kind::Gauge, 1)
    }

    fn course(id: &str, unit: &str) -> Vec<(f64, f64)> {
        let scenario = Scenario::growth(TOTAL);
        let signal = signal(id, unit);
        (0..3000_u32).map(|step| (f64::from(step) / 3000.0, scenario.value(&signal, TOTAL * step / 3000))).collect()
    }

    fn between(course: &[(f64, f64)], from: f64, to: f64) -> impl Iterator<Item = f64> + Clone {
        course.iter().filter(move |(x, _)| (from..to).contains(x)).map(|(_, value)| *value)
    }

    fn highest(values: impl Iterator<Item = f64>) -> f64 {
        values.fold(f64::NEG_INFINITY, f64::max)
    }

    fn lowest(values: impl Iterator<Item = f64>) -> f64 {
        values.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_ramp_rises_from_idle_to_growth_temperature() {
        let substrate = course("temperature", "degC");
        let ramp: Vec<_> = between(&substrate, 0.08, 0.30).collect();
        // 1 % of the ramp is 5 degC, the noise is at most 0.25.
        for (earlier, later) in ramp.iter().zip(ramp.iter().skip(30)) {
            assert!(later > earlier, "{earlier} then {later}");
        }
        assert!((substrate[0].1 - 150.0).abs() < 1.0);
        assert!(between(&substrate, 0.36, 0.78).all(|t| (600.0..650.0).contains(&t)));
        assert!(between(&substrate, 0.985, 1.0).all(|t| (t - 150.0).abs() < 5.0), "ready for the next growth");
    }

    #[test]
    fn the_setpoint_never_falls_in_the_ramp_and_the_controller_lags_behind_it() {
        let setpoint = course("setpoint", "degC");
        let ramp: Vec<_> = between(&setpoint, 0.05, 0.30).collect();
        assert!(ramp.windows(2).all(|pair| pair[0] <= pair[1]));
        let process = course("process_value", "degC");
        assert!(
            between(&setpoint, 0.1, 0.29).zip(between(&process, 0.1, 0.29)).all(|(sp, pv)| pv < sp && sp - pv < 15.0)
        );
        let substrate = course("temperature", "degC");
        assert!(between(&process, 0.1, 0.29).zip(between(&substrate, 0.1, 0.29)).all(|(pv, t)| t < pv));
    }

    #[test]
    fn shutters_disturb_the_growth() {
        let substrate = course("temperature", "degC");
        let soak = highest(between(&substrate, 0.37, 0.40)) - lowest(between(&substrate, 0.37, 0.40));
        let growth = highest(between(&substrate, 0.41, 0.77)) - lowest(between(&substrate, 0.41, 0.77));
        assert!(growth > soak + 1.0, "soak {soak}, growth {growth}");
    }

    #[test]
    fn the_pressure_peaks_in_the_ramp() {
        let pressure = course("pressure_1", "mbar");
        let peak = highest(between(&pressure, 0.05, 0.30));
        assert!(peak > 2e-8);
        assert!(highest(between(&pressure, 0.0, 0.05)) < peak / 10.0);
        assert!(highest(between(&pressure, 0.32, 1.0)) < peak / 2.0);
        let pascal = course("pressure_1", "Pa");
        assert!(pressure.iter().zip(&pascal).all(|(mbar, pa)| (pa.1 / mbar.1 - 100.0).abs() < 1e-9));
    }

    #[test]
    fn a_growth_is_the_same_every_time_and_channels_are_not_each_other() {
        assert_eq!(course("temperature", "degC"), course("temperature", "degC"));
        let (one, two) = (course("pressure_1", "mbar"), course("pressure_2", "mbar"));
        assert!(one.iter().zip(&two).all(|(a, b)| a.1 != b.1));
    }

    #[test]
    fn units_are_those_of_the_channel() {
        let at = Duration::from_secs(15);
        let scenario = Scenario::growth(TOTAL);
        let celsius = scenario.value(&signal("temperature", "degC"), at);
        assert!((scenario.value(&signal("temperature", "K"), at) - celsius - 273.15).abs() < 1e-9);
        assert!((scenario.value(&signal("temperature", "degF"), at) - celsius * 1.8 - 32.0).abs() < 1e-9);
        let emissivity = Signal::of("emissivity", None, Kind::Setting, 1);
        assert_eq!(scenario.value(&emissivity, at), 0.68);
        assert_eq!(scenario.value(&Signal::of("state_1", None, Kind::State, 1), at), 0.0);
    }

    #[test]
    fn sweeps_reach_both_ends() {
        let any = signal("x", "V");
        let linear = Scenario::sweep(-10.0, 10.0, Duration::from_secs(4));
        let at = |seconds| linear.value(&any, Duration::from_secs(seconds));
        assert_eq!((at(0), at(1), at(2), at(3), at(4)), (-10.0, 0.0, 10.0, 0.0, -10.0));
        let decades = Scenario::sweep(1e-10, 1e-6, Duration::from_secs(2));
        assert!((decades.value(&any, Duration::from_millis(500)) / 1e-8 - 1.0).abs() < 1e-9);
        assert_eq!(Scenario::constant(4.5).value(&any, Duration::MAX), 4.5);
    }

    proptest! {
        #[test]
        fn growths_are_finite_and_bounded(millis in 0_u64..10_000_000_000, total in 0_u64..100_000_000, seed: u64) {
            let scenario = Scenario::growth(Duration::from_millis(total));
            let at = Duration::from_millis(millis);
            for (id, unit, low, high) in [
                ("temperature", "degC", 140.0, 650.0),
                ("process_value", "degC", 140.0, 650.0),
                ("setpoint", "degC", 150.0, 620.0),
                ("output", "%", 0.0, 100.0),
                ("pressure_7", "mbar", 1e-10, 1e-7),
                ("photocurrent", "A", 0.0, 1e-3),
                ("current", "A", 0.0, 1e-3),
                ("internal_temperature", "degC", 20.0, 40.0),
            ] {
                let value = scenario.value(&Signal::of(id, Some(unit), Kind::Gauge, seed), at);
                prop_assert!((low..=high).contains(&value), "{id} is {value} at {at:?} of {total} ms");
            }
        }
    }
}
