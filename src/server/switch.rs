//! The fault in force: whom it hits, how often still, how long still.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fault::Garbage;
use super::{Call, Fault, Plan};

/// What `random` chooses from: what passes, and neither takes a client's whole patience nor the port.
const PASSING: [(Fault, bool); 13] = [
    (Fault::Refuse { status: 503, retry_after: None }, false),
    (Fault::Refuse { status: 504, retry_after: None }, true),
    (Fault::Refuse { status: 408, retry_after: None }, false),
    (Fault::Refuse { status: 429, retry_after: Some(Duration::from_secs(1)) }, false),
    (Fault::Slow(Duration::from_millis(500)), false),
    (Fault::CutRequest, false),
    (Fault::CutReply, false),
    (Fault::ResetRequest, false),
    (Fault::ResetReply, false),
    (Fault::TruncateReply, false),
    (Fault::Garbage(Garbage::Page(200)), false),
    (Fault::Garbage(Garbage::Page(404)), false),
    (Fault::Garbage(Garbage::Json), true),
];

/// What hits one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Strike {
    pub(super) fault: Fault,
    /// What the request brings is to be stored all the same.
    pub(super) stored: bool,
}

/// The fault in force.
#[derive(Debug, Default)]
pub(super) struct Switch {
    setting: Mutex<Setting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Setting {
    plan: Plan,
    until: Option<Instant>,
    /// `Forget`: streams up to this number are unknown.
    forgotten: i64,
    /// `Ended`: error streams up to this number refuse chunks with this status.
    ended: Option<(i64, u16)>,
    random: fastrand::Rng,
    /// Requests hit since it was set.
    struck: u64,
}

impl Setting {
    /// What is over is over.
    fn now(&mut self) -> &mut Self {
        if self.until.is_some_and(|until| until <= Instant::now()) || self.plan.next == Some(0) {
            self.plan = Plan::default();
            self.until = None;
            self.forgotten = 0;
        }
        self
    }

    fn hit(&mut self) {
        self.struck += 1;
        if let Some(next) = &mut self.plan.next {
            *next = next.saturating_sub(1);
        }
    }
}

impl Switch {
    fn lock(&self) -> MutexGuard<'_, Setting> {
        self.setting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a plan in force in place of the one before.
    pub(super) fn set(&self, plan: Plan, newest_stream: i64) {
        let mut setting = self.lock();
        setting.until = plan.lasting.and_then(|lasting| Instant::now().checked_add(lasting));
        setting.forgotten = if plan.fault == Fault::Forget { newest_stream } else { 0 };
        match plan.fault {
            Fault::Ended(status) => setting.ended = Some((newest_stream, status)),
            Fault::Random { seed, .. } => setting.random = fastrand::Rng::with_seed(seed),
            _ => {}
        }
        setting.struck = 0;
        setting.plan = plan;
        drop(setting);
        self.changed.notify_waiters();
    }

