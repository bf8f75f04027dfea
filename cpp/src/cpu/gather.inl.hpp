// Copies rows of X or y, in any order, into the matrix of a batch. X is converted meanwhile, so that it can stay as it is
// stored.

// Loads a vector of T from as many elements of another type, each rounded to T.
template <class T, class From>
inline Vec<T> load_as(const From* p) {
  if constexpr (std::is_same_v<T, From>) {
    return load(p);
#if defined(__AVX512F__)
  } else if constexpr (sizeof(From) == 1 && sizeof(T) == 4) {
    return (Vec<T>)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (sizeof(From) == 1) {
    return (Vec<T>)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (sizeof(From) == 8) {
    const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(p)), high = _mm512_cvtpd_ps(_mm512_loadu_pd(p + 8));
    return (Vec<T>)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
  } else {
    return (Vec<T>)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif defined(__AVX2__)
  } else if constexpr (sizeof(From) == 1 && sizeof(T) == 4) {
    return (Vec<T>)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (sizeof(From) == 1) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return (Vec<T>)_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
  } else if constexpr (sizeof(From) == 8) {
    return (Vec<T>)_mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(p + 4)), _mm256_cvtpd_ps(_mm256_loadu_pd(p)));
  } else {
    return (Vec<T>)_mm256_cvtps_pd(_mm_loadu_ps(p));
#endif
  }
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i) v[i] = static_cast<T>(p[i]);
  return v;
}

// Loads the first n lanes; nothing past p[n-1] is read.
template <class T, class From>
inline Vec<T> load_lanes_as(const From* p, int n) {
  if (n == kLanes<T>) return load_as<T>(p);
  if constexpr (std::is_same_v<T, From>) return load_partial(p, n);
  From whole[kLanes<T>] = {};
  for (int i = 0; i < n; ++i) whole[i] = p[i];
  return load_as<T>(whole);
}

// Computes a * b + c with one rounding on every instruction set. The baseline has no such instruction and calls the C
// library.
template <class T>
inline Vec<T> multiply_add(Vec<T> a, Vec<T> b, Vec<T> c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  } else {
    return (Vec<T>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  } else {
    return (Vec<T>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  }
#else
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i) {
    if constexpr (sizeof(T) == 4) {
      v[i] = __builtin_fmaf(a[i], b[i], c[i]);
    } else {
      v[i] = __builtin_fma(a[i], b[i], c[i]);
    }
  }
  return v;
#endif
}

// Calls body(row of the input, row of the output). No prefetcher finds rows that are taken in any order, so each row is
// prefetched some rows, at most 4 KB, before it is read.
template <class From, class T, class Body>
inline void for_each_gathered_row(const GatherArgs<T>& args, Body body) {
  constexpr Index kBytes = 4096, kLine = 64, kMostRows = 16;
  const From* input = static_cast<const From*>(args.input);
  const Index row_bytes = args.cols * static_cast<Index>(sizeof(From));
  const Index ahead = kBytes / row_bytes < 1 ? 1 : kBytes / row_bytes > kMostRows ? kMostRows : kBytes / row_bytes;
  const auto row = [&](Index i) { return input + (args.index == nullptr ? i : args.index[i]) * args.ld_input; };
  const auto ask = [&](Index i) {
    if (i >= args.rows) return;
    const char* from = reinterpret_cast<const char*>(row(i));
    for (Index byte = 0; byte < row_bytes; byte += kLine) __builtin_prefetch(from + byte);
  };
  const bool asks = args.index != nullptr;  // neighbours are found by the hardware
  for (Index i = 0; asks && i < ahead; ++i) ask(i);
  for (Index i = 0; i < args.rows; ++i) {
    if (asks) ask(i + ahead);
    body(row(i), args.output + i * args.ld_output);
  }
}

template <class T, class From, bool kScaled>
inline void gather_rows(const GatherArgs<T>& args) {
  const Index cols = args.cols;
  const Vec<T> scale = broadcast(args.map.scale), shift = broadcast(args.map.shift);
  for_each_gathered_row<From>(args, [&](const From* from, T* to) {
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      const Vec<T> x = load_lanes_as<T>(from + j, lanes);
      store_lanes(to + j, kScaled ? multiply_add<T>(x, scale, shift) : x, lanes);
    });
  });
}

// Stores the first n lanes, each rounded to T. Nothing past p[n-1] is written.
template <class T, class Wide>
inline void store_lanes_as(T* p, Vec<Wide> v, int n) {
  if constexpr (sizeof(T) == sizeof(Wide)) {
    store_lanes(p, v, n);
  } else {
#if defined(__AVX512F__)
    if (n == kLanes<Wide>) return _mm256_storeu_ps(p, _mm512_cvtpd_ps((__m512d)v));
#elif defined(__AVX2__)
    if (n == kLanes<Wide>) return _mm_storeu_ps(p, _mm256_cvtpd_ps((__m256d)v));
#endif
    for (int i = 0; i < n; ++i) p[i] = static_cast<T>(v[i]);
  }
}

// A difference of doubles must be made of doubles, even where its result is a float: both may be much larger.
template <class T, class From>
struct Difference {
  using Type = T;
};
template <>
struct Difference<float, double> {
  using Type = double;
};

