#pragma once

#include <string>

namespace fastwsi {

// Processors that this process may use: its affinity mask, cut by the cgroup's CPU quota (rounded
// up, at least 1), as a container or a batch system sets them.
int available_processors();

// The tightest CPU quota, in processors, of the groups that `groups_file` lists (in the format of
// /proc/self/cgroup) and of all above them, in the hierarchies under `root`; infinite where there is none.
double cgroup_quota(const std::string& groups_file, const std::string& root);

}  // namespace fastwsi
