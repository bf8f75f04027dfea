// A plan says what a training or inference step does, as plain data without arithmetic or element type: buffers in one
// arena and an ordered list of steps over them. A plan is made once per (model, loss, batch size): lower.hpp says what must be computed,
// on whatever device, and schedule.cpp how the threads of the CPU do it. run/team_run.hpp walks it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/model.hpp>

#include "../ops/ops.hpp"
#include "../graph/graph.hpp"
#include "product_choice.hpp"

namespace stoop {

enum class PlanKind {
  inference,   // outputs of rows that each thread takes on its own
  evaluation,  // the same, then the loss
  training,    // each parameter is updated as soon as its gradient is there
  checked,     // all gradients first, then a check of their norm, then the updates
  gradient,    // gradients only
  curvature,   // the gradient's derivative in a direction: the Hessian times a vector
  pieces,      // outputs for the caller, then the gradients that follow from the gradient of the outputs that it gives
  apply,       // the check and the updates of `checked`, by gradients that are there
};

enum class StepKind {
  gather,          // rows of X -> out
  gather_targets,  // rows of y -> out
  dense,           // out = f(x @ weight + bias)
  activation,      // out = f(x)
  batch_moments,   // of the columns of x, by groups of rows -> partials
  batch_norm,      // out = normalised x, what it was normalised with -> statistics
  layer_norm,
  dropout,                      // out = x * mask / (1 - rate), the mask -> mask
  add,                          // out = x + other
  loss,                         // value, and the gradient where wanted
  check_loss,                   // every thread adds the partial losses and stops at a non-finite one
  give_outputs,                 // x -> rows of the caller's
  check_statistics,             // every thread looks at the statistics of the batch and stops at non-finite ones
  gather_gradient,              // the caller's gradient of the outputs -> out
  give_input_gradient,          // x, the gradient of the input -> rows of the caller's
  copy_gradient,                // out = x
  add_gradient,                 // out += x
  activation_gradient,          // out *= f'(.), f' from `saved`
  dropout_gradient,             // out *= mask / (1 - rate)
  batch_sums,                   // of the gradient `grad` of a batch_norm of x, by groups of rows -> partials
  batch_norm_gradient,          // out = gradient of the layer's input, in place; those of gamma and beta -> sums
  layer_norm_gradient,          // out = gradient of the layer's input
  input_gradient,               // out = grad @ weight^T, then *= f'(.) of the node before where `saved` is given
  weight_gradient,              // x^T @ grad, then what `after` says
  bias_gradient,                // column sums of grad, then what `after` says
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
  end,                          // not a kind: how many there are
};

// This follows a parameter's gradient, block by block, while it is in cache.
enum class After { nothing, regularize, update };

// A buffer of rows x width elements in the arena. x, y and the outputs of an inference are external.
struct Buffer {
  std::string name;
  Index width = 0;
  Index element_size = 0;
  Index stride = 0;  // elements from one row to the next
  int first = 0;     // the buffer is alive from this step to the last
  int last = 0;
  Index rows = 0;    // 0: those of the batch
  Index offset = 0;  // bytes
  bool external = false;
};

// The buffers that a step works on, each with one meaning for all kinds; kNone where there is none. rules.hpp says which
// of them a kind reads and writes.
struct Operands {
  int x = kNone;           // what the layer reads; what a copy or a sum takes
  int other = kNone;       // the second value of `add`
  int grad = kNone;        // the gradient of the layer's output
  int saved = kNone;       // what the derivative of an activation is computed from: its output or its input
  int out = kNone;         // what the step computes
  int mask = kNone;        // of a dropout
  int statistics = kNone;  // what a normalisation has normalised with
  int partials = kNone;    // sums of groups of rows of a batch normalisation
  int sums = kNone;        // gradients of gamma and beta of a batch normalisation
  // The derivatives of buffers in the direction of a run, in plans of kind `curvature`; kNone: it is zero.
  int x_tangent = kNone;
  int grad_tangent = kNone;
  int statistics_tangent = kNone;
};

// The numbers of a normalisation.
struct Normalization {
  double eps = 0.0;
  double momentum = 0.0;
  Index running_mean = kNone;  // offsets in the block of buffers
  Index running_var = kNone;
};

// A step of a parameter works on these parts of it, and does this with its gradient.
struct ParameterWork {
  Index extent = 0;        // rows of the weight, or elements of the vector
  Index row_elements = 1;  // parameter elements per unit of extent
  int row = 0;             // of `sums`, where the gradient is stored
  bool is_weight = false;  // else a vector
  bool regularized = false;
  std::optional<double> l1, l2;  // unset: those of the run
  After after = After::nothing;
  bool adds = false;  // adds to the gradient that is there
};

// An operation says what is to be computed, on whatever device.
struct Operation : Operands {
  StepKind kind = StepKind::gather;
  int node = kNone;  // of the graph; the random numbers of a dropout depend on it
  Index in_features = 0;
  Index out_features = 0;
  Index columns = 0;        // of `out`
  Index parameter = kNone;  // offset in elements: the weight, gamma, or the vector that is updated
  Index bias = kNone;       // offset of the bias or beta
  ActivationKind activation = kind_of<Identity>();
  Numbers<Activation> activation_numbers;
  double rate = 0.0;       // of a dropout
  bool for_input = false;  // nothing but the gradient of the input needs it: a run may leave it out
  bool along = false;      // the parameters are those of the direction (for tangents of normalisations: these move too)
  Normalization norm;
  ParameterWork work;
};

// How a step is divided. A block is a property of the plan, so that sums are cut alike for any number of threads.
enum class Cut {
  rows,       // of the batch, kRowBlock at a time
  columns,    // of the output, kColumnBlock at a time: products with a large weight, and what needs all rows
  parameter,  // `block` rows of the weight, or elements of a vector
  everyone,   // not divided: each thread does the whole step
};
inline constexpr Index kRowBlock = 8;
inline constexpr Index kColumnBlock = 16;

// An operation, and how the threads of the CPU do it.
struct Step : Operation {
  Cut cut = Cut::rows;
  bool barrier = false;  // all threads must have finished all earlier steps
  bool taken = false;    // a product does it in its epilogue, so the walk skips it
  GemmProvider provider = GemmProvider::native;
  // A product does these steps in its epilogue; they are positions in Plan::steps.
  int dropout_step = kNone;
  int sums_step = kNone;
  // ---- Cut::parameter ----
  Index block = 0;
  Index group = 1;      // blocks of one thread whose gradient is one product, at most
  Index first_sum = 0;  // slot of block 0 in the sums of squares
};

struct Plan {
  PlanKind kind = PlanKind::inference;
  LossKind loss = kind_of<MeanSquaredError>();
  bool class_targets = false;
  Index batch = 0;  // the most rows a run may have
  Index output_dim = 0;
  bool batch_statistics = false;  // some layer normalises with the statistics of the batch
  bool grouped = false;           // some step has sums of groups of rows: rows are cut between groups
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  int input_buffer = kNone;   // what the first layer reads
  int output_buffer = kNone;  // what the last layer writes
  int target_buffer = kNone;
  std::size_t second_pass = 0;  // of `pieces`: the steps from here on follow the gradient that the caller gives
  Index arena_bytes = 0;
  Index sum_slots = 0;       // sums of squares, one per parameter block
  Index block_elements = 0;  // the largest group of parameter blocks
  double flops = 0.0;        // of the matrix products of a full batch
};

struct PlanRequest {
  PlanKind kind = PlanKind::inference;
  const Graph* graph = nullptr;
  LossKind loss = kind_of<MeanSquaredError>();
  bool class_targets = false;  // else rows of values
  Index batch = 0;
  Index element_size = sizeof(float);
  GemmProvider provider = GemmProvider::native;
  const ProductTable* table = nullptr;  // of a provider that is automatic; null: native throughout
  bool backward = true;                 // false: a plan of kind `gradient` stops at the loss
  bool parameter_gradients = true;      // false: a plan of kind `pieces` has the gradient of the input alone
  // Plans that compute gradients need to know what the layers do that behave differently in training.
  bool dropout = true;
  bool batch_statistics = true;
  bool update_statistics = false;  // running statistics become those of the batch, though no parameter is updated
  bool apply_updates = false;      // the optimizer needs the norms of whole parameters, so it makes two passes
  bool limit_norm = false;         // of the columns of each weight, after its update

  bool operator==(const PlanRequest&) const = default;
};

Plan build_plan(const PlanRequest& request);

// Gives each buffer that is not external an offset, so that no two alive at the same time overlap; returns the bytes.
Index layout_arena(std::span<Buffer> buffers, Index rows);

// The plan as text, one line a buffer and a step; the golden tests compare it.
std::string describe(const Plan& plan);

}  // namespace stoop
