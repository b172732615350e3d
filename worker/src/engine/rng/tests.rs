use super::*;

#[test]
fn numbers_lie_in_the_half_open_interval_and_fill_it_evenly() {
    let mut buckets = [0; 16];
    for position in 0..160_000 {
        let number = uniform(42, position);
        assert!((0.0..1.0).contains(&number));
        buckets[(number * 16.0) as usize] += 1;
    }
    // 10,000 expected, standard deviation 97.
    assert!(buckets.iter().all(|count| (9_500..10_500).contains(count)), "{buckets:?}");
}

#[test]
fn seed_and_position_decide_alone() {
    assert_eq!(uniform(7, 3).to_bits(), uniform(7, 3).to_bits());
    let mut seen: Vec<u32> =
        (0..100).flat_map(|seed| (0..100).map(move |at| uniform(seed, at).to_bits())).collect();
    seen.sort_unstable();
    seen.dedup();
    // 10,000 draws of 24 bits collide three times on average.
    assert!(seen.len() > 9_980, "{}", seen.len());
}

#[test]
fn neighbours_do_not_follow_each_other() {
    for (seeds, positions) in [(1, 0), (0, 1)] {
        let pairs = (0..20_000).map(|at| (uniform(at, 5 * at), uniform(at + seeds, 5 * at + positions)));
        let products: f64 = pairs.map(|(a, b)| (f64::from(a) - 0.5) * (f64::from(b) - 0.5)).sum();
        // Each product has mean 0 and standard deviation 1/12.
        assert!((products / 20_000.0).abs() < 4.0 / 12.0 / 20_000f64.sqrt(), "{products}");
    }
}
