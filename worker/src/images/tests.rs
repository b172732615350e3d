use bytes::Bytes;
use ipc_proto::generate::{Content, Message};
use serde_json::json;

use super::*;
use crate::text::tokenizer::tests::model;

/// The id that stands for a feature here.
const TOKEN: u32 = 7;

/// A reader of a model that takes squares of 32 pixels as four features of 16 pixels.
fn reader() -> ImageReader {
    let config = json!({
        "model_type": "llava",
        "vision_feature_select_strategy": "default",
        "vision_config": {"image_size": 32, "patch_size": 16},
        "text_config": {"model_type": "llama"},
    });
    let settings = json!({
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
    });
    let processor = Processor::new(&config, Some(&settings), None).unwrap().unwrap();
    ImageReader { processor, token: TOKEN, has_axes: false, kept: Mutex::default() }
}

/// A bitmap of one pixel in this colour.
fn image(colour: [u8; 3]) -> Image {
    let mut file = b"BM".to_vec();
    for number in [58u32, 0, 54, 40, 1, 1, 1 | 24 << 16, 0, 4, 0, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend(colour);
    file.push(0);
    Image { source: ImageSource::Data(Bytes::from(file)), detail: ImageDetail::Auto }
}

fn chat(images: &[[u8; 3]]) -> ChatPrompt {
    let turn = |colour: &[u8; 3]| Message { content: Content::from(image(*colour)), ..Message::default() };
    ChatPrompt { messages: images.iter().map(turn).collect(), ..ChatPrompt::default() }
}

#[test]
fn images_take_their_places_in_text_and_tokens() {
    let reader = reader();
    let images = reader.prepare_all(&chat(&[[255, 0, 0], [0, 0, 255]])).unwrap();
    assert_ne!(images[0].digest, images[1].digest);
    let text = Text { text: "a <image> b <image>".into(), sanitized: Vec::new() };
    let filled = reader.fill(text, &images).unwrap();
    assert_eq!(filled.text, format!("a {0} b {0}", "<image>".repeat(4)));
    let tokens = [1, TOKEN, TOKEN, TOKEN, TOKEN, 2, TOKEN, TOKEN, TOKEN, TOKEN];
    let rows = reader.locate(&tokens, images).unwrap().in_row(&(0..10), 0);
    assert_eq!((&*rows[0].tokens, &*rows[1].tokens), (&[1, 2, 3, 4][..], &[6, 7, 8, 9][..]));
}

#[test]
fn places_and_tokens_that_do_not_fit_are_the_clients_error() {
    let reader = reader();
    let images = reader.prepare_all(&chat(&[[0; 3]])).unwrap();
    for text in ["no place", "<image><image>"] {
        let text = Text { text: text.into(), sanitized: Vec::new() };
        assert_eq!(reader.fill(text, &images).unwrap_err().kind, ErrorKind::InvalidRequest);
    }
    for tokens in [&[TOKEN; 3][..], &[TOKEN; 5]] {
        assert_eq!(reader.locate(tokens, images.clone()).unwrap_err().kind, ErrorKind::InvalidRequest);
    }
}

#[test]
fn image_is_prepared_once() {
    let reader = reader();
    let twice = reader.prepare_all(&chat(&[[1, 2, 3], [1, 2, 3]])).unwrap();
    assert!(Arc::ptr_eq(&twice[0], &twice[1]));
    let again = reader.prepare_all(&chat(&[[1, 2, 3]])).unwrap();
    assert!(Arc::ptr_eq(&twice[0], &again[0]));
}

#[test]
fn other_bytes_are_no_image() {
    let image = Image { source: ImageSource::Data(Bytes::from_static(b"x")), detail: ImageDetail::Auto };
    let message = Message { content: Content::from(image), ..Message::default() };
    let chat = ChatPrompt { messages: vec![message], ..ChatPrompt::default() };
    assert_eq!(reader().prepare_all(&chat).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn model_without_a_tower_reads_text_only() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::read(&model("SmolLM2-135M-Instruct")).unwrap();
    let problem = ImageReader::read(folder.path(), &json!({"model_type": "llama"}), &tokenizer).unwrap_err();
    assert_eq!(problem, "this model reads text only");
}

#[test]
fn axes_come_from_the_rotary_settings() {
    let section = json!({"type": "mrope", "mrope_section": [16, 24, 24]});
    assert!(has_axes(&json!({"rope_scaling": section})));
    assert!(has_axes(&json!({"text_config": {"rope_parameters": section}})));
    assert!(!has_axes(&json!({"text_config": {"rope_parameters": {"rope_type": "default"}}})));
}

#[test]
fn address_and_missing_file_are_no_images() {
    for source in [ImageSource::Url("http://localhost".into()), ImageSource::File("/nowhere/image".into())] {
        assert_eq!(bytes(&source).unwrap_err().kind, ErrorKind::Internal);
    }
}
