// Computes tiles with AVX512-BF16: vdpbf16ps adds the products of 16 pairs to 16 float32 sums. 8 rows x 3 vectors of sums
// stay in registers; a block of rows is two such tiles. Denormal numbers count as zero, whatever the thread's mode.

constexpr Index kRowBlocks = 1;  // of a tile
constexpr Index kColumnBlocks = 3;
constexpr Index kPanelBlocks = 3;  // of a panel
constexpr int kTileRows = 8;

// There is nothing to prepare here, unlike in bfloat16_amx.inl.hpp.
struct TileUnit {
  TileUnit() {}
};

// Computes at most 8 rows. `feed` is called once for every block.
template <int kVectors, class Feed>
[[gnu::always_inline]] inline void run_half(const Tile& given, Feed feed) {
  const Tile tile = given;
  const __mmask16 last = first_of_16(tile.cols - (kVectors - 1) * kBlockLines);
  const auto mask = [&](int v) { return v < kVectors - 1 ? __mmask16(0xffff) : last; };
  __m512 sum[kTileRows][kVectors];
  STOOP_UNROLL
  for (int r = 0; r < kTileRows; ++r) {
    STOOP_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const float* start = tile.accumulate ? tile.c + r * tile.ldc : tile.bias;
      const bool any = tile.accumulate ? r < tile.rows : start != nullptr;
      sum[r][v] = any ? _mm512_maskz_loadu_ps(mask(v), start + v * kBlockLines) : _mm512_setzero_ps();
    }
  }
  const uint16_t* a = tile.a;
  const uint16_t* b = tile.b;
  for (Index d = 0; d < tile.depth; ++d) {
#pragma GCC unroll 2
    for (Index q = 0; q < kBlockLines; ++q) {
      __m512bh row[kVectors];
      STOOP_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        row[v] = (__m512bh)_mm512_load_si512(b + v * tile.depth * kBlockElements + q * kBlockDepth);
      }
      STOOP_UNROLL
      for (int r = 0; r < kTileRows; ++r) {
        int pair;
        __builtin_memcpy(&pair, a + r * kBlockDepth + 2 * q, sizeof pair);
        STOOP_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          sum[r][v] = _mm512_dpbf16_ps(sum[r][v], row[v], (__m512bh)_mm512_set1_epi32(pair));
        }
      }
    }
    a += kBlockElements;
    b += kBlockElements;
    feed();
  }
  STOOP_UNROLL
  for (int r = 0; r < kTileRows; ++r) {
    if (r < tile.rows) {
      STOOP_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        _mm512_mask_storeu_ps(tile.c + r * tile.ldc + v * kBlockLines, mask(v), sum[r][v]);
      }
    }
  }
}

template <int kVectors, class Feeder>
inline void run_halves(const Tile& tile, Feeder& feeder) {
  Fetcher next_c = tile.next_c, gate = tile.gate;
  run_half<kVectors>(tile, [&] {
    next_c.fetch<true>();
    gate.fetch<false>();
    feeder.feed();
  });
  if (tile.rows <= kTileRows) return;
  Tile second = tile;
  second.a += kTileRows * kBlockDepth;
  second.c += kTileRows * tile.ldc;
  second.rows -= kTileRows;
  run_half<kVectors>(second, [] {});
}

template <class Feeder>
inline void run_tile(const Tile& tile, Feeder& feeder) {
  if (tile.cols > 2 * kBlockLines) return run_halves<3>(tile, feeder);
  if (tile.cols > kBlockLines) return run_halves<2>(tile, feeder);
  run_halves<1>(tile, feeder);
}

// A loop of independent dot products that stays in registers.
constexpr Index kDotLoopFlops = 12 * 16 * 2 * 2;

void dot_loop(Index iterations, float* sink) noexcept {
  __m512 sum[12];
  STOOP_UNROLL
  for (int v = 0; v < 12; ++v) sum[v] = _mm512_set1_ps(static_cast<float>(v));
  const __m512bh a = (__m512bh)_mm512_load_si512(sink), b = (__m512bh)_mm512_load_si512(sink + 16);
  for (Index i = 0; i < iterations; ++i) {
    STOOP_UNROLL
    for (int v = 0; v < 12; ++v) {
      sum[v] = _mm512_dpbf16_ps(sum[v], a, b);
      asm volatile("" : "+v"(sum[v]));  // keeps the loop from being folded
    }
  }
  __m512 total = _mm512_setzero_ps();
  STOOP_UNROLL
  for (int v = 0; v < 12; ++v) total = _mm512_add_ps(total, sum[v]);
  _mm512_store_ps(sink, total);
}
