use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[test]
fn acquire_past_the_limit_is_refused_as_overloaded() {
    let admission_limits = AdmissionLimits::new(2, 1);
    let taken = admission_limits.acquire(ModelKind::Generate, 2, 0).unwrap();
    // All permits of a request are taken, or none.
    assert!(admission_limits.acquire(ModelKind::Generate, 2, 0).is_err());
    let last = admission_limits.acquire(ModelKind::Generate, 1, 0).unwrap();
    assert_eq!(admission_limits.capacity(ModelKind::Generate), Capacity { limit: 3, free: 0 });
    let error = admission_limits.acquire(ModelKind::Generate, 1, 0).unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Overloaded, true));
    assert_eq!(error.capacity, Some(Capacity { limit: 3, free: 0 }));
    drop((taken, last));
    assert_eq!(admission_limits.capacity(ModelKind::Generate), Capacity { limit: 3, free: 3 });
}

#[test]
fn without_waiting_room_one_request_is_admitted() {
    let admission_limits = AdmissionLimits::new(1, 0);
    for kind in [ModelKind::Generate, ModelKind::Embed, ModelKind::Rerank] {
        let permit = admission_limits.acquire(kind, 1, 0).unwrap();
        assert!(admission_limits.acquire(kind, 1, 0).is_err(), "{kind:?}");
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
                    let permit = admission_limits.acquire(ModelKind::Generate, 1, 0);
                    most.fetch_max(lock(&admission_limits.held).all, Ordering::Relaxed);
                    drop(permit);
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(admission_limits.capacity(ModelKind::Generate).free, 3);
}

#[test]
fn one_key_leaves_places_to_others() {
    let admission_limits = AdmissionLimits::new(8, 8);
    let acquire = |count, tenant| admission_limits.acquire(ModelKind::Generate, count, tenant);
    let mut greedy = acquire(14, 7).unwrap();
    let error = acquire(1, 7).unwrap_err();
    assert!(error.kind == ErrorKind::Overloaded && error.is_retryable());
    assert_eq!(error.capacity, Some(Capacity { limit: 16, free: 2 }));
    let others = (acquire(1, 8).unwrap(), acquire(1, 0).unwrap());
    assert!(acquire(1, 9).is_err(), "now it is full");
    drop(others);
    greedy.pop();
    assert_eq!(acquire(1, 7).unwrap().len(), 1);
    drop(greedy);
    assert!(lock(&admission_limits.held).by_tenant.is_empty());
    // Without keys there is nobody to leave a place to; nor does a single request of many choices fail for it.
    assert_eq!(acquire(16, 0).unwrap().len(), 16);
    assert_eq!(acquire(16, 7).unwrap().len(), 16);
}
