//! A request's text is the same alone, in a batch, after cache hits, after preemption and with drafts.

use ipc_proto::generate::{ChoiceId, Submission};

use super::harness::{Gateway, edited, text};
use crate::models::model;
use crate::{SMOL, whole};

/// Prompts whose greedy tokens have a clear lead, so that rounding cannot change them.
const PROMPTS: [&str; 8] = [
    "2, 4, 6, 8,",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,",
    "10, 20, 30, 40, 50,",
    "a b c d e f g a b c d e f g a b c d e f g a b c d e f g a b c",
    "5, 10, 15, 20, 25, 30, 35, 40,",
    "one two three four one two three four one two three four",
    "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53,",
    "100, 200, 300, 400, 500, 600,",
];
const TOKENS: u32 = 60;

fn request(id: usize) -> Submission {
    edited(text(id as u64, PROMPTS[id], TOKENS), |submission| submission.generation.ignore_eos = true)
}

async fn sequentially(gateway: &mut Gateway) -> Vec<String> {
    let mut texts = Vec::new();
    for id in 0..PROMPTS.len() {
        gateway
            .submit(edited(request(id), |submission| submission.choices[0].id = ChoiceId(0)))
            .await
            .unwrap();
        texts.push(gateway.answers(1).await.remove(0).text);
    }
    texts
}

async fn concurrently(gateway: &mut Gateway) -> Vec<String> {
    for id in 0..PROMPTS.len() {
        gateway.submit(request(id)).await.unwrap();
    }
    gateway.answers(PROMPTS.len()).await.into_iter().map(|answer| answer.text).collect()
}

#[tokio::test]
async fn text_depends_on_its_request_only() {
    let alone = {
        let worker = whole(&[]);
        let mut gateway = worker.gateway(1).await;
        let alone = sequentially(&mut gateway).await;
        assert!(alone.iter().all(|text| text.len() > 40), "{alone:?}");
        assert_eq!(concurrently(&mut gateway).await, alone, "in a batch, with cached prompts");
        let hits = gateway.until(|health| health.running == 0).await.prefix.hits;
        assert!(hits > 0, "some prompts fill a block");
        alone
    };
    let folder = model(SMOL);
    let draft = folder.to_str().unwrap();
    // Ten blocks, for eight requests that grow to three each.
    for arguments in [&["--kv-mib", "15"][..], &["--draft-tokens", "4"], &["--draft-model", draft]] {
        let worker = whole(arguments);
        let mut gateway = worker.gateway(1).await;
        assert_eq!(concurrently(&mut gateway).await, alone, "{arguments:?}");
        let health = gateway.until(|health| health.running == 0).await;
        let short = health.kv_blocks_total < 12;
        assert_eq!(short, arguments[0] == "--kv-mib", "{health:?}");
        // Only preemption explains so many steps.
        assert!(!short || health.steps > u64::from(TOKENS) + 20, "{health:?}");
    }
}
