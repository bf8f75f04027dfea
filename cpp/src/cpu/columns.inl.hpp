// Encodes columns of X (base/encoded_column.hpp): places of rows as they are gathered, and encoded rows of places.

// A category's row of its part of the table, or its indicator: NaN and -1 are missing, other numbers that are no known code are
// unknown.
template <class From>
inline int32_t code_place(From x, int32_t codes) {
  const double code = static_cast<double>(x);
  if (code >= 0.0 && code < static_cast<double>(codes) && code == static_cast<double>(static_cast<int32_t>(code))) {
    return static_cast<int32_t>(code);
  }
  return code == -1.0 || code != code ? codes : codes + 1;
}

// The last bin that begins at or before z, or the first. `bin_left` ascends.
template <class T>
inline int32_t bin_of(const T* bin_left, int32_t bins, T z) {
  int32_t low = 0;
  for (int32_t left = bins; left > 1;) {
    const int32_t half = left / 2;
    low += bin_left[low + half] <= z ? half : 0;
    left -= half;
  }
  return low;
}

// The number of a column, scaled: see InputMap.
template <class T, class From>
inline T scaled_number(const InputMap<T>& map, Index cols, Index j, bool is_clipped, From x) {
  using W = typename Difference<T, From>::Type;
  const auto rest = [&](Index row) {
    const W shift = static_cast<W>(map.column_shift[j]), first = static_cast<W>(map.column_rest[j]);
    const bool belongs =
        __builtin_fabs(static_cast<double>(first)) <= __builtin_fabs(static_cast<double>(shift)) * 0x1p-24;
    return belongs ? static_cast<W>(map.column_rest[row * cols + j]) : W(0);
  };
  W z = static_cast<W>(map.missing[j]);
  if (x == x) {
    z = static_cast<W>(x) - static_cast<W>(map.column_shift[j]) - rest(0);
    if constexpr (sizeof(W) != sizeof(T)) z -= rest(1);
    z *= static_cast<W>(map.column_scale[j]);
  }
  if (is_clipped && map.clip > T(0)) {
    const W clip = static_cast<W>(map.clip), most = clip * W(0x1p40);
    const W within = z > most ? most : z < -most ? -most : z, ratio = within / clip;
    z = within / square_root(W(1) + ratio * ratio);
  }
  return static_cast<T>(z);
}

template <class T, class From>
inline void place_columns(const GatherArgs<T>& args) {
  const InputMap<T> map = args.map;
  const Index cols = args.cols;
  for_each_gathered_row<From>(args, [&](const From* from, T* to) {
    int32_t* const index = place_indices(to, cols);
    for (Index j = 0; j < cols; ++j) {
      const EncodedColumn& column = map.columns[j];
      if (column.codes > 0) {
        const int32_t place = code_place(from[j], column.codes);
        const bool is_known = place < column.codes, is_row = column.kind == ColumnKind::embedding;
        index[j] = is_row ? static_cast<int32_t>(column.start) + place : is_known ? place : 0;
        to[j] = is_known ? T(1) : T(0);
        continue;
      }
      const bool is_linear = column.kind == ColumnKind::linear_ladder, is_clipped = column.is_clipped != 0;
      if (is_linear) to[2 * cols + j] = scaled_number<T>(map, cols, j, is_clipped, from[j]);
      T z = scaled_number<T>(map, cols, j, is_clipped && !is_linear, from[j]);
      int32_t bin = 0;
      if (column.bins > 0) {
        bin = bin_of(map.bin_left + column.start, column.bins, z);
        z = (z - map.bin_left[column.start + bin]) * map.bin_scale[column.start + bin];
      }
      index[j] = bin;
      to[j] = z;
    }
  });
}

// `before` at the places before the index, the value there, 0 after it.
template <class T>
inline void write_marked(T before_index, Index width, T value, int32_t index, T* to) {
  const Vec<T> before = broadcast(before_index);
  for_each_vector<T>(width, [&](Index k, int lanes) {
    const IntVec<T> lane = lane_index<T>() + static_cast<IntLane<T>>(k),
                    at = IntVec<T>{} + static_cast<IntLane<T>>(index);
    const Vec<T> marked = select<T>(lane < at, before, Vec<T>{});
    store_lanes(to + k, select<T>(lane == at, broadcast(value), marked), lanes);
  });
}

template <class T>
inline void copy_row(const T* from, T* to, Index n) {
  for_each_vector<T>(n, [&](Index k, int lanes) { store_lanes(to + k, load_lanes(from + k, lanes), lanes); });
}

