//! Which rows of a step attend together, and which keys they see.
//!
//! Rows with few tokens of about the same length go together: their blocks are gathered, padded to the longest, and one
//! product serves them all. A row whose keys are many and lie in a run is better off alone, since reading them where they
//! are costs nothing; so is a row with many tokens, which are cut where their scores would be too many. Made once a step for
//! each window, used by every layer.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;

use mlx_rs::Array;

use super::{BLOCK_SIZE, KvShape};
use crate::engine::runner::{Batch, Row};
use crate::mlx::attention::{AttentionMask, sees};

/// Rows of more tokens attend alone.
const FEW_TOKENS: usize = 8;
/// Rows of fewer blocks need not be told apart by length.
const FEW_BLOCKS: usize = 8;
/// Bytes of keys and values of one layer that take as long to copy as a row's own products take to set up.
const GATHER_BYTES: usize = 1 << 20;
/// Bytes of keys and values of one layer that are gathered at once, at most.
const MOST_GATHERED: usize = 64 << 20;

/// A step's rows in parts.
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    /// `[T]`: where each token of the step is among the parts' outputs; `None`: at its own place.
    pub(super) order: Option<Array>,
}

/// Rows that attend together.
pub(super) struct Part {
    pub(super) queries: Queries,
    pub(super) keys: Keys,
    pub(super) mask: AttentionMask,
    /// Scores of each of its query heads.
    pub(super) scores: usize,
}

/// A part's tokens among the step's.
pub(super) enum Queries {
    /// All of them.
    All,
    /// Some that lie side by side.
    Run(Range<i32>),
    /// Some, by index.
    Tokens(Array),
}

/// Where a part's keys and values lie.
pub(super) enum Keys {
    /// One row's, in consecutive slots: a slice of the pool, which costs nothing.
    Run(Range<i32>),
    /// Blocks of each row and head, by index among all heads' blocks: `[rows * kv_heads * blocks]`.
    Blocks {
        index: Array,
        rows: i32,
        /// Of the gathered tokens those that count, where not all do.
        cut: Option<Range<i32>>,
    },
}

/// What one row sees of its own text.
struct View<'a> {
    row: &'a Row,
    /// The tokens in question: all of the row's, or a piece of them.
    tokens: Range<usize>,
    /// Position of the first of them.
    first: u32,
    /// Positions that any of them sees.
    from: u32,
    context: u32,
    /// Blocks that hold them.
    blocks: &'a [u32],
}

impl Parts {
    /// Divides `batch` for layers with this window, in a pool of so many blocks, into parts of at most so many scores for each
    /// query head (but a token's own).
    pub(super) fn new(
        batch: &Batch,
        window: Option<u32>,
        shape: KvShape,
        (pool_blocks, most): (u32, usize),
    ) -> Self {
        let block_bytes = shape.layer_block_bytes() as usize;
        let mut together: BTreeMap<(usize, usize), Vec<View>> = BTreeMap::new();
        let mut alone = Vec::new();
        for row in &batch.rows {
            let view = View::new(row, row.tokens.clone(), batch.positions[row.tokens.start], window);
            let blocks = view.blocks.len();
            let better_alone =
                row.tokens.len() > FEW_TOKENS || (view.is_run() && blocks * block_bytes > GATHER_BYTES);
            if better_alone {
                alone.extend(view.pieces(most, window));
            } else {
                let length = blocks.next_power_of_two().max(FEW_BLOCKS);
                together.entry((row.tokens.len(), length)).or_default().push(view);
            }
        }
        let heads = Heads { count: shape.kv_heads as u32, blocks: pool_blocks };
        let (mut parts, mut tokens) = (Vec::new(), Vec::with_capacity(batch.tokens.len()));
        let together = together.into_iter().flat_map(|((count, blocks), views)| {
            let scores = count * blocks * BLOCK_SIZE as usize;
            let rows = (MOST_GATHERED / (blocks * block_bytes).max(1)).min(most / scores.max(1)).max(1);
            in_groups(views, rows)
        });
        for views in together.chain(alone.into_iter().map(|view| vec![view])) {
            let own: Vec<u32> =
                views.iter().flat_map(|view| view.tokens.clone()).map(|at| at as u32).collect();
            let (keys, mask) = match &views[..] {
                [view] => view.alone(window, heads),
                views => gathered(views, window, heads),
            };
            let longest = views.iter().map(|view| view.blocks.len()).max().unwrap_or(0);
            let scores = own.len() * longest * BLOCK_SIZE as usize;
            parts.push(Part { queries: queries(&own, batch.tokens.len()), keys, mask, scores });
            tokens.extend(own);
        }
        Self { parts, order: order(&tokens) }
    }
}

/// `views` in groups of at most `rows`.
fn in_groups(mut views: Vec<View>, rows: usize) -> Vec<Vec<View>> {
    let mut groups = Vec::new();
    while views.len() > rows {
        let rest = views.split_off(rows);
        groups.push(std::mem::replace(&mut views, rest));
    }
    groups.push(views);
    groups
}

