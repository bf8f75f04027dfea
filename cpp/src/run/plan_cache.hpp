// Keeps executors, each with its plan and arena, by the request that the plan was made for. So calls of several kinds that
// take turns find their executors again.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "device.hpp"

namespace stoop::inline v0_1 {

template <class T>
class PlanCache {
 public:
  // The number of executors that are kept. The one that was not used for longest is dropped first. There is room for
  // training, for loss and gradient in both modes, and for one more fit.
  static constexpr std::size_t kMost = 6;

  explicit PlanCache(const Device<T>& device) : device_(device) { entries_.reserve(kMost + 1); }

  // Returns the executor for this request, which is valid until the next call. An executor for more rows serves too; one for
  // fewer rows is replaced.
  Executor<T>& executor(const PlanRequest& wanted) {
    PlanRequest key = wanted;
    key.batch = 0;
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
    if (found == entries_.end() || found->executor->most_rows() < wanted.batch) return add(wanted, key, found);
    if (found != entries_.begin()) std::rotate(entries_.begin(), found, found + 1);
    return *entries_.front().executor;
  }

 private:
  struct Entry {
    PlanRequest key;  // but for the rows
    std::unique_ptr<Executor<T>> executor;
  };

  Executor<T>& add(const PlanRequest& wanted, const PlanRequest& key, typename std::vector<Entry>::iterator replaced) {
    if (replaced != entries_.end()) entries_.erase(replaced);  // first, so that both are not in memory at once
    if (entries_.size() == kMost) entries_.pop_back();
    entries_.insert(entries_.begin(), {key, make_executor(device_, wanted)});
    return *entries_.front().executor;
  }

  const Device<T>& device_;
  std::vector<Entry> entries_;  // the one that was used last comes first
};

}  // namespace stoop