// ---- columns with a layer of their own ----

template <class T>
struct Wave {
  Vec<T> cos, sin;
};

// cos and sin of 2 pi t: t less the nearest quarter, then polynomials of Cephes (sinf.c, sin.c; Moshier 1989) on [-pi/4, pi/4].
template <class T>
inline Wave<T> wave_of(Vec<T> turns) {
  constexpr bool kSingle = sizeof(T) == 4;
  const T whole = kSingle ? T(0x1p23) : T(0x1p52),
          magic = whole + whole / T(2);  // numbers from `whole` on are integers
  const auto nearest = [&](Vec<T> v) { return (v + magic) - magic; };
  const Vec<T> t = select<T>(absolute<T>(turns) < broadcast(whole / T(4)), turns, Vec<T>{});
  const Vec<T> rest = t - nearest(t), quarters = nearest(rest * T(4));
  const Vec<T> x = (rest - quarters * T(0.25)) * T(6.283185307179586476925), z = x * x;
  Vec<T> s, c;
  if constexpr (kSingle) {
    s = ((T(-1.9515295891e-4) * z + T(8.3321608736e-3)) * z - T(1.6666654611e-1)) * z * x + x;
    c = ((T(2.443315711809948e-5) * z - T(1.388731625493765e-3)) * z + T(4.166664568298827e-2)) * z * z - T(0.5) * z +
        T(1);
  } else {
    Vec<T> p = T(1.58962301576546568060e-10) * z - T(2.50507477628578072866e-8);
    p = (p * z + T(2.75573136213857245213e-6)) * z - T(1.98412698295895385996e-4);
    p = (p * z + T(8.33333333332211858878e-3)) * z - T(1.66666666666666307295e-1);
    s = p * z * x + x;
    Vec<T> q = T(-1.13585365213876817300e-11) * z + T(2.08757008419747316778e-9);
    q = (q * z - T(2.75573141792967388112e-7)) * z + T(2.48015872888517045348e-5);
    q = (q * z - T(1.38888888888730564116e-3)) * z + T(4.16666666666665929218e-2);
    c = q * z * z - T(0.5) * z + T(1);
  }
  const Vec<T> one = broadcast(T(1)), two = broadcast(T(2));
  const IntVec<T> turned = absolute<T>(quarters) == one, opposite = absolute<T>(quarters) == two;
  const Vec<T> sine = select<T>(turned, c, s), cosine = select<T>(turned, s, c);
  return {select<T>(opposite | (quarters == one), -cosine, cosine),
          select<T>(opposite | (quarters == -one), -sine, sine)};
}

template <class T>
inline void encode_periodic(const EncodeArgs<T>& args, const EncodedColumn& column, T value, T* waves, T* to) {
  const Index count = args.layers.frequencies, dim = args.dim;
  const T* const frequency = args.layers.frequency + column.layer * count;
  const T* const weight = args.layers.weight + column.start * dim;
  T* const own = waves + column.start;
  for_each_vector<T>(count, [&](Index k, int lanes) {
    const Wave<T> wave = wave_of<T>(load_lanes(frequency + k, lanes) * value);
    store_lanes(own + k, wave.cos, lanes);
    store_lanes(own + count + k, wave.sin, lanes);
  });
  for_each_vector<T>(dim, [&](Index d, int lanes) {
    Vec<T> sum = load_lanes(args.layers.bias + column.layer * dim + d, lanes);
    for (Index k = 0; k < 2 * count; ++k) sum += own[k] * load_lanes(weight + k * dim + d, lanes);
    store_lanes(to + column.first + d, maximum<T>(Vec<T>{}, sum), lanes);
  });
}

// number * linear + ladder @ weight + bias, where the ladder is 1 before the index and 0 after it.
template <class T>
inline void encode_linear_ladder(const EncodeArgs<T>& args, const EncodedColumn& column, T number, T value,
                                 int32_t index, T* to) {
  const Index dim = args.dim, before = column.bins > 0 ? index : 0;
  const T* const weight = args.layers.weight + column.start * dim;
  for_each_vector<T>(dim, [&](Index d, int lanes) {
    Vec<T> sum = load_lanes(args.layers.bias + column.layer * dim + d, lanes);
    sum += number * load_lanes(args.layers.linear + column.layer * dim + d, lanes);
    for (Index k = 0; k < before; ++k) sum += load_lanes(weight + k * dim + d, lanes);
    if (column.bins > 0) sum += value * load_lanes(weight + index * dim + d, lanes);
    store_lanes(to + column.first + d, sum, lanes);
  });
}

