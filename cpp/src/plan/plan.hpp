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
#include "rules.hpp"

namespace stoop::inline v0_1 {

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

// This follows a parameter's gradient, block by block, while it is in cache.
enum class After { nothing, regularize, update };

// A buffer of rows x width elements in the arena. x, y and the outputs of an inference are external. A value with members has
// their rows of a row of the batch one after the other.
struct Buffer {
  std::string name;
  Index width = 0;
  Index element_size = 0;
  Index stride = 0;  // elements from one row to the next
  int first = 0;     // the buffer is alive from this step to the last
  int last = 0;
  Index rows = 0;    // 0: those of the batch, each `members` times
  Index offset = 0;  // bytes
  bool external = false;
  Index members = 1;

  // Returns how many rows it has for so many rows of the batch.
  Index rows_of(Index batch) const { return rows > 0 ? rows : batch * members; }
};

// The numbers of a normalisation.
struct NormNumbers {
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
  bool is_table = false;   // a weight whose rows stand for codes
  bool is_lazy = false;    // only those rows are updated whose gradient is not zero
  bool is_limited = true;  // by max_norm
  bool regularized = false;
  std::optional<double> l1, l2;  // unset: those of the run
  Factors factors;
  After after = After::nothing;
  bool adds = false;  // adds to the gradient that is there
};

// An operation says what is to be computed, on whatever device.
struct Operation : Operands {
  StepKind kind = StepKind::gather;
  int node = kNone;  // of the graph; the random numbers of a dropout depend on it
  Index in_features = 0;
  Index out_features = 0;
  Index columns = 0;                         // of `out`
  Index members = 1;                         // rows of the values for each row of the batch
  Index from_members = 1;                    // the same of what a layer of members reads: 1 or `members`
  OutputKind output = OutputKind::identity;  // what members say, where they are combined
  Index parameter = kNone;                   // offset in elements: the weight, gamma, or the vector that is updated
  Index bias = kNone;                        // offset of the bias or beta
  Index scratch = 0;                         // elements of memory for the use of products of encoded rows
  Index scale = kNone;                       // offset of the scales of members, of products of encoded rows
  ActivationKind activation = kind_of<Identity>();
  Numbers<Activation> activation_numbers;
  double rate = 0.0;        // of a dropout
  bool of_numbers = false;  // of gradients of layers of numbers: by the weights of the scaled numbers themselves
  bool for_input = false;   // nothing but the gradient of the input needs it: a run may leave it out
  bool along = false;  // the parameters are those of the direction (for tangents of normalisations: these move too)
  NormNumbers norm;
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

// What a plan knows of a Columns layer.
struct PlannedColumns {
  std::vector<EncodedColumn> columns;  // empty: the model has none
  Index embedding_dim = 0;
  Index embeddings = 0;     // number of columns with a table
  Index number_layers = 0;  // number of columns with a layer of their own
  Index layer_rows = 0;     // of their weights
  Index frequencies = 0;    // of periodic columns
  Index table = kNone;      // offsets of its parameters
  Index frequency = kNone, linear = kNone, weight = kNone, bias = kNone;
  int slots = kNone;  // buffer with a number for each row of the table, where updates are lazy
};

struct Plan {
  PlanKind kind = PlanKind::inference;
  LossKind loss = kind_of<MeanSquaredError>();
  bool class_targets = false;
  Index batch = 0;  // the most rows a run may have
  Index output_dim = 0;
  bool batch_statistics = false;  // some layer normalises with the statistics of the batch
  bool grouped = false;           // some step has sums of groups of rows: rows are cut between groups
  double most_rate = 0.0;         // the largest factor of the learning rate
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  int input_buffer = kNone;   // what the first layer reads
  int output_buffer = kNone;  // what the last layer writes
  int target_buffer = kNone;
  std::size_t second_pass = 0;  // of `pieces`: what follows the gradient that the caller gives; of `apply`: the check
  Index arena_bytes = 0;
  Index sum_slots = 0;       // sums of squares, one per parameter block
  Index block_elements = 0;  // the largest group of parameter blocks
  int groups = 1;            // of rows that a run may have, at most
  double flops = 0.0;        // of the matrix products of a full batch
  PlannedColumns columns;
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
  bool raw = false;                     // the gradients of a plan of kind `gradient` are those of the loss alone
  bool backward = true;                 // false: a plan of kind `gradient` stops at the loss
  bool parameter_gradients = true;      // false: a plan of kind `pieces` has the gradient of the input alone
  // Plans that compute gradients need to know what the layers do that behave differently in training.
  bool dropout = true;
  bool batch_statistics = true;
  bool update_statistics = false;  // running statistics become those of the batch, though no parameter is updated
  bool apply_updates = false;      // the optimizer needs the norms of whole parameters, so it makes two passes
  bool limit_norm = false;         // of the columns of each weight, after its update
  bool lazy_tables = false;        // updates go by the rows of a table whose gradient is not zero
  // What members say together is combined in plans that predict, and in one of kind `pieces` that is asked to.
  OutputKind output = OutputKind::identity;
  bool combines = false;

  int groups = 1;   // of rows that a run may have, at most
  Index slice = 0;  // a plan of kind `apply` cuts the parameters at multiples of so many elements; 0: nowhere

  bool operator==(const PlanRequest&) const = default;
};

Plan build_plan(const PlanRequest& request);

// Gives each buffer that is not external an offset, so that no two alive at the same time overlap; returns the bytes.
Index layout_arena(std::span<Buffer> buffers, Index rows);

// The plan as text, one line a buffer and a step; the golden tests compare it.
std::string describe(const Plan& plan);

}  // namespace stoop
