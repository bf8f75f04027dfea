// Augments single samples: from the row as it is stored to numbers of T, before the map of the inputs.
#pragma once

#include <algorithm>
#include <atomic>

#include "../base/memory.hpp"
#include "../data/augmentation.hpp"
#include "../data/input_rows.hpp"
#include "../data/sample_rows.hpp"
#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

template <class T>
class RowAugmenter {
 public:
  // `scratch` has scratch_elements of this augmentation and of the columns of x.
  RowAugmenter(const OpTable<T>& ops, const AugmentedRows<T>& rows, const InputView& x, T* scratch)
      : ops_(ops), rows_(rows), how_(*rows.how), of_(how_.settings), x_(x), places_(how_, x.cols), scratch_(scratch) {}

  static Index scratch_elements(const Augmentation<T>& how, Index cols) {
    return round_up(Places(how, cols).end, kAlignment);
  }

  // Writes the sample at this position to `out` (cols), mixed with its partner where samples are mixed.
  void write(Index position, T* out) const {
    write_alone(position, out);
    if (!how_.mixes()) return;
    const MixDraw mix = draw_mix(of_, rows_.place(position), rows_.samples);
    T* const other = scratch_ + places_.partner;
    write_alone(mix.partner, other);
    ops_.average({x_.cols, out, other, static_cast<T>(mix.share)});  // share * out + (1 - share) * other
  }

 private:
  // Where things lie in the scratch memory.
  struct Places {
    Places(const Augmentation<T>& how, Index cols) {
      const Augment& of = how.settings;
      const Index bordered = how.moves() ? (of.height + 2) * (of.width + 2) * of.channels : 0;
      const bool displaced = !how.weights.empty();
      displacement = bordered;
      smoothing = displacement + (displaced ? 2 * how.pixels() : 0);
      partner = smoothing + (displaced ? displacement_scratch(of.height, of.width, how.reach) : 0);
      end = partner + (how.mixes() ? cols : 0);
    }
    Index displacement, smoothing, partner, end;
  };

  void write_alone(Index position, T* out) const {
    const AugmentPlace place = rows_.place(position);
    const void* const stored = x_.row(rows_.sample_at(position));
    if (how_.moves()) {
      border(stored);
      move(place, out);
    } else {
      copy({1, x_.cols, stored, x_.cols, nullptr, out, x_.cols, {}});
    }
    if (of_.noise > 0.0) {
      ops_.add_noise({x_.cols, out, static_cast<T>(of_.noise), stream(place, AugmentUse::noise)});
    }
  }

  void copy(const GatherArgs<T>& args) const { ops_.gather[static_cast<int>(x_.type)](args); }

  static SampleStream stream(const AugmentPlace& place, AugmentUse use) {
    return {place.seed, static_cast<std::uint32_t>(place.position), static_cast<std::uint32_t>(place.epoch),
            augment_stream(use)};
  }

  // Copies the image with a border of one pixel around it.
  void border(const void* stored) const {
    const Index height = of_.height, channels = of_.channels, cols = of_.width * channels, ld = cols + 2 * channels;
    T* const image = scratch_ + ld + channels;
    copy({height, cols, stored, cols, nullptr, image, ld, {}});
    const T fill = static_cast<T>(of_.fill.value_or(0.0));
    for (Index r = 0; r < height; ++r) {
      T *const left = image + r * ld, *const right = left + cols;
      for (Index k = 0; k < channels; ++k) {
        left[k - channels] = of_.fill ? fill : left[k];
        right[k] = of_.fill ? fill : right[k - channels];
      }
    }
    T *const top = scratch_, *const bottom = scratch_ + (height + 1) * ld;
    if (of_.fill) {
      std::fill_n(top, ld, fill);
      std::fill_n(bottom, ld, fill);
    } else {
      std::copy_n(top + ld, ld, top);
      std::copy_n(bottom - ld, ld, bottom);
    }
  }

  // Samples the bordered image at the places that are drawn.
  void move(const AugmentPlace& place, T* out) const {
    const InverseMap map = inverse_of(of_, draw_geometry(of_, place));
    WarpArgs<T> args{of_.height, of_.width, of_.channels, scratch_, how_.grid.data(), {}, nullptr, out};
    for (int i = 0; i < 3; ++i) {
      args.map[i] = static_cast<T>(map.row[i] + (i == 2 ? 1.0 : 0.0));
      args.map[3 + i] = static_cast<T>(map.column[i] + (i == 2 ? 1.0 : 0.0));
    }
    if (!how_.weights.empty()) {
      T* const field = scratch_ + places_.displacement;
      displace(place, AugmentUse::displaced_down, field);
      displace(place, AugmentUse::displaced_across, field + how_.pixels());
      args.displacement = field;
    }
    ops_.warp(args);
  }

  void displace(const AugmentPlace& place, AugmentUse use, T* field) const {
    ops_.displacement({of_.height, of_.width, how_.reach, how_.weights.data(), static_cast<T>(of_.elastic),
                       stream(place, use), scratch_ + places_.smoothing, field});
  }

  const OpTable<T>& ops_;
  const AugmentedRows<T>& rows_;
  const Augmentation<T>& how_;
  const Augment& of_;
  const InputView& x_;
  const Places places_;
  T* const scratch_;
};

// Targets of a sample that are mixed with those of its partner.
template <class T>
class TargetMixer {
 public:
  TargetMixer(const AugmentedRows<T>& rows, const SampleRows<T>& data)
      : rows_(rows), data_(data), cols_(rows.target_columns) {}

  // Writes the targets of the sample at this position to `out` (cols). With classes the column of each gets its share;
  // `bad` keeps the first label that is no class.
  void write(Index position, T* out, std::atomic<Index>& bad) const {
    const MixDraw mix = draw_mix(rows_.how->settings, rows_.place(position), rows_.samples);
    const T share = static_cast<T>(mix.share), rest = T(1) - share;
    const Index own = rows_.sample_at(position), partner = rows_.sample_at(mix.partner);
    if (data_.classes != nullptr) {
      std::fill_n(out, cols_, T(0));
      out[read_label(data_.classes, own, cols_, bad)] += share;
      out[read_label(data_.classes, partner, cols_, bad)] += rest;
      return;
    }
    const T *const a = data_.values.data + own * data_.values.stride, *const b = data_.values.data +
                                                                                 partner * data_.values.stride;
    for (Index j = 0; j < cols_; ++j) out[j] = share * a[j] + rest * b[j];
  }

 private:
  const AugmentedRows<T>& rows_;
  const SampleRows<T>& data_;
  const Index cols_;
};

}  // namespace stoop
