use ipc_proto::generate::{ChoiceId, Delta, Event};

use super::*;

fn frame(step: u64, events: usize) -> StepFrame {
    let event = |at| (ChoiceId(at as u64), Event::Delta(Delta { index: at as u32, ..Delta::default() }));
    StepFrame { step, events: (0..events).map(event).collect() }
}

#[tokio::test]
async fn fast_receiver_gets_one_frame_per_step() {
    let (sender, mut receiver) = queue();
    for step in 0..10 {
        sender.send(frame(step, 3)).unwrap();
        assert_eq!(receiver.next().await, Some(frame(step, 3)));
    }
    drop(sender);
    assert_eq!(receiver.next().await, None);
}

#[tokio::test]
async fn slow_receiver_gets_all_events_in_order_in_few_frames() {
    let (sender, mut receiver) = queue();
    for step in 0..10_000 {
        sender.send(frame(step, 1 + step as usize % 3)).unwrap();
    }
    drop(sender);
    let (mut frames, mut events, mut last) = (0, 0, 0);
    while let Some(frame) = receiver.next().await {
        assert!(frame.step >= last && frame.events.len() < EVENTS_IN_FRAME + 3);
        (frames, events, last) = (frames + 1, events + frame.events.len(), frame.step);
    }
    assert_eq!((events, last), (19_999, 9_999));
    assert_eq!(frames, 5);
}

#[tokio::test]
async fn send_past_the_limit_or_to_a_dropped_receiver_returns_dead() {
    let (sender, mut receiver) = queue();
    let mut sent = 0;
    while sender.send(frame(0, 1024)).is_ok() {
        sent += 1024;
    }
    assert_eq!(sent, EVENTS_AHEAD);
    receiver.next().await.unwrap();
    drop(receiver);
    assert_eq!(sender.send(frame(0, 1)), Err(Dead));
}
