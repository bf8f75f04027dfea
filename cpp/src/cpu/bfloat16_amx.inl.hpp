// Computes tiles with AMX: tdpbf16ps multiplies a block of a (16 rows, 16 pairs) with a block of b and adds to 16 x 16
// float32 sums, in 16 cycles. 2 x 2 such sums stay in the tile registers. While the unit computes them, the core goes on
// with later instructions, so copying b for the next panel costs little. Denormal numbers count as zero.
//
// The shape of the tiles is state of the thread. It is loaded at the start of a product and released at its end, so that
// no other code pays for saving the registers (8 KB) at a switch of threads.

constexpr Index kRowBlocks = 2;  // of a tile
constexpr Index kColumnBlocks = 2;
constexpr Index kPanelBlocks = 8;  // in a panel: 512 bytes of a row, which come from memory in sequence

// Intel SDM, volume 1, table 18-2: the palette, then bytes per row at 16 and rows at 48 for each of the 8 registers.
struct TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_per_row[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileShapes) == 64);
alignas(64) constexpr TileShapes kShapes = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

struct TileUnit {
  TileUnit() { _tile_loadconfig(&kShapes); }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

// Compilers may move stores past the load of a tile (GCC declares no memory clobber). After this, all earlier stores are in
// memory.
inline void stores_are_done() { asm volatile("" ::: "memory"); }

constexpr Index kEdge = 2 * kBlockLines;  // rows and columns of a whole tile

// Copies rows x cols elements, at most kEdge of each.
inline void copy_tile(const float* source, Index ld, float* target, Index ld_target, Index rows, Index cols) {
  const __mmask16 first = first_of_16(cols), second = first_of_16(cols - 16);
  for (Index i = 0; i < rows; ++i) {
    const float* from = source + i * ld;
    float* to = target + i * ld_target;
    _mm512_mask_storeu_ps(to, first, _mm512_maskz_loadu_ps(first, from));
    _mm512_mask_storeu_ps(to + 16, second, _mm512_maskz_loadu_ps(second, from + 16));
  }
}

template <int kR, int kC>
inline void load_sums(const float* c, Index bytes) {
  const auto at = [&](Index r, Index column) {
    return reinterpret_cast<const char*>(c) + r * 16 * bytes + column * 16 * sizeof(float);
  };
  _tile_loadd(0, at(0, 0), bytes);
  if constexpr (kC == 2) _tile_loadd(1, at(0, 1), bytes);
  if constexpr (kR == 2) _tile_loadd(2, at(1, 0), bytes);
  if constexpr (kR == 2 && kC == 2) _tile_loadd(3, at(1, 1), bytes);
}

template <int kR, int kC>
inline void store_sums(float* c, Index bytes) {
  const auto at = [&](Index r, Index column) {
    return reinterpret_cast<char*>(c) + r * 16 * bytes + column * 16 * sizeof(float);
  };
  _tile_stored(0, at(0, 0), bytes);
  if constexpr (kC == 2) _tile_stored(1, at(0, 1), bytes);
  if constexpr (kR == 2) _tile_stored(2, at(1, 0), bytes);
  if constexpr (kR == 2 && kC == 2) _tile_stored(3, at(1, 1), bytes);
}

// A tile of columns reads every block of a once, and every block of b again for all rows below. So a bypasses the
// first-level cache, which can hold the 32 KB of b but not both.
template <int kR, int kC, class Feeder>
inline void multiply_blocks(const Tile& tile, Feeder& feeder) {
  constexpr Index kBytes = kBlockDepth * sizeof(uint16_t);
  const Index next = tile.depth * kBlockElements;
  const uint16_t* a = tile.a;
  const uint16_t* b = tile.b;
  Fetcher next_c = tile.next_c, gate = tile.gate;
  for (Index d = 0; d < tile.depth; ++d) {
    _tile_stream_loadd(4, a, kBytes);
    _tile_loadd(6, b, kBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kC == 2) {
      _tile_loadd(7, b + next, kBytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kR == 2) {
      _tile_stream_loadd(5, a + next, kBytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (kR == 2 && kC == 2) _tile_dpbf16ps(3, 5, 7);
    a += kBlockElements;
    b += kBlockElements;
    next_c.fetch<true>();
    gate.fetch<false>();
    feeder.feed();
  }
}

template <int kR, int kC, class Feeder>
inline void run_blocks(const Tile& tile, Feeder& feeder) {
  alignas(64) float edge[kEdge * kEdge];
  const bool whole = tile.rows == kR * kBlockLines && tile.cols == kC * kBlockLines;
  float* c = whole ? tile.c : edge;
  const Index bytes = (whole ? tile.ldc : kEdge) * static_cast<Index>(sizeof(float));
  if (tile.accumulate) {
    if (!whole) copy_tile(tile.c, tile.ldc, edge, kEdge, tile.rows, tile.cols);
    stores_are_done();
    load_sums<kR, kC>(c, bytes);
  } else {
    alignas(64) float bias[kEdge] = {};
    if (tile.bias != nullptr) copy_tile(tile.bias, 0, bias, 0, 1, tile.cols);
    stores_are_done();
    load_sums<kR, kC>(bias, 0);
  }
  multiply_blocks<kR, kC>(tile, feeder);
  store_sums<kR, kC>(c, bytes);
  if (!whole) copy_tile(edge, kEdge, tile.c, tile.ldc, tile.rows, tile.cols);
}

template <class Feeder>
inline void run_tile(const Tile& tile, Feeder& feeder) {
  const bool two_rows = tile.rows > kBlockLines, two_columns = tile.cols > kBlockLines;
  if (two_rows && two_columns) return run_blocks<2, 2>(tile, feeder);
  if (two_rows) return run_blocks<2, 1>(tile, feeder);
  if (two_columns) return run_blocks<1, 2>(tile, feeder);
  run_blocks<1, 1>(tile, feeder);
}

// A loop of independent products that stays in the tile registers.
constexpr Index kDotLoopFlops = 4 * 2 * 16 * 16 * 32;

void dot_loop(Index iterations, float* sink) noexcept {
  const TileUnit unit;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (Index i = 0; i < iterations; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  float sums[256];
  _tile_stored(0, sums, 64);
  *sink = sums[0];
}
