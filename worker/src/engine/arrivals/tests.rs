use super::*;

const STREAM: StreamId = StreamId(1);

#[test]
fn count_excludes_dropped_arrivals() {
    let arrivals = Arrivals::default();
    let first = arrivals.enter(STREAM, ChoiceId(1)).unwrap();
    let second = arrivals.enter(STREAM, ChoiceId(2)).unwrap();
    assert_eq!(arrivals.count(), 2);
    drop(first);
    assert_eq!(arrivals.count(), 1);
    assert!(second.is_wanted());
}

#[test]
fn enter_with_used_id_on_same_stream_returns_none() {
    let arrivals = Arrivals::default();
    let first = arrivals.enter(STREAM, ChoiceId(1));
    assert!(arrivals.enter(STREAM, ChoiceId(1)).is_none());
    assert!(arrivals.enter(StreamId(2), ChoiceId(1)).is_some());
    drop(first);
    assert!(arrivals.enter(STREAM, ChoiceId(1)).is_some());
}

#[test]
fn cancel_marks_only_the_named_arrival() {
    let arrivals = Arrivals::default();
    let arrival = arrivals.enter(STREAM, ChoiceId(1)).unwrap();
    arrivals.cancel(STREAM, ChoiceId(7));
    assert!(arrival.is_wanted());
    arrivals.cancel(STREAM, ChoiceId(1));
    assert!(!arrival.is_wanted());
    assert_eq!(arrivals.count(), 0);
}
