//! Packs numbers by MLX, a few rows at a time.
#![expect(unsafe_code, reason = "mlx-rs quantises in affine mode only")]

use half::{bf16, f16};
use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype, Stream, ops};
use mlx_sys::{mlx_array, mlx_optional_int, mlx_vector_array};

use crate::weights::config::{Packing, PackingMode};

/// Packs rows `[N, inputs]`: packed weights, scales and, in affine mode, biases.
///
/// # Errors
/// When the device fails.
pub(super) fn pack(rows: &Array, packing: Packing) -> Result<Vec<Array>> {
    let parts = match packing.mode {
        PackingMode::Affine => {
            let (weight, scales, biases) = ops::quantize(rows, packing.group_size, packing.bits)?;
            vec![weight, scales, biases]
        }
        PackingMode::Mxfp4 => mxfp4(rows)?,
    };
    parts.iter().map(|part| part.contiguous()).collect()
}

/// Packed weights and scales.
fn mxfp4(rows: &Array) -> Result<Vec<Array>> {
    // Also has mlx-rs take over MLX's errors, which would end the process otherwise.
    rows.eval()?;
    let number = |value| mlx_optional_int { value, has_value: true };
    let Packing { group_size, bits, .. } = Packing::MXFP4;
    let stream = Stream::thread_local_or_default();
    // SAFETY: the vector and the empty array are made here and freed once; the other handles are borrowed from values that live
    // longer. The empty array stands for none.
    unsafe {
        let (mut parts, none) = (mlx_sys::mlx_vector_array_new(), mlx_sys::mlx_array_new());
        let (group_size, bits, mode) = (number(group_size), number(bits), c"mxfp4".as_ptr());
        let status = mlx_sys::mlx_quantize(
            &raw mut parts,
            rows.as_ptr(),
            group_size,
            bits,
            mode,
            none,
            stream.as_ptr(),
        );
        let arrays =
            if status == 0 { elements(parts) } else { Err(Exception::custom("it cannot pack as MXFP4")) };
        mlx_sys::mlx_array_free(none);
        mlx_sys::mlx_vector_array_free(parts);
        arrays
    }
}

/// # Safety
/// The vector is valid.
unsafe fn elements(vector: mlx_vector_array) -> Result<Vec<Array>> {
    // SAFETY: the indices are below the vector's size. Each new handle is filled, and then belongs to the array, or is freed.
    unsafe {
        let count = mlx_sys::mlx_vector_array_size(vector);
        let element = |at: usize| {
            let mut array: mlx_array = mlx_sys::mlx_array_new();
            if mlx_sys::mlx_vector_array_get(&raw mut array, vector, at) == 0 {
                return Ok(Array::from_ptr(array));
            }
            mlx_sys::mlx_array_free(array);
            Err(Exception::custom("it has no such array"))
        };
        (0..count).map(element).collect()
    }
}

/// The numbers of an array, little-endian, as a file has them.
///
/// # Errors
/// When the device fails, or for a type that is not written.
pub(super) fn bytes(array: &Array) -> Result<Vec<u8>> {
    array.eval()?;
    Ok(match array.dtype() {
        Dtype::Uint32 => array.as_slice::<u32>().iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::Uint8 => array.as_slice::<u8>().to_vec(),
        Dtype::Float32 => array.as_slice::<f32>().iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::Float16 => array.as_slice::<f16>().iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::Bfloat16 => array.as_slice::<bf16>().iter().flat_map(|x| x.to_le_bytes()).collect(),
        other => return Err(Exception::custom(format!("{other:?} is not written"))),
    })
}
