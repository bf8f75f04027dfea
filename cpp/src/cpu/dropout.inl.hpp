// Inverted dropout. Whether element (row, column) is kept depends only on (seed, layer, step, row, column): on word
// (column % 64) / 16 of Philox4x32-10 (Salmon et al. 2011) at the counter {column/64*16 + column%16, row, step, layer}. It
// is the same on every instruction set. Masks are kept as bits, which are made before they are applied. So a product can
// apply them to its result, tile by tile, forward and backward alike.

typedef uint32_t WordVec __attribute__((vector_size(kVectorBytes)));
typedef uint64_t WideVec __attribute__((vector_size(kVectorBytes)));
constexpr int kWordLanes = kVectorBytes / 4;

// Multiplies the low half of each 64-bit lane with b. Compilers would make three multiplications or a dozen shifts of a
// product of 64 bits, since they do not know that half of the bits are zero.
inline WideVec multiply_low_half(WideVec a, uint32_t b) {
#if defined(__AVX512F__)
  return (WideVec)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
  return (WideVec)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
  return (WideVec)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
  return (a & 0xFFFFFFFFull) * (WideVec{} + b);
#endif
}

// Holds each word in the low half of a 64-bit lane, where multiplications read it. The high half may hold anything.
struct PhiloxWords {
  WideVec word[4];
};

// The values that all numbers of a dropout share. It is a copy, which the stores of masks cannot change.
struct PhiloxStream {
  uint32_t c2, c3;
  uint64_t seed;
};

// This is inlined so that compilers move the parts that do not depend on c1, most of the first three rounds, out of a loop
// over rows.
[[gnu::always_inline]] inline PhiloxWords philox_vector(WideVec c0, uint32_t c1, PhiloxStream stream) {
  uint32_t key0 = static_cast<uint32_t>(stream.seed), key1 = static_cast<uint32_t>(stream.seed >> 32);
  PhiloxWords x{{c0, WideVec{} + c1, WideVec{} + stream.c2, WideVec{} + stream.c3}};
  STOOP_UNROLL
  for (int round = 0; round < 10; ++round) {
    const WideVec p0 = multiply_low_half(x.word[0], 0xD2511F53u), p1 = multiply_low_half(x.word[2], 0xCD9E8D57u);
    x = {{(p1 >> 32) ^ x.word[1] ^ key0, p1, (p0 >> 32) ^ x.word[3] ^ key1, p0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

// Puts the words of even and of odd lanes together.
inline WordVec interleave(WideVec even, WideVec odd) { return (WordVec)((even & 0xFFFFFFFFull) | (odd << 32)); }

// Bit i says whether lane i of the words is below the threshold.
inline uint64_t bits_below(WordVec words, uint32_t threshold) {
#if defined(__AVX512F__)
  return _mm512_cmplt_epu32_mask((__m512i)words, _mm512_set1_epi32(static_cast<int>(threshold)));
#elif defined(__AVX2__)
  typedef float FloatBits __attribute__((vector_size(kVectorBytes)));
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)(FloatBits)(words < threshold)));
#else
  uint64_t bits = 0;
  for (int i = 0; i < kWordLanes; ++i) bits |= static_cast<uint64_t>(words[i] < threshold ? 1 : 0) << i;
  return bits;
#endif
}

// Words below the threshold are kept. A rate so small that 1 - rate rounds to 1 drops only the largest word.
inline uint32_t dropout_threshold(double rate) {
  const double keep = 1.0 - rate;
  return keep < 1.0 ? static_cast<uint32_t>(keep * 4294967296.0) : 0xFFFFFFFFu;
}

// Makes the mask of the 64 columns of a group in a row.
[[gnu::always_inline]] inline uint64_t mask_of_group(uint32_t group, uint32_t row, PhiloxStream stream,
                                                     uint32_t threshold) {
  WideVec even{};
  for (int i = 0; i < kWordLanes / 2; ++i) even[i] = static_cast<uint32_t>(2 * i);
  uint64_t bits = 0;
  STOOP_UNROLL
  for (int first = 0; first < 16; first += kWordLanes) {
    const WideVec c0 = even + (group * 16 + static_cast<uint32_t>(first));
    const PhiloxWords x = philox_vector(c0, row, stream), y = philox_vector(c0 + 1, row, stream);
    for (int word = 0; word < 4; ++word) {
      bits |= bits_below(interleave(x.word[word], y.word[word]), threshold) << (word * 16 + first);
    }
  }
  return bits;
}

// Writes the first `count` of them, which begin a byte.
inline void store_bits(uint8_t* mask, uint64_t bits, Index count) {
  if (count > 56) {
    __builtin_memcpy(mask, &bits, 8);
  } else {
    for (Index j = 0; j < count; j += 8) mask[j / 8] = static_cast<uint8_t>(bits >> j);
  }
}

// Calls body(row, first column, columns, their bits) for runs of columns within a group of 64, with all rows of each run, so
// that values which depend on the column alone are computed once.
template <class T, class Body>
[[gnu::always_inline]] inline void for_each_mask(const DropoutArgs<T>& args, Index first_row, Index rows, Body body) {
  const PhiloxStream stream{static_cast<uint32_t>(args.step), args.layer << 8 | args.stream, args.seed};
  const uint32_t threshold = dropout_threshold(args.rate), row = static_cast<uint32_t>(args.row);
  const Index first = args.column, end = first + args.cols;
  for (Index column = first, count = 0; column < end; column += count) {
    const uint32_t group = static_cast<uint32_t>(column / 64);
    const Index shift = column % 64, left = 64 - shift;
    count = left < end - column ? left : end - column;
    for (Index i = first_row; i < first_row + rows; ++i) {
      body(i, column - first, count, mask_of_group(group, row + static_cast<uint32_t>(i), stream, threshold) >> shift);
    }
  }
}

template <class T>
void dropout_mask(const DropoutArgs<T>& args) noexcept {
  uint8_t* mask = args.mask + args.column / 8;
  const Index ld_mask = args.ld_mask;
  for_each_mask(args, 0, args.rows, [&](Index i, Index j, Index count, uint64_t bits) {
    store_bits(mask + i * ld_mask + j / 8, bits, count);
  });
}

// Returns the bits of a vector of columns, the first in bit 0. Vectors of up to 8 lanes do not cross a byte.
template <class T>
inline uint32_t mask_bits(const uint8_t* mask, Index column, int lanes) {
  const uint8_t* byte = mask + column / 8;
  if (kLanes<T> <= 8) return static_cast<uint32_t>(*byte) >> (column % 8);
  return lanes > 8 ? byte[0] | static_cast<uint32_t>(byte[1]) << 8 : byte[0];
}

// Keeps the lanes whose bit is set and sets the others to 0.
template <class T>
inline Vec<T> keep_lanes(uint32_t bits, Vec<T> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vec<T>)_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), (__m512)x);
  } else {
    return (Vec<T>)_mm512_maskz_mov_pd(static_cast<__mmask8>(bits), (__m512d)x);
  }
