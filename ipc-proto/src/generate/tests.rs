use bytes::Bytes;

use super::*;

/// The parts of `content`, as texts.
fn texts(content: &Content) -> Vec<&str> {
    content.texts().collect()
}

#[test]
fn empty_text_makes_no_part() {
    let mut content = Content::from("");
    content.push_text("");
    content.prepend_text("");
    content.append(&Content::from(String::new()));
    assert!(content.is_empty());
    assert_eq!((texts(&content), &*content.text()), (vec![], ""));
    assert_eq!(content, Content::default());
}

#[test]
fn first_text_becomes_a_part_wherever_it_is_added() {
    let mut pushed = Content::default();
    pushed.push_text("a");
    let mut prepended = Content::default();
    prepended.prepend_text("a");
    let mut appended = Content::default();
    appended.append(&Content::from("a"));
    for content in [pushed, prepended, appended, Content::from("a".to_owned())] {
        assert_eq!(content, Content::from("a"));
        assert!(!content.is_empty());
    }
}

#[test]
fn consecutive_text_is_one_part() {
    let mut content = Content::from("c");
    content.push_text("d");
    content.prepend_text("b");
    content.append(&Content::from("e"));
    content.append(&Content::default());
    content.prepend_text("a");
    assert_eq!((texts(&content), &*content.text()), (vec!["abcde"], "abcde"));
}

#[test]
fn texts_are_changed_in_place() {
    let mut content = Content::from("a b");
    content.texts_mut().for_each(|text| *text = text.to_uppercase());
    assert_eq!(content, Content::from("A B"));
}

#[test]
fn images_stay_between_the_texts_around_them() {
    let image = Image { source: ImageSource::Data(Bytes::from_static(b"x")), detail: ImageDetail::Auto };
    let mut content = Content::from("a");
    content.push_image(image.clone());
    content.push_text("b");
    content.append(&Content::from(image));
    content.prepend_text("c");
    assert_eq!((content.parts().len(), content.images().count(), &*content.text()), (4, 2, "cab"));
    assert_eq!(content.with_images_as("|"), Content::from("ca|b|"));
}

#[test]
fn image_is_never_printed() {
    let printed = format!("{:?}", ImageSource::Data(Bytes::from_static(b"secret")));
    assert_eq!(printed, "Data(6 bytes)");
}
