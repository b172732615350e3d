//! Limits of a key or a provider: requests and tokens in a minute, tokens or cost in a day and in a month (UTC). Pure: the caller
//! gives the time.
//!
//! A request reserves an estimate of its tokens. At its end the reservation is replaced by its real usage.
//!
//! The limits of a minute are token buckets: they fill evenly and hold at most one minute's worth. A bucket may fall below zero.
//! The next request then waits longer.
//!
//! A day's or month's amount is that used and those that running requests have reserved. A request passes if its own fit, too.
//! One that is alone passes as long as any are left, so the last request of a day may exceed the limit.

use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use ipc_proto::gateway::Dollars;
use ipc_proto::{Disposition, Error, ErrorKind, Origin};
use schemars::JsonSchema;
use serde::Serialize;

const MINUTE_SECONDS: f64 = 60.0;
/// The time after which a request that running ones leave no room for may try again.
const RUNNING: Duration = Duration::from_secs(5);
/// The largest rounding error of a level.
const ROUNDING: f64 = 1e-9;

/// The limits of a key. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Limits {
    /// Requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a minute.
    pub tokens_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a calendar day.
    pub tokens_per_day: Option<u64>,
    /// Tokens of prompts and outputs in a calendar month.
    pub tokens_per_month: Option<u64>,
    /// US dollars that providers may cost in a calendar day (UTC).
    #[schemars(with = "Option<f64>")]
    pub cost_per_day: Option<Dollars>,
    /// US dollars that providers may cost in a calendar month (UTC).
    #[schemars(with = "Option<f64>")]
    pub cost_per_month: Option<Dollars>,
}

impl Limits {
    /// The limits of cost. `None` if there are none.
    pub fn cost(&self) -> Option<Bounds> {
        let has_cost = self.cost_per_day.is_some() || self.cost_per_month.is_some();
        has_cost.then(|| Bounds::of_cost(self.cost_per_day, self.cost_per_month))
    }
}

/// The limits of a budget. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute.
    pub tokens_per_minute: Option<u32>,
    /// The amount in a calendar day.
    pub day: Option<u64>,
    /// The amount in a calendar month.
    pub month: Option<u64>,
    /// The unit of these amounts.
    pub unit: Unit,
}

/// What days and months count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Tokens.
    #[default]
    Tokens,
    /// Billionths of a US dollar.
    NanoDollars,
}

impl Unit {
    fn text(self, amount: u64) -> String {
        match self {
            Self::Tokens => format!("{amount} tokens"),
            Self::NanoDollars => format!("${}", amount as f64 / 1e9),
        }
    }
}

/// The size of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Tokens, for the limit of a minute.
    pub tokens: u64,
    /// The amount, for days and months.
    pub amount: u64,
}

impl Size {
    /// The size where days and months count tokens too.
    pub fn of_tokens(tokens: u64) -> Self {
        Self { tokens, amount: tokens }
    }
}

impl Bounds {
    /// Limits of the cost in a day and a month.
    pub fn of_cost(day: Option<Dollars>, month: Option<Dollars>) -> Self {
        let nano = |limit: Option<Dollars>| limit.map(|dollars| dollars.0);
        Self { day: nano(day), month: nano(month), unit: Unit::NanoDollars, ..Self::default() }
    }
}

impl From<Limits> for Bounds {
    fn from(limits: Limits) -> Self {
        let Limits { requests_per_minute, tokens_per_minute, tokens_per_day, tokens_per_month, .. } = limits;
        let (day, month) = (tokens_per_day, tokens_per_month);
        Self { requests_per_minute, tokens_per_minute, day, month, unit: Unit::Tokens }
    }
}

/// A point in time, by the monotonic clock and by the calendar.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock.
    pub clock: Instant,
    /// The calendar.
    pub time: DateTime<Utc>,
}

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self { clock: Instant::now(), time: Utc::now() }
    }
}

/// The part of a key's limits that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Requests in a minute.
    pub requests: Option<Gauge>,
    /// Tokens in a minute.
    pub tokens: Option<Gauge>,
}

