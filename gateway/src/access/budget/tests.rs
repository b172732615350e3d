use proptest::prelude::*;

use super::*;

fn start() -> Moment {
    Moment { clock: Instant::now(), time: "2026-11-29T23:59:00Z".parse().unwrap() }
}

fn size(tokens: u64) -> Size {
    Size::of_tokens(tokens)
}

fn after(moment: Moment, seconds: u64) -> Moment {
    let span = Duration::from_secs(seconds);
    Moment { clock: moment.clock + span, time: moment.time + span }
}

#[test]
fn requests_over_the_minutes_limit_wait_for_the_next_one() {
    let now = start();
    let limits = Limits { requests_per_minute: Some(2), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    budget.admit(size(0), now).unwrap();
    assert_eq!(budget.standing(now).requests.map(|gauge| gauge.remaining), Some(1));
    budget.admit(size(0), now).unwrap();
    let refused = budget.admit(size(0), now).unwrap_err();
    assert_eq!(refused, Exhausted { limit: "2 requests a minute".into(), wait: Duration::from_secs(30) });
    assert!(budget.admit(size(0), after(now, 29)).is_err());
    budget.admit(size(0), after(now, 30)).unwrap();
    let left = budget.standing(after(now, 1000)).requests.unwrap();
    assert_eq!(left, Gauge { limit: 2, remaining: 2, reset: Duration::ZERO });
}

#[test]
fn real_usage_replaces_the_estimate() {
    let now = start();
    let limits = Limits { tokens_per_minute: Some(600), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    let remaining = |budget: &mut Budget, now| budget.standing(now).tokens.unwrap().remaining;
    budget.admit(size(100), now).unwrap();
    assert_eq!(remaining(&mut budget, now), 500);
    budget.settle(size(100), size(40), now);
    assert_eq!(remaining(&mut budget, now), 560);
    budget.admit(size(10), now).unwrap();
    budget.settle(size(10), size(1160), now);
    let refused = budget.admit(size(1), now).unwrap_err();
    assert_eq!(refused.limit, "600 tokens a minute");
    // 601 tokens are missing at 10 a second.
    assert_eq!(refused.wait.as_millis(), 60_100);
    assert_eq!(remaining(&mut budget, now), 0);
    budget.admit(size(1), after(now, 61)).unwrap();
}

#[test]
fn request_above_the_whole_limit_passes_alone() {
    let now = start();
    let limits = Limits { tokens_per_minute: Some(100), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    budget.admit(size(1000), now).unwrap();
    assert!(budget.admit(size(1), now).is_err());
    budget.settle(size(1000), size(20), now);
    budget.admit(size(80), now).unwrap();
}

#[test]
fn refused_request_takes_nothing() {
    let now = start();
    let limits = Limits { requests_per_minute: Some(5), tokens_per_minute: Some(10), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    budget.admit(size(10), now).unwrap();
    assert!(budget.admit(size(1), now).is_err());
    assert_eq!(budget.standing(now).requests.unwrap().remaining, 4);
}

#[test]
fn day_and_month_end_at_midnight_in_utc() {
    let now = start();
    let limits = Limits { tokens_per_day: Some(10), tokens_per_month: Some(25), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    budget.admit(size(0), now).unwrap();
    budget.settle(size(0), size(10), now);
    let refused = budget.admit(size(0), now).unwrap_err();
    assert_eq!(refused, Exhausted { limit: "10 tokens a day (UTC)".into(), wait: Duration::from_secs(60) });
    let tomorrow = after(now, 60);
    budget.admit(size(0), tomorrow).unwrap();
    // An earlier process has used more of the month.
    budget.learn(3, 25, tomorrow);
    let refused = budget.admit(size(0), tomorrow).unwrap_err();
    assert_eq!(refused.limit, "25 tokens a month (UTC)");
    assert_eq!(refused.wait, Duration::from_secs(24 * 3600), "the 30th is November's last day");
    budget.admit(size(0), after(tomorrow, 24 * 3600)).unwrap();
}

#[test]
fn burst_does_not_pass_the_limit_of_a_day() {
    let now = start();
    let limits = Limits { tokens_per_day: Some(1000), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    for _ in 0..3 {
        budget.admit(size(300), now).unwrap();
    }
    let refused = budget.admit(size(300), now).unwrap_err();
    assert_eq!(refused.limit, "1000 tokens a day (UTC), counting the requests that run");
    assert_eq!(refused.wait, RUNNING, "a request that ends may leave room");
    budget.admit(size(100), now).unwrap();
    assert!(budget.admit(size(0), now).is_err(), "each request uses at least a token");
    budget.settle(size(300), size(50), now);
    budget.admit(size(250), now).unwrap();
    for _ in 0..2 {
        budget.settle(size(300), size(400), now);
    }
    budget.settle(size(100), size(100), now);
    budget.settle(size(250), size(250), now);
    let refused = budget.admit(size(1), now).unwrap_err();
    assert_eq!(refused, Exhausted { limit: "1000 tokens a day (UTC)".into(), wait: Duration::from_secs(60) });
}

#[test]
fn request_alone_passes_while_any_tokens_of_the_month_are_left() {
    let now = start();
    let limits = Limits { tokens_per_month: Some(1000), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    budget.admit(size(5000), now).unwrap();
    let refused = budget.admit(size(1), now).unwrap_err();
    assert_eq!(refused.limit, "1000 tokens a month (UTC), counting the requests that run");
    budget.settle(size(5000), size(999), now);
    budget.admit(size(5000), now).unwrap();
    budget.settle(size(5000), size(10), now);
    assert_eq!(budget.admit(size(0), now).unwrap_err().limit, "1000 tokens a month (UTC)");
}

#[test]
fn request_that_runs_past_midnight_counts_in_the_new_day() {
    let now = start();
    let limits = Limits { tokens_per_day: Some(1000), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    budget.admit(size(700), now).unwrap();
    let tomorrow = after(now, 60);
    assert!(budget.admit(size(400), tomorrow).is_err(), "it still runs");
    budget.admit(size(300), tomorrow).unwrap();
    budget.settle(size(700), size(600), tomorrow);
    budget.settle(size(300), size(300), tomorrow);
    budget.admit(size(100), tomorrow).unwrap();
    assert!(budget.admit(size(1), tomorrow).is_err());
}

#[test]
fn days_of_cost_and_minutes_of_tokens_count_apart() {
    let now = start();
    let bounds = Bounds {
        requests_per_minute: Some(2),
        tokens_per_minute: Some(100),
        day: Some(3_500_000_000),
        unit: Unit::NanoDollars,
        ..Bounds::default()
    };
    let mut budget = Budget::new(bounds, now);
    let reserved = Size { tokens: 40, amount: 1_000_000_000 };
    budget.admit(reserved, now).unwrap();
    budget.settle(reserved, Size { tokens: 10, amount: 3_500_000_000 }, now);
    assert_eq!(budget.standing(now).tokens.unwrap().remaining, 90);
    let refused = budget.admit(Size::default(), now).unwrap_err();
    assert_eq!((&*refused.limit, refused.wait), ("$3.5 a day (UTC)", Duration::from_secs(60)));
    assert_eq!(budget.used(now), (3_500_000_000, 3_500_000_000));
    assert_eq!(budget.used(after(now, 60)), (0, 3_500_000_000));
}

#[test]
fn cancelled_request_takes_nothing() {
    let now = start();
    let limits = Limits { requests_per_minute: Some(1), tokens_per_day: Some(10), ..Limits::default() };
    let mut budget = Budget::new(limits, now);
    for _ in 0..3 {
        budget.admit(size(9), now).unwrap();
        budget.cancel(size(9), now);
    }
    assert_eq!(budget.used(now), (0, 0));
}

proptest! {
    /// Requests that use what they have reserved never exceed a day's limit, however they overlap. One alone may.
    #[test]
    fn reserved_tokens_keep_the_limit_of_a_day(
        limit in 1u64..1000,
        steps in proptest::collection::vec((1u32..400, any::<bool>()), 1..80),
    ) {
        let now = start();
        let mut budget = Budget::new(Limits { tokens_per_day: Some(limit), ..Limits::default() }, now);
        let (mut running, mut used, mut alone) = (Vec::new(), 0, 0);
        for (estimate, ends) in steps {
            let was_alone = running.is_empty();
            if budget.admit(size(estimate.into()), now).is_ok() {
                running.push(estimate);
                alone = if was_alone { u64::from(estimate) } else { alone };
            }
            if ends && let Some(first) = running.pop() {
                budget.settle(size(first.into()), size(first.into()), now);
                used += u64::from(first);
            }
            let total = used + running.iter().copied().map(u64::from).sum::<u64>();
            prop_assert!(total <= limit + alone, "{total} of {limit}");
        }
    }

    /// For any requests: no more pass than the bucket holds and than flow in.
    #[test]
    fn admitted_requests_never_exceed_the_rate(
        limit in 1u32..50,
        gaps in proptest::collection::vec(0u64..20_000, 1..200),
    ) {
        let mut now = start();
        let begin = now.clock;
        let mut budget = Budget::new(Limits { requests_per_minute: Some(limit), ..Limits::default() }, now);
        let mut passed = 0;
        for gap in gaps {
            now.clock += Duration::from_millis(gap);
            passed += u32::from(budget.admit(size(0), now).is_ok());
            let most = f64::from(limit) * (1.0 + (now.clock - begin).as_secs_f64() / 60.0);
            prop_assert!(f64::from(passed) <= most + 1e-6, "{passed} of {most}");
        }
    }
}
