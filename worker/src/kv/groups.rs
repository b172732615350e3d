//! Groups the rows of a step for attention, and builds their masks.
//!
//! Rows with few tokens and similar lengths form a group: their blocks are gathered, padded to the longest, and one product
//! serves all. A row with many keys in consecutive slots attends alone, because reading them in place costs nothing. So does a
//! row with many tokens, which is split if it has too many scores. The groups are built once per step and window, and used by
//! every layer.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use mlx_rs::Array;

use super::attention::{AttentionMask, attends_to};
use super::{BLOCK_SIZE, KvShape};
use crate::engine::runner::{Batch, Row, RowImage};

/// Maximum tokens of a row in a group.
const MAX_GROUPED_TOKENS: usize = 8;
/// Rows of up to this many blocks are grouped whatever their length.
const MIN_GROUPED_BLOCKS: usize = 8;
/// Bytes of keys and values of one layer. Copying them takes about as long as setting up a row's own products.
const GATHER_BYTES: usize = 1 << 20;
/// Maximum bytes of keys and values of one layer that are gathered at once.
const MAX_GATHERED_BYTES: usize = 64 << 20;

/// A step's rows in groups.
pub(super) struct AttentionGroups {
    pub(super) groups: Vec<AttentionGroup>,
    /// `[T]`: index of each token of the step in the groups' concatenated outputs; `None` if they are in order.
    pub(super) order: Option<Array>,
}

/// Rows that attend in one product.
pub(super) struct AttentionGroup {
    pub(super) queries: Queries,
    pub(super) keys: Keys,
    pub(super) mask: AttentionMask,
    /// Scores per query head.
    pub(super) scores: usize,
}

/// A group's tokens among those of the step.
pub(super) enum Queries {
    /// All.
    All,
    /// Consecutive tokens.
    Slice(Range<i32>),
    /// Tokens by index.
    Gather(Array),
}

/// Location of a group's keys and values in the pool.
pub(super) enum Keys {
    /// Consecutive slots of one row: a slice of the pool, which costs nothing.
    Slice(Range<i32>),
    /// Blocks to gather.
    Blocks {
        /// `[rows * kv_heads * blocks]`: index among the blocks of all heads.
        index: Array,
        rows: i32,
        /// The range of the gathered tokens to use; `None`: all.
        tokens: Option<Range<i32>>,
    },
}

/// What tokens of a layer attend to.
#[derive(Clone, Copy)]
pub(super) struct View {
    /// The last tokens up to their own; `None`: all of them.
    pub(super) window: Option<u32>,
    /// Tokens of an image attend to the later ones of the image, too.
    pub(super) whole_images: bool,
}

/// Tokens of one row, with the keys they attend to.
struct RowSpan<'a> {
    row: &'a Row,
    /// Positions of the images of which all tokens attend to each other.
    images: Rc<[Range<u32>]>,
    /// All tokens of the row or some of them, by index in the step.
    tokens: Range<usize>,
    /// Position of the first token.
    first: u32,
    /// Position of the first key.
    first_key: u32,
    /// Position after the last token.
    end: u32,
    /// Position after the last key.
    end_key: u32,
    /// Blocks of the keys.
    blocks: &'a [u32],
}