// z / sqrt(1 + (z / clip)^2), Holzmueller, Grinsztajn & Steinwart 2024, section 3. Beyond 2^40 times the clip it is the clip
// to the last bit, and squares could overflow there.
template <class W>
inline Vec<W> smooth_clip(Vec<W> z, W clip) {
  const Vec<W> most = broadcast(clip * W(0x1p40));
  const Vec<W> within = minimum<W>(most, maximum<W>(-most, z)), ratio = within * broadcast(W(1) / clip);
  return within / square_root<W>(W(1) + ratio * ratio);
}

// Returns the lanes whose rest is one of their shift.
template <class W, class T>
inline IntVec<W> rest_lanes(const InputMap<T>& map, Index j, int lanes) {
  const Vec<W> shift = load_lanes_as<W>(map.column_shift + j, lanes),
               rest = load_lanes_as<W>(map.column_rest + j, lanes);
  return absolute<W>(rest) <= absolute<W>(shift) * W(0x1p-24);
}

// Returns whether all rests are those of their shifts, so that the test is made once for all rows.
template <class T>
inline bool has_rests(const InputMap<T>& map, Index cols) {
  IntVec<T> others{};
  for_each_vector<T>(cols, [&](Index j, int lanes) { others |= ~rest_lanes<T>(map, j, lanes); });
  return !any_lane<T>(others);
}

template <class W, bool kTested, class T>
inline Vec<W> map_columns(const InputMap<T>& map, Index cols, Vec<W> x, Index j, int lanes) {
  const auto rest = [&](const T* of) {
    const Vec<W> part = load_lanes_as<W>(of + j, lanes);
    return kTested ? part : select<W>(rest_lanes<W>(map, j, lanes), part, Vec<W>{});
  };
  Vec<W> centred = (x - load_lanes_as<W>(map.column_shift + j, lanes)) - rest(map.column_rest);
  if constexpr (sizeof(W) != sizeof(T)) centred -= rest(map.column_rest + cols);
  return centred * load_lanes_as<W>(map.column_scale + j, lanes);
}

// Without kTested, which is rare, all else is asked at each vector too.
template <class T, class From, bool kTested, bool kMissing, bool kClips>
inline void normalize_rows(const GatherArgs<T>& args) {
  using W = typename Difference<T, From>::Type;
  constexpr Index kTogether = 4 * kLanes<W>;
  const InputMap<T> map = args.map;
  const Index cols = args.cols;
  const W clip = static_cast<W>(map.clip);
  for_each_gathered_row<From>(args, [&](const From* from, T* to) {
    const auto put = [&](Index j, int lanes) {
      const Vec<W> x = load_lanes_as<W>(from + j, lanes);
      Vec<W> z = map_columns<W, kTested>(map, cols, x, j, lanes);
      if (kMissing && (kTested || map.missing != nullptr))
        z = select<W>(x == x, z, load_lanes_as<W>(map.missing + j, lanes));
      if (kClips && (kTested || clip > W(0))) z = smooth_clip<W>(z, clip);
      store_lanes_as<T, W>(to + j, z, lanes);
    };
    Index j = 0;
    for (; j + kTogether <= cols; j += kTogether) {
      STOOP_UNROLL
      for (Index v = 0; v < kTogether; v += kLanes<W>) put(j + v, kLanes<W>);
    }
    for_each_vector<W>(cols - j, [&](Index k, int lanes) { put(j + k, lanes); });
  });
}

template <class T, class From>
inline void normalize(const GatherArgs<T>& args) {
  const bool clips = args.map.clip > T(0), has_missing = sizeof(From) > 1 && args.map.missing != nullptr;
  if (!has_rests(args.map, args.cols)) return normalize_rows<T, From, false, true, true>(args);
  if (clips)
    return has_missing ? normalize_rows<T, From, true, true, true>(args)
                       : normalize_rows<T, From, true, false, true>(args);
  has_missing ? normalize_rows<T, From, true, true, false>(args) : normalize_rows<T, From, true, false, false>(args);
}

template <class T, class From>
inline void place_columns(const GatherArgs<T>& args);  // columns.inl.hpp

template <class T, class From>
void gather(const GatherArgs<T>& args) noexcept {
  const InputMap<T>& map = args.map;
  if (map.column_scale == nullptr) {
    if (map.scale == T(1) && map.shift == T(0)) return gather_rows<T, From, false>(args);
    return gather_rows<T, From, true>(args);
  }
  if (map.columns != nullptr) return place_columns<T, From>(args);
  normalize<T, From>(args);
}

template <class T>
void map_gradient(const MapGradientArgs<T>& args) noexcept {
  const Vec<T> one = broadcast(T(1)), inverse = broadcast(args.clip > T(0) ? T(1) / args.clip : T(0));
  for (Index i = 0; i < args.rows; ++i) {
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      Vec<T> gradient = load_lanes(args.grad + i * args.ld_grad + j, lanes) * load_lanes(args.scale + j, lanes);
      if (args.clip > T(0)) {
        const Vec<T> ratio = load_lanes(args.value + i * args.ld_value + j, lanes) * inverse;
        const Vec<T> slope = maximum<T>(one - ratio * ratio, Vec<T>{});
        gradient *= slope * square_root<T>(slope);
      }
      store_lanes(args.output + i * args.ld_output + j, gradient, lanes);
    });
  }
}
