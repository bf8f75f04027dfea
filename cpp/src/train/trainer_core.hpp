// The members of a Trainer, and its calls of executors. The public calls, which check their arguments and throw the errors,
// are in trainer.cpp and fit.cpp.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "../data/dataset.hpp"
#include "../data/gathered_rows.hpp"
#include "../graph/input_map.hpp"
#include "../model/adapt.hpp"
#include "full_batch.hpp"
#include "pieces.hpp"
#include "rollback.hpp"
#include "runners.hpp"
#include "settings.hpp"

namespace stoop::inline v0_1 {

// The questions about the objective that need no update.
enum class Question { gradient, curvature, loss, statistics };  // the last: of the layers, which keep them

struct Answer {
  Cursor sums;
  bool finite = true;
};

template <class T>
struct TrainerCore {
  TrainerCore(Model<T>& trained, TrainerConfig settings, const World& world = {});

  Model<T>& model;
  const std::vector<Layer> layers;  // of the model when the plans were made
  TrainerConfig config;
  Graph graph;
  const Device<T> device;
  LiveState<T> state;
  BlockSums sums;  // of the last update of a fit whose updates follow their gradients at once
  Rollback<T> saved;
  // ---- of the newest fit ----
  Cursor cursor;  // of the epoch that runs, or ran last and was not ended
  FitRecord fit;
  History history;
  int fits_running = 0;                      // more than one: a fit within a function of a fit
  Index epochs_begun = 0;                    // each uses `order` and `saved` for itself
  Index settings_version = 0;                // grows when a setting is changed
  Wish wish = Wish::go_on;                   // what the fit that runs wants, where its poller says no
  bool is_alone = false;                     // it works without the other processes
  mutable std::uint64_t settings_claim = 0;  // of claim_of_settings, for this version of them
  mutable Index claimed_version = kNone;

  Runners<T> own_runners{graph, device};
  Runners<T>* runners = &own_runners;         // or those that fit_many lends
  const std::atomic<int>* granted = nullptr;  // the threads that fit_many allows now
  Pieces<T> pieces{device};
  GatheredRows<T> gathered;                           // of the last step_rows
  std::vector<std::int32_t> order;                    // of the samples in this epoch
  std::vector<std::int32_t> positions;                // of the same within a selection, where they are augmented
  ReadAhead pages;                                    // of a mapped X
  std::unique_ptr<FullBatchOptimizer<T>> full_batch;  // where the optimizer is one
  double last_correct = 0.0;                          // samples, of the last evaluation for it
  Fault last_fault;                                   // of the same

  Index parameter_count() const { return static_cast<Index>(model.parameter_block().size()); }
  LossKind loss() const { return kind_of(config.loss); }
  DataNeeds needs() const {
    return {model.input_dim(), model.output_dim(), loss(), missing_values(graph),
            graph.columns ? &graph.columns->columns : nullptr};
  }
  bool has_batch_norm() const { return has_node(graph, NodeKind::batch_norm); }
  // The threads of a call: so many, 0 for as many as pay off, and then at most so many.
  int num_threads() const;
  int most_threads() const;
  // Those that fit_many allows; 0: this trainer runs by itself.
  int granted_threads() const { return granted == nullptr ? 0 : granted->load(std::memory_order_relaxed); }
  // The processes that make a call together with this one.
  World world() const { return is_alone ? World{} : device.world; }
  bool is_shared() const { return world().collectives.size > 1; }
  double penalty(Weights which) const { return penalty_of<T>(config, graph, model.parameter_block().data(), which); }

  // ---- checks: ValueError ----
  void check_settings(const TrainerConfig& settings) const;
  void check_world() const;
  // Throws if the model was assigned other layers, since the plans of this trainer are for the old ones. Finds the arrays of
  // the model again, which may have been assigned another model with the same layers.
  void bind_model(std::string_view where);
  // The same, and throws if the Normalization of the model has no statistics.
  void bind_adapted_model(std::string_view where);
  bool is_adapted() const { return stoop::is_adapted(scaled({}).map, model.input_dim()); }
  // Returns the statistics that the Normalization or Columns of the model lacks, of these samples; nothing if it lacks none.
  std::optional<ColumnStatistics> lacking_statistics(std::string_view where, const Dataset<T>& data,
                                                     Poller* poller) const;
  void set_statistics(const ColumnStatistics& found) { stoop::set_statistics(found, graph, state.running.data()); }
  void check_not_swapped(std::string_view where) const;
  void check_not_alone(std::string_view where) const;
  void check_block(std::string_view where, const char* what, std::size_t size) const;
  // The variance of a single sample is always zero.
  void check_batch(std::string_view where, Index rows, Index batch) const;

