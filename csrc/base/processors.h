#pragma once

namespace fastwsi {

// Processors that this process may use: its affinity mask, cut by the cgroup's CPU quota (rounded
// up, at least 1), as a container or a batch system sets them.
int available_processors();

}  // namespace fastwsi