impl AttentionGroups {
    /// Groups `batch` for layers with this view, in a pool of `pool_blocks` blocks. A group has at most `max_scores` scores
    /// per query head, or a single token.
    pub(super) fn new(
        batch: &Batch,
        view: View,
        shape: KvShape,
        (pool_blocks, max_scores): (u32, usize),
    ) -> Self {
        let block_bytes = shape.layer_block_bytes() as usize;
        let mut grouped: BTreeMap<(usize, usize), Vec<RowSpan>> = BTreeMap::new();
        let mut single = Vec::new();
        let window = view.window;
        for row in &batch.rows {
            let images = if view.whole_images { image_positions(batch, row) } else { Rc::default() };
            let first = batch.positions[row.tokens.start];
            let span = RowSpan::new(row, images, row.tokens.clone(), first, window);
            let blocks = span.blocks.len();
            let reads_in_place = span.is_consecutive() && blocks * block_bytes > GATHER_BYTES;
            if row.tokens.len() > MAX_GROUPED_TOKENS || reads_in_place || !span.images.is_empty() {
                single.extend(span.split(max_scores, window));
            } else {
                let length = blocks.next_power_of_two().max(MIN_GROUPED_BLOCKS);
                grouped.entry((row.tokens.len(), length)).or_default().push(span);
            }
        }
        let heads = HeadBlocks { heads: shape.kv_heads as u32, blocks: pool_blocks };
        let grouped = grouped.into_iter().flat_map(|((tokens, blocks), spans)| {
            let scores = tokens * blocks * BLOCK_SIZE as usize;
            let rows = (MAX_GATHERED_BYTES / (blocks * block_bytes).max(1)).min(max_scores / scores.max(1));
            split_into_groups(spans, rows.max(1))
        });
        let (mut groups, mut tokens) = (Vec::new(), Vec::with_capacity(batch.tokens.len()));
        for spans in grouped.chain(single.into_iter().map(|span| vec![span])) {
            let indices: Vec<u32> =
                spans.iter().flat_map(|span| span.tokens.clone()).map(|at| at as u32).collect();
            let (keys, mask) = match &spans[..] {
                [span] => span.keys_and_mask(window, heads),
                spans => gathered_keys_and_mask(spans, window, heads),
            };
            let longest = spans.iter().map(|span| span.blocks.len()).max().unwrap_or(0);
            let scores = indices.len() * longest * BLOCK_SIZE as usize;
            let queries = select_queries(&indices, batch.tokens.len());
            groups.push(AttentionGroup { queries, keys, mask, scores });
            tokens.extend(indices);
        }
        Self { groups, order: order(&tokens) }
    }
}

/// The positions of the images in a row, from the first token of each to its last.
fn image_positions(batch: &Batch, row: &Row) -> Rc<[Range<u32>]> {
    let positions = |image: &RowImage| {
        let position = |token: &u32| batch.positions[*token as usize];
        Some(position(image.tokens.first()?)..position(image.tokens.last()?) + 1)
    };
    row.images.iter().filter_map(positions).collect()
}

/// Splits `spans` into groups of at most `rows`.
fn split_into_groups(mut spans: Vec<RowSpan>, rows: usize) -> Vec<Vec<RowSpan>> {
    let mut groups = Vec::new();
    while spans.len() > rows {
        let rest = spans.split_off(rows);
        groups.push(std::mem::replace(&mut spans, rest));
    }
    groups.push(spans);
    groups
}

/// Indices of blocks for a gather: head h has `blocks` blocks from `h * blocks` on.
#[derive(Clone, Copy)]
struct HeadBlocks {
    heads: u32,
    blocks: u32,
}

impl HeadBlocks {
    fn index(self, blocks: &[u32]) -> impl Iterator<Item = u32> {
        (0..self.heads).flat_map(move |head| blocks.iter().map(move |block| head * self.blocks + block))
    }
}

impl<'a> RowSpan<'a> {
    fn new(
        row: &'a Row,
        images: Rc<[Range<u32>]>,
        tokens: Range<usize>,
        first: u32,
        window: Option<u32>,
    ) -> Self {
        let end = first + tokens.len() as u32;
        let image_of = |position: u32| images.iter().find(|image| image.contains(&position));
        let end_key = image_of(end - 1).map_or(end, |image| image.end);
        let first_key = window.map_or(0, |window| (first + 1).saturating_sub(window));
        let blocks = (first_key / BLOCK_SIZE) as usize..end_key.div_ceil(BLOCK_SIZE) as usize;
        Self { row, tokens, first, first_key, end, end_key, blocks: &row.blocks[blocks], images }
    }

    /// Whether the token at position `query` attends to the one at `key`. A window hides the start of its image, never the end.
    fn attends_to(&self, query: u32, key: u32, window: u32) -> bool {
        let follows = |image: &Range<u32>| query < key && image.contains(&query) && image.contains(&key);
        attends_to(query, key, window) || self.images.iter().any(follows)
    }

    /// Splits the tokens into spans of at most `max_scores` scores, or of one token.
    fn split(self, max_scores: usize, window: Option<u32>) -> Vec<Self> {
        let length = (max_scores / (self.end_key - self.first_key).max(1) as usize).max(1);
        if length >= self.tokens.len() {
            return vec![self];
        }
        let Self { row, tokens, first, images, .. } = self;
        let span = |start: usize| {
            let end = (start + length).min(tokens.end);
            Self::new(row, Rc::clone(&images), start..end, first + (start - tokens.start) as u32, window)
        };
        tokens.clone().step_by(length).map(span).collect()
    }

