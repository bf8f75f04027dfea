// Lends crews to calls. Only this file owns threads.

#include "team.hpp"

#include <mutex>
#include <vector>

#include "crew.hpp"

namespace stoop::inline v0_1 {
namespace {

thread_local int g_own_cores = 0;  // lent ones that this thread has itself

}  // namespace

// The crews of this process. They are never deleted: their threads sleep until the process ends.
class Crews {
 public:
  struct Loan {
    Crew* crew;
    int size;
  };

  // Lends at most `threads` threads, and no more than the cores that other loans leave.
  Loan lend(int threads) {
    const std::lock_guard lock(mutex_);
    threads = limit(threads);
    if (threads <= 1) return {nullptr, 1};
    Crew* crew = take();
    if (crew == nullptr) return {nullptr, 1};
    const int size = crew->is_secluded() ? 1 : std::min(crew->grow(threads), threads);
    if (size == 1) {
      idle_.push_back(crew);
      return {nullptr, 1};
    }
    lent_ += size - g_own_cores;
    return {crew, size};
  }

  void take_back(Crew* crew, int size) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(crew);
    lent_ -= size - g_own_cores;
  }

  int take_cores(int wanted) {
    const std::lock_guard lock(mutex_);
    wanted = limit(wanted);
    lent_ += wanted;
    return wanted;
  }
  void give_back_cores(int count) {
    const std::lock_guard lock(mutex_);
    lent_ -= count;
  }

 private:
  // The cores that other threads leave.
  int limit(int threads) const {
    const int others = lent_ - g_own_cores;
    return others > 0 ? std::min(threads, std::max(1, cores() - others)) : threads;
  }

  static int cores() {
    static const int count = usable_cores();  // counting them reads files
    return count;
  }

  // Takes the crew that was used last, since it may be awake. Returns null if there is no memory.
  Crew* take() {
    if (!idle_.empty()) {
      Crew* const crew = idle_.back();
      idle_.pop_back();
      return crew;
    }
    try {
      idle_.reserve(++made_);  // so that no later call allocates
      return new Crew(cores());
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  std::mutex mutex_;
  std::vector<Crew*> idle_;
  std::size_t made_ = 0;
  int lent_ = 0;  // threads, the callers' included
};

namespace {

// A forked child replaces it: there none of the threads is left, and one of them may have held the lock.
std::atomic<Crews*>& crews() {
  static std::atomic<Crews*> instance{new Crews};
  return instance;
}

#if !defined(_WIN32)  // which has no fork
[[maybe_unused]] const int g_watches_for_forks = [] {
  crews();
  return pthread_atfork(nullptr, nullptr, [] { crews().store(new Crews); });
}();
#endif

}  // namespace

Team::Team(int threads) {
  if (threads <= 1) return;
  lender_ = crews().load(std::memory_order_acquire);
  const Crews::Loan loan = lender_->lend(threads);
  crew_ = loan.crew;
  size_ = loan.size;
}

Team::~Team() {
  const bool forked = lender_ != crews().load(std::memory_order_acquire);
  if (crew_ != nullptr && !forked) lender_->take_back(crew_, size_);
}

bool Team::is_awake() const { return crew_ != nullptr && crew_->is_awake(size_); }

void Team::run(int shares, Work& work, First first) {
  const FlushToZero mode;
  if (crew_ != nullptr && shares > 1) return crew_->run(size_, shares, work, first == First::caller);
  bool more = true;
  for (Index phase = 0; more; ++phase) {
    for (int number = 0; number < shares; ++number) more = work.run(number, phase, 0);
  }
}

LentCores::LentCores(int wanted)
    : lender_(crews().load(std::memory_order_acquire)), size_(lender_->take_cores(wanted)), left_(size_) {}
LentCores::~LentCores() { lender_->give_back_cores(left_.load(std::memory_order_relaxed)); }

LentCores::Own::Own(LentCores& cores) : cores_(cores) { ++g_own_cores; }
LentCores::Own::~Own() {
  --g_own_cores;
  --cores_.left_;
  cores_.lender_->give_back_cores(1);
}

void set_team_arrival_hook(void (*hook)()) { Crew::arrival_hook.store(hook); }

}  // namespace stoop
