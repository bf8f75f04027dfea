// Augmentation of one sample: an image sampled at other places, smooth random displacements of these, and noise. Included
// after dropout.inl.hpp, which has the random words.

// Loads the elements at these places.
template <class T>
inline Vec<T> load_at(const T* from, IntVec<T> at) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm512_i32gather_ps((__m512i)at, from, 4);
  } else {
    return (Vec<T>)_mm512_i64gather_pd((__m512i)at, from, 8);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm256_i32gather_ps(from, (__m256i)at, 4);
  } else {
    return (Vec<T>)_mm256_i64gather_pd(from, (__m256i)at, 8);
  }
#else
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i) v[i] = from[at[i]];
  return v;
#endif
}

// The two pixels of an axis between which a place lies, and how far it is from the first.
template <class T>
struct Between {
  IntVec<T> first;
  Vec<T> part;
};

// `last` is the last pixel that has another one after it. A place before the first pixel, after that other one, or NaN, is
// moved to the end.
template <class T>
inline Between<T> between(Vec<T> place, Index last) {
  place = minimum<T>(maximum<T>(place, Vec<T>{}), broadcast(static_cast<T>(last + 1)));
  const IntVec<T> most = lane_index<T>() * 0 + static_cast<IntLane<T>>(last);
  const IntVec<T> whole = __builtin_convertvector(place, IntVec<T>);
  const IntVec<T> first = whole < most ? whole : most;
  return {first, place - __builtin_convertvector(first, Vec<T>)};
}

// (1 - part) * a + part * b gives a itself where part is 0, whatever the size of b.
template <class T>
void warp(const WarpArgs<T>& args) noexcept {
  const Index n = args.rows * args.cols, channels = args.channels, ld = (args.cols + 2) * channels;
  const T* map = args.map;
  for_each_vector<T>(n, [&](Index i, int lanes) {
    const Vec<T> r = load_lanes(args.grid + i, lanes), c = load_lanes(args.grid + n + i, lanes);
    Vec<T> row = r * map[0] + c * map[1] + map[2], column = r * map[3] + c * map[4] + map[5];
    if (args.displacement != nullptr) {
      row += load_lanes(args.displacement + i, lanes);
      column += load_lanes(args.displacement + n + i, lanes);
    }
    const Between<T> down = between<T>(row, args.rows), across = between<T>(column, args.cols);
    const IntVec<T> place = down.first * static_cast<IntLane<T>>(ld) + across.first * static_cast<IntLane<T>>(channels);
    for (Index k = 0; k < channels; ++k) {
      const T *upper = args.input + k, *lower = upper + ld;
      const Vec<T> above =
          (T(1) - across.part) * load_at<T>(upper, place) + across.part * load_at<T>(upper + channels, place);
      const Vec<T> below =
          (T(1) - across.part) * load_at<T>(lower, place) + across.part * load_at<T>(lower + channels, place);
      const Vec<T> value = (T(1) - down.part) * above + down.part * below;
      T* to = args.output + i * channels + k;
      if (channels == 1) {
        store_lanes(to, value, lanes);
      } else {
        for (int lane = 0; lane < lanes; ++lane) to[lane * channels] = value[lane];
      }
    }
  });
}

constexpr Index kGroup = 64;  // elements whose random words are made together

// Writes the words of a group of elements.
inline void random_words(const SampleStream& of, Index group, uint32_t* words) {
  const PhiloxStream stream{of.epoch, of.stream, of.seed};
  WideVec even{};
  for (int i = 0; i < kWordLanes / 2; ++i) even[i] = static_cast<uint32_t>(2 * i);
  STOOP_UNROLL
  for (int first = 0; first < 16; first += kWordLanes) {
    const WideVec c0 = even + (static_cast<uint32_t>(group) * 16 + static_cast<uint32_t>(first));
    const PhiloxWords x = philox_vector(c0, of.position, stream), y = philox_vector(c0 + 1, of.position, stream);
    for (int word = 0; word < 4; ++word) {
      const WordVec both = interleave(x.word[word], y.word[word]);
      __builtin_memcpy(words + word * 16 + first, &both, sizeof both);
    }
  }
}

