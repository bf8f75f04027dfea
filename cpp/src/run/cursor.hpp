// The place of a run within the samples of an epoch, and how it ended there.
#pragma once

#include <cstdint>

#include <stoop/checkpoint.hpp>
#include <stoop/types.hpp>

#include "../data/input_rows.hpp"

namespace stoop::inline v0_1 {

// How far an epoch has come. A run stops at the end of an update, unless it ends because of a fault. A later run that goes
// on from there, with the state of that moment, gives the bits of an epoch in one piece.
struct Cursor : EpochPlace {
  Index epoch = 0;

  double loss() const { return loss_sum / weight_sum; }
};

enum class RunStatus {
  done,         // all samples
  stopped,      // at the end of the requested segment
  interrupted,  // the poller said no; nothing counts where the run stops within an update
  not_finite,
  bad_data,
  other_rate,  // another process has another learning rate; the update was not made
  lost,        // another process of the training cannot be reached; the update was not made
};

// What a process of several wants to happen after the update that is running. Of what they want, the last one here happens.
enum class Wish : std::int32_t {
  go_on,
  look,  // on_steps is called
  stop_for_time,
  stop,
};

// Where numbers stopped being finite, as far as it is known.
struct Fault {
  int node = kNone;      // of the graph: the first whose values, or whose gradient, are not finite
  bool at_loss = false;  // the values of all nodes are finite, and their loss is not
};

struct RunEnd {
  RunStatus status = RunStatus::done;
  Wish wish = Wish::go_on;  // of all processes, if they are several: why the run was interrupted

  // ---- not_finite ----
  // True: the last update was made and spoiled the parameters. False: the update after it was not made.
  bool applied = false;
  double refused_loss = 0.0;    // of that update, times its weight: infinite or NaN where the loss is the fault
  double refused_weight = 0.0;  // of that update; the sums of the cursor have neither
  double too_long = 0.0;        // rate times norm of that update, where that is the fault, else 0
  double too_steep = 0.0;       // the norm of a gradient whose squares the optimizer cannot hold, else 0

  Fault fault{};

  // ---- bad_data: the update was not made ----
  Index bad_row = kNone;  // of a mapped x: it holds a value that is not finite, and is the first of its batch
  BadLabel bad_label{};
};

}  // namespace stoop