template <class T>
void number_gradient(const NumberGradientArgs<T>& args) noexcept {
  constexpr double kTwoPi = 6.283185307179586476925;
  const NumberLayers<T>& of = args.layers;
  const Index count = of.frequencies, dim = args.dim;
  for (Index i = 0; i < args.places.rows; ++i) {
    const T* const value = args.places.data + i * args.places.ld;
    T* const angles = args.angles + i * args.ld_angles;
    for (Index j = 0; j < args.places.cols; ++j) {
      const EncodedColumn& column = args.places.columns[j];
      const T* const grad = args.grad + i * args.ld_grad + column.first;
      T* const before = args.before + i * args.ld_before + column.layer * dim;
      if (column.kind == ColumnKind::linear_ladder) copy_row(grad, before, dim);
      if (column.kind != ColumnKind::periodic) continue;
      const T* const waves = args.waves + i * args.ld_waves + column.start;
      const T* const output = args.output + i * args.ld_output + column.first;
      for (Index d = 0; d < dim; ++d) before[d] = output[d] > T(0) ? grad[d] : T(0);
      T of_value = T(0);
      for (Index k = 0; k < count; ++k) {
        const T* const of_cos = of.weight + (column.start + k) * dim;
        const T* const of_sin = of_cos + count * dim;
        T cos_grad = T(0), sin_grad = T(0);
        for (Index d = 0; d < dim; ++d) cos_grad += before[d] * of_cos[d], sin_grad += before[d] * of_sin[d];
        const T angle = static_cast<T>(kTwoPi) * (sin_grad * waves[k] - cos_grad * waves[count + k]);
        angles[column.layer * count + k] = angle * value[j];
        of_value += angle * of.frequency[column.layer * count + k];
      }
      angles[of.count * count + column.layer] = of_value;
    }
  }
}

template <class T>
void number_weight_gradient(const NumberWeightGradientArgs<T>& args) noexcept {
  for (Index j = 0; j < args.places.cols; ++j) {
    const EncodedColumn& column = args.places.columns[j];
    const bool is_periodic = column.kind == ColumnKind::periodic;
    if (!is_periodic && column.kind != ColumnKind::linear_ladder) continue;
    const Index first = args.of_numbers ? column.layer : column.start;
    const Index end = first + (args.of_numbers ? 1 : is_periodic ? 2 * args.frequencies : column.bins);
    const T* const before = args.before + column.layer * args.dim;
    for (Index k = first > args.begin ? first : args.begin; k < end && k < args.end; ++k) {
      for_each_vector<T>(args.dim, [&](Index d, int lanes) {
        Vec<T> sum{};
        for (Index i = 0; i < args.places.rows; ++i) {
          sum += args.waves[i * args.ld_waves + k] * load_lanes(before + i * args.ld_before + d, lanes);
        }
        store_lanes(args.gradient + (k - args.begin) * args.dim + d, sum, lanes);
      });
    }
  }
}

// ---- encoded rows ----

template <class T>
void encode(const EncodeArgs<T>& args) noexcept {
  for (Index i = 0; i < args.places.rows; ++i) {
    const T* const value = args.places.data + i * args.places.ld;
    const int32_t* const index = place_indices(value, args.places.cols);
    T* const to = args.output + i * args.ld_output;
    for (Index j = 0; j < args.places.cols; ++j) {
      const EncodedColumn& column = args.places.columns[j];
      if (column.kind == ColumnKind::embedding) {
        copy_row(args.table + index[j] * args.dim, to + column.first, args.dim);
      } else if (column.kind == ColumnKind::linear_ladder) {
        const T number = value[2 * args.places.cols + j];
        encode_linear_ladder(args, column, number, value[j], index[j], to);
        if (args.waves == nullptr) continue;
        T* const waves = args.waves + i * args.ld_waves;
        write_marked(T(1), column.bins, value[j], index[j], waves + column.start);
        waves[args.layers.rows + column.layer] = number;
      } else if (args.is_tangent) {
        for (Index k = 0; k < column.width; ++k) to[column.first + k] = T(0);
      } else if (column.kind == ColumnKind::periodic) {
        encode_periodic(args, column, value[j], args.waves + i * args.ld_waves, to);
      } else {
        const T before = column.kind == ColumnKind::ladder ? T(1) : T(0);
        write_marked(before, column.width, value[j], index[j], to + column.first);
      }
    }
  }
}

