// The kinds of steps, and the buffers that they work on. rules.hpp has a rule for each kind.
#pragma once

#include <cstddef>

#include "../base/ranges.hpp"

namespace stoop::inline v0_1 {

enum class StepKind {
  gather,          // rows of X -> out
  gather_targets,  // rows of y -> out
  columns,         // out = the encoded columns of x, the places of X; what the layers of numbers read -> saved
  dense,           // out = f(x @ weight + bias)
  activation,      // out = f(x)
  batch_moments,   // of the columns of x, by groups of rows -> partials
  batch_norm,      // out = normalised x, what it was normalised with -> statistics
  layer_norm,
  dropout,              // out = x * mask / (1 - rate), the mask -> mask
  add,                  // out = x + other
  loss,                 // value, and the gradient where wanted
  check_loss,           // every thread adds the partial losses and stops at a non-finite one
  give_outputs,         // x -> rows of the caller's
  check_statistics,     // every thread looks at the statistics of the batch and stops at non-finite ones
  gather_gradient,      // the caller's gradient of the outputs -> out
  give_input_gradient,  // x, the gradient of the input -> rows of the caller's
  copy_gradient,        // out = x
  add_gradient,         // out += x
  activation_gradient,  // out *= f'(.), f' from `saved`
  dropout_gradient,     // out *= mask / (1 - rate)
  batch_sums,           // of the gradient `grad` of a batch_norm of x, by groups of rows -> partials
  batch_norm_gradient,  // out = gradient of the layer's input, in place; those of gamma and beta -> sums
  layer_norm_gradient,  // out = gradient of the layer's input
  number_gradient,  // of encoded columns with a layer: before the ReLU -> out, of periodic ones by the angle -> statistics
  columns_input_gradient,       // out = the gradient of X, from that of the encoded columns of x
  input_gradient,               // out = grad @ weight^T, then *= f'(.) of the node before where `saved` is given
  weight_gradient,              // x^T @ grad, then what `after` says
  bias_gradient,                // column sums of grad, then what `after` says
  number_weight_gradient,       // saved^T @ grad of each column with a layer, then what `after` says
  table_gradient,               // sums of the rows of grad by the rows of a table that x names, then what `after` says
  gamma_gradient,               // of a layer_norm, then what `after` says
  stored_gradient,              // a row of sums, then what `after` says
  regularize_parameter,         // the gradient that is there, then what `after` says
  check_gradient,               // every thread adds the partial norms and stops at a non-finite one
  update_parameter,             // the optimizer on a parameter whose gradient is complete
  apply_update,                 // the second pass of an optimizer that needs the norms of whole parameters
  limit_norm,                   // columns of an updated weight are scaled down to the largest norm allowed
  update_statistics,            // running = momentum * running + (1 - momentum) * batch
  activation_tangent,           // out = f'(x) * x_tangent
  activation_gradient_tangent,  // out = f'(x) * out + f''(x) * x_tangent * grad
  batch_norm_tangent,           // out = the tangent of the output
  batch_norm_gradient_tangent,  // out = the tangent of the gradient of the layer's input, in place
  layer_norm_tangent,
  layer_norm_gradient_tangent,  // the same from `grad_tangent`
  gamma_gradient_tangent,       // of a layer_norm
  loss_tangent,                 // out = the tangent of the loss's gradient
  member_scale,                 // out = the row of each member of x, times its scale, plus its bias
  member_scale_gradient,        // out = the gradient of x, from `grad`
  member_sum,                   // out = the sum of the rows of x of all members
  scale_gradient,               // of the scales: column sums of x * grad for each member, then what `after` says
  member_dense,                 // out = f(x @ weight + bias), each member with its own
  member_input_gradient,        // out = grad @ weight^T, for each member
  member_weight_gradient,       // x^T @ grad for each member, then what `after` says
  member_bias_gradient,         // column sums of grad for each member, then what `after` says
  encoded_dense,     // out = f(encoded rows of the places x, times the scale of each member, @ weight + bias)
  encoded_gradient,  // those of the weight -> sums, of the scales -> statistics, of the layers of X -> partials
  combine,           // out = what the members say together
  combine_gradient,  // out = the gradient of what each member says
  end,               // not a kind: how many there are
};

inline constexpr std::size_t kStepKinds = static_cast<std::size_t>(StepKind::end);

// The buffers that a step works on, each with one meaning for all kinds; kNone where there is none.
// The rule of a kind says which of them it reads and writes.
struct Operands {
  int x = kNone;           // what the layer reads; what a copy or a sum takes
  int other = kNone;       // the second value of `add`
  int grad = kNone;        // the gradient of the layer's output
  int saved = kNone;       // what the derivative of an activation is computed from: its output or its input
  int out = kNone;         // what the step computes
  int mask = kNone;        // of a dropout
  int statistics = kNone;  // what a normalisation has normalised with
  int partials = kNone;    // sums of groups of rows of a batch normalisation
  int sums = kNone;        // gradients of parameters: of gamma and beta of a batch normalisation
  // The derivatives of buffers in the direction of a run, in plans of kind `curvature`; kNone: it is zero.
  int x_tangent = kNone;
  int grad_tangent = kNone;
  int statistics_tangent = kNone;
};

}  // namespace stoop
