//! Prompts with images.

use image_input::Prepared;

use super::*;
use crate::engine::images::PromptImage;

/// A prompt of `length` tokens with an image at `at`, which is `picture`.
fn seeing(length: u32, at: Range<u32>, picture: u8) -> SequenceParams {
    let image = Prepared { features: at.len() as u32, digest: [picture; 32], ..Prepared::default() };
    let image = PromptImage { image: Arc::new(image), tokens: at.collect() };
    SequenceParams { images: PromptImages::new(vec![image]), ..normal((0..length).collect()) }
}

/// Computes the prompt of a sequence alone. Returns the positions of each chunk.
fn chunks(scheduler: &mut Scheduler, id: u64, order: SequenceParams) -> Vec<Range<u32>> {
    scheduler.add(SequenceId(id), order);
    let (mut batch, mut chunks) = (Batch::default(), Vec::new());
    loop {
        scheduler.schedule(&mut batch, 8);
        chunks.push(batch.positions[0]..batch.positions[batch.positions.len() - 1] + 1);
        let is_last = !batch.rows[0].samples.is_empty();
        scheduler.commit(&batch, &[9][..usize::from(is_last)], |_| true);
        if is_last {
            scheduler.remove(SequenceId(id));
            return chunks;
        }
    }
}

#[test]
fn image_that_is_seen_as_a_whole_is_computed_in_one_step() {
    let whole = RunnerCapacity { whole_images: Some(12), ..capacity(100, 400) };
    let mut scheduler = Scheduler::new(limits(4, 8), whole);
    assert_eq!(chunks(&mut scheduler, 0, seeing(30, 5..17, 1)), [0..5, 5..17, 17..25, 25..30]);
    let mut scheduler = Scheduler::new(limits(4, 8), capacity(100, 400));
    assert_eq!(chunks(&mut scheduler, 0, seeing(30, 5..17, 1)), [0..8, 8..16, 16..24, 24..30]);
}

#[test]
fn blocks_are_shared_up_to_another_image() {
    let mut scheduler = Scheduler::new(limits(4, 8), capacity(100, 400));
    chunks(&mut scheduler, 0, seeing(30, 9..17, 1));
    // Blocks have four tokens, and the last token is never taken from the cache.
    for (id, picture, cached) in [(1, 1, 28), (2, 2, 8), (3, 2, 28)] {
        let first = chunks(&mut scheduler, id, seeing(30, 9..17, picture))[0].start;
        assert_eq!(first, cached, "picture {picture}");
    }
}

#[test]
fn sequence_continues_from_the_cache_at_the_start_of_an_image() {
    let whole = RunnerCapacity { whole_images: Some(12), ..capacity(100, 400) };
    let mut scheduler = Scheduler::new(limits(4, 8), whole);
    chunks(&mut scheduler, 0, seeing(30, 9..17, 1));
    // The cache has 16 tokens of it, within the image.
    assert_eq!(chunks(&mut scheduler, 1, seeing(18, 9..17, 1)), [8..9, 9..17, 17..18]);
}

#[test]
fn rows_beside_images_with_axes_have_axes_too() {
    let mut scheduler = Scheduler::new(limits(4, 64), capacity(100, 400));
    let mut batch = Batch::default();
    scheduler.add(SequenceId(0), normal(vec![1, 2, 3]));
    let image = Prepared { grid: [1, 4, 4], features: 4, ..Prepared::default() };
    let image = PromptImage { image: Arc::new(image), tokens: (1..5).collect() };
    let images = PromptImages::with_axes(vec![image]);
    scheduler.add(SequenceId(1), SequenceParams { images, ..normal(vec![1, 7, 7, 7, 7, 2]) });
    scheduler.add(SequenceId(2), normal(vec![4]));
    scheduler.schedule(&mut batch, 64);
    let text = [[0; 3], [1; 3], [2; 3]];
    let seen = [[0; 3], [1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2], [3; 3]];
    assert_eq!(batch.axes, [&text[..], &seen, &[[0; 3]]].concat());
    assert_eq!(batch.rows[1].images[0].tokens, [4, 5, 6, 7]);
    scheduler.commit(&batch, &[9, 9, 9], |_| false);
    scheduler.remove(SequenceId(1));
    // Without images there are none.
    scheduler.schedule(&mut batch, 64);
    assert!(batch.axes.is_empty() && batch.rows.iter().all(|row| row.images.is_empty()));
}
