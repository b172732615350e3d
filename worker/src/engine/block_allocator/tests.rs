use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BLOCKS: u32 = 40;
const SIZE: u32 = 4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Tables grow, are cleared and dropped at random while the limit changes. No block is in two tables, none leaks, and
    /// none beyond the limit is allocated.
    #[test]
    fn blocks_are_neither_shared_nor_lost(actions in vec((0usize..6, 0u32..60, 0..9), 1..200)) {
        let allocator = BlockAllocator::new(BLOCKS, SIZE);
        let mut tables: Vec<BlockTable> = (0..6).map(|_| allocator.table()).collect();
        for (at, tokens, action) in actions {
            match action {
                0 => tables[at].clear(),
                1 => tables[at] = allocator.table(),
                8 => allocator.set_limit(tokens),
                _ => {
                    let before = tables[at].blocks().to_vec();
                    let reached = tables[at].grow_to(tokens);
                    prop_assert!(tables[at].blocks().starts_with(&before));
                    prop_assert!(reached.is_ok() == (tables[at].blocks().len() as u32 * SIZE >= tokens));
                    prop_assert!(reached.is_ok() || allocator.free() == 0);
                    let fresh = &tables[at].blocks()[before.len()..];
                    prop_assert!(fresh.iter().all(|block| *block < allocator.limit()));
                }
            }
            let mut held: Vec<u32> = tables.iter().flat_map(|table| table.blocks()).copied().collect();
            prop_assert_eq!(held.len() as u32, allocator.used());
            let within = held.iter().filter(|block| **block < allocator.limit()).count() as u32;
            prop_assert_eq!(within + allocator.free(), allocator.limit());
            prop_assert!(allocator.used_end() >= held.iter().max().map_or(0, |last| last + 1));
            held.sort_unstable();
            held.dedup();
            prop_assert_eq!(held.len() as u32, allocator.used());
            prop_assert!(held.iter().all(|block| *block < BLOCKS));
        }
        drop(tables);
        prop_assert_eq!(allocator.used(), 0);
    }
}

fn chain(allocator: &BlockAllocator, tokens: &[u32]) -> Vec<ChainHash> {
    let mut chain = Vec::new();
    allocator.extend_chain(&mut chain, ChainHash::default(), tokens, &PromptImages::default());
    chain
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Tables share texts at random. An adopted block was computed for exactly that text and not overwritten since.
    #[test]
    fn adopted_blocks_hold_the_text(
        actions in vec((0usize..5, vec(0u32..2, 0..24), 0..8), 1..120),
    ) {
        let allocator = BlockAllocator::new(12, SIZE);
        let mut tables: Vec<BlockTable> = (0..5).map(|_| allocator.table()).collect();
        let mut content: Vec<Option<Vec<u32>>> = vec![None; 12];
        for (at, tokens, action) in actions {
            let table = &mut tables[at];
            table.clear();
            match action {
                0 => continue,
                1 => {
                    allocator.set_limit(tokens.len() as u32);
                    prop_assert!(tables.iter().any(|t| !t.blocks().is_empty()) || allocator.used_end() <= allocator.limit());
                    continue;
                }
                _ => {}
            }
            let chain = chain(&allocator, &tokens);
            let Ok(cached) = allocator.find(&chain, None) else { continue };
            let (used, adopted) = (allocator.used(), cached.blocks);
            table.adopt(&chain);
            prop_assert_eq!(table.blocks().len() as u32, adopted);
            prop_assert_eq!(allocator.used() - used, cached.idle);
            for (block, count) in table.blocks().iter().zip(1..) {
                let text = &tokens[..count * SIZE as usize];
                prop_assert_eq!(content[*block as usize].as_deref(), Some(text));
            }
            if table.grow_to(tokens.len() as u32).is_err() {
                table.clear();
                continue;
            }
            table.publish(&chain, 0, false);
            for (block, count) in table.blocks().iter().zip(1..).skip(adopted as usize) {
                content[*block as usize] = tokens.get(..count * SIZE as usize).map(<[u32]>::to_vec);
            }
            // Some are cancelled before their blocks are computed.
            if action < 7 {
                table.publish(&chain, adopted as usize, true);
            }
        }
        let held: std::collections::HashSet<u32> = tables.iter().flat_map(|t| t.blocks()).copied().collect();
        prop_assert_eq!(held.len() as u32, allocator.used());
    }
}

#[test]
fn chain_hashes_depend_on_the_whole_prefix_and_the_scope() {
    let allocator = BlockAllocator::new(8, SIZE);
    let (a, b) =
        (chain(&allocator, &[1, 2, 3, 4, 5, 6, 7, 8]), chain(&allocator, &[0, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!((a.len(), b.len()), (2, 2));
    assert!(a[0] != b[0] && a[1] != b[1] && a[0] != a[1]);
    assert_eq!(a, chain(&allocator, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
    let mut scoped = Vec::new();
    allocator.extend_chain(
        &mut scoped,
        allocator.scope("tenant"),
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &PromptImages::default(),
    );
    assert!(scoped[0] != a[0] && scoped[1] != a[1], "scopes share text");
    assert_eq!(allocator.scope(""), ChainHash::default());
}

#[test]
fn sequences_that_start_together_grow_without_gaps() {
    let allocator = BlockAllocator::new(64, SIZE);
    let mut tables = [allocator.table(), allocator.table()];
    for tokens in 1..=8 * SIZE {
        for table in &mut tables {
            table.grow_to(tokens).unwrap();
        }
    }
    for table in &tables {
        assert!(table.blocks().windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", table.blocks());
    }
}

#[test]
fn slot_is_block_times_size_plus_offset() {
    let allocator = BlockAllocator::new(8, SIZE);
    let mut table = allocator.table();
    table.grow_to(6).unwrap();
    let [first, second] = [table.blocks()[0], table.blocks()[1]];
    assert_eq!((table.slot(0), table.slot(3)), (first * SIZE, first * SIZE + 3));
    assert_eq!(table.slot(5), second * SIZE + 1);
}

#[test]
fn lower_limit_evicts_idle_blocks_and_higher_limit_restores_them() {
    let allocator = BlockAllocator::new(8, SIZE);
    let text: Vec<u32> = (0..8 * SIZE).collect();
    let chain = chain(&allocator, &text);
    let mut table = allocator.table();
    table.grow_to(8 * SIZE).unwrap();
    table.publish(&chain, 0, true);
    allocator.set_limit(2);
    assert_eq!((allocator.used(), allocator.free(), allocator.used_end()), (8, 0, 8));
    table.clear();
    assert_eq!((allocator.used(), allocator.free(), allocator.used_end()), (0, 2, 2));
    assert_eq!(allocator.find(&chain, None).unwrap(), Cached { blocks: 2, idle: 2 });
    allocator.evict_idle();
    assert_eq!(allocator.find(&chain, None).unwrap(), Cached::default());
    assert_eq!(allocator.used_end(), 0);
    allocator.set_limit(100);
    assert_eq!((allocator.limit(), allocator.free()), (8, 8));
}
