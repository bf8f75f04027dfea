// A checkpoint: one file with a model and all that its training carries on, from which another process goes on to the same
// bits. Written by Trainer<T>::save_checkpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/fit.hpp>
#include <stoop/model.hpp>
#include <stoop/trainer_config.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// How far a fit has come within an epoch that it has not ended. All zero between two epochs.
struct EpochPlace {
  Index row = 0;      // samples of the epoch that are done, in its order
  Index updates = 0;  // made in this epoch
  // Sums over the samples or updates that are done.
  double loss_sum = 0.0;       // of batch means times their weights, regularisation included
  double weight_sum = 0.0;     // of the samples; their number where no weights are given
  double correct = 0.0;        // samples
  double grad_norm_sum = 0.0;  // over the updates
  double largest_norm = 0.0;   // of the gradients of updates
};

// The newest fit, as far as a fit that resumes must agree with it.
struct FitRecord {
  Index first_epoch = 0;  // epochs completed before it
  Index epochs = 0;       // of its own that are completed
  Index samples = 0;      // 0: there was no fit
  Index batch_size = 0;
  bool shuffle = true;
  LastBatch last_batch = LastBatch::keep;
  std::uint32_t data = 0;     // a checksum of 16 of its samples and targets
  std::uint32_t augment = 0;  // a checksum of the settings of its augmentation; 0: it had none
};

// Everything that training carries from one update to the next, apart from the configurations of model and trainer.
// Training goes on from it to the same bits, since all else (shuffling, dropout, schedules) is a function of seed, epoch
// and step. Arrays are laid out as Model::parameter_block(), and `buffers` as Model::buffer_block().
template <class T>
struct TrainingState {
  std::vector<Index> shapes;  // rows and columns of each parameter in turn, which show for which network the arrays are
  std::vector<T> parameters;
  std::vector<T> buffers;
  std::vector<std::vector<T>> optimizer;  // what it accumulates; for LBFGS pairs of step and change, the oldest first
  std::vector<T> average;                 // with ema; the parameters themselves while `swapped`
  bool swapped = false;                   // the model holds the average
  Index epoch = 0;                        // epochs completed
  Index steps = 0;                        // updates made
  EpochPlace place;
  FitRecord fit;
};

// An array that a program keeps in a checkpoint.
struct CheckpointArray {
  std::string name;
  DType dtype = DType::float64;
  std::vector<Index> shape;
  std::vector<std::byte> bytes;  // in row-major order
};

// What a program keeps in a checkpoint beside the training, such as the state of its callbacks.
struct CheckpointExtras {
  std::string text;  // UTF-8
  std::vector<CheckpointArray> arrays;
};

template <class T>
struct Checkpoint {
  std::filesystem::path path;  // of its file, for messages
  ModelConfig model;
  TrainerConfig trainer;
  bool has_custom_rate = false;  // the learning rate is a function, which no file can hold: `trainer` has 0 for it
  TrainingState<T> state;
  History history;  // of the fit that wrote it, so far
  CheckpointExtras extras;
};

// Reads a whole checkpoint, and checks it before it returns. Throws FileError if the file cannot be read, and CheckpointError
// if it is damaged, is no checkpoint, or was written by a later version that this one cannot read. TypeError if it holds
// another element type.
template <class T>
STOOP_API Checkpoint<T> read_checkpoint(const std::filesystem::path& path, const KeepGoing& keep_going = {});

}  // namespace stoop
