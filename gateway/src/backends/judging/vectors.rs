//! Keeps the vectors of examples, by the workers that made them. Holds a bounded number of bytes.

use std::collections::HashMap;
use std::sync::Arc;

/// The bytes of all vectors together, beyond which the ones longest unused go.
const MAX_BYTES: usize = 32 << 20;
/// The models whose latest worker is known, at most.
const MAX_MODELS: usize = 256;

/// The vectors of examples.
#[derive(Debug)]
pub(super) struct Vectors {
    /// By the number of the worker process, which no other process has, and by the text.
    workers: HashMap<u64, HashMap<String, Kept>>,
    /// The worker of each model that answered last.
    latest: HashMap<String, u64>,
    bytes: usize,
    max_bytes: usize,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    vector: Arc<[f32]>,
    used: u64,
}

impl Default for Vectors {
    fn default() -> Self {
        Self::within(MAX_BYTES)
    }
}

impl Vectors {
    fn within(max_bytes: usize) -> Self {
        Self { workers: HashMap::new(), latest: HashMap::new(), bytes: 0, max_bytes, clock: 0 }
    }

    /// The worker of a model that answered last.
    pub(super) fn latest(&self, model: &str) -> Option<u64> {
        self.latest.get(model).copied()
    }

    /// The examples whose vectors by this worker are not known.
    pub(super) fn missing<'e>(&self, worker: Option<u64>, examples: &'e [String]) -> Vec<&'e str> {
        let known = worker.and_then(|worker| self.workers.get(&worker));
        let is_missing = |example: &&str| !known.is_some_and(|known| known.contains_key(*example));
        examples.iter().map(String::as_str).filter(is_missing).collect()
    }

    /// The greatest cosine of a vector and those of the examples. `None` if one is not known.
    pub(super) fn nearest(&mut self, worker: u64, examples: &[String], vector: &[f32]) -> Option<f64> {
        self.clock += 1;
        let known = self.workers.get_mut(&worker)?;
        let mut nearest = -1.0_f64;
        for example in examples {
            let kept = known.get_mut(example)?;
            kept.used = self.clock;
            nearest = nearest.max(cosine(&kept.vector, vector));
        }
        Some(nearest)
    }

    /// Adds vectors that a worker of the model has made.
    pub(super) fn add<'e>(
        &mut self,
        model: &str,
        worker: u64,
        vectors: impl Iterator<Item = (&'e str, Arc<[f32]>)>,
    ) {
        self.clock += 1;
        if self.latest.len() >= MAX_MODELS && !self.latest.contains_key(model) {
            self.latest.clear();
        }
        self.latest.insert(model.to_owned(), worker);
        let known = self.workers.entry(worker).or_default();
        for (example, vector) in vectors {
            self.bytes += size(example, &vector);
            if let Some(before) = known.insert(example.to_owned(), Kept { vector, used: self.clock }) {
                self.bytes -= size(example, &before.vector);
            }
        }
        self.shrink();
    }

    /// Forgets the vectors longest unused until the rest fits. Those of the latest use stay.
    fn shrink(&mut self) {
        while self.bytes > self.max_bytes {
            let uses = self.workers.values().flat_map(|known| known.values().map(|kept| kept.used));
            let Some(oldest) = uses.min().filter(|used| *used < self.clock) else { return };
            for known in self.workers.values_mut() {
                known.retain(|example, kept| {
                    let stays = kept.used > oldest;
                    self.bytes -= if stays { 0 } else { size(example, &kept.vector) };
                    stays
                });
            }
            self.workers.retain(|_, known| !known.is_empty());
        }
    }
}

fn size(example: &str, vector: &[f32]) -> usize {
    example.len() + size_of_val(vector)
}

/// The cosine of the angle between two vectors; 0 if one has no direction.
fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let product = |one: &[f32], other: &[f32]| -> f64 {
        one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
    };
    let lengths = (product(one, one) * product(other, other)).sqrt();
    if lengths > 0.0 { (product(one, other) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn vector(values: &[f32]) -> Arc<[f32]> {
        values.into()
    }

    #[test]
    fn nearest_example_counts_whatever_its_length() {
        let mut vectors = Vectors::default();
        let both = examples(&["a", "b"]);
        assert_eq!(vectors.missing(vectors.latest("m"), &both), ["a", "b"]);
        vectors.add("m", 7, [("a", vector(&[0.0, 2.0])), ("b", vector(&[3.0, 3.0]))].into_iter());
        assert_eq!((vectors.latest("m"), vectors.missing(Some(7), &both).len()), (Some(7), 0));
        let nearest = vectors.nearest(7, &both, &[5.0, 0.0]).unwrap();
        assert!((nearest - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-9, "{nearest}");
        assert_eq!(vectors.nearest(7, &both[..1], &[0.0, 0.0]), Some(0.0));
        assert_eq!(vectors.nearest(8, &both, &[5.0, 0.0]), None);
    }

    #[test]
    fn another_worker_shares_no_vectors() {
        let mut vectors = Vectors::default();
        let one = examples(&["a"]);
        vectors.add("m", 7, [("a", vector(&[1.0]))].into_iter());
        vectors.add("m", 8, std::iter::empty());
        assert_eq!((vectors.latest("m"), vectors.missing(Some(8), &one)), (Some(8), vec!["a"]));
        assert!(vectors.missing(Some(7), &one).is_empty());
    }

    #[test]
    fn vectors_longest_unused_go_first() {
        let mut vectors = Vectors::within(3 * 9);
        for (worker, example) in [(1, "a"), (1, "b"), (2, "c")] {
            vectors.add("m", worker, [(example, vector(&[1.0, 1.0]))].into_iter());
        }
        vectors.nearest(1, &examples(&["a"]), &[1.0, 1.0]).unwrap();
        vectors.add("m", 2, [("d", vector(&[1.0, 1.0]))].into_iter());
        assert_eq!(vectors.bytes, 27);
        assert_eq!(vectors.missing(Some(1), &examples(&["a", "b"])), ["b"]);
        assert!(vectors.missing(Some(2), &examples(&["c", "d"])).is_empty());
        // One question's vectors stay, whatever their size.
        vectors.add("m", 3, ["e", "f", "g", "h"].into_iter().map(|name| (name, vector(&[1.0, 1.0]))));
        assert!(vectors.missing(Some(3), &examples(&["e", "f", "g", "h"])).is_empty());
        assert_eq!((vectors.bytes, vectors.workers.len()), (36, 1));
        vectors.add("m", 3, [("e", vector(&[2.0, 1.0]))].into_iter());
        assert_eq!(vectors.bytes, 9, "a text that is embedded again counts once");
    }
}
