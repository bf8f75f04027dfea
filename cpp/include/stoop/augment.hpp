// Augment: each sample is changed at random, another way in every epoch, as its row is gathered into a batch.
#pragma once

#include <cstdint>

#include <stoop/api.hpp>
#include <stoop/augment_settings.hpp>
#include <stoop/fit.hpp>
#include <stoop/input.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Writes what training would see of x in this epoch (0-based) to `out` (x.rows, x.cols), before ModelConfig::input_scale and
// input_shift. `seed` counts where the settings have none. If `targets` has memory, it gets those of the samples, mixed like
// them: of values (x.rows, columns of y), or of classes (x.rows, number of classes), in rows with a one where nothing is mixed.
// Throws ValueError for settings or data that cannot be used.
template <class T>
STOOP_API void augment(const Augment& settings, const InputView& x, MatrixView<T> out, Index epoch = 0,
                       std::uint64_t seed = 0, const Targets<T>& y = {}, MatrixView<T> targets = {});

}  // namespace stoop