    /// Whether the blocks are consecutive in the pool.
    fn is_consecutive(&self) -> bool {
        self.blocks.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }

    fn keys_and_mask(&self, window: Option<u32>, heads: HeadBlocks) -> (Keys, AttentionMask) {
        let (skipped, count) = (self.first_key % BLOCK_SIZE, self.end_key - self.first_key);
        let keys = if self.is_consecutive() {
            let start = self.blocks[0] * BLOCK_SIZE + skipped;
            Keys::Slice(start as i32..(start + count) as i32)
        } else {
            let index: Vec<u32> = heads.index(self.blocks).collect();
            let index = Array::from_slice(&index, &[index.len() as i32]);
            Keys::Blocks { index, rows: 1, tokens: Some(skipped as i32..(skipped + count) as i32) }
        };
        let tokens = self.tokens.len();
        let mask = match window {
            _ if tokens == 1 => AttentionMask::None,
            _ if self.end > window.unwrap_or(u32::MAX) || !self.images.is_empty() => {
                let mut allowed = Vec::with_capacity(tokens * count as usize);
                self.extend_mask(&mut allowed, self.first_key, count, window.unwrap_or(u32::MAX));
                AttentionMask::Array(Array::from_slice(&allowed, &[1, 1, tokens as i32, count as i32]))
            }
            _ => AttentionMask::Causal(OnceCell::new()),
        };
        (keys, mask)
    }

    /// Appends, for each token, whether it attends to each of the `count` keys from position `first_key` on.
    fn extend_mask(&self, allowed: &mut Vec<bool>, first_key: u32, count: u32, window: u32) {
        for query in self.first..self.end {
            allowed.extend((first_key..first_key + count).map(|key| self.attends_to(query, key, window)));
        }
    }
}

/// For rows with equal numbers of tokens: their blocks, padded to the longest.
fn gathered_keys_and_mask(
    spans: &[RowSpan],
    window: Option<u32>,
    heads: HeadBlocks,
) -> (Keys, AttentionMask) {
    let rows = spans.len();
    let tokens = spans[0].tokens.len();
    let blocks = spans.iter().map(|span| span.blocks.len()).max().unwrap_or(0);
    let length = blocks as u32 * BLOCK_SIZE;
    let mut index = Vec::with_capacity(rows * blocks * heads.heads as usize);
    let mut allowed = Vec::with_capacity(rows * tokens * length as usize);
    let mut padded = Vec::with_capacity(blocks);
    for span in spans {
        padded.clear();
        padded.extend_from_slice(span.blocks);
        // Padding is masked. It repeats a block of the row itself, so that no text of another sequence is read.
        padded.resize(blocks, span.blocks[0]);
        index.extend(heads.index(&padded));
        let first_key = span.first_key / BLOCK_SIZE * BLOCK_SIZE;
        span.extend_mask(&mut allowed, first_key, length, window.unwrap_or(u32::MAX));
    }
    let allowed = Array::from_slice(&allowed, &[rows as i32, 1, tokens as i32, length as i32]);
    let index = Array::from_slice(&index, &[index.len() as i32]);
    (Keys::Blocks { index, rows: rows as i32, tokens: None }, AttentionMask::Array(allowed))
}

fn select_queries(tokens: &[u32], all: usize) -> Queries {
    let consecutive = tokens.windows(2).all(|pair| pair[1] == pair[0] + 1);
    match tokens {
        // Groups are disjoint, so this many tokens are all of them.
        _ if consecutive && tokens.len() == all => Queries::All,
        [first, ..] if consecutive => Queries::Slice(*first as i32..*first as i32 + tokens.len() as i32),
        _ => Queries::Gather(Array::from_slice(tokens, &[tokens.len() as i32])),
    }
}

/// The indices of tokens 0, 1, … in `tokens`; `None` if they are in order.
fn order(tokens: &[u32]) -> Option<Array> {
    if tokens.is_sorted() {
        return None;
    }
    let mut indices = vec![0u32; tokens.len()];
    for (index, token) in (0..).zip(tokens) {
        indices[*token as usize] = index;
    }
    Some(Array::from_slice(&indices, &[indices.len() as i32]))
}
