// Vectors of kVectorBytes through the compiler's vector extensions: one text for every instruction set.
// Included inside the unnamed namespace of an isa_*.cpp, which defines kVectorBytes; nothing here has external linkage.
// Intrinsics appear only where the extensions have no expression (masks, square root, maximum).

template <class T>
struct VecTypes;
template <>
struct VecTypes<float> {
  typedef float Vec __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Int __attribute__((vector_size(kVectorBytes)));
  using IntLane = int32_t;
};
template <>
struct VecTypes<double> {
  typedef double Vec __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Int __attribute__((vector_size(kVectorBytes)));
  using IntLane = int64_t;
};

template <class T>
using Vec = typename VecTypes<T>::Vec;
template <class T>
using IntVec = typename VecTypes<T>::Int;
template <class T>
using IntLane = typename VecTypes<T>::IntLane;
template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
inline Vec<T> broadcast(T x) {
  return x - Vec<T>{};
}

template <class T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

// Prefetches the cache line of p, which is not accessed and need not exist. GCC drops calls of a function that only
// prefetches, because it has no effect, unless it is inlined early.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* p) {
  __builtin_prefetch(p, 0, 2);
}

template <class T>
inline void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}

template <class T>
inline IntVec<T> lane_index() {
  IntVec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i) v[i] = i;
  return v;
}

// Returns all ones in the first n lanes.
template <class T>
inline IntVec<T> first_lanes(int n) {
  return lane_index<T>() < static_cast<IntLane<T>>(n);
}

// Loads the first n lanes from memory, and zero in the others. Nothing past p[n-1] is read.
template <class T>
inline Vec<T> load_partial(const T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
  } else {
    return (Vec<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm256_maskload_ps(p, (__m256i)first_lanes<T>(n));
  } else {
    return (Vec<T>)_mm256_maskload_pd(p, (__m256i)first_lanes<T>(n));
  }
#else
  Vec<T> v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

template <class T>
inline void store_partial(T* p, Vec<T> v, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), (__m512)v);
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), (__m512d)v);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    _mm256_maskstore_ps(p, (__m256i)first_lanes<T>(n), (__m256)v);
  } else {
    _mm256_maskstore_pd(p, (__m256i)first_lanes<T>(n), (__m256d)v);
  }
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

template <class T>
inline Vec<T> select(IntVec<T> mask, Vec<T> yes, Vec<T> no) {
  return mask ? yes : no;
}

// Returns the larger number of each lane, and b where one of the two is NaN. So a NaN survives if it comes second.
template <class T>
inline Vec<T> maximum(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm512_max_ps((__m512)a, (__m512)b);
  } else {
    return (Vec<T>)_mm512_max_pd((__m512d)a, (__m512d)b);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm256_max_ps((__m256)a, (__m256)b);
  } else {
    return (Vec<T>)_mm256_max_pd((__m256d)a, (__m256d)b);
  }
#else
  return a > b ? a : b;
#endif
}

// Returns the smaller number of each lane, and b where one of the two is NaN.
template <class T>
inline Vec<T> minimum(Vec<T> a, Vec<T> b) {
  return a < b ? a : b;
}

template <class T>
inline Vec<T> square_root(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm512_sqrt_ps((__m512)v);
  } else {
    return (Vec<T>)_mm512_sqrt_pd((__m512d)v);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm256_sqrt_ps((__m256)v);
  } else {
    return (Vec<T>)_mm256_sqrt_pd((__m256d)v);
  }
#else
  Vec<T> r{};
  for (int i = 0; i < kLanes<T>; ++i) {
    if constexpr (sizeof(T) == 4) {
      r[i] = __builtin_sqrtf(v[i]);
    } else {
      r[i] = __builtin_sqrt(v[i]);
    }
  }
  return r;
#endif
}

// The square root of one number takes a fraction of the time of a whole vector.
inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

// Returns the lanes in double. A vector of floats has twice as many lanes, so its two halves are converted and added. The
// lanes of a sum made of such vectors are added only once, at its end.
template <class T>
inline Vec<double> add_pairs_of_lanes(Vec<T> v) {
  if constexpr (sizeof(T) == 8) {
    return v;
  } else {
#if defined(__AVX512F__)
    const __m256 high = _mm512_extractf32x8_ps((__m512)v, 1);
    return (Vec<double>)(_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v)) + _mm512_cvtps_pd(high));
#elif defined(__AVX2__)
    const __m128 high = _mm256_extractf128_ps((__m256)v, 1);
    return (Vec<double>)(_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v)) + _mm256_cvtps_pd(high));
#else
    Vec<double> wide{};
    for (int i = 0; i < kLanes<T>; ++i) wide[i / 2] += static_cast<double>(v[i]);
    return wide;
#endif
  }
}

// Returns the sum of the lanes in double, in an order that belongs to the instruction set. For wide vectors halves are added
// to halves, since short rows would feel a chain of additions as long as the vector.
template <class T>
inline double sum_lanes(Vec<T> v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_pd((__m512d)add_pairs_of_lanes<T>(v));
#elif defined(__AVX2__)
  const __m256d wide = (__m256d)add_pairs_of_lanes<T>(v);
  const __m128d narrow = _mm256_castpd256_pd128(wide) + _mm256_extractf128_pd(wide, 1);
  return narrow[0] + narrow[1];
#else
  double s = 0.0;
  for (int i = 0; i < kLanes<T>; ++i) s += static_cast<double>(v[i]);
  return s;
#endif
}

