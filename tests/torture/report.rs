//! The table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::oracle::Totals;
use super::plan::Plan;

/// What all rounds together have come to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rounds: u64,
    failed: Vec<u64>,
    faults: BTreeMap<String, u64>,
    totals: Totals,
}

impl Report {
    pub(crate) fn add(&mut self, plan: &Plan, totals: &Totals, failed: bool) {
        self.rounds += 1;
        if failed {
            self.failed.push(plan.seed);
        }
        for sort in plan.actions.iter().filter_map(|(_, action)| action.sort()) {
            *self.faults.entry(sort).or_default() += 1;
        }
        let sum = &mut self.totals;
        for (sum, one) in [
            (&mut sum.said, totals.said),
            (&mut sum.read, totals.read),
            (&mut sum.recorded, totals.recorded),
            (&mut sum.filled, totals.filled),
            (&mut sum.uploaded, totals.uploaded),
            (&mut sum.rejected, totals.rejected),
            (&mut sum.bad, totals.bad),
            (&mut sum.decimated, totals.decimated),
            (&mut sum.late, totals.late),
            (&mut sum.unrecorded, totals.unrecorded),
            (&mut sum.cost_of_kills, totals.cost_of_kills),
            (&mut sum.excused, totals.excused),
            (&mut sum.power_cuts, totals.power_cuts),
            (&mut sum.again, totals.again),
            (&mut sum.unfinalized, totals.unfinalized),
            (&mut sum.unclocked, totals.unclocked),
            (&mut sum.squeezed, totals.squeezed),
            (&mut sum.runs, totals.runs),
            (&mut sum.sessions, totals.sessions),
            (&mut sum.streams, totals.streams),
        ] {
            *sum += one;
        }
        sum.worst_stamp = sum.worst_stamp.max(totals.worst_stamp);
        sum.durable_after = sum.durable_after.max(totals.durable_after);
    }

    pub(crate) fn failed(&self) -> &[u64] {
        &self.failed
    }

    /// The table.
    pub(crate) fn table(&self, wall: Duration) -> String {
        let Totals { said, read, recorded, filled, uploaded, rejected, .. } = self.totals;
        let Totals { bad, decimated, late, unrecorded, cost_of_kills, again, unclocked, squeezed, .. } = self.totals;
        let Totals { runs, sessions, streams, worst_stamp, excused, power_cuts, durable_after, .. } = self.totals;
        let unfinalized = self.totals.unfinalized;
        let mut rows = vec![
            ("rounds".to_owned(), self.rounds.to_string()),
            ("rounds that failed".to_owned(), self.failed.len().to_string()),
            ("wall time".to_owned(), format!("{:.0} s", wall.as_secs_f64())),
            ("runs, sessions, streams".to_owned(), format!("{runs}, {sessions}, {streams}")),
            ("values said, intact".to_owned(), said.to_string()),
            ("readings".to_owned(), read.to_string()),
            ("  recorded (and filled)".to_owned(), format!("{recorded} (+ {filled})")),
            ("  bad, decimated".to_owned(), format!("{bad}, {decimated}")),
            ("  late, unrecorded".to_owned(), format!("{late}, {unrecorded}")),
            ("points on the platform".to_owned(), uploaded.to_string()),
            ("points refused and kept".to_owned(), rejected.to_string()),
            ("lost with a kill, values".to_owned(), cost_of_kills.to_string()),
            ("  longest time given".to_owned(), format!("{:.1} s", durable_after.as_secs_f64())),
            ("lost, nothing to be asked of".to_owned(), excused.to_string()),
            ("power cuts that took something".to_owned(), power_cuts.to_string()),
            ("on an ended stream and again".to_owned(), again.to_string()),
            ("streams gone when finalized".to_owned(), unfinalized.to_string()),
            ("chunks sent without the clock".to_owned(), unclocked.to_string()),
            ("stamps that made way".to_owned(), squeezed.to_string()),
            ("worst stamp error".to_owned(), format!("{:.1} ms", worst_stamp.as_secs_f64() * 1e3)),
        ];
        rows.extend(self.faults.iter().map(|(sort, count)| (format!("fault: {sort}"), count.to_string())));
        rows.into_iter().map(|(name, value)| format!("{name:<32} {value}\n")).collect()
    }
}
