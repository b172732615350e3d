//! MLX's version and its default device. mlx-rs 0.33 has no functions for either.
#![expect(unsafe_code, reason = "calls of mlx-c")]

use std::ffi::{CStr, c_char};

use mlx_sys::{mlx_device, mlx_device_info, mlx_vector_string};
use serde_json::{Map, Value};

/// MLX's version; empty if it does not say.
pub(super) fn version() -> String {
    // SAFETY: the string is made here, filled by the call, read while it lives, and freed once.
    unsafe {
        let mut text = mlx_sys::mlx_string_new();
        let status = mlx_sys::mlx_version(&raw mut text);
        let version = if status == 0 { copy(mlx_sys::mlx_string_data(text)) } else { String::new() };
        mlx_sys::mlx_string_free(text);
        version
    }
}

/// Every property of the default device. On Metal also `max_recommended_working_set_size`, in bytes.
pub(super) fn device_info() -> Map<String, Value> {
    let mut properties = Map::new();
    // SAFETY: the three handles are made here, are passed only to calls that take them, and are freed once.
    unsafe {
        let (mut device, mut info) = (mlx_sys::mlx_device_new(), mlx_sys::mlx_device_info_new());
        let mut keys = mlx_sys::mlx_vector_string_new();
        let is_known = mlx_sys::mlx_get_default_device(&raw mut device) == 0
            && mlx_sys::mlx_device_info_get(&raw mut info, device) == 0
            && mlx_sys::mlx_device_info_get_keys(&raw mut keys, info) == 0;
        if is_known {
            read(info, keys, &mut properties);
        }
        free(device, info, keys);
    }
    properties
}

/// # Safety
/// Both handles are valid.
unsafe fn read(info: mlx_device_info, keys: mlx_vector_string, properties: &mut Map<String, Value>) {
    // SAFETY: the indices are below the vector's size, and its strings live as long as it does.
    unsafe {
        for at in 0..mlx_sys::mlx_vector_string_size(keys) {
            let mut key: *mut c_char = std::ptr::null_mut();
            if mlx_sys::mlx_vector_string_get(&raw mut key, keys, at) == 0 && !key.is_null() {
                properties.insert(copy(key), value(info, key));
            }
        }
    }
}

/// # Safety
/// `info` is valid, and `key` ends with a zero.
unsafe fn value(info: mlx_device_info, key: *const c_char) -> Value {
    let (mut is_string, mut text, mut size) = (false, std::ptr::null(), 0);
    // SAFETY: the calls write to the three variables. A text belongs to `info` and is copied.
    unsafe {
        mlx_sys::mlx_device_info_is_string(&raw mut is_string, info, key);
        if is_string {
            mlx_sys::mlx_device_info_get_string(&raw mut text, info, key);
            return copy(text).into();
        }
        mlx_sys::mlx_device_info_get_size(&raw mut size, info, key);
    }
    size.into()
}

/// # Safety
/// `text` is null or ends with a zero.
unsafe fn copy(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for its end.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// The handles are valid and not used afterwards.
unsafe fn free(device: mlx_device, info: mlx_device_info, keys: mlx_vector_string) {
    // SAFETY: the caller gives them up.
    unsafe {
        mlx_sys::mlx_vector_string_free(keys);
        mlx_sys::mlx_device_info_free(info);
        mlx_sys::mlx_device_free(device);
    }
}