// Returns the largest lane, if none is NaN.
template <class T>
inline T max_lane(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return _mm512_reduce_max_ps((__m512)v);
  } else {
    return _mm512_reduce_max_pd((__m512d)v);
  }
#else
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const __m128 m = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    const T a = m[0] > m[2] ? m[0] : m[2], b = m[1] > m[3] ? m[1] : m[3];
    return a > b ? a : b;
  }
#endif
  T m = v[0];
  for (int i = 1; i < kLanes<T>; ++i) m = v[i] > m ? v[i] : m;
  return m;
#endif
}

// Returns whether some lane of a mask is set. The bits of each lane are all ones or all zeros.
template <class T>
inline bool any_lane(IntVec<T> mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
  return _mm256_testz_si256((__m256i)mask, (__m256i)mask) == 0;
#else
  IntLane<T> any = 0;
  for (int i = 0; i < kLanes<T>; ++i) any |= mask[i];
  return any != 0;
#endif
}

template <class T>
inline bool is_finite_number(T x) {
  return x - x == T(0);
}

// Calls body(offset, lanes) for vectors of a run of n elements; lanes is smaller than a vector in the last call only.
template <class T, class Body>
inline void for_each_vector(Index n, Body body) {
  Index i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) body(i, kLanes<T>);
  if (i < n) body(i, static_cast<int>(n - i));
}

template <class T>
inline Vec<T> load_lanes(const T* p, int n) {
  return n == kLanes<T> ? load(p) : load_partial(p, n);
}

template <class T>
inline void store_lanes(T* p, Vec<T> v, int n) {
  if (n == kLanes<T>) {
    store(p, v);
  } else {
    store_partial(p, v, n);
  }
}

// Sums the vectors that value(j, lanes) gives over a row, in T and in a fixed order, several at the same time. Lanes after
// the end of the row do not count.
template <class T, int kSums>
struct VecSums {
  Vec<T> of[kSums];
};

template <class T, int kSums, class Value>
inline VecSums<T, kSums> sums_of_vectors(Index cols, Value value) {
  constexpr Index L = kLanes<T>;
  VecSums<T, kSums> sum[4] = {};
  Index start = 0;
  for (; start + 4 * L <= cols; start += 4 * L) {
    STOOP_UNROLL
    for (int v = 0; v < 4; ++v) {
      const VecSums<T, kSums> next = value(start + v * L, kLanes<T>);
      for (int s = 0; s < kSums; ++s) sum[v].of[s] += next.of[s];
    }
  }
  for_each_vector<T>(cols - start, [&](Index j, int lanes) {
    const VecSums<T, kSums> next = value(start + j, lanes);
    for (int s = 0; s < kSums; ++s) sum[0].of[s] += select<T>(first_lanes<T>(lanes), next.of[s], Vec<T>{});
  });
  for (int s = 0; s < kSums; ++s) sum[0].of[s] = (sum[0].of[s] + sum[1].of[s]) + (sum[2].of[s] + sum[3].of[s]);
  return sum[0];
}

// ---- columns of matrices too large for the caches ----
// A kernel that goes through columns row by row takes them in strips of a few lines. Each row of a strip is on another page.
// No hardware prefetcher follows that, so lines are prefetched many rows ahead, and into L2, which can wait for more of them
// at a time than L1. Wider strips are no better, since prefetchers then fetch what lies beyond the strip.
constexpr Index kStripBytes = 256;
constexpr Index kRowsAhead = 64, kWrittenRowsAhead = 32;
constexpr Index kLargeBytes = 4 << 20;  // smaller matrices are as fast without, from L2 or L3

template <class T>
constexpr Index kStripColumns = kStripBytes / static_cast<Index>(sizeof(T));

// Kernels have a text for large matrices, which prefetches, and one without these branches. This chooses between them.
template <class T>
inline bool is_large(Index rows, Index ld) {
  return rows * ld * static_cast<Index>(sizeof(T)) > kLargeBytes;
}

// A strip whose rows can be prefetched. `rows` is 0 if that is not wanted.
template <class T, bool kLarge>
struct StripAhead {
  const T* strip;
  Index ld, rows;

  [[gnu::always_inline]] void ask([[maybe_unused]] Index row) const {
    if constexpr (kLarge) {
      if (row < 0 || row >= rows) return;
      const char* line = reinterpret_cast<const char*>(strip + row * ld);
      STOOP_UNROLL
      for (Index byte = 0; byte < kStripBytes; byte += 64) prefetch(line + byte);
    }
  }
};

// Calls body(first column, columns) for strips.
template <class T, class Body>
inline void for_each_strip(Index cols, Body body) {
  for (Index j = 0; j < cols; j += kStripColumns<T>) body(j, cols - j < kStripColumns<T> ? cols - j : kStripColumns<T>);
}

// Calls body<width>(first column, lanes) for groups of up to kMost vectors of columns, so that several sums are in
// flight at once; lanes of the last vector: `lanes`.
template <class T, int kMost = 4, class Body>
inline void for_each_group_of_vectors(Index cols, Body body) {
  constexpr Index L = kLanes<T>;
  Index j = 0;
  for (; j + kMost * L <= cols; j += kMost * L) body.template operator()<kMost>(j, kLanes<T>);
  if constexpr (kMost > 2) {
    if (j + 2 * L <= cols) body.template operator()<2>(j, kLanes<T>), j += 2 * L;
  }
  for (; j + L <= cols; j += L) body.template operator()<1>(j, kLanes<T>);
  if (j < cols) body.template operator()<1>(j, static_cast<int>(cols - j));
}
