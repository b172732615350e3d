use super::*;

/// An image of `grid` patches, four for each of the `tokens`.
fn image(grid: [u32; 3], tokens: Range<u32>) -> PromptImage {
    let prepared = Prepared {
        grid,
        features: tokens.len() as u32,
        digest: [tokens.start as u8; 32],
        ..Prepared::default()
    };
    PromptImage { image: Arc::new(prepared), tokens: tokens.collect() }
}

#[test]
fn text_goes_on_after_the_longest_side_of_an_image() {
    // Two tokens of text, an image of 2 × 3 tokens, a token of text, an image of one token, text.
    let images = PromptImages::with_axes(vec![image([1, 4, 6], 2..8), image([1, 2, 2], 9..10)]);
    let axes: Vec<_> = (0..12).map(|index| images.axes(index)).collect();
    let expected = [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 2],
        [2, 2, 3],
        [2, 2, 4],
        [2, 3, 2],
        [2, 3, 3],
        [2, 3, 4],
        [5, 5, 5],
        [6, 6, 6],
        [7, 7, 7],
        [8, 8, 8],
    ];
    assert_eq!(axes, expected);
    assert!(images.has_axes());
}

#[test]
fn tokens_without_images_have_their_index_on_all_axes() {
    let images = PromptImages::with_axes(Vec::new());
    assert_eq!((images.axes(7), images.has_axes(), images.is_empty()), ([7; 3], false, true));
}

#[test]
fn chunk_has_the_features_of_its_tokens() {
    // The tokens of the second image do not follow each other.
    let tiles = PromptImage { tokens: [20, 21, 24, 25].into(), ..image([2, 2, 2], 20..24) };
    let images = PromptImages::new(vec![image([1, 4, 6], 2..8), tiles]);
    let parts = |range: Range<usize>, start| {
        let rows = images.in_row(&range, start).into_iter();
        rows.map(|row| (row.tokens, row.features)).collect::<Vec<_>>()
    };
    assert_eq!(parts(0..2, 0), []);
    assert_eq!(parts(4..10, 100), [(vec![100, 101, 102, 103], 2..6)]);
    assert_eq!(parts(7..25, 0), [(vec![0], 5..6), (vec![13, 14, 17], 0..3)]);
    assert_eq!(images.digests(8..21).collect::<Vec<_>>(), [&[20; 32]]);
    assert_eq!(images.digests(22..24).count(), 0);
    assert_eq!(images.digests(7..26).count(), 2);
}

#[test]
fn chunk_ends_before_an_image_or_after_it() {
    let images = PromptImages::new(vec![image([1, 4, 6], 2..8), image([1, 4, 4], 8..12)]);
    for (range, end) in [
        (0..2, 2),
        (0..3, 2),
        (0..7, 2),
        (0..8, 8),
        (2..3, 8),
        (2..9, 8),
        (8..9, 12),
        (5..6, 8),
        (2..12, 12),
        (11..20, 20),
        (12..13, 13),
    ] {
        assert_eq!(images.whole_end(range.clone()), end, "{range:?}");
    }
}