// Calls body(first element, elements, their words) for groups of elements.
template <class Body>
inline void for_each_group(const SampleStream& stream, Index n, Body body) {
  alignas(64) uint32_t words[kGroup];
  for (Index i = 0; i < n; i += kGroup) {
    random_words(stream, i / kGroup, words);
    body(i, n - i < kGroup ? n - i : kGroup, static_cast<const uint32_t*>(words));
  }
}

// Writes numbers that are uniform in [-1, 1): a word with its highest bit turned is a signed number, of which counts what
// float32 keeps, in float64 too.
template <class T>
inline void uniform_numbers(const SampleStream& stream, Index n, T* to) {
  alignas(64) float numbers[kGroup];
  for_each_group(stream, n, [&](Index first, Index count, const uint32_t* words) {
    for (int i = 0; i < kGroup; i += kLanes<float>) {
      IntVec<float> word;
      __builtin_memcpy(&word, words + i, sizeof word);
      store(numbers + i, __builtin_convertvector(word ^ (1 << 31), Vec<float>) * 0x1p-31f);
    }
    for_each_vector<T>(count, [&](Index i, int lanes) {
      store_lanes(to + first + i, load_lanes_as<T>(static_cast<const float*>(numbers) + i, lanes), lanes);
    });
  });
}

// Writes to[v * to_apart] = the sum over k of weights[k] * from[v * apart + k * step], kWidth of them at a time, so that no sum
// waits for another. Whole vectors are read. `lanes` are those of the last one, or of all if `to_apart` is no vector.
template <int kWidth, class T>
inline void weighted_sums(const T* from, Index apart, Index step, const T* weights, Index terms, T* to, Index to_apart,
                          int lanes) {
  Vec<T> sum[kWidth] = {};
  for (Index k = 0; k < terms; ++k) {
    const Vec<T> weight = broadcast(weights[k]);
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) sum[v] += weight * load(from + v * apart + k * step);
  }
  STOOP_UNROLL
  for (int v = 0; v < kWidth; ++v) {
    store_lanes(to + v * to_apart, sum[v], to_apart == kLanes<T> && v + 1 < kWidth ? kLanes<T> : lanes);
  }
}

// Smooths along rows of `from`, which has zeros before and after each row: (rows, cols + 2 * reach) to (rows, cols).
template <class T>
inline void smooth_along_rows(const DisplacementArgs<T>& args, const T* from, T* to) {
  const Index rows = args.rows, cols = args.cols, terms = 2 * args.reach + 1, ld = cols + 2 * args.reach;
  for (Index j = 0; j < cols; j += kLanes<T>) {
    const int lanes = cols - j < kLanes<T> ? static_cast<int>(cols - j) : kLanes<T>;
    Index r = 0;
    for (; r + 4 <= rows; r += 4) {
      weighted_sums<4>(from + r * ld + j, ld, 1, args.weights, terms, to + r * cols + j, cols, lanes);
    }
    for (; r < rows; ++r) {
      weighted_sums<1>(from + r * ld + j, ld, 1, args.weights, terms, to + r * cols + j, cols, lanes);
    }
  }
}

template <class T>
inline void smooth_along_columns(const DisplacementArgs<T>& args, const T* from, T* to) {
  constexpr Index L = kLanes<T>;
  const Index rows = args.rows, cols = args.cols, reach = args.reach;
  for (Index r = 0; r < rows; ++r) {
    const Index first = r > reach ? r - reach : 0, end = r + reach < rows - 1 ? r + reach + 1 : rows;
    const T* weights = args.weights + (first - r + reach);
    const Index terms = end - first;
    const T* above = from + first * cols;
    T* row = to + r * cols;
    for (Index j = 0; j < cols;) {
      const Index left = (cols - j + L - 1) / L, width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const int lanes = cols - j < width * L ? static_cast<int>(cols - j - (width - 1) * L) : kLanes<T>;
      if (width == 4) weighted_sums<4>(above + j, L, cols, weights, terms, row + j, L, lanes);
      if (width == 2) weighted_sums<2>(above + j, L, cols, weights, terms, row + j, L, lanes);
      if (width == 1) weighted_sums<1>(above + j, L, cols, weights, terms, row + j, L, lanes);
      j += width * L;
    }
  }
}

