// What of a Trainer can be taken out and put back, and which settings can be changed while it lives.

#include <algorithm>
#include <type_traits>

#include "trainer_impl.hpp"

namespace stoop {
namespace {

template <class Block>
auto copy_of(const Block& block) {
  return std::vector<std::remove_cv_t<typename Block::element_type>>(block.begin(), block.end());
}

void check_size(std::string_view what, std::size_t given, std::size_t expected) {
  if (given == expected) return;
  throw_value_error("Trainer.set_state", std::string(what) + ": " + std::to_string(given),
                    "expected " + std::to_string(expected), "give the state of a trainer of the same configuration");
}

template <class T>
std::vector<Index> shapes_of(const Model<T>& model) {
  std::vector<Index> shapes;
  for (const ParameterInfo& info : model.parameter_infos()) shapes.insert(shapes.end(), {info.rows, info.cols});
  return shapes;
}

// Blocks of other networks may be as long, because every parameter in them is padded.
template <class T>
void check_shapes(const std::vector<Index>& given, const Model<T>& model) {
  Index elements = 0;
  for (std::size_t i = 0; i + 1 < given.size(); i += 2) elements += given[i] * given[i + 1];
  check_size("elements of the parameters", static_cast<std::size_t>(elements),
             static_cast<std::size_t>(model.num_parameters()));
  if (given == shapes_of(model)) return;
  throw_value_error("Trainer.set_state", "shapes of the parameters are others", "expected those of the trainer's model",
                    "give the state of a trainer of the same configuration");
}

}  // namespace

template <class T>
void Trainer<T>::set_learning_rate(LearningRate learning_rate) {
  validate(learning_rate, "Trainer.set_learning_rate");
  TrainerConfig next = impl_->config;
  stoop::set_learning_rate(next.optimizer, std::move(learning_rate));
  impl_->check_settings(next);
  impl_->config = std::move(next);
}

template <class T>
void Trainer<T>::set_penalties(double l1, double l2) {
  TrainerConfig next = impl_->config;
  next.l1 = l1;
  next.l2 = l2;
  impl_->check_settings(next);
  impl_->config.l1 = l1;
  impl_->config.l2 = l2;
}

template <class T>
void Trainer<T>::set_clipping(std::optional<double> clip_norm, std::optional<double> clip_value) {
  TrainerConfig next = impl_->config;
  next.clip_norm = clip_norm;
  next.clip_value = clip_value;
  impl_->check_settings(next);
  impl_->config.clip_norm = clip_norm;
  impl_->config.clip_value = clip_value;
}

template <class T>
TrainingState<T> Trainer<T>::state() const {
  const Impl& impl = *impl_;
  TrainingState<T> state;
  state.shapes = shapes_of(impl.model);
  state.parameters = copy_of(impl.model.parameter_block());
  state.buffers = copy_of(impl.model.buffer_block());
  state.average.assign(impl.average.data(), impl.average.data() + impl.average.size());
  state.swapped = impl.swapped;
  state.epoch = impl.epoch;
  state.steps = impl.steps;
  if (impl.full_batch) {
    state.optimizer = impl.full_batch->memory();
  } else {
    for (int i = 0; i < state_count(impl.config.optimizer); ++i) {
      state.optimizer.emplace_back(impl.state[i].data(), impl.state[i].data() + impl.state[i].size());
    }
  }
  return state;
}

template <class T>
void Trainer<T>::Impl::check_state(const TrainingState<T>& given) const {
  if (given.epoch < 0 || given.steps < 0) {
    throw_value_error("Trainer.set_state",
                      "epoch " + std::to_string(given.epoch) + ", steps " + std::to_string(given.steps),
                      "expected counts of at least 0", "give a state that Trainer::state() returned");
  }
  const auto size = static_cast<std::size_t>(parameter_count());
  check_shapes(given.shapes, model);
  check_size("elements of the block of parameters", given.parameters.size(), size);
  check_size("elements of the buffers", given.buffers.size(), model.buffer_block().size());
  check_size("elements of the average", given.average.size(), config.ema ? size : 0);
  for (const std::vector<T>& array : given.optimizer)
    check_size("elements of the optimizer's state", array.size(), size);
  const std::size_t arrays = given.optimizer.size();
  if (const auto* lbfgs = std::get_if<LBFGS>(&config.optimizer)) {
    if (arrays % 2 == 0 && arrays / 2 <= static_cast<std::size_t>(lbfgs->history_size)) return;
  }
  check_size("arrays of the optimizer's state", arrays, static_cast<std::size_t>(state_count(config.optimizer)));
}

template <class T>
void Trainer<T>::set_state(const TrainingState<T>& given) {
  Impl& impl = *impl_;
  impl.check_state(given);
  std::copy(given.parameters.begin(), given.parameters.end(), impl.model.parameter_block().begin());
  std::copy(given.buffers.begin(), given.buffers.end(), impl.model.buffer_block().begin());
  std::copy(given.average.begin(), given.average.end(), impl.average.data());
  impl.swapped = given.swapped && impl.config.ema.has_value();
  impl.epoch = given.epoch;
  impl.steps = given.steps;
  if (impl.full_batch) return impl.full_batch->set_memory(given.optimizer);
  for (std::size_t i = 0; i < given.optimizer.size(); ++i) {
    std::copy(given.optimizer[i].begin(), given.optimizer[i].end(), impl.state[i].data());
  }
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

}  // namespace stoop
