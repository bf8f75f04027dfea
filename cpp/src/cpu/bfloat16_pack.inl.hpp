// Copies the operands of a product into blocks of bfloat16 and rounds them: to the nearest, ties to even. NaN stays NaN, and
// denormal float32 numbers become zero (vcvtne2ps2bf16).
//
// A block has 16 rows of a, or 16 columns of b, and 32 p's. That is 16 vectors of 16 pairs; a pair is the values of two
// neighbouring p's, which is what the dot products take. In a block of a, vector r holds the pairs of row r; in a block of
// b, vector q holds pair q of every column. The form of the product decides which of the two orders the memory has; the
// other order takes a transposition. Blocks are zero beyond the edges of an operand.

constexpr Index kBlockLines = 16;
constexpr Index kBlockDepth = 32;
constexpr Index kBlockElements = kBlockLines * kBlockDepth;
constexpr Index kBlockFloats = kBlockElements / 2;  // of scratch

// A part of an operand to be copied: `lines` rows of a or columns of b, `depth` p's.
struct Source {
  const float* data;
  Index ld;
  Index lines, depth;
  bool contiguous;  // the p's of a line are neighbours in memory, else the lines of a p are
};

inline __mmask16 first_of_16(Index n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1u); }

inline __m512i round_to_pairs(__m512 first, __m512 second) { return (__m512i)_mm512_cvtne2ps_pbh(second, first); }

// vector[i] = line i, with 32 neighbours and so 16 pairs.
inline void load_lines(const float* data, Index ld, Index lines, Index depth, __m512i (&vector)[kBlockLines]) {
  if (lines >= kBlockLines && depth >= kBlockDepth) {
    STOOP_UNROLL
    for (Index i = 0; i < kBlockLines; ++i) {
      vector[i] = round_to_pairs(_mm512_loadu_ps(data + i * ld), _mm512_loadu_ps(data + i * ld + 16));
    }
    return;
  }
  const __mmask16 low = first_of_16(depth), high = first_of_16(depth - 16);
  for (Index i = 0; i < kBlockLines; ++i) {
    const float* line = data + (i < lines ? i : 0) * ld;
    vector[i] = i < lines ? round_to_pairs(_mm512_maskz_loadu_ps(low, line), _mm512_maskz_loadu_ps(high, line + 16))
                          : _mm512_setzero_si512();
  }
}

// vector[q] = pair q of 16 lines, from two rows of 16 neighbours.
inline void load_pairs(const float* data, Index ld, Index lines, Index depth, __m512i (&vector)[kBlockLines]) {
  const __m512i alternate = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                             21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __mmask16 mask = first_of_16(lines);
  if (depth >= kBlockDepth) {
    STOOP_UNROLL
    for (Index q = 0; q < kBlockLines; ++q) {
      const float* row = data + 2 * q * ld;
      const __m512i halves = round_to_pairs(_mm512_maskz_loadu_ps(mask, row), _mm512_maskz_loadu_ps(mask, row + ld));
      vector[q] = _mm512_permutexvar_epi16(alternate, halves);
    }
    return;
  }
  for (Index q = 0; q < kBlockLines; ++q) {
    const Index p = 2 * q;
    const float* row = data + (p < depth ? p : 0) * ld;
    const __mmask16 first = p < depth ? mask : __mmask16(0), second = p + 1 < depth ? mask : __mmask16(0);
    const float* next = row + (p + 1 < depth ? ld : 0);
    const __m512i halves = round_to_pairs(_mm512_maskz_loadu_ps(first, row), _mm512_maskz_loadu_ps(second, next));
    vector[q] = _mm512_permutexvar_epi16(alternate, halves);
  }
}

