#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "base/processors.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace fastwsi {
namespace {

struct Job {
    void (*task)(void*, std::int64_t);
    void* context;
    std::int64_t tasks;
    int helpers_wanted;
    int helpers = 0;  // guarded by Pool::mutex
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr error{};  // of the first task that failed
    Job* following = nullptr;

    bool has_room() const { return helpers < helpers_wanted && next.load(std::memory_order_relaxed) < tasks; }
    void work() {
        try {
            for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
                task(context, i);
        } catch (...) {
            next.store(tasks, std::memory_order_relaxed);  // nobody starts another
            if (!failed.exchange(true)) error = std::current_exception();
        }
    }
};

thread_local bool inside_task = false;
thread_local int thread_cap = INT_MAX;

// Sleeping helpers and the jobs that want them. A pool is never destroyed: its threads may outlive
// static destructors, and a forked child cannot join threads that it does not have.
class Pool {
  public:
    void run(Job& job) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            grow(job.helpers_wanted);
            job.following = jobs_;
            jobs_ = &job;
        }
        if (job.helpers_wanted == 1) {
            wake_.notify_one();
        } else {
            wake_.notify_all();
        }
        inside_task = true;
        job.work();
        inside_task = false;
        std::unique_lock<std::mutex> lock(mutex_);
        Job** link = &jobs_;
        while (*link != &job) link = &(*link)->following;
        *link = job.following;
        helper_left_.wait(lock, [&] { return job.helpers == 0; });
        if (job.error) std::rethrow_exception(job.error);
    }

  private:
    void grow(int wanted) {
        try {
            for (; threads_ < wanted; ++threads_) std::thread([this] { help(); }).detach();
        } catch (const std::exception&) {
            // The system grants no more threads, or memory for them: the caller and those that exist do the
            // work.
        }
    }

    void help() {
        inside_task = true;
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            Job* job = nullptr;
            wake_.wait(lock, [&] {
                for (job = jobs_; job != nullptr && !job->has_room();) job = job->following;
                return job != nullptr;
            });
            ++job->helpers;
            lock.unlock();
            job->work();
            lock.lock();
            if (--job->helpers == 0) helper_left_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_, helper_left_;
    Job* jobs_ = nullptr;
    int threads_ = 0;
};

std::atomic<Pool*> current_pool{nullptr};
std::atomic<int> chosen_threads{0};  // 0: the default
std::atomic<bool> chosen_here{false};

Pool& pool() {
    Pool* existing = current_pool.load(std::memory_order_acquire);
    if (existing != nullptr) return *existing;
    Pool* fresh = new Pool;
    if (current_pool.compare_exchange_strong(existing, fresh, std::memory_order_acq_rel)) return *fresh;
    delete fresh;  // another thread was first; this one has started no helper yet
    return *existing;
}

#if defined(__unix__) || defined(__APPLE__)
// The child has only the forking thread: the parent's pool, and whatever lock a helper held at that
// moment, is left behind untouched and a new one is built at the first call.
const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
    current_pool.store(nullptr, std::memory_order_relaxed);
    chosen_here.store(false, std::memory_order_relaxed);
});
#endif

int threads_from_environment() {
    const char* text = std::getenv("OMP_NUM_THREADS");
    if (text == nullptr) return 0;
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);  // "4,2" (nested levels) means 4 here
    return end != text && n > 0 && n <= 4096 ? static_cast<int>(n) : 0;
}

}  // namespace

int default_threads() {
    static const int n = [] {
        const int wanted = threads_from_environment();
        return wanted > 0 ? wanted : available_processors();
    }();
    return n;
}

void set_num_threads(int n) {
    chosen_threads.store(n, std::memory_order_relaxed);
    chosen_here.store(n > 0, std::memory_order_relaxed);
}

int num_threads() {
    const int chosen = chosen_threads.load(std::memory_order_relaxed);
    return std::min(thread_cap, chosen > 0 ? chosen : default_threads());
}

bool num_threads_set_here() { return chosen_here.load(std::memory_order_relaxed); }

ThreadCap::ThreadCap(int limit) : previous_(thread_cap) { thread_cap = std::min(limit, thread_cap); }
ThreadCap::~ThreadCap() { thread_cap = previous_; }

void run_tasks(std::int64_t tasks, void (*task)(void*, std::int64_t), void* context) {
    const std::int64_t threads = inside_task ? 1 : std::min<std::int64_t>(num_threads(), tasks);
    if (threads <= 1) {
        for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
        return;
    }
    Job job{task, context, tasks, static_cast<int>(threads - 1)};
    pool().run(job);
}

}  // namespace fastwsi
