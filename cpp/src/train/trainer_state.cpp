// The state of a Trainer that can be taken out and put back, and the settings that can be changed while it lives.

#include <algorithm>
#include <type_traits>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {
namespace {

template <class Block>
auto copy_of(const Block& block) {
  return std::vector<std::remove_cv_t<typename Block::element_type>>(block.begin(), block.end());
}

void check_size(std::string_view where, std::string_view what, std::size_t given, std::size_t expected) {
  if (given == expected) return;
  throw_value_error(where, std::string(what) + ": " + std::to_string(given), "expected " + std::to_string(expected),
                    "give the state of a trainer of the same configuration");
}

// The block of another network may have the same length, because every parameter is padded.
template <class T>
void check_shapes(std::string_view where, const std::vector<Index>& given, const Model<T>& model) {
  Index elements = 0;
  for (std::size_t i = 0; i + 1 < given.size(); i += 2) elements += given[i] * given[i + 1];
  check_size(where, "elements of the parameters", static_cast<std::size_t>(elements),
             static_cast<std::size_t>(model.num_parameters()));
  if (given == shapes_of(model)) return;
  throw_value_error(where, "shapes of the parameters are others", "expected those of the trainer's model",
                    "give the state of a trainer of the same configuration");
}

}  // namespace

template <class T>
std::vector<Index> shapes_of(const Model<T>& model) {
  std::vector<Index> shapes;
  for (const ParameterInfo& info : model.parameter_infos()) shapes.insert(shapes.end(), {info.rows, info.cols});
  return shapes;
}

template <class T>
void Trainer<T>::set_learning_rate(LearningRate learning_rate) {
  validate(learning_rate, "Trainer.set_learning_rate");
  TrainerConfig next = impl_->config;
  stoop::set_learning_rate(next.optimizer, std::move(learning_rate));
  impl_->check_settings(next);
  impl_->config = std::move(next);
  ++impl_->settings_version;
}

template <class T>
void Trainer<T>::set_penalties(double l1, double l2) {
  TrainerConfig next = impl_->config;
  next.l1 = l1;
  next.l2 = l2;
  impl_->check_settings(next);
  impl_->config.l1 = l1;
  impl_->config.l2 = l2;
  ++impl_->settings_version;
}

template <class T>
void Trainer<T>::set_clipping(std::optional<double> clip_norm, std::optional<double> clip_value) {
  TrainerConfig next = impl_->config;
  next.clip_norm = clip_norm;
  next.clip_value = clip_value;
  impl_->check_settings(next);
  impl_->config.clip_norm = clip_norm;
  impl_->config.clip_value = clip_value;
  ++impl_->settings_version;
}

template <class T>
std::vector<std::span<const T>> TrainerCore<T>::optimizer_arrays() const {
  if (full_batch) return full_batch->memory();
  std::vector<std::span<const T>> arrays;
  for (int i = 0; i < state_count(config.optimizer); ++i) arrays.push_back(state.optimizer[i].elements());
  return arrays;
}

template <class T>
TrainingState<T> Trainer<T>::state() const {
  const TrainerCore<T>& core = *impl_;
  TrainingState<T> copy;
  copy.shapes = shapes_of(core.model);
  copy.parameters = copy_of(core.model.parameter_block());
  copy.buffers = copy_of(core.model.buffer_block());
  copy.average = copy_of(core.state.average.elements());
  copy.swapped = core.state.swapped;
  copy.epoch = core.state.epoch;
  copy.steps = core.state.steps;
  for (const std::span<const T>& array : core.optimizer_arrays()) copy.optimizer.push_back(copy_of(array));
  copy.place = core.cursor;
  copy.fit = core.fit;
  return copy;
}