    /// The plan in force, with what is left of it.
    pub(super) fn plan(&self) -> Plan {
        let mut setting = self.lock();
        let setting = setting.now();
        let left = setting.until.map(|until| {
            // Whole milliseconds: nobody wants to read more.
            let left = until.saturating_duration_since(Instant::now());
            Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1))
        });
        Plan { lasting: left.or(setting.plan.lasting), ..setting.plan.clone() }
    }

    /// How many requests the plan in force, or the last one, has hit.
    pub(super) fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// What hits this request, which is counted as one of those it was set for.
    pub(super) fn strike(&self, call: Call) -> Strike {
        let mut setting = self.lock();
        let setting = setting.now();
        if !setting.plan.hits(call) {
            return Strike::default();
        }
        let (fault, stored) = match &setting.plan.fault {
            // Whether a request holds the channel is seen when it has been read.
            Fault::RefuseChannel(name) => return Strike { fault: Fault::RefuseChannel(name.clone()), stored: false },
            Fault::Random { percent, .. } => {
                if setting.random.u8(0..100) >= *percent {
                    return Strike::default();
                }
                setting.random.choice(PASSING).unwrap_or_default()
            }
            fault => (fault.clone(), setting.plan.stored),
        };
        setting.hit();
        Strike { fault, stored }
    }

    /// A request holds the channel that is refused. False if that has been over meanwhile.
    pub(super) fn strike_channel(&self) -> bool {
        let mut setting = self.lock();
        let setting = setting.now();
        let refused = matches!(setting.plan.fault, Fault::RefuseChannel(_));
        if refused {
            setting.hit();
        }
        refused
    }

    /// Streams up to this number are to be unknown.
    pub(super) fn forgotten(&self) -> i64 {
        self.lock().now().forgotten
    }

    /// Streams up to this number, if they have ended in error, refuse chunks with this status.
    pub(super) fn ended(&self) -> Option<(i64, u16)> {
        self.lock().ended
    }

    fn down(&self) -> Option<Option<Instant>> {
        let mut setting = self.lock();
        let setting = setting.now();
        (setting.plan.fault == Fault::Down).then_some(setting.until)
    }

    /// Returns when nothing is to listen.
    pub(super) async fn until_down(&self) {
        loop {
            let changed = self.changed.notified();
            if self.down().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Returns when something is to listen again.
    pub(super) async fn until_up(&self) {
        loop {
            let changed = self.changed.notified();
            match self.down() {
                None => return,
                Some(None) => changed.await,
                Some(Some(until)) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(switch: &Switch, plan: &str) {
        switch.set(plan.parse().unwrap(), 7);
    }

    fn struck(switch: &Switch, call: Call) -> String {
        switch.strike(call).fault.to_string()
    }

    #[test]
    fn a_fault_hits_the_calls_it_was_set_for_and_as_often() {
        let switch = Switch::default();
        set(&switch, "cut-reply only single next 1");
        assert_eq!(struck(&switch, Call::Initialize), "none");
        assert_eq!(switch.plan().to_string(), "cut-reply only single next 1");
        assert_eq!(struck(&switch, Call::Chunk), "cut-reply");
        assert_eq!(struck(&switch, Call::Chunk), "none");
        assert_eq!((switch.plan(), switch.struck()), (Plan::default(), 1));
        assert_eq!(switch.forgotten(), 0);

        set(&switch, "status:503");
        assert_eq!(struck(&switch, Call::ListTags), "none");
        assert_eq!(struck(&switch, Call::Finalize), "status:503");
        set(&switch, "status:503 only tags");
        assert_eq!(struck(&switch, Call::ListTags), "status:503");
        assert_eq!(struck(&switch, Call::Finalize), "none");

        for keyless in ["unauthorized", "forbidden"] {
            set(&switch, keyless);
            assert_eq!(struck(&switch, Call::Time), "none");
            assert_eq!(struck(&switch, Call::ListTags), keyless);
        }

        set(&switch, "forget");
        assert_eq!((switch.forgotten(), switch.ended()), (7, None));
        set(&switch, "ended:410");
        set(&switch, "none");
        assert_eq!((switch.forgotten(), switch.ended()), (0, Some((7, 410))));
    }

    #[test]
    fn a_refused_channel_counts_when_it_comes() {
        let switch = Switch::default();
        set(&switch, "refuse-channel:t next 1");
        for _ in 0..3 {
            assert_eq!(struck(&switch, Call::ChunkMulti), "refuse-channel:t");
        }
        assert_eq!(struck(&switch, Call::Finalize), "none");
        assert!(switch.strike_channel());
        assert!(!switch.strike_channel());
        assert_eq!(struck(&switch, Call::ChunkMulti), "none");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_when_its_time_is_up() {
        let switch = Switch::default();
        set(&switch, "hang for 30s");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(switch.plan().to_string(), "hang for 10s");
        assert_eq!(struck(&switch, Call::Time), "hang");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((struck(&switch, Call::Time), switch.plan().to_string()), ("none".to_owned(), "none".to_owned()));

        set(&switch, "down for 30s");
        let set_at = Instant::now();
        switch.until_down().await;
        switch.until_up().await;
        assert_eq!(set_at.elapsed().as_secs(), 30);
    }

    #[test]
    fn random_hits_as_many_as_it_says_and_the_same_ones_again() {
        let switch = Switch::default();
        let drawn = || {
            set(&switch, "random:30:5");
            (0..1_000).map(|_| switch.strike(Call::ChunkMulti)).collect::<Vec<_>>()
        };
        let first = drawn();
        assert_eq!(first, drawn());
        let hit = first.iter().filter(|strike| **strike != Strike::default());
        assert_eq!(hit.clone().count() as u64, switch.struck());
        assert!((250..350).contains(&switch.struck()), "{}", switch.struck());
        for (fault, stored) in PASSING {
            assert!(hit.clone().any(|strike| strike.fault == fault && strike.stored == stored), "{fault}");
        }
    }
}
