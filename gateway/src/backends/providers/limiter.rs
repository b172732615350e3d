//! The limits of one provider over all its models. They are budgets as those of API keys; days and months count the cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use ipc_proto::gateway::{Price, PricedTokens, ProviderLimits, ProviderModel};
use ipc_proto::generate::Event;
use ipc_proto::{Error, Result};

use crate::access::Tenant;
use crate::access::budget::{Bounds, Budget, Exhausted, Moment, Size, rate_limited};
use crate::access::cost::CostHold;

/// The limits of a provider and their use.
#[derive(Debug)]
pub(super) struct Limiter {
    provider: Arc<str>,
    limits: ProviderLimits,
    budget: Mutex<Budget>,
}

impl Limiter {
    /// The limiter of a provider. It goes on with the use of the one `before` it.
    pub(super) fn new(provider: &Arc<str>, limits: ProviderLimits, before: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(same) = before.filter(|before| before.limits == limits) {
            return Arc::clone(same);
        }
        let now = Moment::now();
        let mut budget = Budget::new(bounds(limits), now);
        if let Some(before) = before {
            let (day, month) = before.locked().used(now);
            budget.learn(day, month, now);
        }
        Arc::new(Self { provider: Arc::clone(provider), limits, budget: Mutex::new(budget) })
    }

    /// The limits.
    pub(super) fn limits(&self) -> ProviderLimits {
        self.limits
    }

    /// Lets a request with about this many tokens in its prompt pass. `payer` bears its cost; `None` if it costs nothing.
    ///
    /// # Errors
    /// A limit of the provider or of the payer's cost is reached. The error says when a request may pass.
    pub(super) fn admit(
        self: &Arc<Self>,
        prompt_tokens: u32,
        model: Option<&ProviderModel>,
        payer: Option<&Tenant>,
        now: Moment,
    ) -> Result<Reservation> {
        let price = model.and_then(|model| model.price.on(&day(now.time))).cloned();
        let tokens = PricedTokens { prompt: prompt_tokens, ..PricedTokens::default() };
        let reserved = size(price.as_ref(), tokens);
        let id = model.map_or("", |model| &*model.id);
        let estimate = price.as_ref().map(|_| reserved.amount);
        let hold = payer.map(|payer| payer.hold_cost(id, estimate, now)).transpose()?.flatten();
        self.locked().admit(reserved, now).map_err(|exhausted| self.refusal(exhausted))?;
        let limiter = Arc::clone(self);
        let state = State::Waiting;
        Ok(Reservation { limiter, hold, price, reserved, prompt_tokens, generated: 0, state })
    }

    /// The cost of this day and month.
    pub(super) fn used(&self, now: Moment) -> (u64, u64) {
        self.locked().used(now)
    }

    /// Takes over the cost of this day and month that the request log shows, in billionths of a US dollar.
    pub(super) fn learn(&self, day: u64, month: u64, now: Moment) {
        self.locked().learn(day, month, now);
    }

    fn refusal(&self, Exhausted { limit, wait }: Exhausted) -> Error {
        let text = format!("the limit of {limit} for the provider {} is reached", self.provider);
        rate_limited(text, wait)
    }

