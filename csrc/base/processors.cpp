#include "base/processors.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace fastwsi {
namespace {

int processors_by_affinity() {
#if defined(__linux__)
    // Machines with more than 1,024 processors need a larger mask than cpu_set_t: grow until it fits.
    for (int limit = CPU_SETSIZE; limit <= (1 << 16); limit *= 2) {
        cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(limit));
        if (set == nullptr) break;
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(limit));
        const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Of one group's folder: cpu.max under cgroup v2, two files under v1.
double quota_in(const std::string& folder) {
    double quota = -1, period = 0;
    std::string word;
    if (std::ifstream max(folder + "/cpu.max"); max >> word >> period) {
        if (word != "max") quota = std::atof(word.c_str());
    } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

}  // namespace

double cgroup_quota(const std::string& groups_file, const std::string& root) {
    double tightest = INFINITY;
    std::ifstream groups(groups_file);
    for (std::string line; std::getline(groups, line);) {  // hierarchy:controllers:/path
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string folder = root;
        if (!controllers.empty()) {
            if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
            folder += "/cpu";
        }
        std::string path = line.substr(second + 1);
        for (;;) {
            tightest = std::min(tightest, quota_in(folder + path));
            const std::size_t slash = path.rfind('/');
            if (path.empty() || slash == std::string::npos) break;
            path.erase(slash);
        }
    }
    return tightest;
}

int available_processors() {
    const int allowed = processors_by_affinity();
    const double quota = cgroup_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (!(quota < allowed)) return allowed;
    return std::max(1, static_cast<int>(std::ceil(quota)));
}

}  // namespace fastwsi