/// One limit of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// The limit.
    pub limit: u32,
    /// The part that is left.
    pub remaining: u32,
    /// The time until all of it is left.
    pub reset: Duration,
}

/// A request that has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// The exhausted limit, for people.
    pub limit: String,
    /// The time until a request may pass.
    pub wait: Duration,
}

/// The refusal of a request that may try again after a time.
pub fn rate_limited(text: String, wait: Duration) -> Error {
    Error::new(ErrorKind::RateLimited, Origin::Gateway, text).with_disposition(Disposition::RetryAfter(wait))
}

/// Limits and their use.
#[derive(Debug)]
pub struct Budget {
    bounds: Bounds,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    day: Period,
    month: Period,
}

/// The amount of one calendar day or month.
#[derive(Debug, Clone, Copy)]
struct Period {
    /// Its first day.
    begin: NaiveDate,
    used: u64,
    /// Estimates of the running requests. They count in the period in which the requests end.
    reserved: u64,
}

/// A reason why a period takes no request.
#[derive(Debug, PartialEq, Eq)]
enum Shortage {
    /// All is used.
    Used,
    /// Running requests have reserved what is left.
    Reserved,
}

impl Period {
    fn new(begin: NaiveDate) -> Self {
        Self { begin, used: 0, reserved: 0 }
    }

    /// Counts from 0 if a new one has begun.
    fn enter(&mut self, begin: NaiveDate) {
        if self.begin != begin {
            *self = Self { begin, used: 0, ..*self };
        }
    }

    /// Whether a request of about this amount fits beside those that run.
    fn check(&self, limit: Option<u64>, estimate: u64) -> Result<(), Shortage> {
        let Some(limit) = limit else { return Ok(()) };
        if self.used >= limit {
            return Err(Shortage::Used);
        }
        let total = self.used.saturating_add(self.reserved).saturating_add(estimate.max(1));
        if self.reserved > 0 && total > limit { Err(Shortage::Reserved) } else { Ok(()) }
    }

    fn settle(&mut self, reserved: u64, used: u64) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.used = self.used.saturating_add(used);
    }
}

