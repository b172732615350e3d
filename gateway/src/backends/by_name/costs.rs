//! Takes over the cost of providers from the request log: what earlier gateways and other ones have spent counts too.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};

use super::pool::ProviderPool;
use crate::access::budget::{Moment, month_begin};
use crate::store::{Db, DbError};

/// Pause between two looks at the log.
const INTERVAL: Duration = Duration::from_secs(30);

impl ProviderPool {
    /// Keeps the costs of providers with such limits up to date; never returns.
    pub async fn follow_costs(self: Arc<Self>, db: Db) {
        let mut is_failing = false;
        loop {
            let learned = self.learn_costs(&db, Moment::now()).await;
            if let Err(error) = &learned
                && !is_failing
            {
                tracing::warn!(%error, "the costs of providers cannot be read from the request log");
            }
            is_failing = learned.is_err();
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn learn_costs(&self, db: &Db, now: Moment) -> Result<(), DbError> {
        let today = now.time.date_naive();
        let since = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        for backend in self.backends() {
            if backend.limits().has_cost() {
                let day = db.cost_of(backend.name(), since(today)).await?;
                let month = db.cost_of(backend.name(), since(month_begin(today))).await?;
                backend.learn_cost(day, month, now);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::gateway::GatewayConfig;
    use serde_json::json;

    use super::*;
    use crate::inference::course::{Answerer, BackendName};
    use crate::inference::record::{Cost, Record};

    fn record(id: &str, at_ms: i64, backend: &str, nano_usd: u64) -> Record {
        let backend = Some(BackendName::Provider(backend.into()));
        Record {
            answerer: Answerer { backend, ..Answerer::default() },
            cost: Some(Cost { nano_usd, price_since: None }),
            ..Record::example(id, at_ms)
        }
    }

    #[tokio::test]
    async fn log_of_earlier_gateways_counts() {
        let price = json!({"input": 1, "output": 1});
        let far = json!({"kind": "openai", "url": "http://127.0.0.1:9", "models": [{"id": "m", "price": price}],
            "limits": {"cost_per_day": 1}});
        let providers = serde_json::from_value(json!({"far": far})).unwrap();
        let pool = ProviderPool::new(&GatewayConfig { providers, ..GatewayConfig::default() }).unwrap();
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        let now = Moment::now();
        let at_ms = now.time.timestamp_millis();
        let records = [
            record("a", at_ms, "far", 300),
            record("b", at_ms, "far", 40),
            record("c", at_ms, "other", 5000),
            record("d", at_ms - 40 * 86_400_000, "far", 60_000),
            Record::example("e", at_ms),
        ];
        db.insert_requests(&records).await.unwrap();
        assert_eq!(db.cost_of("far", 0).await.unwrap(), 60_340);
        pool.learn_costs(&db, now).await.unwrap();
        let backend = pool.backends().remove(0);
        assert_eq!(backend.cost(now), (340, 340));
    }
}