template <class T>
void displacement(const DisplacementArgs<T>& args) noexcept {
  const Index rows = args.rows, cols = args.cols, reach = args.reach, ld = cols + 2 * reach;
  T *padded = args.scratch, *smoothed = args.scratch + rows * ld;
  uniform_numbers(args.stream, rows * cols, smoothed);
  for (Index r = 0; r < rows; ++r) {
    T* row = padded + r * ld;
    for_each_vector<T>(reach, [&](Index j, int lanes) {
      store_lanes(row + j, Vec<T>{}, lanes);
      store_lanes(row + reach + cols + j, Vec<T>{}, lanes);
    });
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      store_lanes(row + reach + j, args.scale * load_lanes(smoothed + r * cols + j, lanes), lanes);
    });
  }
  smooth_along_rows(args, padded, smoothed);
  smooth_along_columns(args, smoothed, args.output);
}

// Two independent normal numbers from two words.
struct NormalPair {
  Vec<float> first, second;
};

// Box & Muller: sqrt(-2 log(u)) times cosine and sine of 2 pi v. 23 bits of each word make u = (bits + 1/2) / 2^23, exact in
// float32, and v = bits / 2^23. Cosine and sine are Taylor series within an eighth of a turn, to 2^-25.
inline NormalPair normal_pair(IntVec<float> u_bits, IntVec<float> v_bits) {
  const Vec<float> u = (__builtin_convertvector(u_bits, Vec<float>) + 0.5f) * 0x1p-23f;
  const Vec<float> radius = square_root<float>(-2.0f * vector_log<float>(u));
  const IntVec<float> quarter = (v_bits + (1 << 20)) >> 21;  // the nearest quarter of a turn
  const Vec<float> x =
      __builtin_convertvector(v_bits - (quarter << 21), Vec<float>) * (0x1p-21f * 1.57079632679489662f);
  const Vec<float> z = x * x;
  constexpr float kSine[] = {1.0f / 362880, -1.0f / 5040, 1.0f / 120, -1.0f / 6, 1.0f};
  constexpr float kCosine[] = {1.0f / 40320, -1.0f / 720, 1.0f / 24, -1.0f / 2, 1.0f};
  const Vec<float> sine = x * polynomial<float>(z, kSine), cosine = polynomial<float>(z, kCosine);
  const IntVec<float> swaps = (quarter & 1) != 0;
  const Vec<float> c = select<float>(swaps, sine, cosine), s = select<float>(swaps, cosine, sine);
  const IntVec<float> c_sign = ((quarter + 1) & 2) << 30, s_sign = (quarter & 2) << 30;
  return {radius * (Vec<float>)((IntVec<float>)c ^ c_sign), radius * (Vec<float>)((IntVec<float>)s ^ s_sign)};
}

// Words 0 and 1 of a counter make one pair, words 2 and 3 another.
template <class T>
void add_noise(const NoiseArgs<T>& args) noexcept {
  alignas(64) float normals[kGroup];
  for_each_group(args.stream, args.n, [&](Index first, Index count, const uint32_t* words) {
    for (int pair = 0; pair < 64; pair += 32) {
      for (int i = pair; i < pair + 16; i += kLanes<float>) {
        WordVec u, v;
        __builtin_memcpy(&u, words + i, sizeof u);
        __builtin_memcpy(&v, words + i + 16, sizeof v);
        const NormalPair both = normal_pair((IntVec<float>)(u >> 9), (IntVec<float>)(v >> 9));
        store(normals + i, both.first);
        store(normals + i + 16, both.second);
      }
    }
    T* values = args.values + first;
    for_each_vector<T>(count, [&](Index j, int lanes) {
      const Vec<T> noise = load_lanes_as<T>(static_cast<const float*>(normals) + j, lanes);
      store_lanes(values + j, load_lanes(values + j, lanes) + args.deviation * noise, lanes);
    });
  });
}