/// The pool's blocks as seen by a gather: head h has `blocks` of them from `h * blocks` on.
#[derive(Clone, Copy)]
struct Heads {
    count: u32,
    blocks: u32,
}

impl Heads {
    fn index(self, blocks: &[u32]) -> impl Iterator<Item = u32> {
        (0..self.count).flat_map(move |head| blocks.iter().map(move |block| head * self.blocks + block))
    }
}

impl<'a> View<'a> {
    fn new(row: &'a Row, tokens: Range<usize>, first: u32, window: Option<u32>) -> Self {
        let context = first + tokens.len() as u32;
        // The earliest key that the first token sees.
        let from = window.map_or(0, |window| (first + 1).saturating_sub(window));
        let blocks = (from / BLOCK_SIZE) as usize..context.div_ceil(BLOCK_SIZE) as usize;
        Self { row, tokens, first, from, context, blocks: &row.blocks[blocks] }
    }

    /// The same tokens in pieces of at most `most` scores, or of one token.
    fn pieces(self, most: usize, window: Option<u32>) -> Vec<Self> {
        let length = (most / (self.context - self.from).max(1) as usize).max(1);
        if length >= self.tokens.len() {
            return vec![self];
        }
        let Self { row, tokens, first, .. } = self;
        let starts = tokens.clone().step_by(length);
        let piece = |start: usize| {
            let end = (start + length).min(tokens.end);
            Self::new(row, start..end, first + (start - tokens.start) as u32, window)
        };
        starts.map(piece).collect()
    }

    /// Whether its blocks lie side by side.
    fn is_run(&self) -> bool {
        self.blocks.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }

    fn alone(&self, window: Option<u32>, heads: Heads) -> (Keys, AttentionMask) {
        let (skip, count) = (self.from % BLOCK_SIZE, self.context - self.from);
        let keys = if self.is_run() {
            let start = self.blocks[0] * BLOCK_SIZE + skip;
            Keys::Run(start as i32..(start + count) as i32)
        } else {
            let index: Vec<u32> = heads.index(self.blocks).collect();
            let index = Array::from_slice(&index, &[index.len() as i32]);
            Keys::Blocks { index, rows: 1, cut: Some(skip as i32..(skip + count) as i32) }
        };
        let tokens = self.tokens.len();
        let mask = match window {
            _ if tokens == 1 => AttentionMask::None,
            Some(window) if self.context > window => {
                let mut seen = Vec::with_capacity(tokens * count as usize);
                self.see(&mut seen, self.from, count, window);
                AttentionMask::Seen(Array::from_slice(&seen, &[1, 1, tokens as i32, count as i32]))
            }
            _ => AttentionMask::Causal(OnceCell::new()),
        };
        (keys, mask)
    }

    /// Appends which of the `count` keys from position `from` on each of its tokens sees.
    fn see(&self, seen: &mut Vec<bool>, from: u32, count: u32, window: u32) {
        for query in self.first..self.context {
            seen.extend((from..from + count).map(|key| sees(query, key, window)));
        }
    }
}

/// Rows of as many tokens each, padded to the longest.
fn gathered(views: &[View], window: Option<u32>, heads: Heads) -> (Keys, AttentionMask) {
    let rows = views.len();
    let tokens = views[0].tokens.len();
    let blocks = views.iter().map(|view| view.blocks.len()).max().unwrap_or(0);
    let length = blocks as u32 * BLOCK_SIZE;
    let mut index = Vec::with_capacity(rows * blocks * heads.count as usize);
    let mut seen = Vec::with_capacity(rows * tokens * length as usize);
    let mut padded = Vec::with_capacity(blocks);
    for view in views {
        padded.clear();
        padded.extend_from_slice(view.blocks);
        // What pads is not seen; a row's own block is at least not somebody else's text.
        padded.resize(blocks, view.blocks[0]);
        index.extend(heads.index(&padded));
        view.see(&mut seen, view.from / BLOCK_SIZE * BLOCK_SIZE, length, window.unwrap_or(u32::MAX));
    }
    let seen = Array::from_slice(&seen, &[rows as i32, 1, tokens as i32, length as i32]);
    let index = Array::from_slice(&index, &[index.len() as i32]);
    (Keys::Blocks { index, rows: rows as i32, cut: None }, AttentionMask::Seen(seen))
}

fn queries(tokens: &[u32], all: usize) -> Queries {
    let run = tokens.windows(2).all(|pair| pair[1] == pair[0] + 1);
    match tokens {
        // Each part has other tokens: so many are all, in some order.
        _ if run && tokens.len() == all => Queries::All,
        [first, ..] if run => Queries::Run(*first as i32..*first as i32 + tokens.len() as i32),
        _ => Queries::Tokens(Array::from_slice(tokens, &[tokens.len() as i32])),
    }
}

/// The places of tokens 0, 1, … in `tokens`; `None` where each is at its own.
fn order(tokens: &[u32]) -> Option<Array> {
    if tokens.is_sorted() {
        return None;
    }
    let mut places = vec![0u32; tokens.len()];
    for (place, token) in (0..).zip(tokens) {
        places[*token as usize] = place;
    }
    Some(Array::from_slice(&places, &[places.len() as i32]))
}
