// Takes the same rows through several networks. A share is a chunk of rows with a group of members: the rows are converted
// once, and stay in cache while one member after the other reads them. Rows are cut before members, because a group less
// is a conversion less.

#include "infer_members.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include "infer.hpp"
#include "thread_count.hpp"

namespace stoop::inline v0_1 {
namespace {

template <class T>
const TeamInference<T>& network(const Networks<T>& members, Index i) {
  return static_cast<const TeamInference<T>&>(members.executor(i));
}

template <class T>
double flops_of(const Networks<T>& members, Index rows) {
  double flops = 0.0;
  for (Index i = 0; i < members.size(); ++i) flops += network(members, i).flops(rows);
  return flops;
}

// Returns whether both make the same of each of so many columns. Encoded columns are not compared.
template <class T>
bool are_alike(const InputMap<T>& a, const InputMap<T>& b, Index cols) {
  const auto same = [](const T* of_a, const T* of_b, Index n) {
    return of_a == of_b || (of_a != nullptr && of_b != nullptr && std::equal(of_a, of_a + n, of_b));
  };
  if (a.columns != nullptr || b.columns != nullptr) return false;
  return a.scale == b.scale && a.shift == b.shift && a.clip == b.clip && same(a.column_scale, b.column_scale, cols) &&
         same(a.column_shift, b.column_shift, cols) && same(a.column_rest, b.column_rest, 2 * cols) &&
         same(a.missing, b.missing, cols);
}

// How the work is cut.
struct Portions {
  Index rows;    // of a chunk
  Index chunks;  // of all rows
  int parts;     // of the chunks, which are neighbours
  int groups;    // of members

  // There are some shares for each thread, so that one which comes late leaves little to wait for.
  // `most` are the rows that every member takes at a time.
  Portions(Index all, Index members, Index most, int threads) {
    constexpr int kMostParts = 16, kFewestShares = 4;                     // of a thread
    const Index cuts = threads == 1 ? 1 : block_count(threads, members);  // of the rows, even if each member is a group
    rows = std::min(most, round_up(block_count(all, cuts), kRowBlock));
    chunks = block_count(all, rows);
    parts = static_cast<int>(std::min<Index>(chunks, kMostParts * threads));
    const Index wanted = threads == 1 ? 1 : block_count(kFewestShares * threads, parts);
    groups = static_cast<int>(std::min(wanted, members));
  }
  int shares() const { return parts * groups; }
};

// The first phase predicts; the second, if there is one, reduces rows.
template <class T>
class Predicting final : public Work {
 public:
  Predicting(const Networks<T>& members, const InputView& x, Poller* poller, const Portions& portions)
      : members_(members), x_(x), portions_(portions), goes_on_(poller, x.mapped, flops_of(members, portions.rows)) {
    samples_.x = x;
    samples_.map.missing = members.run(0).data.map.missing;
    for (Index i = 1; i < members.size(); ++i) {  // each of them must take what is read
      if (members.run(i).data.map.missing == nullptr) samples_.map.missing = nullptr;
    }
  }

  int shares() const { return portions_.shares(); }

  bool run(int number, Index phase, int worker) noexcept override {
    const Range rows = share(x_.rows, number, shares());
    if (phase == 1) {
      if (rows.begin < rows.end && is_good()) members_.reduce(rows);
      return false;
    }
    try {
      predict(number, worker);
    } catch (...) {
      const std::lock_guard lock(failing_);
      failure_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    return members_.reduces();
  }

  InferenceResult result() const {
    if (failure_) std::rethrow_exception(failure_);
    InferenceResult result;
    result.non_finite_row = bad_row_.load();
    result.interrupted = goes_on_.has_stopped();
    return result;
  }

 private:
  // Returns whether the outputs are all there. All shares are done when it is called.
  bool is_good() const {
    return !failed_.load(std::memory_order_relaxed) && bad_row_.load(std::memory_order_relaxed) == kNone &&
           !goes_on_.has_stopped();
  }

  void predict(int number, int worker) {
    const Index size = portions_.rows;
    const Range group = share(members_.size(), number / portions_.parts, portions_.groups);
    const Range chunks = share(portions_.chunks, number % portions_.parts, portions_.parts);
    Index converted = 0, walk = 0;  // bytes
    for (Index i = group.begin; i < group.end; ++i) {
      const Job<T> job = network(members_, i).job(members_.run(i), size);
      converted = std::max(converted, size * converted_stride(job.data) * Index{sizeof(T)});
      walk = std::max(walk, Walk<T>::bytes(job, 1));
    }
    Workspace memory(converted + walk);
    for (Index chunk = chunks.begin; chunk < chunks.end && goes_on_(worker); ++chunk) {
      const Range rows{chunk * size, std::min((chunk + 1) * size, x_.rows)};
      if (x_.mapped) prepare_mapped_rows<T>(samples_, rows, {chunks.begin * size, chunks.end * size}, bad_row_);
      predict_chunk(group, rows, memory.data(), memory.data() + converted);
    }
  }

  void predict_chunk(Range group, Range rows, std::byte* converted, std::byte* walk_memory) {
    BoundBuffer<T> input{};
    InputMap<T> map;
    for (Index i = group.begin; i < group.end; ++i) {
      const Job<T> job = network(members_, i).job(members_.run(i), portions_.rows);
      if (i == group.begin || !are_alike(map, job.data.map, x_.cols)) {
        input = bind_input(job, rows, converted);
        map = job.data.map;
      }
      const Walk<T> walk(job, 1, walk_memory);
      walk.bind(job, rows, input);
      for (const Step& step : job.plan->steps) walk.run_step(step, rows.end - rows.begin);
    }
  }

  const Networks<T>& members_;
  const InputView x_;
  SampleRows<T> samples_;  // as they are checked
  const Portions portions_;
  Continuing goes_on_;
  std::atomic<Index> bad_row_{kNone};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
  std::mutex failing_;
};

}  // namespace

template <class T>
InferenceResult infer_members_on_team(const Networks<T>& members) {
  constexpr double kWakingFlops = 4e6;  // the work of few rows in a multiple of the time in which a team wakes
  const InferenceRun<T> first = members.run(0);
  const InputView& x = first.data.x;
  const double flops = flops_of(members, x.rows);
  constexpr double kNoBarriers = 2.0;  // within the work, so that half of it pays for a thread
  Index most_rows = kChunkRows;
  int most_threads = std::numeric_limits<int>::max();
  for (Index i = 0; i < members.size(); ++i) {
    most_rows = std::min(most_rows, network(members, i).most_rows());
    most_threads = std::min(most_threads, network(members, i).most_threads());
  }
  const auto run = [&](Team& team) {
    Predicting<T> work(members, x, first.poller, Portions(x.rows, members.size(), most_rows, team.size()));
    team.run(work.shares(), work);
    return work.result();
  };
  const RepeatedCall repeated;
  Team team(std::min(threads_for(kNoBarriers * flops, first.num_threads), most_threads));
  if (x.rows > kRowBlock || flops > kWakingFlops || repeated || team.is_awake()) return run(team);
  Team alone(1);
  return run(alone);
}

template InferenceResult infer_members_on_team(const Networks<float>&);
template InferenceResult infer_members_on_team(const Networks<double>&);

}  // namespace stoop
