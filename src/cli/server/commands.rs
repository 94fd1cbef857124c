//! What a running server is told on its standard input: one command a line, each answered by one line.

use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::cli::input::{self, Answer};
use crate::model::with_causes;
use crate::server::Faults;
use crate::server::Plan;

const HELP: &str = "fault FAULT | fault | clear | status | help | quit; a FAULT is written as in `hang`, \
                    `status:503 for 30s`, `cut-reply only chunk next 3` (all: mbe-bridge server --help)";

/// Reads commands until the input ends or somebody wants to quit.
pub(super) fn listen(faults: Faults, quit: Arc<Notify>) -> io::Result<()> {
    input::listen(move |line| obey(&faults, line), quit)
}

fn obey(faults: &Faults, line: &str) -> Result<Answer, String> {
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let said = match (command, rest.trim()) {
        ("fault", "") => faults.plan().to_string(),
        ("fault", text) => set(faults, text.parse().map_err(|invalid| with_causes(&invalid))?)?,
        ("clear", "") => set(faults, Plan::default())?,
        ("status", "") => {
            let (asked, came, struck) = (faults.requests().total(), faults.connections(), faults.struck());
            format!(
                "{}; {asked} requests over {came} connections since the start, {struck} hit by the last fault",
                faults.plan()
            )
        }
        ("help", "") => HELP.to_owned(),
        ("quit", "") => return Ok(Answer::Quit),
        _ => return Err(format!("unknown command `{line}`; known are {HELP}")),
    };
    Ok(Answer::Said(said))
}

fn set(faults: &Faults, plan: Plan) -> Result<String, String> {
    let said = plan.to_string();
    faults.set(plan).map_err(|error| with_causes(&error))?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Server, Settings};

    #[tokio::test]
    async fn each_command_is_obeyed_or_answered_with_what_is_known() {
        let server = Server::start(Settings::default()).await.unwrap();
        let said = |line: &str| match obey(&server.faults(), line) {
            Ok(Answer::Said(text)) => text,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(said("fault"), "none");
        assert_eq!(said("fault  cut-reply next 3"), "cut-reply next 3");
        assert_eq!(said("fault"), "cut-reply next 3");
        assert_eq!(
            said("status"),
            "cut-reply next 3; 0 requests over 0 connections since the start, 0 hit by the last fault"
        );
        assert_eq!(said("clear"), "none");
        assert_eq!(server.faults().plan(), Plan::default());
        assert_eq!(obey(&server.faults(), "quit"), Ok(Answer::Quit));
        assert!(obey(&server.faults(), "fault cut").unwrap_err().starts_with("`cut` is not a fault: expected none, "));
        let unknown = obey(&server.faults(), "hang").unwrap_err();
        assert!(unknown.starts_with("unknown command `hang`; known are fault FAULT | "), "{unknown}");
        server.stop().await;
    }
}
