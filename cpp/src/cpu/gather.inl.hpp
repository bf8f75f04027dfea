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

// No prefetcher finds rows that are taken in any order. So each row is prefetched some rows, at most 4 KB, before it is
// copied.
template <class T, class From, bool kScaled>
inline void gather_rows(const GatherArgs<T>& args) {
  constexpr Index kBytes = 4096, kLine = 64, kMostRows = 16;
  const From* input = static_cast<const From*>(args.input);
  const Index cols = args.cols, row_bytes = cols * static_cast<Index>(sizeof(From));
  const Index ahead = kBytes / row_bytes < 1 ? 1 : kBytes / row_bytes > kMostRows ? kMostRows : kBytes / row_bytes;
  const auto row = [&](Index i) { return input + (args.index == nullptr ? i : args.index[i]) * args.ld_input; };
  const auto ask = [&](Index i) {
    if (i >= args.rows) return;
    const char* from = reinterpret_cast<const char*>(row(i));
    for (Index byte = 0; byte < row_bytes; byte += kLine) __builtin_prefetch(from + byte);
  };
  const Vec<T> scale = broadcast(args.scale), shift = broadcast(args.shift);
  for (Index i = 0; i < ahead; ++i) ask(i);
  for (Index i = 0; i < args.rows; ++i) {
    ask(i + ahead);
    const From* from = row(i);
    T* to = args.output + i * args.ld_output;
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      const Vec<T> x = load_lanes_as<T>(from + j, lanes);
      store_lanes(to + j, kScaled ? multiply_add<T>(x, scale, shift) : x, lanes);
    });
  }
}

template <class T, class From>
void gather(const GatherArgs<T>& args) noexcept {
  if (args.scale == T(1) && args.shift == T(0)) return gather_rows<T, From, false>(args);
  gather_rows<T, From, true>(args);
}
