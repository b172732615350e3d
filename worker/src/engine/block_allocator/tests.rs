use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BLOCKS: u32 = 40;
const SIZE: u32 = 4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Tables that grow, empty and vanish at random: no block is in two of them, none is lost.
    #[test]
    fn blocks_are_neither_shared_nor_lost(actions in vec((0usize..6, 0u32..60, 0..8), 1..200)) {
        let allocator = BlockAllocator::new(BLOCKS, SIZE);
        let mut tables: Vec<BlockTable> = (0..6).map(|_| allocator.table()).collect();
        for (at, tokens, action) in actions {
            match action {
                0 => tables[at].clear(),
                1 => tables[at] = allocator.table(),
                _ => {
                    let before = tables[at].blocks().to_vec();
                    let reached = tables[at].reach(tokens);
                    prop_assert!(tables[at].blocks().starts_with(&before));
                    prop_assert!(reached.is_ok() == (tables[at].blocks().len() as u32 * SIZE >= tokens));
                    prop_assert!(reached.is_ok() || allocator.free() == 0);
                }
            }
            let mut held: Vec<u32> = tables.iter().flat_map(|table| table.blocks()).copied().collect();
            prop_assert_eq!(held.len() as u32, allocator.used());
            prop_assert_eq!(allocator.used() + allocator.free(), BLOCKS);
            held.sort_unstable();
            held.dedup();
            prop_assert_eq!(held.len() as u32, allocator.used());
            prop_assert!(held.iter().all(|block| *block < BLOCKS));
        }
        drop(tables);
        prop_assert_eq!(allocator.used(), 0);
    }
}

#[test]
fn sequences_that_start_together_grow_without_gaps() {
    let allocator = BlockAllocator::new(64, SIZE);
    let mut tables = [allocator.table(), allocator.table()];
    for tokens in 1..=8 * SIZE {
        for table in &mut tables {
            table.reach(tokens).unwrap();
        }
    }
    for table in &tables {
        assert!(table.blocks().windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", table.blocks());
    }
}

#[test]
fn slots_follow_the_table() {
    let allocator = BlockAllocator::new(8, SIZE);
    let mut table = allocator.table();
    table.reach(6).unwrap();
    let [first, second] = [table.blocks()[0], table.blocks()[1]];
    assert_eq!((table.slot(0), table.slot(3)), (first * SIZE, first * SIZE + 3));
    assert_eq!(table.slot(5), second * SIZE + 1);
}