  // ---- trainer_state.cpp ----
  // What the optimizer accumulates; views that hold until the next update.
  std::vector<std::span<const T>> optimizer_arrays() const;
  // Throws ValueError if the state is that of another configuration, and changes nothing then.
  void set_state(std::string_view where, const TrainingState<T>& given);

  // ---- executors ----
  // Returns the executor for updates on batches of up to `batch` rows.
  Executor<T>& executor(PlanKind kind, Index batch, bool class_targets);
  Executor<T>& executor(PlanKind kind, Index batch, const Dataset<T>& data) {
    return executor(kind, batch, data.has_classes());
  }
  PlanRequest plan_request(PlanKind kind, Index batch, bool class_targets) const;

  // ---- runs ----
  // As the first layer sees them.
  SampleRows<T> scaled(SampleRows<T> rows) const;
  TrainingRun<T> make_run(const SampleRows<T>& data, Index batch);
  TrainingRun<T> make_run(const Dataset<T>& data, Index batch) { return make_run(data.as_they_lie(), batch); }
  // Returns a run that changes the parameters, still without learning rates.
  TrainingRun<T> make_update_run(const SampleRows<T>& data, Index batch, bool keeps_gradient);
  TrainingRun<T> make_update_run(const Dataset<T>& data, Index batch, bool keeps_gradient) {
    return make_update_run(data.as_they_lie(), batch, keeps_gradient);
  }
  // Asks for the pages of a mapped X.
  void read_ahead(TrainingRun<T>& run);
  // Fills in the learning rates of the updates from `first` on. ValueError for one that cannot be used.
  void set_rates(Index first, std::span<double> rates) const;
  // The same, and sets the meaning of the outputs.
  void prepare_updates(Index first, std::span<double> rates);
  // Before the first update the average equals the parameters, whatever was done to them.
  void start_average();
  // Runs all of the samples as one batch; the layers behave as `mode` says. Throws Interrupted, and ValueError for bad data.
  Answer ask(std::string_view where, Question question, const GradientMode& mode, TrainingRun<T>& run);
  // Writes the loss of each sample times its weight to `losses` unless that is empty. Processes share the rows.
  Metrics evaluate(std::string_view where, const Dataset<T>& data, Poller* poller, std::span<double> losses = {});
  // Returns the largest wish of all processes.
  Wish agreed_wish(std::string_view where, Wish own) const;
  // Returns the accuracy over the first `count` samples in this order (null: as they lie); NaN for losses without one.
  double accuracy_of(double correct, const Dataset<T>& data, const std::int32_t* samples, Index count) const;

  // ---- errors ----
  // Throws the error for data that were found to be bad as they were read.
  void refuse_bad_data(std::string_view where, const InputView& x, const RunEnd& end) const;
  // Throws the error for an update that cannot be made, or should not have been made. By then the parameters are the last good
  // ones.
  [[noreturn]] void refuse_update(std::string_view where, double rate, const RunEnd& end, Index updates_before) const;

  // Returns the fault as the parameters show it: they, or what the optimizer holds, are not finite.
  Fault fault_of_state() const;
  std::string layer_of(const Fault& fault) const;

  // ---- trainer_full_batch.cpp ----
  Objective<T> make_objective(const char* where, const Dataset<T>& data, Poller* poller);
  // Makes one iteration, which is an epoch. Returns nothing if it was interrupted.
  std::optional<EpochResult> run_iteration(const Dataset<T>& data, const Objective<T>& objective,
                                           std::string_view where);
};

// Returns rows and columns of each parameter in turn.
template <class T>
std::vector<Index> shapes_of(const Model<T>& model);

template <class T>
struct Trainer<T>::Impl : TrainerCore<T> {
  using TrainerCore<T>::TrainerCore;
};

// For calls that are no members of a Trainer.
struct TrainerAccess {
  template <class T>
  static TrainerCore<T>& core_of(Trainer<T>& trainer) {
    return *trainer.impl_;
  }
};

}  // namespace stoop
