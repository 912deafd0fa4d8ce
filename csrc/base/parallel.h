// The only door to threads. Work is cut by its own size, never by the number of threads, so a
// kernel that writes or reduces piece by piece gives the same bits for any thread count.
#pragma once

#include <cstdint>

namespace fastwsi {

// min(processors this process may run on, cgroup quota), or OMP_NUM_THREADS where it is set.
int default_threads();

// Threads that one call may use, the caller included. n = 0 goes back to the default.
void set_num_threads(int n);
int num_threads();

// True where set_num_threads was called in this very process (a fork starts over: a data-loading
// worker must not inherit its parent's share of the machine as if it were its own).
bool num_threads_set_here();

// While one lives, calls made by this thread use at most `limit` threads.
class ThreadCap {
  public:
    explicit ThreadCap(int limit);
    ~ThreadCap();
    ThreadCap(const ThreadCap&) = delete;
    ThreadCap& operator=(const ThreadCap&) = delete;

  private:
    int previous_;
};

// Runs task(context, i) for every i in [0, tasks), on this thread and on idle pool threads; returns
// when all are done. Where a task throws (for want of memory), no more are begun, and the first exception is
// thrown here once the running ones are done. Safe from many threads at once, from inside a task (then
// it runs serially), and in a forked child.
void run_tasks(std::int64_t tasks, void (*task)(void* context, std::int64_t i), void* context);

// Calls body(begin, end) over consecutive ranges of `grain` items that cover [0, count).
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    struct Context {
        std::int64_t count, grain;
        const Body* body;
    } context{count, grain, &body};
    run_tasks((count - 1) / grain + 1,
              [](void* opaque, std::int64_t i) {
                  const Context& c = *static_cast<const Context*>(opaque);
                  const std::int64_t begin = i * c.grain;
                  const std::int64_t end = begin + c.grain < c.count ? begin + c.grain : c.count;
                  (*c.body)(begin, end);
              },
              &context);
}

}  // namespace fastwsi
