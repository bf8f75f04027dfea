// The settings of a Trainer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <stoop/losses.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// The precision of training. float32, or float64 for a Trainer<double>, computes in the element type of the model.
// bfloat16, for a Trainer<float> on CPUs with AVX512-BF16 or AMX-BF16, rounds the factors of the matrix products of fit,
// step and loss_and_grad to bfloat16. Their sums, the parameters, the gradients and everything else stay float32.
// Evaluation (of validation data too) and second derivatives are computed in float32.
enum class Precision { float32, float64, bfloat16 };
STOOP_API std::string_view name_of(Precision precision);
STOOP_API Precision precision_from_name(std::string_view name, std::string_view where = "precision");

struct TrainerConfig {
  Loss loss = SoftmaxCrossEntropy{};
  Optimizer optimizer = Adam{};
  // Penalties of the weights of Dense layers: l1 * sum|weight| and l2/2 * sum(weight^2) are added to the loss. A layer may
  // have its own.
  double l1 = 0.0;
  double l2 = 0.0;
  // Limits of the gradient, which includes the penalties. Each element is cut to [-clip_value, clip_value]. Then the
  // gradient of all parameters together is scaled down to an L2 norm of clip_norm (Pascanu, Mikolov & Bengio 2013,
  // algorithm 1).
  std::optional<double> clip_norm{};
  std::optional<double> clip_value{};
  // After an update the incoming weights of each unit are scaled down to this L2 norm (Srivastava et al. 2014).
  std::optional<double> max_norm{};
  Index accumulate = 1;  // number of batches whose gradients make one update, as one batch of all their samples would
  // A moving average of the parameters is kept: average = ema*average + (1-ema)*parameters after each update, from
  // the first parameters on (Polyak & Juditsky 1992, exponentially weighted).
  std::optional<double> ema{};
  Precision precision = Precision::float32;
  int num_threads = 0;     // 0: chosen from the work of a step, at most get_num_threads()
  std::uint64_t seed = 0;  // for shuffling and dropout
};

}  // namespace stoop
