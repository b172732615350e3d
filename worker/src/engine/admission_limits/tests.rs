use ipc_proto::ErrorKind;

use super::*;

#[test]
fn acquire_past_the_limit_is_refused_as_overloaded() {
    let admission_limits = AdmissionLimits::new(2, 1);
    let taken = admission_limits.acquire(ModelKind::Generate, 2).unwrap();
    // All permits of a request are taken, or none.
    assert!(admission_limits.acquire(ModelKind::Generate, 2).is_err());
    let last = admission_limits.acquire(ModelKind::Generate, 1).unwrap();
    assert_eq!(admission_limits.capacity(ModelKind::Generate), Capacity { limit: 3, free: 0 });
    let error = admission_limits.acquire(ModelKind::Generate, 1).unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Overloaded, true));
    assert_eq!(error.capacity, Some(Capacity { limit: 3, free: 0 }));
    drop((taken, last));
    assert_eq!(admission_limits.capacity(ModelKind::Generate), Capacity { limit: 3, free: 3 });
}

#[test]
fn without_waiting_room_one_request_is_admitted() {
    let admission_limits = AdmissionLimits::new(1, 0);
    for kind in [ModelKind::Generate, ModelKind::Embed, ModelKind::Rerank] {
        let permit = admission_limits.acquire(kind, 1).unwrap();
        assert!(admission_limits.acquire(kind, 1).is_err(), "{kind:?}");
        drop(permit);
        assert_eq!(admission_limits.capacity(kind), Capacity { limit: 1, free: 1 });
    }
}

#[test]
fn encoders_are_limited_by_waiting_only() {
    let admission_limits = AdmissionLimits::new(32, 2);
    assert_eq!(admission_limits.capacity(ModelKind::Embed).limit, 2);
    assert_eq!(admission_limits.capacity(ModelKind::Generate).limit, 34);
    assert_eq!(AdmissionLimits::new(usize::MAX, usize::MAX).capacity(ModelKind::Generate).limit, u32::MAX);
}

#[test]
fn permits_are_never_handed_out_twice_across_threads() {
    let admission_limits = AdmissionLimits::new(3, 0);
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let permit = admission_limits.acquire(ModelKind::Generate, 1);
                    most.fetch_max(admission_limits.held.load(Ordering::Relaxed), Ordering::Relaxed);
                    drop(permit);
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(admission_limits.capacity(ModelKind::Generate).free, 3);
}
