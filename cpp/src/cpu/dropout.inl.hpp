// Inverted dropout. Whether element (row, column) is kept is a function of (seed, layer, step, row, column) alone: word
// (column % 64) / 16 of Philox4x32-10 (Salmon et al. 2011) at the counter {column/64*16 + column%16, row, step, layer},
// the same on every instruction set. Masks are kept as bits.

typedef uint32_t WordVec __attribute__((vector_size(kVectorBytes)));
typedef uint64_t WideVec __attribute__((vector_size(kVectorBytes)));
constexpr int kWordLanes = kVectorBytes / 4;

struct WordPair {
  WordVec high, low;
};

// The low half of each 64-bit lane times b. Compilers make three multiplications or a dozen shifts of a product of
// 64 bits, not knowing that half of them are zero.
inline WideVec multiply_low_half(WideVec a, uint32_t b) {
#if defined(__AVX512F__)
  return (WideVec)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
  return (WideVec)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
  return (a & 0xFFFFFFFFull) * (WideVec{} + b);
#endif
}

// 32 x 32 -> 64 bits in each lane: the even lanes, the odd lanes, and both put together.
inline WordPair multiply_wide(WordVec a, uint32_t b) {
  const WideVec even = multiply_low_half((WideVec)a, b);
  const WideVec odd = multiply_low_half((WideVec)a >> 32, b);
  const WideVec upper = WideVec{} + 0xFFFFFFFF00000000ull;
  return {(WordVec)((even >> 32) | (odd & upper)), (WordVec)((even & ~upper) | (odd << 32))};
}

struct PhiloxWords {
  WordVec word[4];
};

inline PhiloxWords philox_vector(WordVec c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  PhiloxWords x{{c0, WordVec{} + c1, WordVec{} + c2, WordVec{} + c3}};
  for (int round = 0; round < 10; ++round) {
    const WordPair p0 = multiply_wide(x.word[0], 0xD2511F53u), p1 = multiply_wide(x.word[2], 0xCD9E8D57u);
    x = {{p1.high ^ x.word[1] ^ key0, p1.low, p0.high ^ x.word[3] ^ key1, p0.low}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

// Bit i: lane i of the words is below the threshold.
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

// The mask of the 64 columns of a group.
template <class T>
inline uint64_t dropout_group(const DropoutArgs<T>& args, uint32_t row, uint32_t group, uint32_t threshold) {
  WordVec lanes{};
  for (int i = 0; i < kWordLanes; ++i) lanes[i] = static_cast<uint32_t>(i);
  uint64_t bits = 0;
  for (int first = 0; first < 16; first += kWordLanes) {
    const PhiloxWords x = philox_vector(lanes + (group * 16 + static_cast<uint32_t>(first)), row,
                                        static_cast<uint32_t>(args.step), args.layer << 8 | args.stream, args.seed);
    for (int word = 0; word < 4; ++word) bits |= bits_below(x.word[word], threshold) << (word * 16 + first);
  }
  return bits;
}

// output = bit set ? input * scale : 0, for up to 64 columns.
template <class T>
inline void apply_mask(uint64_t bits, const T* input, T* output, Index cols, T scale) {
  for_each_vector<T>(cols, [&](Index j, int lanes) {
    const IntVec<T> here = (lane_index<T>() * 0 + 1) << lane_index<T>();
    const IntVec<T> kept = (here & static_cast<IntLane<T>>(bits >> j)) != 0;
    store_lanes(output + j, select<T>(kept, load_lanes(input + j, lanes) * scale, Vec<T>{}), lanes);
  });
}

// Calls body(first column of the run, columns, bits of the group shifted to that column) for each group of 64.
template <class T, class Body>
inline void for_each_group(const DropoutArgs<T>& args, Body body) {
  for (Index j = 0; j < args.cols;) {
    const Index column = args.column + j;
    const Index left = 64 - column % 64;
    const Index count = left < args.cols - j ? left : args.cols - j;
    body(j, count, column);
    j += count;
  }
}

// Words below it are kept. A rate too small to tell 1 - rate from 1 drops but the largest word.
inline uint32_t dropout_threshold(double keep) {
  return keep < 1.0 ? static_cast<uint32_t>(keep * 4294967296.0) : 0xFFFFFFFFu;
}

template <class T>
void dropout_forward(const DropoutArgs<T>& args) noexcept {
  const double keep = 1.0 - args.rate;
  const uint32_t threshold = dropout_threshold(keep);
  const T scale = static_cast<T>(1.0 / keep);
  for (Index i = 0; i < args.rows; ++i) {
    for_each_group(args, [&](Index j, Index count, Index column) {
      const uint64_t bits =
          dropout_group(args, static_cast<uint32_t>(args.row + i), static_cast<uint32_t>(column / 64), threshold) >>
          (column % 64);
      __builtin_memcpy(args.mask + i * args.ld_mask + column / 8, &bits, static_cast<size_t>((count + 7) / 8));
      apply_mask(bits, args.input + i * args.ld_input + j, args.output + i * args.ld_output + j, count, scale);
    });
  }
}

template <class T>
void dropout_backward(const DropoutArgs<T>& args) noexcept {
  const T scale = static_cast<T>(1.0 / (1.0 - args.rate));
  for (Index i = 0; i < args.rows; ++i) {
    for_each_group(args, [&](Index j, Index count, Index column) {
      uint64_t bits = 0;
      __builtin_memcpy(&bits, args.mask + i * args.ld_mask + column / 8, static_cast<size_t>((count + 7) / 8));
      T* grad = args.output + i * args.ld_output + j;
      apply_mask(bits, grad, grad, count, scale);
    });
  }
}
