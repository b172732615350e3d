//! Reading files: against Pillow, and files that are wrong.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::{Limits, Picture, decode, size};
use crate::error::ImageError;

fn golden(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn picture(name: &str) -> Vec<u8> {
    golden(&format!("pictures/{name}"))
}

fn names() -> Vec<String> {
    let all: Value = serde_json::from_slice(&golden("decoded.json")).unwrap();
    all.as_object().unwrap().keys().cloned().collect()
}

fn read(bytes: &[u8]) -> Result<Picture, ImageError> {
    decode(bytes, Limits::default())
}

/// Of JPEG, the most levels between here and Pillow, and the largest part of bytes that differ in per cent. zune-jpeg's
/// transformation rounds otherwise than libjpeg's, and it makes more of halved colours otherwise.
fn tolerance(name: &str) -> (u8, usize) {
    match name {
        "photo_420.jpg" => (4, 40),
        name if name.ends_with(".jpg") => (3, 5),
        _ => (0, 0),
    }
}

#[test]
fn pictures_are_pillows() {
    use sha2::Digest;
    let all: Value = serde_json::from_slice(&golden("decoded.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, want) in all.as_object().unwrap() {
        let bytes = picture(name);
        let got = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            serde_json::json!([got.width, got.height]),
            serde_json::json!([want["width"], want["height"]]),
            "{name}"
        );
        assert_eq!(size(&bytes), Ok((got.width, got.height)), "{name}");
        let sha256: String =
            sha2::Sha256::digest(&got.rgb).iter().map(|byte| format!("{byte:02x}")).collect();
        // Pillow clips these to 255 instead of taking the high byte: all but black would be white.
        if sha256 == want["sha256"] || name == "grey16.png" {
            continue;
        }
        let Ok(reference) =
            std::fs::read(format!("{}/tests/golden/decoded/{name}.png", env!("CARGO_MANIFEST_DIR")))
        else {
            wrong.push(format!("{name} differs: {:?}", &got.rgb[..24]));
            continue;
        };
        let reference = read(&reference).unwrap();
        let differences =
            || got.rgb.iter().zip(&reference.rgb).map(|(a, b)| a.abs_diff(*b)).filter(|&by| by > 0);
        let most = differences().max().unwrap_or(0);
        let part = 100 * differences().count() / got.rgb.len();
        let (most_allowed, part_allowed) = tolerance(name);
        if most > most_allowed || part > part_allowed {
            wrong.push(format!("{name}: up to {most} levels, {part} % of bytes"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn grey_of_sixteen_bits_is_its_high_bytes() {
    assert_eq!(read(&picture("grey16.png")).unwrap().rgb, read(&picture("rgb16.png")).unwrap().grey());
}

impl Picture {
    /// Red in place of green and blue.
    fn grey(&self) -> Vec<u8> {
        self.rgb.chunks_exact(3).flat_map(|pixel| [pixel[0]; 3]).collect()
    }
}

#[test]
fn content_decides_the_format() {
    let unknown = "this is no image: PNG, JPEG, WebP, GIF, BMP and TIFF are read";
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    let avif = b"\0\0\0\x18ftypavif\0\0\0\0mif1avif";
    let html = b"<!doctype html><title>404</title>";
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>";
    for bytes in [&b""[..], b"\x89", b"P6 1 1 255 abc", b"%PDF-1.7", heic, avif, html, svg] {
        assert_eq!(read(bytes).unwrap_err().to_string(), unknown);
        assert_eq!(size(bytes).unwrap_err().to_string(), unknown);
    }
}

#[test]
fn cut_files_are_refused() {
    for name in names().iter().filter(|name| !name.starts_with("pixel")) {
        let bytes = picture(name);
        for part in [1, 20, 50, 90] {
            let cut = &bytes[..bytes.len() * part / 100];
            // The last of GIF and BMP are rows that decoders do without; the last of this WebP is how it was held.
            let most =
                if [".gif", ".bmp", "exif6.webp"].iter().any(|end| name.ends_with(end)) { 50 } else { 90 };
            assert!(part > most || read(cut).is_err(), "{part} % of {name}");
        }
    }
    let bytes = picture("photo.jpg");
    let error = read(&bytes[..bytes.len() - 2]).unwrap_err();
    assert_eq!(error.to_string(), "the JPEG image is cut off");
}

/// Small files whose headers promise `width` x `height` pixels.
fn promises(width: u16, height: u16) -> Vec<(&'static str, Vec<u8>)> {
    let (be, le) = (|side: u16| u32::from(side).to_be_bytes(), |side: u16| u32::from(side).to_le_bytes());
    let patched = |name: &str, at: usize, sides: &[u8]| {
        let mut bytes = picture(name);
        bytes[at..at + sides.len()].copy_from_slice(sides);
        bytes
    };
    let mut png = patched("photo.png", 16, &[be(width), be(height)].concat());
    let sum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let jpeg = picture("photo.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    vec![
        ("PNG", png),
        ("JPEG", patched("photo.jpg", frame + 5, &[height.to_be_bytes(), width.to_be_bytes()].concat())),
        ("GIF", patched("plain.gif", 6, &[width.to_le_bytes(), height.to_le_bytes()].concat())),
        ("BMP", patched("plain.bmp", 18, &[le(width), le(height)].concat())),
    ]
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    })
}

#[test]
fn headers_that_promise_too_much_are_refused_at_once() {
    for (format, bytes) in promises(30000, 30000) {
        let start = Instant::now();
        let error = read(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image has 30000 x 30000 pixels; at most 67108864 are read",
            "{format}"
        );
        assert!(start.elapsed() < Duration::from_millis(200), "{format}");
        assert_eq!(size(&bytes), Ok((30000, 30000)), "{format}");
    }
}

#[test]
fn limits_count() {
    let bytes = picture("photo.png");
    let error = decode(&bytes, Limits { bytes: 100, ..Limits::default() }).unwrap_err();
    assert_eq!(error.to_string(), format!("the image file has {} bytes; at most 100 are read", bytes.len()));
    let pixels = 110 * 75;
    assert!(decode(&bytes, Limits { pixels, ..Limits::default() }).is_ok());
    let error = decode(&bytes, Limits { pixels: pixels - 1, ..Limits::default() }).unwrap_err();
    assert_eq!(error.to_string(), "the image has 110 x 75 pixels; at most 8249 are read");
}

proptest! {
    /// Whatever the bytes are: a picture or an error.
    #[test]
    fn no_bytes_make_it_panic(garbage in prop::collection::vec(any::<u8>(), 0..200), name in prop::sample::select(names())) {
        let magic = picture(&name);
        let bytes = [&magic[..magic.len().min(30)], &garbage].concat();
        let _ = (read(&garbage), read(&bytes), size(&bytes));
    }

    /// A whole file with some bytes changed, and perhaps the end cut.
    #[test]
    fn no_damage_makes_it_panic(
        name in prop::sample::select(names()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in 1..=4_usize,
        early: bool,
    ) {
        let mut bytes = picture(&name);
        bytes.truncate(bytes.len() * keep / 4);
        let most = if early { bytes.len().min(120) } else { bytes.len() };
        for (at, byte) in changes {
            bytes[at.index(most)] = byte;
        }
        let limits = Limits { pixels: 1 << 20, ..Limits::default() };
        if let Ok(picture) = decode(&bytes, limits) {
            prop_assert_eq!(picture.rgb.len(), 3 * picture.width as usize * picture.height as usize);
        }
    }
}
