// ParameterUpdater<T>: the kernels of the trainer's updates on arrays that somebody else owns.

#include <stoop/optimizer_step.hpp>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../base/memory.hpp"
#include "../graph/element_range.hpp"
#include "../base/finite.hpp"
#include "../run/device.hpp"
#include "../run/rates.hpp"
#include "../run/squared_gradient.hpp"
#include "../team/team.hpp"
#include "settings.hpp"
#include "vectors.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr Index kBlock = 1 << 14;  // elements of a call

}  // namespace

template <class T>
struct ParameterUpdater<T>::Impl {
  Impl(Optimizer wanted, std::string_view where) : optimizer(std::move(wanted)), ops(make_device<T>().ops) {
    validate(optimizer);
    check_numbers(ElementRange(sizeof(T)), optimizer, where);
    if (is_full_batch(optimizer)) {
      throw_value_error(where, std::string(name_of(optimizer)) + " needs the cost, not a gradient alone",
                        "expected an optimizer of single updates", "use minimize, or a Trainer");
    }
    kernel = ops.update[optimizer.index()];
  }

  Optimizer optimizer;
  const OpTable<T> ops;
  void (*kernel)(const UpdateArgs<T>&) noexcept;
  std::vector<AlignedBuffer<T>> state[kMostStates];  // by array
  std::vector<Index> sizes;
  Index steps = 0;

  void start(std::span<const std::span<T>> parameters) {
    std::vector<Index> lengths;
    for (const auto& p : parameters) lengths.push_back(static_cast<Index>(p.size()));
    for (int s = 0; s < state_count(optimizer); ++s) {
      state[s].clear();
      for (const Index n : lengths) state[s].emplace_back(n);
    }
    sizes = std::move(lengths);
  }

  void check(std::span<const std::span<T>> parameters, std::span<const std::span<const T>> gradients,
             std::string_view where) const {
    if (parameters.size() != gradients.size()) {
      throw_value_error(
          where,
          std::to_string(parameters.size()) + " parameters and " + std::to_string(gradients.size()) + " gradients",
          "expected one gradient for each", "give them in the same order");
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].size() == gradients[i].size()) continue;
      throw_value_error(where,
                        "parameter " + std::to_string(i) + " has " + std::to_string(parameters[i].size()) +
                            " elements and its gradient " + std::to_string(gradients[i].size()),
                        "expected as many", "give them in the same order");
    }
    if (steps == 0) return;
    const auto same = [](Index n, const std::span<T>& p) { return n == static_cast<Index>(p.size()); };
    if (std::equal(sizes.begin(), sizes.end(), parameters.begin(), parameters.end(), same)) return;
    throw_value_error(where, "other parameters than in the updates before", "expected as many, of the same sizes",
                      "make a new optimizer for them, or reset this one");
  }

  // This is a pass of its own, because nothing may have changed when it fails. Optimizers that do not need it skip it.
  void check_squares(std::span<const std::span<const T>> gradients, std::string_view where) const {
    if (!squares_gradients(optimizer)) return;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const auto n = static_cast<Index>(gradients[i].size());
      std::atomic<bool> steep{false};
      share_elements(n, get_num_threads(), [&](const Range& part) {
        const T* first = gradients[i].data() + part.begin;
        if (any_above(first, part.end - part.begin, static_cast<T>(kSteep<T>))) steep.store(true);
      });
      if (!steep.load()) continue;
      const T* accumulated = steps > 0 ? state[0][i].data() : nullptr;
      if (!overflows_squares(optimizer, SquaredGradient<T>{gradients[i].data(), accumulated, n, T(1), T(1)})) continue;
      throw NonFiniteLossError(steps, 0, cause_of_steep_gradient(schedule_of(optimizer)(steps), steps), where,
                               steep_gradient<T>(optimizer, norm<T>(gradients[i])));
    }
  }

  // Calls work(i, block, args) for the blocks of each array i that a share has.
  template <class Work>
  void for_each_block(std::span<const std::span<T>> parameters, std::span<const std::span<const T>> gradients,
                      const UpdateArgs<T>& common, int number, int shares, const Work& work) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Range blocks = share(block_count(sizes[i], kBlock), number, shares);
      for (Index b = blocks.begin; b < blocks.end; ++b) {
        const Index begin = b * kBlock;
        double unused[2];
        UpdateArgs<T> args = common;
        args.n = std::min(kBlock, sizes[i] - begin);
        args.weight = parameters[i].data() + begin;
        args.grad = gradients[i].data() + begin;
        for (int s = 0; s < kMostStates; ++s) {
          args.state[s] = state[s].empty() ? nullptr : state[s][i].data() + begin;
        }
        args.weight_sum_of_squares = &unused[0];
        args.grad_sum_of_squares = &unused[1];
        work(i, b, args);
      }
    }
  }

  void update(std::span<const std::span<T>> parameters, std::span<const std::span<const T>> gradients,
              const UpdateArgs<T>& common, int threads) {
    const auto each_block = [&](const auto& work) {
      run_shares(threads,
                 [&](int number, int shares) { for_each_block(parameters, gradients, common, number, shares, work); });
    };
    if (!needs_norms(optimizer)) return each_block([&](std::size_t, Index, UpdateArgs<T>& args) { kernel(args); });
    std::vector<std::vector<double>> norms;  // by array and block, of the weight and of its step
    for (const Index n : sizes) norms.emplace_back(static_cast<std::size_t>(2 * block_count(n, kBlock)));
    each_block([&](std::size_t i, Index b, UpdateArgs<T>& args) {
      args.block_norms = norms[i].data() + 2 * b;
      kernel(args);
    });
    each_block([&](std::size_t i, Index, UpdateArgs<T>& args) {
      args.trust_ratio = trust_ratio_of(norms[i]);
      ops.apply[optimizer.index()](args);
    });
  }
};