#else
  const IntVec<T> here = (lane_index<T>() * 0 + 1) << lane_index<T>();
  return select<T>((here & static_cast<IntLane<T>>(bits)) != 0, x, Vec<T>{});
#endif
}

template <class T>
inline T dropout_scale(double rate) {
  return static_cast<T>(1.0 / (1.0 - rate));
}

// output = bit set ? input * scale : 0, with masks that were made before.
template <class T>
inline void apply_mask(const DropoutArgs<T>& args, const T* input, Index ld_input) {
  const T scale = dropout_scale<T>(args.rate);
  for (Index i = 0; i < args.rows; ++i) {
    const uint8_t* mask = args.mask + i * args.ld_mask;
    const T* x = input + i * ld_input;
    T* y = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const uint32_t bits = mask_bits<T>(mask, args.column + j, lanes);
      store_lanes(y + j, keep_lanes<T>(bits, load_lanes(x + j, lanes) * scale), lanes);
    });
  }
}

// Takes a few rows at a time, which are read and written while the bits are made.
template <class T>
void dropout_forward(const DropoutArgs<T>& args) noexcept {
  constexpr Index kRows = 8;
  const T scale = dropout_scale<T>(args.rate);
  uint8_t* mask = args.mask + args.column / 8;
  const T* input = args.input;
  T* output = args.output;
  const Index ld_mask = args.ld_mask, ld_input = args.ld_input, ld_output = args.ld_output;
  for (Index first = 0; first < args.rows; first += kRows) {
    const Index rows = args.rows - first < kRows ? args.rows - first : kRows;
    for_each_mask(args, first, rows, [&](Index i, Index j, Index count, uint64_t bits) {
      store_bits(mask + i * ld_mask + j / 8, bits, count);
      const T* x = input + i * ld_input + j;
      T* y = output + i * ld_output + j;
      for_each_vector<T>(count, [&](Index at, int lanes) {
        store_lanes(y + at, keep_lanes<T>(static_cast<uint32_t>(bits >> at), load_lanes(x + at, lanes) * scale), lanes);
      });
    });
  }
}

template <class T>
void dropout_backward(const DropoutArgs<T>& args) noexcept {
  apply_mask(args, args.output, args.ld_output);
}
