//! Pictures that tests send.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A picture of `side` × `side` pixels in one colour, as a Windows bitmap.
pub fn bitmap([red, green, blue]: [u8; 3], side: u32) -> Vec<u8> {
    let row: Vec<u8> = [blue, green, red].repeat(side as usize);
    let padding = vec![0; row.len().next_multiple_of(4) - row.len()];
    let pixels = [row, padding].concat().repeat(side as usize);
    let mut file = b"BM".to_vec();
    let length = 54 + pixels.len() as u32;
    for number in [length, 0, 54, 40, side, side, 1 | 24 << 16, 0, pixels.len() as u32, 0, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    [file, pixels].concat()
}

/// The bytes as a data URL.
pub fn data_url(bytes: &[u8]) -> String {
    format!("data:image/bmp;base64,{}", base64(bytes))
}

/// The bytes in base64.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
