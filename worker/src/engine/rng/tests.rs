use super::*;

#[test]
fn exponential_matches_its_distribution() {
    let count = 160_000;
    let (mut sum, mut buckets) = (0.0, [0; 16]);
    for at in 0..count {
        let number = f64::from(exponential(noise(42, at / 400), at % 400));
        assert!(number > 0.0 && number.is_finite());
        sum += number;
        // The cumulative distribution function maps it to uniform buckets.
        buckets[((-(-number).exp_m1()) * 16.0).min(15.0) as usize] += 1;
    }
    assert!((sum / count as f64 - 1.0).abs() < 4.0 / (count as f64).sqrt());
    // 10,000 expected, standard deviation 97.
    assert!(buckets.iter().all(|count| (9_500..10_500).contains(count)), "{buckets:?}");
}

#[test]
fn noise_depends_on_seed_and_position_only() {
    assert_eq!(noise(7, 3), noise(7, 3));
    let mut seen: Vec<u64> = (0..100).flat_map(|seed| (0..100).map(move |at| noise(seed, at))).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 10_000);
}

#[test]
fn neighbouring_numbers_are_uncorrelated() {
    let number = |seed, position, index| f64::from(exponential(noise(seed, position), index));
    for (seeds, positions, indices) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
        let pairs = (0..20_000)
            .map(|at| (number(at, 5 * at, 3), number(at + seeds, 5 * at + positions, 3 + indices)));
        let products: f64 = pairs.map(|(a, b)| (a - 1.0) * (b - 1.0)).sum();
        // Each product has mean 0 and standard deviation 1.
        assert!((products / 20_000.0).abs() < 4.0 / 20_000f64.sqrt(), "{products}");
    }
}
