//! Estimates the memory that a worker will need, from the headers of its model's files. Pure.

use ipc_proto::supervisor::{Details, ModelSettings};
use ipc_proto::worker::ModelKind;

use crate::memory::{Need, TRANSIENT};

/// Full contexts that the KV cache holds by default, up to an eighth of the machine's memory.
const CONTEXTS: u64 = 8;
/// The worker's context in tokens if neither files nor settings give one.
const DEFAULT_CONTEXT: u32 = 4096;
/// Tokens of the pool's first blocks. No KV cache is smaller.
const FIRST_TOKENS: u64 = 1024;
/// Tokens that are guaranteed if other models need the memory. Most requests are shorter than a long context.
const GUARANTEED_TOKENS: u64 = 8192;

/// The memory to grant a worker. `physical` is the machine's memory in bytes.
pub(crate) fn estimate_need(details: &Details, settings: &ModelSettings, physical: u64) -> Need {
    if details.backend.is_some() {
        // The lease of its settings. A program that takes more has it raised.
        return Need { weights: details.weight_bytes, ..Need::default() };
    }
    if details.kind != ModelKind::Generate {
        // Encoders keep nothing between two texts. A step's memory is in the transient part.
        return Need { weights: details.weight_bytes, transient: TRANSIENT, ..Need::default() };
    }
    let own = details.context.unwrap_or(DEFAULT_CONTEXT);
    let context = u64::from(settings.context.map_or(own, |context| context.min(own)));
    let kv_bytes = |tokens: u64| tokens.saturating_mul(details.kv_bytes_per_token);
    let one_context = kv_bytes(context.max(FIRST_TOKENS));
    let guaranteed = kv_bytes(context.clamp(FIRST_TOKENS, GUARANTEED_TOKENS));
    let wanted = match settings.kv_mib {
        Some(mib) => u64::from(mib) << 20,
        None => one_context.saturating_mul(CONTEXTS).min(physical / 8),
    };
    Need {
        weights: details.weight_bytes,
        kv_wanted: wanted,
        kv_context: one_context.min(wanted),
        kv_min: guaranteed.min(wanted),
        transient: TRANSIENT,
        ..Need::default()
    }
}

/// Bytes of a draft model: its weights, and a KV cache for as many tokens as the main model's `kv` bytes hold.
pub(crate) fn estimate_draft(draft: &Details, details: &Details, kv: u64) -> u64 {
    let tokens = kv.checked_div(details.kv_bytes_per_token).unwrap_or(0);
    draft.weight_bytes.saturating_add(tokens.saturating_mul(draft.kv_bytes_per_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(details: &Details, settings: &ModelSettings, physical: u64) -> Need {
        estimate_need(details, settings, physical)
    }

    #[test]
    fn draft_model_needs_its_weights_and_a_cache_for_as_many_tokens() {
        let details = |weight_bytes, kv_bytes_per_token| Details {
            weight_bytes,
            kv_bytes_per_token,
            ..Details::default()
        };
        assert_eq!(estimate_draft(&details(50, 2), &details(900, 10), 1000), 50 + 100 * 2);
        assert_eq!(estimate_draft(&details(50, 2), &details(900, 0), 1000), 50);
    }

    #[test]
    fn model_of_a_backend_needs_its_lease() {
        let details = Details {
            backend: Some("lm".into()),
            weight_bytes: 4 << 30,
            context: Some(9),
            ..Details::default()
        };
        let need = need(&details, &ModelSettings::default(), 1 << 40);
        assert_eq!((need.weights, need.minimum(), need.kv_wanted), (4 << 30, 4 << 30, 0));
    }

    #[test]
    fn encoder_needs_no_kv_cache() {
        let mut details =
            Details { context: Some(512), kv_bytes_per_token: 1000, weight_bytes: 5, ..Details::default() };
        for kind in [ModelKind::Embed, ModelKind::Rerank] {
            details.kind = kind;
            let settings = ModelSettings { kv_mib: Some(9), ..ModelSettings::default() };
            let need = need(&details, &settings, 1 << 40);
            assert_eq!((need.kv_wanted, need.minimum()), (0, 5 + TRANSIENT));
        }
    }

    /// If one full context exceeds an eighth of the machine, the pool would otherwise start at its minimum. Nothing
    /// could ever be taken from it.
    #[test]
    fn cache_of_a_long_context_can_shrink() {
        let details = Details { context: Some(131_072), kv_bytes_per_token: 65_536, ..Details::default() };
        let need = need(&details, &ModelSettings::default(), 16 << 30);
        assert_eq!((need.kv_wanted, need.kv_context, need.kv_min), (2 << 30, 2 << 30, 512 << 20));
    }

    #[test]
    fn cache_holds_eight_contexts_or_the_set_size_and_one_context_at_least() {
        let mut details =
            Details { context: Some(8192), kv_bytes_per_token: 1000, weight_bytes: 5, ..Details::default() };
        let mut settings = ModelSettings::default();
        let default = need(&details, &settings, 1 << 40);
        assert_eq!((default.weights, default.kv_wanted, default.kv_min), (5, 65_536_000, 8_192_000));
        assert_eq!(default.minimum(), 5 + 8_192_000 + TRANSIENT);
        assert_eq!(need(&details, &settings, 80_000_000).kv_wanted, 10_000_000);
        assert_eq!(need(&details, &settings, 8_000_000).kv_min, 1_000_000);
        settings.context = Some(2048);
        assert_eq!(need(&details, &settings, 1 << 40).kv_min, 2_048_000);
        settings.kv_mib = Some(1);
        let limited = need(&details, &settings, 1 << 40);
        assert_eq!((limited.kv_wanted, limited.kv_min), (1 << 20, 1 << 20));
        details.context = None;
        settings = ModelSettings::default();
        assert_eq!(need(&details, &settings, 1 << 40).kv_min, 4_096_000);
    }
}
