/// The pool. A job is cut into pieces, and every awake thread takes one after the other. So a thread that
/// wakes late, or that the system has taken off its core, delays the others by one piece at most. Between
/// jobs the threads spin for some microseconds, about the time until a model's next product, and then sleep:
/// several processes share the machine.
#include "blas/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

#include "blas/openblas.h"

namespace mlxd {
namespace {

constexpr int spins = 2000;
constexpr int max_threads = 64;
/// A piece's number has 16 bits in `next`.
constexpr int max_pieces = 1 << 15;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

int processors() {
  if (const char *limit = std::getenv("OPENBLAS_NUM_THREADS"))
    return std::atoi(limit);
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

class ThreadPool {
 public:
  ThreadPool() {
    // OpenBLAS's own threads would spin beside ours for the same cores.
    scipy_openblas_set_num_threads(1);
    int wanted = std::min(processors(), max_threads);
    try {
      for (; threads_ < wanted; threads_++)
        std::thread(&ThreadPool::serve, this).detach();
    } catch (const std::system_error &) {
      // The process may start no more threads: the existing ones suffice.
    }
  }

  int threads() const { return threads_; }

  void run(MlxdPiece run, const void *job, int pieces) {
    if (threads_ == 1 || pieces < 2 || pieces > max_pieces || busy_.test_and_set(std::memory_order_acquire)) {
      for (int piece = 0; piece < pieces; piece++)
        run(job, piece, pieces);
      return;
    }
    run_ = run;
    job_ = job;
    finished_ = 0;
    uint32_t round = current_round() + 1;
    next_ = (uint64_t)round << 32 | (uint64_t)pieces << 16;
    if (asleep_ > 0) {
      std::lock_guard lock(mutex_);
      work_.notify_all();
    }
    take_pieces(round);
    for (int i = 0; i < spins && finished_ < pieces; i++)
      pause_briefly();
    if (finished_ < pieces) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [&] { return finished_ >= pieces; });
    }
    busy_.clear(std::memory_order_release);
  }

 private:
  uint32_t current_round() const { return (uint32_t)(next_ >> 32); }

  /// Takes pieces of a round until none is left.
  void take_pieces(uint32_t round) {
    uint64_t next = next_;
    for (;;) {
      int pieces = (int)(next >> 16 & 0xffff);
      int piece = (int)(next & 0xffff);
      if ((uint32_t)(next >> 32) != round || piece >= pieces)
        return;
      if (!next_.compare_exchange_weak(next, next + 1))
        continue;
      next++;
      run_(job_, piece, pieces);
      if (++finished_ == pieces) {
        std::lock_guard lock(mutex_);
        done_.notify_one();
      }
    }
  }

  void serve() {
    for (uint32_t seen = 0;; seen = current_round()) {
      take_pieces(seen);
      for (int i = 0; i < spins && current_round() == seen; i++)
        pause_briefly();
      if (current_round() != seen)
        continue;
      std::unique_lock lock(mutex_);
      asleep_++;
      work_.wait(lock, [&] { return current_round() != seen; });
      asleep_--;
    }
  }

  /// Set while a job has the pool.
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  /// Round << 32 | pieces << 16 | next piece. A thread that has taken a piece of a round may use the round's
  /// job: the round does not end before every piece is done.
  std::atomic<uint64_t> next_{0};
  std::atomic<int> finished_{0};
  std::atomic<int> asleep_{0};
  /// The caller included.
  int threads_ = 1;
  MlxdPiece run_ = nullptr;
  const void *job_ = nullptr;
};

/// Starts with the first job. Never destroyed: its threads run until the process ends.
ThreadPool &pool() {
  static ThreadPool &pool = *new ThreadPool;
  return pool;
}

}  // namespace

void run_pieces(MlxdPiece run, const void *job, int pieces, bool parallel) {
  if (parallel)
    return pool().run(run, job, pieces);
  for (int piece = 0; piece < pieces; piece++)
    run(job, piece, pieces);
}

}  // namespace mlxd

void mlxd_parallel_for(MlxdPiece run, const void *job, int pieces) {
  mlxd::pool().run(run, job, pieces);
}

int mlxd_thread_count(void) {
  return mlxd::pool().threads();
}
