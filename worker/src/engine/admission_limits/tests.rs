use ipc_proto::ErrorKind;

use super::*;

#[test]
fn as_many_are_taken_as_there_are() {
    let places = Places::new(2, 1);
    let taken: Vec<Place> = (0..3).map(|_| places.take(ModelKind::Generate).unwrap()).collect();
    assert_eq!(places.room(ModelKind::Generate), Room { limit: 3, left: 0 });
    let error = places.take(ModelKind::Generate).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Overloaded, true));
    assert_eq!(error.room, Some(Room { limit: 3, left: 0 }));
    drop(taken);
    assert_eq!(places.room(ModelKind::Generate), Room { limit: 3, left: 3 });
}

#[test]
fn where_none_may_wait_a_free_row_is_taken_all_the_same() {
    let places = Places::new(1, 0);
    for kind in [ModelKind::Generate, ModelKind::Embed, ModelKind::Rerank] {
        let place = places.take(kind).unwrap();
        assert!(places.take(kind).is_err(), "{kind:?}");
        drop(place);
        assert_eq!(places.room(kind), Room { limit: 1, left: 1 });
    }
}

#[test]
fn a_model_that_reads_has_no_rows() {
    let places = Places::new(32, 2);
    assert_eq!(places.room(ModelKind::Embed).limit, 2);
    assert_eq!(places.room(ModelKind::Generate).limit, 34);
    assert_eq!(Places::new(usize::MAX, usize::MAX).room(ModelKind::Generate).limit, u32::MAX);
}

/// Nobody takes a place that another one has.
#[test]
fn places_are_counted_across_threads() {
    let places = Places::new(3, 0);
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let place = places.take(ModelKind::Generate);
                    most.fetch_max(places.held.load(Ordering::Relaxed), Ordering::Relaxed);
                    drop(place);
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(places.room(ModelKind::Generate).left, 3);
}