// What a number with bins and one that is clipped give, by the number before. The slope of a bin is 1 / its width. That of a clip
// follows from what it gave, see MapGradientArgs.
template <class T>
inline T clip_slope(const InputMap<T>& map, T clipped) {
  const T ratio = clipped / map.clip, left = T(1) - ratio * ratio;
  return left > T(0) ? left * square_root(left) : T(0);
}

template <class T>
inline T dot_rows(const T* a, const T* b, Index n) {
  T sum = T(0);
  for (Index k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

template <class T>
void encode_gradient(const EncodeGradientArgs<T>& args) noexcept {
  const InputMap<T>& map = args.map;
  for (Index i = 0; i < args.places.rows; ++i) {
    const T* const value = args.places.data + i * args.places.ld;
    const int32_t* const index = place_indices(value, args.places.cols);
    T* const to = args.output + i * args.ld_output;
    for (Index j = 0; j < args.places.cols; ++j) {
      const EncodedColumn& column = args.places.columns[j];
      to[j] = T(0);
      if (column.codes > 0) continue;
      const T* const grad = args.grad + i * args.ld_grad + column.first;
      const T of_bin = column.bins > 0 ? map.bin_scale[column.start + index[j]] : T(1);
      if (column.kind == ColumnKind::linear_ladder) {
        T of_number = dot_rows(grad, args.layers.linear + column.layer * args.dim, args.dim);
        if (column.is_clipped != 0) of_number *= clip_slope(map, value[2 * args.places.cols + j]);
        if (column.bins > 0) {
          of_number += of_bin * dot_rows(grad, args.layers.weight + (column.start + index[j]) * args.dim, args.dim);
        }
        to[j] = map.column_scale[j] * of_number;
        continue;
      }
      T slope = map.column_scale[j] * of_bin;
      if (column.is_clipped != 0) slope *= clip_slope(map, value[j]);
      const bool is_periodic = column.kind == ColumnKind::periodic;
      to[j] = slope * (is_periodic ? args.numbers[i * args.ld_numbers + column.layer] : grad[index[j]]);
    }
  }
}

// ---- the table ----

// Calls body(row of the table, part of the gradient) for the places in [begin, end), column by column, each in the order of the
// rows. A row of the table belongs to one column.
template <class T, class Body>
inline void for_each_place(const TableGradientArgs<T>& args, Body body) {
  for (Index j = 0; j < args.places.cols; ++j) {
    const EncodedColumn& column = args.places.columns[j];
    if (column.kind != ColumnKind::embedding || column.start >= args.end) continue;
    if (column.start + column.codes + 2 <= args.begin) continue;
    for (Index i = 0; i < args.places.rows; ++i) {
      const int32_t row = place_indices(args.places.data + i * args.places.ld, args.places.cols)[j];
      if (row >= args.begin && row < args.end) body(row, args.grad + i * args.ld_grad + column.first);
    }
  }
}

template <class T>
inline void add_row(const T* from, T* to, Index dim) {
  for_each_vector<T>(dim, [&](Index k, int lanes) {
    store_lanes(to + k, load_lanes(to + k, lanes) + load_lanes(from + k, lanes), lanes);
  });
}

template <class T>
inline void clear_row(T* to, Index n) {
  for_each_vector<T>(n, [&](Index k, int lanes) { store_lanes(to + k, Vec<T>{}, lanes); });
}

template <class T>
void table_gradient(const TableGradientArgs<T>& args) noexcept {
  clear_row(args.gradient, (args.end - args.begin) * args.dim);
  for_each_place(args, [&](int32_t row, const T* from) {
    add_row(from, args.gradient + (row - args.begin) * args.dim, args.dim);
  });
}

// A slot is right if the row is found there: Briggs & Torczon 1993, "An efficient representation for sparse sets".
template <class T>
Index table_rows(const TableRowsArgs<T>& args) noexcept {
  const Index dim = args.table.dim;
  int32_t count = 0;
  for_each_place(args.table, [&](int32_t row, const T* from) {
    int32_t slot = args.slots[row];
    if (slot < 0 || slot >= count || args.named[slot] != row) {
      slot = count++;
      args.slots[row] = slot;
      args.named[slot] = row;
      clear_row(args.table.gradient + slot * dim, dim);
    }
    add_row(from, args.table.gradient + slot * dim, dim);
  });
  return count;
}

template <class T>
constexpr void fill_columns(OpTable<T>& table) {
  table.encode = encode<T>;
  table.encode_gradient = encode_gradient<T>;
  table.number_gradient = number_gradient<T>;
  table.number_weight_gradient = number_weight_gradient<T>;
  table.table_gradient = table_gradient<T>;
  table.table_rows = table_rows<T>;
}
