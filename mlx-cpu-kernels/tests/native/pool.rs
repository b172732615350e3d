//! The thread pool.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::arrays::{Product, numbers};
use crate::level::parallel_for;

fn run_each_once(pieces: usize) {
    let runs: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
    parallel_for(pieces, &|piece| {
        runs[piece].fetch_add(1, Ordering::Relaxed);
    });
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1), "{pieces} pieces");
}

#[test]
fn job_runs_every_piece_once() {
    for pieces in [0, 1, 2, 3, 64, 1000, (1 << 15) - 1, 1 << 15, (1 << 15) + 1, 100_000] {
        run_each_once(pieces);
    }
}

/// Many threads use the pool at once: one gets it, the others run their jobs themselves.
#[test]
fn jobs_of_many_threads_all_finish() {
    thread::scope(|scope| {
        for salt in 0..8 {
            scope.spawn(move || {
                for round in 0..300 {
                    run_each_once(1 + (salt * 31 + round * 7) % 90);
                }
            });
        }
    });
}

#[test]
fn piece_can_run_a_job() {
    let total = AtomicUsize::new(0);
    parallel_for(20, &|_| {
        parallel_for(30, &|_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(total.into_inner(), 600);
}

/// After a pause the threads sleep: the next job has to wake them or do without.
#[test]
fn job_after_a_pause_finishes() {
    for _ in 0..20 {
        thread::sleep(std::time::Duration::from_millis(2));
        run_each_once(64);
    }
}

#[test]
fn products_of_many_threads_match() {
    let (a, b) = (numbers(1, 3 * 500), numbers(2, 400 * 500));
    let product = Product::of(3, 400, 500);
    let mut alone = vec![0.0; 3 * 400];
    product.run(&a, &b, &mut alone);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut c = vec![0.0; 3 * 400];
                    product.run(&a, &b, &mut c);
                    assert!(c == alone);
                }
            });
        }
    });
}