/// The first day of a day's month.
pub fn month_begin(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

/// The time until midnight before a day.
fn until(day: Option<NaiveDate>, time: DateTime<Utc>) -> Duration {
    let wait = day.and_then(|day| day.and_hms_opt(0, 0, 0)).map(|midnight| midnight.and_utc() - time);
    wait.and_then(|wait| wait.to_std().ok()).unwrap_or_default()
}

impl Budget {
    /// Full buckets, and no use in this day and month.
    pub fn new(bounds: impl Into<Bounds>, now: Moment) -> Self {
        let bounds = bounds.into();
        let bucket = |limit| Bucket::new(limit, now.clock);
        let today = now.time.date_naive();
        Self {
            bounds,
            requests: bounds.requests_per_minute.map(bucket),
            tokens: bounds.tokens_per_minute.map(bucket),
            day: Period::new(today),
            month: Period::new(month_begin(today)),
        }
    }

    /// Takes one request of about this size from the limits. An estimate above the limit of a minute counts as that
    /// limit: a request that is alone may pass.
    ///
    /// # Errors
    /// A limit is exhausted. Nothing is taken.
    pub fn admit(&mut self, estimate: Size, now: Moment) -> Result<(), Exhausted> {
        self.enter(now);
        self.check_periods(estimate.amount, now.time)?;
        if let Some(bucket) = &self.requests {
            let limit = || format!("{} requests a minute", bucket.limit);
            bucket.check(1).map_err(|wait| Exhausted { limit: limit(), wait })?;
        }
        if let Some(bucket) = &mut self.tokens {
            let limit = || format!("{} tokens a minute", bucket.limit);
            bucket.check(estimate.tokens).map_err(|wait| Exhausted { limit: limit(), wait })?;
            bucket.level -= estimate.tokens as f64;
        }
        if let Some(bucket) = &mut self.requests {
            bucket.level -= 1.0;
        }
        for period in [&mut self.day, &mut self.month] {
            period.reserved = period.reserved.saturating_add(estimate.amount);
        }
        Ok(())
    }

    fn check_periods(&self, estimate: u64, time: DateTime<Utc>) -> Result<(), Exhausted> {
        let today = time.date_naive();
        let tomorrow = today.checked_add_days(Days::new(1));
        let next_month = month_begin(today).checked_add_months(Months::new(1));
        let Bounds { day, month, unit, .. } = self.bounds;
        for (period, limit, name, next) in
            [(&self.day, day, "day", tomorrow), (&self.month, month, "month", next_month)]
        {
            let Err(shortage) = period.check(limit, estimate) else { continue };
            let until_next = until(next, time);
            let (running, wait) = match shortage {
                Shortage::Used => ("", until_next),
                Shortage::Reserved => (", counting the requests that run", until_next.min(RUNNING)),
            };
            let limit = format!("{} a {name} (UTC){running}", unit.text(limit.unwrap_or_default()));
            return Err(Exhausted { limit, wait });
        }
        Ok(())
    }

    /// Counts the real usage of a request instead of the part `reserved` of its estimate.
    pub fn settle(&mut self, reserved: Size, used: Size, now: Moment) {
        self.enter(now);
        if let Some(bucket) = &mut self.tokens {
            let level = bucket.level + reserved.tokens as f64 - used.tokens as f64;
            bucket.level = level.min(f64::from(bucket.limit));
        }
        self.day.settle(reserved.amount, used.amount);
        self.month.settle(reserved.amount, used.amount);
    }

    /// Takes a request back that was not sent.
    pub fn cancel(&mut self, reserved: Size, now: Moment) {
        self.settle(reserved, Size::default(), now);
        if let Some(bucket) = &mut self.requests {
            bucket.level = (bucket.level + 1.0).min(f64::from(bucket.limit));
        }
    }

    /// The amounts of this day and month.
    pub fn used(&mut self, now: Moment) -> (u64, u64) {
        self.enter(now);
        (self.day.used, self.month.used)
    }

    /// Takes over the use that the audit log shows, where it is larger: of an earlier gateway process.
    pub fn learn(&mut self, day: u64, month: u64, now: Moment) {
        self.enter(now);
        self.day.used = self.day.used.max(day);
        self.month.used = self.month.used.max(month);
    }

    /// Whether there is a limit of a day or a month.
    pub fn has_periods(&self) -> bool {
        self.bounds.day.is_some() || self.bounds.month.is_some()
    }

    /// The remaining limits of a minute.
    pub fn standing(&mut self, now: Moment) -> Standing {
        self.enter(now);
        Standing {
            requests: self.requests.as_ref().map(Bucket::gauge),
            tokens: self.tokens.as_ref().map(Bucket::gauge),
        }
    }

    fn enter(&mut self, now: Moment) {
        for bucket in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
            bucket.fill(now.clock);
        }
        let today = now.time.date_naive();
        self.day.enter(today);
        self.month.enter(month_begin(today));
    }
}

/// A token bucket that holds a minute's worth.
#[derive(Debug)]
struct Bucket {
    limit: u32,
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(limit: u32, now: Instant) -> Self {
        Self { limit, level: f64::from(limit), filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + seconds * self.rate()).min(f64::from(self.limit));
        self.filled = self.filled.max(now);
    }

    /// Per second.
    fn rate(&self) -> f64 {
        f64::from(self.limit) / MINUTE_SECONDS
    }

    /// Returns the time to wait until `amount` is there, if it is not. More than the limit never is.
    fn check(&self, amount: u64) -> Result<(), Duration> {
        let missing = amount.min(self.limit.into()).max(1) as f64 - self.level;
        if missing <= ROUNDING { Ok(()) } else { Err(self.time(missing)) }
    }

    /// The time in which `amount` flows in.
    fn time(&self, amount: f64) -> Duration {
        Duration::try_from_secs_f64(amount / self.rate()).unwrap_or(Duration::MAX)
    }

    fn gauge(&self) -> Gauge {
        let reset = self.time((f64::from(self.limit) - self.level).max(0.0));
        Gauge { limit: self.limit, remaining: self.level.max(0.0) as u32, reset }
    }
}

#[cfg(test)]
mod tests;
