//! `mbe-bridge status`: how a running bridge is.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::report::{Exit, Failure, OrExit as _, Outcome};
use super::table::Table;
use super::{print, runtime};
use crate::live::number;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON, with everything
    #[arg(long)]
    json: bool,
    /// Where the bridge's dashboard listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8730")]
    at: SocketAddr,
}

impl Arguments {
    pub(super) fn run(self) -> Outcome {
        let status = runtime()?.block_on(fetch(self.at))?;
        if self.json {
            print(&status);
        } else {
            show(&status);
        }
        Ok(if status.get("state").is_some_and(|state| state == "well") { Exit::Well } else { Exit::Degraded })
    }
}

async fn fetch(at: SocketAddr) -> Result<Value, Failure> {
    crate::atomscale::prepare_tls();
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().or_exit(Exit::Unreachable)?;
    let answer =
        client.get(format!("http://{at}/api/status")).send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| {
        Failure::new(Exit::Unreachable, anyhow::Error::new(error).context(format!("no bridge answers at {at}")))
            .hint("start one with `mbe-bridge run lab.toml`, or say where it is with `--at`")
    })?;
    answer.json().await.or_exit(Exit::Unreachable)
}

fn show(status: &Value) {
    let at = |path: &str| status.pointer(path).unwrap_or(&Value::Null);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    print(format_args!("{}: {}", text(at("/state")), text(at("/run/name"))));
    for complaint in at("/complaints").as_array().into_iter().flatten() {
        print(format_args!("  {}", text(complaint)));
    }
    for alarm in at("/alarms").as_array().into_iter().flatten() {
        print(format_args!("  {}", text(alarm)));
    }
    let mut table = Table::new(&["channel", ">value", "unit", "quality", ">age", "instrument"]);
    let now = at("/at").as_f64().unwrap_or_default();
    for channel in at("/channels").as_array().into_iter().flatten() {
        let of = |key: &str| channel.get(key).unwrap_or(&Value::Null);
        table.row([
            text(of("name")),
            of("value").as_f64().map(number).unwrap_or_default(),
            text(of("unit")),
            text(of("quality")),
            of("at").as_f64().map(|at| format!("{:.1} s", now - at)).unwrap_or_default(),
            text(of("instrument")),
        ]);
    }
    print(table);
    for instrument in at("/instruments").as_array().into_iter().flatten() {
        let Some(speech) = instrument.get("speech") else { continue };
        let of = |key: &str| speech.get(key).unwrap_or(&Value::Null);
        let rate = of("rate").as_f64().map(|rate| format!(" ({rate:.1} a second)")).unwrap_or_default();
        print(format_args!(
            "`{}` speaks unasked: {} messages{rate}, {} broken",
            text(instrument.get("name").unwrap_or(&Value::Null)),
            of("messages"),
            of("broken"),
        ));
    }
    let run = |key: &str| at("/run").get(key).unwrap_or(&Value::Null);
    print(format_args!(
        "read {} = recorded {} + bad {} + decimated {} + late {} + unrecorded {} + waiting {}",
        run("read"),
        run("recorded"),
        run("bad"),
        run("decimated"),
        run("late"),
        run("unrecorded"),
        run("waiting")
    ));
    print(format_args!(
        "recorded {} + filled {} = uploaded {} + queued {} + rejected {}",
        run("recorded"),
        run("filled"),
        run("uploaded"),
        run("queued"),
        run("rejected"),
    ));
    show_platform(status);
    show_runs(status);
}

fn show_platform(status: &Value) {
    let at = |path: &str| status.pointer(path).unwrap_or(&Value::Null);
    let ago = |value: &Value| value.as_f64().map(|then| age(at("/at").as_f64().unwrap_or_default() - then));
    let mut line = format!("platform {}", at("/platform/state").as_str().unwrap_or_default());
    let mut add = |text: String| line.push_str(&text);
    if let Some(since) = ago(at("/platform/since")) {
        add(format!(" for {since}"));
    }
    add(format!("; {} chunks queued", at("/totals/queued_chunks")));
    if let Some(oldest) = at("/totals/oldest_queued_age").as_f64() {
        add(format!(", the oldest for {}", age(oldest)));
    }
    add(format!("; {} chunks confirmed since the start", at("/platform/confirmed_chunks")));
    if let Some(last) = ago(at("/platform/last_confirmed")) {
        add(format!(", the last {last} ago"));
    }
    if at("/platform/failed_attempts").as_u64().unwrap_or_default() > 0 {
        add(format!("; {} attempts failed", at("/platform/failed_attempts")));
    }
    print(line);
    if let Some(words) = at("/platform/last_failure/words").as_str() {
        let when = ago(at("/platform/last_failure/at")).unwrap_or_default();
        print(format_args!("last failure {when} ago: {words}"));
    }
    for words in at("/disagreements").as_array().into_iter().flatten().filter_map(Value::as_str) {
        print(format_args!("the platform counts otherwise: {words}"));
    }
}

/// The runs that wait for the platform, where there are others than the one being recorded.
fn show_runs(status: &Value) {
    let runs: Vec<&Value> = status.get("runs").and_then(Value::as_array).into_iter().flatten().collect();
    let own = status.pointer("/run/id");
    if runs.iter().all(|run| run.get("id") == own) {
        return;
    }
    let mut table =
        Table::new(&["run", "state", ">recorded", ">filled", ">uploaded", ">queued", ">rejected", ">oldest", "held"]);
    for run in runs {
        let of = |key: &str| run.get(key).unwrap_or(&Value::Null);
        let text = |key: &str| of(key).as_str().unwrap_or_default().to_owned();
        let numbers = ["recorded", "filled", "uploaded", "queued", "rejected"].map(|key| of(key).to_string());
        let oldest = of("oldest_queued_age").as_f64().map(age).unwrap_or_default();
        table.row([text("id"), text("state")].into_iter().chain(numbers).chain([oldest, text("held")]));
    }
    print(table);
}

/// A time as people say it: the two largest units.
pub(super) fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0);
    match whole {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3_600.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s if s < 86_400.0 => format!("{:.0} h {:.0} min", (s / 3_600.0).floor(), (s % 3_600.0 / 60.0).floor()),
        s => format!("{:.0} d {:.0} h", (s / 86_400.0).floor(), (s % 86_400.0 / 3_600.0).floor()),
    }
}
