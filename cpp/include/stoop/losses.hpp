// Losses as plain data. The value is the mean over the samples of a batch.
#pragma once

#include <string_view>
#include <variant>

namespace stoop {

// logsumexp(logits) - logits[class]. Targets: class indices.
struct SoftmaxCrossEntropy {};

// mean over the columns of (output - target)^2. Targets: a matrix.
struct MeanSquaredError {};

using Loss = std::variant<SoftmaxCrossEntropy, MeanSquaredError>;

// The same order as the alternatives of Loss.
enum class LossKind { softmax_cross_entropy, mse };
inline constexpr int kLossCount = static_cast<int>(std::variant_size_v<Loss>);

std::string_view name_of(LossKind kind);
LossKind kind_of(const Loss& loss);
bool takes_classes(LossKind kind);                                            // targets are class indices, not values
Loss loss_from_name(std::string_view name, std::string_view where = "loss");  // ValueError with the nearest valid name

}  // namespace stoop
