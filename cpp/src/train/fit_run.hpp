// The parts of a call of Trainer<T>::fit, which fit_many makes for several trainers: first the checks of all, then the fits.
#pragma once

#include <string_view>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

// Throws ValueError for options that do not go with so many rows.
template <class T>
void check_fit_options(std::string_view where, const FitOptions<T>& options, Index rows);
// The same for those that do not go with the trainer, or with its data.
template <class T>
void check_fit_data(std::string_view where, const TrainerCore<T>& core, const FitOptions<T>& options,
                    const Dataset<T>& data);

// Throws ValueError for an augmentation that does not go with the data or the optimizer.
template <class T>
void check_fit_augment(std::string_view where, const Augment& settings, const Dataset<T>& data, bool full_batch);

// Returns the most rows that a batch of this fit has.
template <class T>
Index largest_batch(const TrainerCore<T>& core, const FitOptions<T>& options, Index rows);

// Trains on data that were checked. `validation` may be null; the data of the options are not used.
template <class T>
History run_fit(TrainerCore<T>& core, const FitOptions<T>& options, const Dataset<T>& data,
                const Dataset<T>* validation);

}  // namespace stoop
