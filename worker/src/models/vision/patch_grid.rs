//! Where the patches of an image are, in the order of Qwen's processors: squares that become one token follow each other, row by row.
//! Pure.

use std::collections::BTreeMap;

/// Time, row and column of each patch of a grid, in squares of `merge` × `merge` patches.
pub(super) fn coordinates([times, rows, columns]: [u32; 3], merge: u32) -> Vec<[u32; 3]> {
    let merge = merge.max(1);
    let mut all = Vec::new();
    for time in 0..times {
        for row in (0..rows).step_by(merge as usize) {
            for column in (0..columns).step_by(merge as usize) {
                let inner = |at: u32| [time, row + at / merge, column + at % merge];
                all.extend((0..merge * merge).map(inner));
            }
        }
    }
    all
}

/// The patches of each window of `side` × `side` patches; windows at the edges are smaller.
pub(super) fn windows(coordinates: &[[u32; 3]], side: u32) -> Vec<Vec<u32>> {
    let side = side.max(1);
    let mut windows: BTreeMap<[u32; 3], Vec<u32>> = BTreeMap::new();
    for (patch, [time, row, column]) in (0..).zip(coordinates) {
        windows.entry([*time, row / side, column / side]).or_default().push(patch);
    }
    windows.into_values().collect()
}

/// The four places nearest to a patch in a square table of `side` × `side` positions that is stretched over `rows` × `columns` patches,
/// and their parts in its position. (Reference: `get_vision_interpolation_indices_and_weights` of `vision_utils.py` in Transformers
/// 5.24, with aligned corners.)
pub(super) fn interpolation(
    [_, row, column]: [u32; 3],
    [rows, columns]: [u32; 2],
    side: u32,
) -> [(u32, f32); 4] {
    let [(row, row_rest), (column, column_rest)] = [place(row, rows, side), place(column, columns, side)];
    let next = |at: u32| (at + 1).min(side.saturating_sub(1));
    [
        (row * side + column, (1.0 - row_rest) * (1.0 - column_rest)),
        (row * side + next(column), (1.0 - row_rest) * column_rest),
        (next(row) * side + column, row_rest * (1.0 - column_rest)),
        (next(row) * side + next(column), row_rest * column_rest),
    ]
}

/// The place before index `at` of `count` in a table of `side`, and how far beyond it the index is.
fn place(at: u32, count: u32, side: u32) -> (u32, f32) {
    let last = side.saturating_sub(1);
    let exact = (at * last) as f32 / count.saturating_sub(1).max(1) as f32;
    let floor = exact.floor();
    ((floor as u32).min(last), exact - floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_a_token_follow_each_other() {
        let rows_and_columns = |at: [u32; 3]| (at[1], at[2]);
        let order: Vec<_> = coordinates([1, 2, 4], 2).into_iter().map(rows_and_columns).collect();
        assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]);
        assert_eq!(coordinates([2, 2, 2], 1).len(), 8);
    }

    #[test]
    fn windows_at_the_edge_are_smaller() {
        let sizes = |grid| windows(&coordinates(grid, 2), 4).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes([1, 6, 8]), [16, 16, 8, 8]);
        assert_eq!(sizes([1, 2, 2]), [4]);
    }

    #[test]
    fn corners_of_the_table_meet_those_of_the_image() {
        assert_eq!(interpolation([0, 0, 0], [3, 5], 4)[0], (0, 1.0));
        assert_eq!(interpolation([0, 2, 4], [3, 5], 4)[0], (15, 1.0));
        let parts = interpolation([0, 1, 2], [3, 5], 4);
        assert_eq!(parts, [(5, 0.25), (6, 0.25), (9, 0.25), (10, 0.25)]);
        assert_eq!(interpolation([0, 0, 0], [1, 1], 1)[0], (0, 1.0));
    }
}
