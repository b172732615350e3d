//! The worker's part of `mlxd doctor`: which MLX and device this is, and whether the device computes rightly.
//!
//! It loads no model and serves nothing.

use mlx_rs::{Device, DeviceType};
use serde_json::{Value, json};

mod about;
mod check;
mod kernels;
mod operations;

/// The properties of MLX's default device, an object. On Metal it has `max_recommended_working_set_size`, in bytes.
pub fn device() -> Value {
    about::device_info().into()
}

/// MLX's version, the device's own description, and the outcome of each check, as JSON.
///
/// # Errors
/// When MLX cannot say which device it uses.
pub fn report() -> mlx_rs::error::Result<Value> {
    let device = Device::try_default()?;
    let is_gpu = matches!(device.get_type()?, DeviceType::Gpu);
    let checks: Vec<Value> =
        operations::CHECKS.iter().chain(&kernels::CHECKS).map(|check| check.report()).collect();
    Ok(json!({
        "mlx": about::version(),
        "device": if is_gpu { "gpu" } else { "cpu" },
        "device_info": about::device_info(),
        "checks": checks,
    }))
}
