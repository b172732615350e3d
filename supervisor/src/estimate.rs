//! How much memory a worker will need, from what its files' headers say. Pure.

use ipc_proto::supervisor::{Details, ModelSettings};
use ipc_proto::worker::ModelKind;

use crate::memory::{Need, TRANSIENT};

/// Full contexts that a worker's KV cache has room for by default; no more than an eighth of the machine's memory.
const CONTEXTS: u64 = 8;
/// Without a word on the context: what the worker takes then.
const DEFAULT_CONTEXT: u32 = 4096;
/// No KV cache is smaller: the pool's first blocks.
const FIRST_TOKENS: u64 = 1024;
/// Of long contexts no more has to fit while others need the memory: most requests are shorter.
const USEFUL_TOKENS: u64 = 8192;

/// What to grant a worker of a model, on a machine with so much memory.
pub(crate) fn need(details: &Details, settings: &ModelSettings, physical: u64) -> Need {
    if details.kind != ModelKind::Generate {
        // It keeps nothing between two texts; what a step needs is in the rest.
        return Need { weights: details.weight_bytes, transient: TRANSIENT, ..Need::default() };
    }
    let own = details.context.unwrap_or(DEFAULT_CONTEXT);
    let context = u64::from(settings.context.map_or(own, |context| context.min(own)));
    let of = |tokens: u64| tokens.saturating_mul(details.kv_bytes_per_token);
    let (one, useful) = (of(context.max(FIRST_TOKENS)), of(context.clamp(FIRST_TOKENS, USEFUL_TOKENS)));
    let wanted = match settings.kv_mib {
        Some(mib) => u64::from(mib) << 20,
        None => one.saturating_mul(CONTEXTS).min(physical / 8),
    };
    Need {
        weights: details.weight_bytes,
        kv_wanted: wanted,
        kv_context: one.min(wanted),
        kv_least: useful.min(wanted),
        transient: TRANSIENT,
        ..Need::default()
    }
}

/// What a second model that drafts for one of these details takes, whose KV cache has as many tokens.
pub(crate) fn draft(draft: &Details, details: &Details, kv: u64) -> u64 {
    let tokens = kv.checked_div(details.kv_bytes_per_token).unwrap_or(0);
    draft.weight_bytes.saturating_add(tokens.saturating_mul(draft.kv_bytes_per_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_drafts_has_weights_and_as_long_a_cache() {
        let of = |weight_bytes, kv_bytes_per_token| Details {
            weight_bytes,
            kv_bytes_per_token,
            ..Details::default()
        };
        assert_eq!(draft(&of(50, 2), &of(900, 10), 1000), 50 + 100 * 2);
        assert_eq!(draft(&of(50, 2), &of(900, 0), 1000), 50);
    }

    #[test]
    fn a_model_that_only_reads_has_no_cache() {
        let mut details =
            Details { context: Some(512), kv_bytes_per_token: 1000, weight_bytes: 5, ..Details::default() };
        for kind in [ModelKind::Embed, ModelKind::Rerank] {
            details.kind = kind;
            let need =
                need(&details, &ModelSettings { kv_mib: Some(9), ..ModelSettings::default() }, 1 << 40);
            assert_eq!((need.kv_wanted, need.least()), (0, 5 + TRANSIENT));
        }
    }

    /// Where one full context is more than an eighth of the machine, the pool would be at its least from the beginning, and
    /// nothing could ever be taken from it.
    #[test]
    fn the_cache_of_a_long_context_can_shrink() {
        let details = Details { context: Some(131_072), kv_bytes_per_token: 65_536, ..Details::default() };
        let need = need(&details, &ModelSettings::default(), 16 << 30);
        assert_eq!((need.kv_wanted, need.kv_context, need.kv_least), (2 << 30, 2 << 30, 512 << 20));
    }

    #[test]
    fn the_cache_holds_eight_contexts_or_what_is_set_and_one_at_least() {
        let mut details =
            Details { context: Some(8192), kv_bytes_per_token: 1000, weight_bytes: 5, ..Details::default() };
        let mut settings = ModelSettings::default();
        let all = need(&details, &settings, 1 << 40);
        assert_eq!((all.weights, all.kv_wanted, all.kv_least), (5, 65_536_000, 8_192_000));
        assert_eq!(all.least(), 5 + 8_192_000 + TRANSIENT);
        assert_eq!(need(&details, &settings, 80_000_000).kv_wanted, 10_000_000);
        assert_eq!(need(&details, &settings, 8_000_000).kv_least, 1_000_000);
        settings.context = Some(2048);
        assert_eq!(need(&details, &settings, 1 << 40).kv_least, 2_048_000);
        settings.kv_mib = Some(1);
        let little = need(&details, &settings, 1 << 40);
        assert_eq!((little.kv_wanted, little.kv_least), (1 << 20, 1 << 20));
        details.context = None;
        settings = ModelSettings::default();
        assert_eq!(need(&details, &settings, 1 << 40).kv_least, 4_096_000);
    }
}
