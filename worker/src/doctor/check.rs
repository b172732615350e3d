//! One check: an operation computed in two ways, on the default device as the worker does, and by plain MLX on the CPU.

use mlx_rs::error::Exception;
use mlx_rs::{Array, Device, Dtype, with_device};
use serde_json::{Value, json};

pub(super) type Result<T> = mlx_rs::error::Result<T>;

/// One operation.
pub(super) struct Check {
    name: &'static str,
    /// The largest allowed difference, relative to the largest number of the result.
    tolerance: f64,
    /// As the worker computes it.
    ours: fn() -> Result<Array>,
    /// The reference. It is computed on the CPU.
    reference: fn() -> Result<Array>,
}

impl Check {
    /// A check of MLX's own operation: the device against the CPU.
    pub(super) const fn of_device(name: &'static str, tolerance: f64, run: fn() -> Result<Array>) -> Self {
        Self { name, tolerance, ours: run, reference: run }
    }

    /// A check of the worker's way against plain MLX.
    pub(super) const fn of_worker(
        name: &'static str,
        ours: fn() -> Result<Array>,
        reference: fn() -> Result<Array>,
    ) -> Self {
        Self { name, tolerance: 1e-4, ours, reference }
    }

    /// `{"name", "error", "tolerance", "ok"}`; after a failure `"failure"` instead of `"error"`.
    pub(super) fn report(&self) -> Value {
        match self.difference() {
            Ok(error) => {
                json!({ "name": self.name, "error": error, "tolerance": self.tolerance, "ok": f64::from(error) <= self.tolerance })
            }
            Err(failure) => json!({ "name": self.name, "failure": failure.to_string(), "ok": false }),
        }
    }

    fn difference(&self) -> Result<f32> {
        let ours = (self.ours)()?;
        let (ours, shape) = (floats(&ours)?, ours.shape().to_vec());
        let reference = with_device(Device::cpu(), || {
            let reference = (self.reference)()?;
            if reference.shape() != shape {
                let text = format!("the shape is {shape:?} instead of {:?}", reference.shape());
                return Err(Exception::custom(text));
            }
            floats(&reference)
        })?;
        if ours.iter().any(|x| !x.is_finite()) {
            return Ok(f32::INFINITY);
        }
        let scale = reference.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let difference = |(a, b): (&f32, &f32)| (a - b).abs() / scale;
        Ok(ours.iter().zip(&reference).map(difference).fold(0.0, f32::max))
    }
}

/// Evaluates on the device of the current scope.
fn floats(array: &Array) -> Result<Vec<f32>> {
    let array = array.as_dtype(Dtype::Float32)?.contiguous()?;
    array.eval()?;
    Ok(array.as_slice::<f32>().to_vec())
}

/// Numbers within ±1 that repeat after 101.
pub(super) fn numbers(salt: i32, shape: &[i32]) -> Result<Array> {
    let count: i32 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect();
    Ok(Array::from_slice(&values, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::device_lock::device;

    #[test]
    fn wrong_result_nan_and_other_shape_are_reported() {
        let _device = device();
        let wrong = Check::of_worker(
            "wrong",
            || Ok(Array::from_slice(&[1.0f32, 2.1], &[2])),
            || Ok(Array::from_slice(&[1.0f32, 2.0], &[2])),
        );
        assert_eq!(wrong.report()["ok"], false);
        let nan = Check { ours: || Ok(Array::from_slice(&[f32::NAN, 2.0], &[2])), ..wrong };
        assert_eq!(nan.report()["ok"], false);
        let longer = Check { ours: || Ok(Array::from_slice(&[1.0f32, 2.0, 3.0], &[3])), ..nan };
        assert!(longer.report()["failure"].as_str().unwrap().contains("[3] instead of [2]"));
        let failing = Check { ours: || numbers(1, &[2, 3])?.matmul(numbers(1, &[2, 3])?), ..longer };
        assert!(failing.report()["failure"].is_string(), "{}", failing.report());
    }
}
