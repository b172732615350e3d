//! What providers cost a key: held while a request runs, and counted at its end.

use std::sync::Arc;

use ipc_proto::{Error, Resource, Result};

use super::Tenant;
use super::budget::{Exhausted, Moment, Size, rate_limited};
use super::key::Key;

/// The part of a key's limits of cost that one request holds. Dropping it gives that back.
#[derive(Debug)]
pub struct CostHold {
    key: Arc<Key>,
    /// Billionths of a US dollar.
    reserved: u64,
}

impl Tenant {
    /// Holds the estimated cost of a request to a model, in billionths of a US dollar. `None`: the model has no price. Returns
    /// `None` if the tenant has no limit of cost.
    ///
    /// # Errors
    /// A limit is reached, or the model has no price.
    pub fn hold_cost(&self, model: &str, estimate: Option<u64>, now: Moment) -> Result<Option<CostHold>> {
        let Some(key) = &self.0.as_ref().map(|admission| &admission.key) else { return Ok(None) };
        let Some(mut budget) = key.state.cost() else { return Ok(None) };
        let Some(reserved) = estimate else {
            let text = format!("the model \"{model}\" has no price, and this API key has a limit of cost");
            return Err(Error::not_found(Resource::Model, text));
        };
        budget.admit(size(reserved), now).map_err(|Exhausted { limit, wait }| {
            let text =
                format!("this API key's limit of {limit} is reached; models of this machine cost nothing");
            rate_limited(text, wait)
        })?;
        drop(budget);
        Ok(Some(CostHold { key: Arc::clone(key), reserved }))
    }
}

impl CostHold {
    /// Counts a cost, in billionths of a US dollar, instead of what is held.
    pub fn settle(&mut self, cost: u64) {
        let reserved = std::mem::take(&mut self.reserved);
        if let Some(mut budget) = self.key.state.cost() {
            budget.settle(size(reserved), size(cost), Moment::now());
        }
    }
}

impl Drop for CostHold {
    fn drop(&mut self) {
        if self.reserved > 0 {
            self.settle(0);
        }
    }
}

fn size(amount: u64) -> Size {
    Size { tokens: 0, amount }
}
