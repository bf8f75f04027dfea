// Predicts how a step of training scales over the threads of a team, for one network. bench/team_scaling.py runs it and
// makes the tables.
//   stoop_team_scaling <model as JSON> <trainer as JSON> <batch> <threads>...
// prints one JSON object: for each number of threads, and for each phase between barriers, the longest and the mean share,
// measured on one thread (lonely_walk.hpp) and counted from the plan (team_load.hpp), and the step as 1 and 2 threads run it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <stoop/runtime.hpp>

#include "data/shuffle.hpp"
#include "io/config_json.hpp"
#include "lonely_walk.hpp"
#include "team_load.hpp"
#include "train/trainer_core.hpp"

namespace stoop::bench {
namespace {

constexpr double kNoChange = 1e-30;  // the learning rate
constexpr double kTime = 0.2;        // seconds of measurements of one number of threads
constexpr double kPassFlops = 1e9;
constexpr int kFewestPasses = 3;

// Samples of a normal distribution with targets at random.
struct Samples {
  std::vector<float> x, values;
  std::vector<std::int32_t> classes;

  Samples(Index rows, const Model<float>& model, bool has_classes) {
    std::mt19937 random(0);
    std::normal_distribution<float> normal;
    x.resize(static_cast<std::size_t>(rows * model.input_dim()));
    for (float& each : x) each = normal(random);
    if (has_classes) {
      classes.resize(static_cast<std::size_t>(rows));
      for (auto& each : classes) each = static_cast<std::int32_t>(random() % static_cast<unsigned>(model.output_dim()));
    } else {
      values.resize(static_cast<std::size_t>(rows * model.output_dim()));
      for (float& each : values) each = normal(random);
    }
  }

  Targets<float> targets(Index rows, Index columns) const {
    if (!classes.empty()) return Targets<float>(classes);
    return Targets<float>(MatrixView<const float>{values.data(), rows, columns, columns});
  }
};

class Scaling {
 public:
  Scaling(Model<float>& model, const TrainerConfig& config, Index batch)
      : core_(model, config),
        batch_(batch),
        rows_(batch * batches_of(model, batch)),
        samples_(rows_, model, takes_classes(core_.loss())),
        data_("stoop_team_scaling", matrix(samples_.x.data(), rows_, model.input_dim()),
              samples_.targets(rows_, model.output_dim()), core_.needs()),
        order_(static_cast<std::size_t>(rows_)),
        rates_(static_cast<std::size_t>(rows_ / batch), kNoChange) {
    const bool checked = needs_all_gradients(config);
    executor_ = &static_cast<TeamExecutor<float>&>(
        core_.executor(checked ? PlanKind::checked : PlanKind::training, batch, data_));
    run_ = core_.make_update_run(data_, batch, checked);
    run_.learning_rates = rates_.data();
    shuffle(config.seed, 0, order_);
    run_.data.order = order_.data();
  }

  void print(const std::vector<int>& threads) {
    std::printf("{\"flops\": %.0f, \"parameters\": %lld, \"teams\": {", executor_->plan().flops,
                static_cast<long long>(core_.parameter_count()));
    for (std::size_t i = 0; i < threads.size(); ++i) print_team(threads[i], i == 0);
    std::printf("}, \"measured\": [%.4g, %.4g]}\n", 1e6 * measured_[0], 1e6 * measured_[1]);
  }

 private:
  static Index batches_of(const Model<float>& model, Index batch) {
    const double flops = 6.0 * static_cast<double>(batch) * static_cast<double>(model.parameter_block().size());
    return std::clamp(static_cast<Index>(kPassFlops / flops), Index{2}, Index{100});
  }

  // The teams of 1 and 2 threads take turns with the walks alone, so that the machine is the same for all.
  void measure_teams() {
    for (const int team : {1, 2}) {
      double& fastest = measured_[team - 1];
      if (team <= usable_cores()) fastest = std::min(fastest, LonelyWalk<float>::team_pass(*executor_, run_, team));
    }
  }

  void print_team(int threads, bool first) {
    using Clock = std::chrono::steady_clock;
    LonelyWalk<float> walk(*executor_, run_, threads);
    const Clock::time_point start = Clock::now();
    for (int pass = 0; pass < kFewestPasses || std::chrono::duration<double>(Clock::now() - start).count() < kTime;
         ++pass) {
      walk.pass();
      measure_teams();
    }
    Deal deal(executor_->plan());
    deal.deal_to(threads);
    const TeamLoad load(executor_->plan(), deal, terms(), {});
    std::printf("%s\n\"%d\": [", first ? "" : ",", threads);
    for (std::size_t i = 0; i < load.phases().size(); ++i) {
      print_phase(load.phases()[i], {{}, walk.seconds()[i], load.phases()[i].foreign}, i == 0);
    }
    std::printf("]");
  }

  void print_phase(const PhaseLoad& counted, const PhaseLoad& measured, bool first) const {
    const double foreign = *std::max_element(counted.foreign.begin(), counted.foreign.end());
    std::printf("%s{\"longest\": %.4g, \"mean\": %.4g, \"counted_longest\": %.4g, \"counted_mean\": %.4g, ",
                first ? "" : ", ", 1e6 * measured.longest(), 1e6 * measured.mean(), 1e6 * counted.longest(),
                1e6 * counted.mean());
    std::printf("\"idle\": %lld, \"foreign_lines\": %.0f, \"steps\": [", static_cast<long long>(counted.idle()),
                foreign / 64.0);
    for (std::size_t i = 0; i < counted.steps.size(); ++i) {
      const Step& step = executor_->plan().steps[counted.steps[i]];
      std::printf("%s\"%s %lldx%lld\"", i == 0 ? "" : ", ", rule_of(step.kind).name,
                  static_cast<long long>(step.in_features), static_cast<long long>(step.out_features));
    }
    std::printf("]}");
  }

  CostTerms terms() const {
    CostTerms terms;
    terms.rows = batch_;
    terms.input_row = core_.model.input_dim() * Index{sizeof(float)};
    terms.target_row = data_.has_classes() ? Index{4} : core_.model.output_dim() * Index{sizeof(float)};
    terms.update_elements = 2 * (1 + state_count(core_.config.optimizer) + (core_.config.ema ? 1 : 0));
    return terms;
  }

  TrainerCore<float> core_;
  const Index batch_, rows_;
  const Samples samples_;
  const Dataset<float> data_;
  std::vector<std::int32_t> order_;
  std::vector<double> rates_;
  TeamExecutor<float>* executor_ = nullptr;
  TrainingRun<float> run_;
  double measured_[2] = {1e30, 1e30};
};

}  // namespace
}  // namespace stoop::bench

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: %s <model as JSON> <trainer as JSON> <batch> <threads>...\n", argv[0]);
    return 1;
  }
  try {
    stoop::Model<float> model(stoop::model_config_from_json(argv[1]));
    const stoop::TrainerConfig config = stoop::trainer_config_from_json(argv[2]);
    std::vector<int> threads;
    for (int i = 4; i < argc; ++i) threads.push_back(std::atoi(argv[i]));
    stoop::bench::Scaling(model, config, std::atoi(argv[3])).print(threads);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
