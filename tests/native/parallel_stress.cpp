// The thread pool under ThreadSanitizer: many callers at once, nested calls, a changing number of threads.
// Prints what went wrong and exits with 1.
#include <atomic>
#include <cstdio>
#include <new>
#include <thread>
#include <vector>

#include "base/parallel.h"

namespace {

std::atomic<int> failures{0};

void expect(bool condition, const char* what) {
    if (condition) return;
    ++failures;
    std::fprintf(stderr, "FAILED: %s\n", what);
}

// Every item of [0, count) visited exactly once, by plain writes: a race would be seen.
void cover(std::int64_t count, std::int64_t grain) {
    std::vector<int> visits(static_cast<std::size_t>(count), 0);
    fastwsi::parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
    });
    bool once = true;
    for (int n : visits) once = once && n == 1;
    expect(once, "every item is visited once");
}

// A task that throws ends the call with its exception, and leaves the pool as it was.
void fail(std::int64_t count, std::int64_t bad) {
    std::atomic<std::int64_t> begun{0};
    bool caught = false;
    try {
        fastwsi::parallel_for(count, 1, [&](std::int64_t begin, std::int64_t) {
            ++begun;
            if (begin >= bad) throw std::bad_alloc();
        });
    } catch (const std::bad_alloc&) {
        caught = true;
    }
    expect(caught, "an exception reaches the caller");
    expect(begun <= count, "no task is run twice");
}

}  // namespace

int main() {
    fastwsi::set_num_threads(4);
    for (std::int64_t count : {0, 1, 2, 7, 64, 1000})
        for (std::int64_t grain : {0, 1, 3, 1000}) cover(count, grain);

    std::vector<std::thread> callers;
    for (int t = 0; t < 8; ++t)
        callers.emplace_back([t] {
            for (int i = 0; i < 300; ++i) {
                if (t == 0) fastwsi::set_num_threads(1 + i % 6);
                const fastwsi::ThreadCap cap(t == 1 ? 1 : 8);
                cover(100 + i, 1 + i % 5);
                if (i % 7 == 0) fail(40, i % 40);
            }
        });
    for (std::thread& caller : callers) caller.join();

    std::atomic<int> inner{0};
    fastwsi::set_num_threads(3);
    fastwsi::parallel_for(16, 1, [&](std::int64_t, std::int64_t) {
        fastwsi::parallel_for(
            10, 1, [&](std::int64_t begin, std::int64_t end) { inner += static_cast<int>(end - begin); });
    });
    expect(inner == 160, "nested calls run");
    std::printf("%s\n", failures == 0 ? "thread pool: ok" : "thread pool: FAILED");
    return failures == 0 ? 0 : 1;
}
