use ipc_proto::ErrorKind;

use super::*;

#[test]
fn acquire_past_the_limit_is_refused_as_overloaded() {
    let admission_limits = AdmissionLimits::new(2, 1);
    let taken: Vec<AdmissionPermit> =
        (0..3).map(|_| admission_limits.acquire(ModelKind::Generate).unwrap()).collect();
    assert_eq!(admission_limits.room(ModelKind::Generate), Room { limit: 3, left: 0 });
    let error = admission_limits.acquire(ModelKind::Generate).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Overloaded, true));
    assert_eq!(error.room, Some(Room { limit: 3, left: 0 }));
    drop(taken);
    assert_eq!(admission_limits.room(ModelKind::Generate), Room { limit: 3, left: 3 });
}

#[test]
fn without_waiting_room_one_request_is_admitted() {
    let admission_limits = AdmissionLimits::new(1, 0);
    for kind in [ModelKind::Generate, ModelKind::Embed, ModelKind::Rerank] {
        let permit = admission_limits.acquire(kind).unwrap();
        assert!(admission_limits.acquire(kind).is_err(), "{kind:?}");
        drop(permit);
        assert_eq!(admission_limits.room(kind), Room { limit: 1, left: 1 });
    }
}

#[test]
fn encoders_are_limited_by_waiting_only() {
    let admission_limits = AdmissionLimits::new(32, 2);
    assert_eq!(admission_limits.room(ModelKind::Embed).limit, 2);
    assert_eq!(admission_limits.room(ModelKind::Generate).limit, 34);
    assert_eq!(AdmissionLimits::new(usize::MAX, usize::MAX).room(ModelKind::Generate).limit, u32::MAX);
}

#[test]
fn permits_are_never_handed_out_twice_across_threads() {
    let admission_limits = AdmissionLimits::new(3, 0);
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let permit = admission_limits.acquire(ModelKind::Generate);
                    most.fetch_max(admission_limits.held.load(Ordering::Relaxed), Ordering::Relaxed);
                    drop(permit);
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(admission_limits.room(ModelKind::Generate).left, 3);
}