template <class T>
ParameterUpdater<T>::ParameterUpdater(Optimizer optimizer, std::string_view where)
    : impl_(std::make_unique<Impl>(std::move(optimizer), where)) {}
template <class T>
ParameterUpdater<T>::ParameterUpdater(ParameterUpdater&&) noexcept = default;
template <class T>
ParameterUpdater<T>& ParameterUpdater<T>::operator=(ParameterUpdater&&) noexcept = default;
template <class T>
ParameterUpdater<T>::~ParameterUpdater() = default;

template <class T>
void ParameterUpdater<T>::step(std::span<const std::span<T>> parameters, std::span<const std::span<const T>> gradients,
                               std::string_view where) {
  impl_->check(parameters, gradients, where);
  impl_->check_squares(gradients, where);
  const double rate = schedule_of(impl_->optimizer)(impl_->steps);
  check_rates({&rate, 1}, impl_->steps);
  if (impl_->steps == 0) impl_->start(parameters);
  UpdateArgs<T> common{};
  AnyRates rates;
  set_rates(common, rates, impl_->optimizer, rate, impl_->steps + 1);
  Index elements = 0;
  for (const Index n : impl_->sizes) elements += n;
  impl_->update(parameters, gradients, common, threads_for_elements(elements, get_num_threads()));
  ++impl_->steps;
}

template <class T>
UpdaterState<T> ParameterUpdater<T>::state() const {
  UpdaterState<T> out;
  out.steps = impl_->steps;
  if (out.steps == 0) return out;
  out.sizes = impl_->sizes;
  for (int s = 0; s < state_count(impl_->optimizer); ++s) {
    auto& arrays = out.arrays.emplace_back();
    for (const AlignedBuffer<T>& array : impl_->state[s])
      arrays.emplace_back(array.data(), array.data() + array.size());
  }
  return out;
}

template <class T>
void ParameterUpdater<T>::set_state(const UpdaterState<T>& given, std::string_view where) {
  bool fits = given.steps == 0 || given.arrays.size() == static_cast<std::size_t>(state_count(impl_->optimizer));
  const auto same = [](const std::vector<T>& array, Index n) { return static_cast<Index>(array.size()) == n; };
  for (const auto& arrays : given.arrays) {
    fits = fits && std::equal(arrays.begin(), arrays.end(), given.sizes.begin(), given.sizes.end(), same);
  }
  if (!fits) {
    throw_value_error(where, "a state of another optimizer or of other arrays", "expected that of this optimizer",
                      "give what was saved of this one");
  }
  impl_->sizes = given.sizes;
  for (std::size_t s = 0; s < given.arrays.size(); ++s) {
    impl_->state[s].clear();
    for (const std::vector<T>& array : given.arrays[s]) {
      std::copy(array.begin(), array.end(), impl_->state[s].emplace_back(static_cast<Index>(array.size())).data());
    }
  }
  impl_->steps = given.steps;
}

template <class T>
void ParameterUpdater<T>::reset() {
  impl_->steps = 0;
}
template <class T>
Index ParameterUpdater<T>::steps() const {
  return impl_->steps;
}
template <class T>
const Optimizer& ParameterUpdater<T>::optimizer() const {
  return impl_->optimizer;
}

template class ParameterUpdater<float>;
template class ParameterUpdater<double>;

}  // namespace stoop
