// The runners that a thread of fit_many lends to one trainer after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

template <class T>
class LentRunners {
 public:
  // The kinds of networks that are kept. The one that was not used for longest is dropped first.
  static constexpr std::size_t kMost = 4;

  // Returns runners for a fit of this trainer in batches of up to `batch` rows, valid until the next call. For another number
  // there are others, so that the plans are those of a trainer that did nothing before.
  Runners<T>& runners_for(const TrainerCore<T>& core, Index batch) {
    const auto found = std::ranges::find_if(kinds_, [&](const auto& kind) { return kind->is_for(core, batch); });
    if (found != kinds_.end()) {
      std::rotate(kinds_.begin(), found, found + 1);
    } else {
      if (kinds_.size() == kMost) kinds_.pop_back();  // first, so that both are not in memory at once
      kinds_.insert(kinds_.begin(), std::make_unique<Kind>(core, batch));
    }
    return kinds_.front()->runners;
  }

 private:
  struct Kind {
    Kind(const TrainerCore<T>& core, Index rows)
        : layers(core.layers), batch(rows), graph(core.graph), device(core.device), runners(graph, device) {}

    // Plans follow from the layers, the number of inputs and the device.
    bool is_for(const TrainerCore<T>& core, Index rows) const {
      return batch == rows && layers == core.layers &&
             graph.nodes.front().out_features == core.graph.nodes.front().out_features && device == core.device;
    }

    const std::vector<Layer> layers;
    const Index batch;
    const Graph graph;
    const Device<T> device;
    Runners<T> runners;
  };

  std::vector<std::unique_ptr<Kind>> kinds_;  // the one that was used last comes first
};

}  // namespace stoop
