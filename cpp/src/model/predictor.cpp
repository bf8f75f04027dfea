// Predictor<T>: a model with its weights in strips.

#include <stoop/predictor.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <span>
#include <utility>
#include <vector>

#include "../base/memory.hpp"
#include "../run/executor.hpp"

namespace stoop::inline v0_1 {
namespace {

// Which sets of a second-level cache a weight falls on depends on its physical pages. A host may give a virtual machine any
// pages of 4 KiB, even for a large page of the guest, and nothing tells a process which it has got. Where the threads' parts
// have about the size of that cache, one place in memory holds much more of them there than another does. So the strips of a
// model of such a size are tried in several places and stay in the fastest. This changes no bits.
constexpr Index kTriedFrom = kHugeFrom, kTriedUpTo = Index{1} << 22;  // bytes of parameters
constexpr Index kPlaceStep = Index{1} << 18;                          // bytes from a place in a block to the next
constexpr int kBlocks = 3;                                            // that have several places each
constexpr int kPairs = 20;                                            // of predictions for each place
constexpr auto kLongestTrial = std::chrono::milliseconds(50);         // for a machine that is very slow or busy

using Clock = std::chrono::steady_clock;

// Memory for strips, which begin somewhere in it.
template <class T>
struct Place {
  AlignedBuffer<T> block;
  Index begin = 0;  // elements

  const T* strips() const { return block.data() + begin; }
};

// Puts the strips of a model into places, and says how long a prediction of one row takes there.
template <class T>
class Trial {
 public:
  Trial(const InferenceExecutor<T>& executor, std::span<const T> parameters, InferenceRun<T> one_row)
      : executor_(executor), parameters_(parameters), run_(std::move(one_row)) {}

  // Returns the shortest time of two predictions, which read the strips in both orders.
  Clock::duration time(T* strips) {
    lay_out(strips);
    Clock::duration shortest = Clock::duration::max();
    for (int pair = 0; pair < kPairs; ++pair) {
      const Clock::time_point start = Clock::now();
      for (const bool backwards : {false, true}) {
        run_.strips = {strips, backwards};
        executor_.run(run_);
      }
      shortest = std::min(shortest, Clock::now() - start);
    }
    return shortest;
  }

  void lay_out(T* strips) const { executor_.copy_to_strips(parameters_, strips); }

 private:
  const InferenceExecutor<T>& executor_;
  const std::span<const T> parameters_;
  InferenceRun<T> run_;
};

// Returns the fastest of several places, with the strips of so many elements in it. A block is made of large pages, whose rest
// has room for more than one place. All blocks live until the end, since the system would give the same pages again.
template <class T>
Place<T> fastest_place(Trial<T>& trial, Index size) {
  constexpr Index kElement = sizeof(T);
  const Index whole = round_up(size * kElement, kHugePage) / kElement;
  const Clock::time_point give_up = Clock::now() + kLongestTrial;
  std::vector<AlignedBuffer<T>> blocks;
  std::size_t best = 0;
  Index best_begin = 0;
  Clock::duration shortest = Clock::duration::max();
  do {
    AlignedBuffer<T>& block = blocks.emplace_back();
    block.reset_untouched(whole);
    for (Index begin = 0; begin + size <= whole && Clock::now() < give_up; begin += kPlaceStep / kElement) {
      const Clock::duration time = trial.time(block.data() + begin);
      if (time >= shortest) continue;
      shortest = time;
      best = blocks.size() - 1;
      best_begin = begin;
    }
  } while (blocks.size() < kBlocks && Clock::now() < give_up);
  Place<T> place{std::move(blocks[best]), best_begin};
  trial.lay_out(place.block.data() + place.begin);
  return place;
}

}  // namespace

template <class T>
struct Predictor<T>::Impl {
  Model<T> model;
  Place<T> place;
  // Counts the calls. Every second call reads the strips from the last to the first: those that the call before has read
  // last are still in the cache, even if the part of a thread is somewhat larger than that.
  std::atomic<unsigned> calls{0};

  explicit Impl(const Model<T>& from) : model(from) {
    const InferenceExecutor<T>& executor = model.inference();
    const Index size = static_cast<Index>(model.parameter_block().size());
    const Index bytes = size * static_cast<Index>(sizeof(T));
    if (bytes < kTriedFrom || bytes > kTriedUpTo) {
      place.block.reset(size);
      executor.copy_to_strips(model.parameter_block(), place.block.data());
      return;
    }
    const std::vector<T> x(static_cast<std::size_t>(model.input_dim()));
    std::vector<T> out(static_cast<std::size_t>(model.output_dim()));
    InferenceRun<T> run = model.inference_run(matrix(x.data(), 1, model.input_dim()));
    run.out = matrix(out.data(), 1, model.output_dim());
    Trial<T> trial(executor, model.parameter_block(), run);
    place = fastest_place(trial, size);
  }
};

template <class T>
Predictor<T>::Predictor(const Model<T>& model) : impl_(std::make_unique<Impl>(model)) {}
template <class T>
Predictor<T>::Predictor(Predictor&& other) noexcept = default;
template <class T>
Predictor<T>& Predictor<T>::operator=(Predictor&& other) noexcept = default;
template <class T>
Predictor<T>::~Predictor() = default;

template <class T>
const Model<T>& Predictor<T>::model() const {
  return impl_->model;
}

template <class T>
void Predictor<T>::predict(const InputView& x, MatrixView<T> out, const KeepGoing& keep_going) const {
  const bool backwards = impl_->calls.fetch_add(1, std::memory_order_relaxed) % 2 != 0;
  impl_->model.predict_rows("Predictor.predict", x, out, keep_going, 0, {impl_->place.strips(), backwards});
}

template class Predictor<float>;
template class Predictor<double>;

}  // namespace stoop