    fn locked(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounds(limits: ProviderLimits) -> Bounds {
    let ProviderLimits { requests_per_minute, tokens_per_minute, cost_per_day, cost_per_month } = limits;
    Bounds { requests_per_minute, tokens_per_minute, ..Bounds::of_cost(cost_per_day, cost_per_month) }
}

fn day(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d").to_string()
}

/// The size of these tokens at a price.
fn size(price: Option<&Price>, tokens: PricedTokens) -> Size {
    let amount = price.map_or(0, |price| price.cost(tokens));
    Size { tokens: u64::from(tokens.prompt) + u64::from(tokens.output), amount }
}

/// The part of a provider's limits that one request holds, until its real usage replaces it.
#[derive(Debug)]
pub(super) struct Reservation {
    limiter: Arc<Limiter>,
    /// What the sender's key holds, if it has a limit of cost.
    hold: Option<CostHold>,
    price: Option<Price>,
    reserved: Size,
    prompt_tokens: u32,
    /// Pieces of output so far.
    generated: u32,
    state: State,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The provider has not begun to answer.
    Waiting,
    /// It answers.
    Open,
    /// A choice has ended, with the token counts.
    Counted,
}

impl Reservation {
    /// The provider has begun to answer: tokens are used.
    pub(super) fn open(&mut self) {
        self.state = State::Open;
    }

    /// Counts an event of the answer.
    pub(super) fn record(&mut self, event: &Event) {
        match event {
            Event::Delta(_) => self.generated = self.generated.saturating_add(1),
            Event::Finished { usage, .. } => {
                // All choices have the same prompt.
                let is_first = self.state != State::Counted;
                let once = |count: u32| if is_first { count } else { 0 };
                self.settle(PricedTokens {
                    prompt: once(usage.prompt_tokens),
                    cached: once(usage.cached_tokens),
                    output: usage.completion_tokens,
                });
                self.state = State::Counted;
            }
            Event::Progress(_) | Event::Prompt { .. } | Event::Failed(_) => {}
        }
    }

    /// Gives the request back: it was not sent.
    pub(super) fn cancel(mut self) {
        let reserved = std::mem::take(&mut self.reserved);
        self.limiter.locked().cancel(reserved, Moment::now());
    }

    /// Counts these tokens instead of what is reserved.
    fn settle(&mut self, used: PricedTokens) {
        let (reserved, used) = (std::mem::take(&mut self.reserved), size(self.price.as_ref(), used));
        if let Some(hold) = &mut self.hold {
            hold.settle(used.amount);
        }
        self.limiter.locked().settle(reserved, used, Moment::now());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.settle(match self.state {
            // The client has left, or the answer broke off.
            State::Open => PricedTokens { prompt: self.prompt_tokens, output: self.generated, cached: 0 },
            State::Waiting | State::Counted => PricedTokens::default(),
        });
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::{Delta, FinishReason, Usage};
    use ipc_proto::{ErrorKind, Origin};

    use super::*;

    fn limiter(limits: serde_json::Value, before: Option<&Arc<Limiter>>) -> Arc<Limiter> {
        Limiter::new(&"far".into(), serde_json::from_value(limits).unwrap(), before)
    }

    fn priced() -> ProviderModel {
        // A dollar for a thousand tokens of either kind.
        let model = serde_json::json!({"id": "m", "price": {"input": 1000, "output": 1000}});
        serde_json::from_value(model).unwrap()
    }

    fn finished(prompt_tokens: u32, completion_tokens: u32) -> Event {
        let usage = Usage { prompt_tokens, completion_tokens, ..Usage::default() };
        Event::Finished { reason: FinishReason::Stop, usage }
    }

    #[test]
    fn reached_limit_is_a_refusal_with_the_time_to_wait() {
        let limiter = limiter(serde_json::json!({"requests_per_minute": 1}), None);
        let now = Moment::now();
        drop(limiter.admit(5, None, None, now).unwrap());
        let error = limiter.admit(5, None, None, now).unwrap_err();
        assert_eq!((error.kind, error.origin), (ErrorKind::RateLimited, Origin::Gateway));
        assert_eq!(error.message, "the limit of 1 requests a minute for the provider far is reached");
        assert!(error.disposition.retry_after().unwrap().as_secs() >= 59);
    }

    #[test]
    fn request_that_was_not_sent_does_not_count() {
        let (limiter, now) = (limiter(serde_json::json!({"requests_per_minute": 1}), None), Moment::now());
        limiter.admit(5, None, None, now).unwrap().cancel();
        limiter.admit(5, None, None, now).unwrap();
    }

    #[test]
    fn cost_is_that_of_the_real_usage() {
        let limits = serde_json::json!({"cost_per_day": 0.1, "cost_per_month": 10});
        let limiter = limiter(limits, None);
        let (model, now) = (priced(), Moment::now());
        let mut one = limiter.admit(50, Some(&model), None, now).unwrap();
        // Half of the day is reserved.
        assert!(limiter.admit(60, Some(&model), None, now).is_err());
        one.open();
        one.record(&finished(10, 5));
        one.record(&finished(10, 5));
        drop(one);
        assert_eq!(limiter.locked().used(now).0, 20_000_000);
        let mut cancelled = limiter.admit(50, Some(&model), None, now).unwrap();
        cancelled.open();
        cancelled.record(&Event::Delta(Delta::default()));
        drop(cancelled);
        assert_eq!(limiter.locked().used(now).0, 71_000_000, "the estimate of the prompt, and a piece");
        limiter.learn(100_000_000, 0, now);
        let error = limiter.admit(0, Some(&model), None, now).unwrap_err();
        assert!(error.message.contains("limit of $0.1 a day (UTC)"), "{error}");
    }

    #[test]
    fn changed_limits_go_on_with_the_use_so_far() {
        let first = limiter(serde_json::json!({"cost_per_day": 1}), None);
        first.learn(7, 9, Moment::now());
        let same = limiter(serde_json::json!({"cost_per_day": 1}), Some(&first));
        assert!(Arc::ptr_eq(&first, &same));
        let other = limiter(serde_json::json!({"cost_per_day": 2}), Some(&first));
        assert_eq!(other.locked().used(Moment::now()), (7, 9));
    }
}
