//! A set of byte ranges. Pure.

use std::ops::Range;

/// Disjoint ranges with gaps between them, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range, which may overlap others.
    pub(super) fn insert(&mut self, mut new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let begin = self.0.partition_point(|range| range.end < new.start);
        let end = self.0.partition_point(|range| range.start <= new.end);
        if let (Some(first), Some(last)) = (self.0[begin..end].first(), self.0[begin..end].last()) {
            new = new.start.min(first.start)..new.end.max(last.end);
        }
        self.0.splice(begin..end, [new]);
    }

    /// Bytes in all ranges.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The end of the range that begins at 0.
    pub(super) fn prefix(&self) -> u64 {
        self.0.first().filter(|range| range.start == 0).map_or(0, |range| range.end)
    }

    /// The ranges.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().cloned()
    }

    /// The missing ranges below `size`, in parts of at most `part` bytes.
    pub(super) fn missing(&self, size: u64, part: u64) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        let mut at = 0;
        for range in self.iter().chain(std::iter::once(size..size)) {
            let gap_end = range.start.min(size);
            while at < gap_end {
                let end = gap_end.min(at + part);
                parts.push(at..end);
                at = end;
            }
            at = at.max(range.end);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_is_split_into_parts() {
        let mut ranges = Ranges::default();
        ranges.insert(10..20);
        assert_eq!(ranges.missing(45, 10), [0..10, 20..30, 30..40, 40..45]);
        assert_eq!(Ranges::default().missing(0, 10), []);
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_bytes(all in prop::collection::vec((0u64..60, 0u64..12), 0..20)) {
            let (mut ranges, mut bytes) = (Ranges::default(), [false; 80]);
            for (begin, length) in all {
                ranges.insert(begin..begin + length);
                (begin..begin + length).for_each(|at| bytes[at as usize] = true);
            }
            prop_assert_eq!(ranges.total() as usize, bytes.iter().filter(|byte| **byte).count());
            prop_assert_eq!(ranges.prefix() as usize, bytes.iter().position(|byte| !byte).unwrap());
            let list: Vec<_> = ranges.iter().collect();
            prop_assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start));
            let mut missing = [false; 80];
            for part in ranges.missing(50, 7) {
                prop_assert!(part.end - part.start <= 7 && part.end <= 50 && !part.is_empty());
                part.for_each(|at| missing[at as usize] = true);
            }
            for at in 0..50 {
                prop_assert_eq!(missing[at], !bytes[at]);
            }
        }
    }
}