// Transposes 16 x 16 pairs: four perfect shuffles of the rows.
inline void transpose_pairs(__m512i (&vector)[kBlockLines]) {
  __m512i shuffled[kBlockLines];
  STOOP_UNROLL
  for (int i = 0; i < 8; ++i) {
    shuffled[2 * i] = _mm512_unpacklo_epi32(vector[2 * i], vector[2 * i + 1]);
    shuffled[2 * i + 1] = _mm512_unpackhi_epi32(vector[2 * i], vector[2 * i + 1]);
  }
  STOOP_UNROLL
  for (int i = 0; i < 16; i += 4) {
    vector[i] = _mm512_unpacklo_epi64(shuffled[i], shuffled[i + 2]);
    vector[i + 1] = _mm512_unpackhi_epi64(shuffled[i], shuffled[i + 2]);
    vector[i + 2] = _mm512_unpacklo_epi64(shuffled[i + 1], shuffled[i + 3]);
    vector[i + 3] = _mm512_unpackhi_epi64(shuffled[i + 1], shuffled[i + 3]);
  }
  // vector[4g + c], quarter h: column 4h + c of rows 4g to 4g + 3.
  STOOP_UNROLL
  for (int c = 0; c < 4; ++c) {
    const __m512i low = _mm512_shuffle_i32x4(vector[c], vector[4 + c], 0x44);
    const __m512i high = _mm512_shuffle_i32x4(vector[c], vector[4 + c], 0xee);
    const __m512i low2 = _mm512_shuffle_i32x4(vector[8 + c], vector[12 + c], 0x44);
    const __m512i high2 = _mm512_shuffle_i32x4(vector[8 + c], vector[12 + c], 0xee);
    shuffled[c] = _mm512_shuffle_i32x4(low, low2, 0x88);
    shuffled[4 + c] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    shuffled[8 + c] = _mm512_shuffle_i32x4(high, high2, 0x88);
    shuffled[12 + c] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
  STOOP_UNROLL
  for (int i = 0; i < 16; ++i) vector[i] = shuffled[i];
}

// Copies one block, from (line, p) of the source on. `transposed`: the block has the other order than the memory.
template <bool kContiguous, bool kTransposed>
inline void pack_block(const Source& source, Index line, Index p, uint16_t* block) {
  __m512i vector[kBlockLines];
  const Index lines = source.lines - line, depth = source.depth - p;
  if constexpr (kContiguous) {
    load_lines(source.data + line * source.ld + p, source.ld, lines, depth, vector);
  } else {
    load_pairs(source.data + p * source.ld + line, source.ld, lines, depth, vector);
  }
  if constexpr (kTransposed) transpose_pairs(vector);
  STOOP_UNROLL
  for (Index i = 0; i < kBlockLines; ++i) _mm512_store_si512(block + i * kBlockDepth, vector[i]);
}

inline Index blocks_of(Index n, Index size) { return (n + size - 1) / size; }

// Prefetches the lines of a tile of some matrix, a portion of its rows at a time. A tile has more instructions than a core
// looks ahead, so without this the data of the next tile would be requested only when it is needed.
struct Fetcher {
  const float* row;  // the next row
  Index ld, cols;
  Index rows;  // still to come
  Index portion;

  template <bool kWrites>
  void fetch() {
    for (Index i = portion; i > 0 && rows > 0; --i, --rows, row += ld) {
      for (Index j = 0; j < cols; j += 16) __builtin_prefetch(row + j, kWrites, 3);
    }
  }
};

// A tile of c: rows x cols of it = or += a @ b. Block (r, d) of a is at a + (r * depth + d) * kBlockElements, of b
// likewise.
struct Tile {
  Index depth;  // blocks
  const uint16_t* a;
  const uint16_t* b;
  float* c;
  Index ldc;
  Index rows, cols;
  bool accumulate;    // go on from what c holds
  const float* bias;  // (cols), to start from (null: from zero); ignored with accumulate
  // These are prefetched meanwhile, a portion with each block: what is written next, and what is read after this tile.
  Fetcher next_c, gate;
};