namespace {

// A file may say anything: with these, whatever a training adds to a count does not overflow.
constexpr Index kMostCounted = Index{1} << 53;

bool is_possible(const EpochPlace& place, const FitRecord& fit) {
  if (std::max({fit.first_epoch, fit.epochs, fit.samples, fit.batch_size}) > kMostCounted) return false;
  return place.row >= 0 && place.row <= fit.samples && place.updates >= 0 && place.updates <= place.row &&
         fit.first_epoch >= 0 && fit.epochs >= 0 && fit.samples >= 0 && fit.batch_size >= 0;
}

template <class T>
void check_state(std::string_view where, const TrainerCore<T>& core, const TrainingState<T>& given) {
  const bool are_counts = std::min(given.epoch, given.steps) >= 0 && std::max(given.epoch, given.steps) <= kMostCounted;
  if (!are_counts || !is_possible(given.place, given.fit)) {
    throw_value_error(where,
                      "epoch " + std::to_string(given.epoch) + ", steps " + std::to_string(given.steps) + ", row " +
                          std::to_string(given.place.row) + " of " + std::to_string(given.fit.samples),
                      "expected counts that a training reaches", "give a state that Trainer::state() returned");
  }
  const auto size = static_cast<std::size_t>(core.parameter_count());
  check_shapes(where, given.shapes, core.model);
  check_size(where, "elements of the block of parameters", given.parameters.size(), size);
  check_size(where, "elements of the buffers", given.buffers.size(), core.model.buffer_block().size());
  check_size(where, "elements of the average", given.average.size(), core.config.ema ? size : 0);
  for (const std::vector<T>& array : given.optimizer)
    check_size(where, "elements of the optimizer's state", array.size(), size);
  const std::size_t arrays = given.optimizer.size();
  if (const auto* lbfgs = std::get_if<LBFGS>(&core.config.optimizer)) {
    if (arrays % 2 == 0 && arrays / 2 <= static_cast<std::size_t>(lbfgs->history_size)) return;
  }
  check_size(where, "arrays of the optimizer's state", arrays,
             static_cast<std::size_t>(state_count(core.config.optimizer)));
}

}  // namespace

template <class T>
void TrainerCore<T>::set_state(std::string_view where, const TrainingState<T>& given) {
  check_state(where, *this, given);
  if (full_batch) full_batch->set_memory(given.optimizer);  // comes first, because it alone needs memory
  std::copy(given.parameters.begin(), given.parameters.end(), model.parameter_block().begin());
  std::copy(given.buffers.begin(), given.buffers.end(), model.buffer_block().begin());
  std::copy(given.average.begin(), given.average.end(), state.average.data());
  state.swapped = given.swapped && config.ema.has_value();
  state.epoch = given.epoch;
  state.steps = given.steps;
  static_cast<EpochPlace&>(cursor) = given.place;
  fit = given.fit;
  pieces.waiting = {};
  pieces.clear();
  if (full_batch) return;
  for (std::size_t i = 0; i < given.optimizer.size(); ++i) {
    std::copy(given.optimizer[i].begin(), given.optimizer[i].end(), state.optimizer[i].data());
  }
}

template <class T>
void Trainer<T>::set_state(const TrainingState<T>& given) {
  impl_->set_state("Trainer.set_state", given);
}

template <class T>
const History& Trainer<T>::history() const {
  return impl_->history;
}

template void Trainer<float>::set_learning_rate(LearningRate);
template void Trainer<double>::set_learning_rate(LearningRate);
template void Trainer<float>::set_penalties(double, double);
template void Trainer<double>::set_penalties(double, double);
template void Trainer<float>::set_clipping(std::optional<double>, std::optional<double>);
template void Trainer<double>::set_clipping(std::optional<double>, std::optional<double>);
template TrainingState<float> Trainer<float>::state() const;
template TrainingState<double> Trainer<double>::state() const;
template void Trainer<float>::set_state(const TrainingState<float>&);
template void Trainer<double>::set_state(const TrainingState<double>&);

template std::vector<Index> shapes_of(const Model<float>&);
template std::vector<Index> shapes_of(const Model<double>&);
template std::vector<std::span<const float>> TrainerCore<float>::optimizer_arrays() const;
template std::vector<std::span<const double>> TrainerCore<double>::optimizer_arrays() const;
template void TrainerCore<float>::set_state(std::string_view, const TrainingState<float>&);
template void TrainerCore<double>::set_state(std::string_view, const TrainingState<double>&);
template const History& Trainer<float>::history() const;
template const History& Trainer<double>::history() const;

}  // namespace stoop
