//! Products of few rows, linear layers and attention, on all cores.
//!
//! `MLXD_CPU_LEVEL=avx2 cargo bench -p mlx-cpu-kernels` measures a lower instruction set. LD_LIBRARY_PATH
//! can put the libraries of another version in the place of these, as long as the four functions in use
//! stay the same.

#[cfg(target_os = "linux")]
#[path = "../tests/native/arrays.rs"]
mod arrays;

#[cfg(target_os = "linux")]
mod measured {
    use std::time::Duration;

    use criterion::Criterion;
    use mlx_cpu_kernels::MlxdSequence;

    use super::arrays::{Array, Paged, Product, attention, linear, numbers};

    /// SmolLM2's sizes: the gate and up projection, the output layer.
    const WEIGHTS: [[usize; 2]; 2] = [[3072, 576], [49152, 576]];

    pub(super) fn run() {
        let mut criterion = Criterion::default()
            .configure_from_args()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(700));
        for [n, k] in WEIGHTS {
            let b = numbers(1, n * k);
            for m in [1, 2, 4, 8, 12, 32] {
                let (a, mut c) = (numbers(2, m * k), vec![0.0; m * n]);
                criterion.bench_function(&format!("product/{m} rows, {n} x {k}"), |bench| {
                    bench.iter(|| Product::of(m, n, k).run(&a, &b, &mut c));
                });
            }
        }
        layers(&mut criterion);
        paged(&mut criterion, "decode of 8 sequences of 1000 tokens", 8, 1000, 1);
        paged(&mut criterion, "prefill of 512 tokens", 1, 0, 512);
    }

    /// Numbers of this shape.
    fn array(salt: usize, shape: &[usize]) -> Array {
        let dimensions: Vec<i32> = shape.iter().map(|n| *n as i32).collect();
        Array::new(&numbers(salt, shape.iter().product()), &dimensions)
    }

    /// A linear layer with norm, bias, activation and residual, and attention of MiniLM's size over whole
    /// texts.
    fn layers(criterion: &mut Criterion) {
        let (m, n, k) = (8, 1536, 576);
        let (x, weight) = (array(1, &[m, k]), array(2, &[n, k]));
        let others = [array(3, &[k]), array(4, &[n]), array(5, &[m, n])];
        criterion.bench_function("linear/8 rows, 1536 x 576", |bench| {
            bench.iter(|| linear(&x, &weight, others.each_ref()).map(|output| output.values()[0]));
        });
        let heads = [1, 2, 3].map(|salt| array(salt, &[8, 12, 128, 32]));
        criterion.bench_function("attention/8 whole texts of 128 tokens", |bench| {
            bench.iter(|| {
                attention(heads.each_ref(), &[128; 8], i32::MAX, i32::MAX).map(|output| output.values()[0])
            });
        });
    }

    /// Each of `count` sequences has `position` tokens and gets `tokens` more.
    fn paged(criterion: &mut Criterion, name: &str, count: usize, position: usize, tokens: usize) {
        let ([heads, kv_heads, width], block_size) = ([9, 3, 64], 16);
        let blocks = (position + tokens).div_ceil(block_size);
        let sequence = |i: usize| MlxdSequence {
            first: (i * tokens) as u32,
            tokens: tokens as u32,
            position: position as u32,
            blocks: (i * blocks) as u32,
        };
        let step = Paged {
            sequences: (0..count).map(sequence).collect(),
            blocks: (0..(count * blocks) as u32).collect(),
            block_size,
            heads: [heads, kv_heads, width],
            window: i32::MAX,
        };
        let slots = count * blocks * block_size;
        let row = (heads + 2 * kv_heads) * width;
        let x = array(1, &[count * tokens, row]);
        let pool = [2, 3].map(|salt| array(salt, &[kv_heads, slots, width]));
        criterion.bench_function(&format!("attention/{name}"), |bench| {
            bench.iter(|| step.run(&x, pool.each_ref()).map(|output| output.values()[0]));
        });
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    measured::run();
}
