use super::*;

const STREAM: StreamId = StreamId(1);

#[test]
fn an_arrival_counts_until_it_is_dropped() {
    let arrivals = Arrivals::default();
    let first = arrivals.enter(STREAM, RequestId(1)).unwrap();
    let second = arrivals.enter(STREAM, RequestId(2)).unwrap();
    assert_eq!(arrivals.count(), 2);
    drop(first);
    assert_eq!(arrivals.count(), 1);
    assert!(second.wanted());
}

#[test]
fn names_are_taken_once_for_each_stream() {
    let arrivals = Arrivals::default();
    let first = arrivals.enter(STREAM, RequestId(1));
    assert!(arrivals.enter(STREAM, RequestId(1)).is_none());
    assert!(arrivals.enter(StreamId(2), RequestId(1)).is_some());
    drop(first);
    assert!(arrivals.enter(STREAM, RequestId(1)).is_some());
}

#[test]
fn a_cancelled_arrival_is_not_wanted() {
    let arrivals = Arrivals::default();
    let arrival = arrivals.enter(STREAM, RequestId(1)).unwrap();
    arrivals.cancel(STREAM, RequestId(7));
    assert!(arrival.wanted());
    arrivals.cancel(STREAM, RequestId(1));
    assert!(!arrival.wanted());
    assert_eq!(arrivals.count(), 0);
}
