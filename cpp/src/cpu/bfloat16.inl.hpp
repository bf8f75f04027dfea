// Matrix products of float32 matrices whose elements are rounded to bfloat16: c (m, n) = op(a) @ op(b) with sums in
// float32, then the epilogue. The rounding is part of the copy into blocks (bfloat16_pack.inl.hpp); run_tile(), which
// bfloat16_dot.inl.hpp and bfloat16_amx.inl.hpp define before this text, multiplies blocks.
//
// How to read it: gemm() cuts m into runs of rows and k into runs of blocks. For each of them a is copied once. n is cut
// into panels. While the tiles of one panel are computed, a Feeder copies the next panel, block by block.
//
// Every element of c is bias + the sum over pairs of p's, whatever the cut. Pairs are counted from the first p of the
// product, and everything that depends on k is cut by k alone. So the bits depend on neither tile nor slice.
// FLOPs: 2*m*n*k.

constexpr Index kDepthBlocks = 16;     // most blocks of a run of k: two panels of b stay close to the core
constexpr Index kMostLineBlocks = 32;  // most blocks of a run of rows: as much of a as stays in the second-level cache
constexpr Index kMostLines = kMostLineBlocks * kBlockLines;
constexpr Index kRows = kRowBlocks * kBlockLines, kColumns = kColumnBlocks * kBlockLines;  // of a tile
constexpr Index kPanelElements = kPanelBlocks * kDepthBlocks * kBlockElements;
constexpr Index kMostKeptPanels = (Index{1} << 21) / kPanelElements;  // 4 MB
constexpr Index kFewPanels = kMostKeptPanels / 8;

// One panel of c in one run of k: columns [j, j + cols), p's [p, p + depth).
struct Panel {
  Index p, depth;
  Index j, cols;
};

inline Source part_of_a(const GemmArgs<float>& g, Index p, Index depth) {
  const bool contiguous = g.form != GemmForm::tn;
  return {g.a + (contiguous ? p : p * g.lda), g.lda, g.m, depth, contiguous};
}

inline Source part_of_b(const GemmArgs<float>& g, const Panel& panel) {
  const bool contiguous = g.form == GemmForm::nt;
  const float* data = g.b + (contiguous ? panel.j * g.ldb + panel.p : panel.p * g.ldb + panel.j);
  return {data, g.ldb, panel.cols, panel.depth, contiguous};
}

inline void pack_a(const GemmArgs<float>& g, Index p, Index depth, uint16_t* target) {
  const Source source = part_of_a(g, p, depth);
  for (Index line = 0; line < source.lines; line += kBlockLines) {
    for (Index q = 0; q < depth; q += kBlockDepth) {
      if (source.contiguous) {
        pack_block<true, false>(source, line, q, target);
      } else {
        pack_block<false, true>(source, line, q, target);
      }
      target += kBlockElements;
    }
  }
}

// Returns the tile at (i, j) of `data`, which has the shape of c. If it is null, nothing is fetched.
inline Fetcher fetcher_of(const float* data, Index ld, const GemmArgs<float>& g, Index i, Index j, Index calls) {
  if (data == nullptr) return {};
  const Index rows = g.m - i < kRows ? g.m - i : kRows, cols = g.n - j < kColumns ? g.n - j : kColumns;
  return {data + i * ld + j, ld, cols, rows, blocks_of(rows, calls)};
}

// Returns the tile that is computed after the one at (i, j). After the last column the next run of k begins.
inline Fetcher fetcher_behind(const GemmArgs<float>& g, Index i, Index j, Index calls) {
  if (i + kRows < g.m) return fetcher_of(g.c, g.ldc, g, i + kRows, j, calls);
  return fetcher_of(g.c, g.ldc, g, 0, j + kColumns < g.n ? j + kColumns : 0, calls);
}

// Copies a panel of b in small portions. feed() is called once for every block of k of every tile.
struct Feeder {
  Source source;
  uint16_t* target;
  Index column_blocks, depth_blocks;
  Index column, depth;  // position of the next block, in blocks
  Index credit, calls;  // a block is due when the calls so far have paid for it

  void feed() {
    credit += column_blocks * depth_blocks;
    for (; credit >= calls; credit -= calls) pack_next();
  }
  void pack_all() {
    while (depth < depth_blocks) pack_next();
  }

  // Elements that are neighbours in memory are copied together: the p's of a column, or the columns of the same p's.
  void pack_next() {
    if (depth >= depth_blocks) return;
    uint16_t* block = target + (column * depth_blocks + depth) * kBlockElements;
    if (source.contiguous) {
      pack_block<true, true>(source, column * kBlockLines, depth * kBlockDepth, block);
    } else {
      pack_block<false, false>(source, column * kBlockLines, depth * kBlockDepth, block);
    }
    if (!source.contiguous) {
      if (++column == column_blocks) column = 0, ++depth;
    } else if (++depth == depth_blocks && ++column < column_blocks) {
      depth = 0;
    }
  }
};

// For a panel after the last p there is nothing to do.
inline Feeder feeder_of(const GemmArgs<float>& g, const Panel& panel, uint16_t* target, Index calls) {
  Feeder feeder{};
  feeder.source = part_of_b(g, panel);
  feeder.target = target;
  feeder.column_blocks = blocks_of(panel.cols, kBlockLines);
  feeder.depth_blocks = blocks_of(panel.depth, kBlockDepth);
  feeder.calls = calls;
  return feeder;
}

// Computes all tiles of one panel, while the feeder copies the next one.
inline void run_panel(const GemmArgs<float>& g, const Panel& panel, const uint16_t* packed_a, const uint16_t* packed_b,
                      Feeder& feeder) {
  Tile tile{};
  tile.depth = blocks_of(panel.depth, kBlockDepth);
  tile.ldc = g.ldc;
  tile.accumulate = panel.p != 0;
  const bool last = panel.p + panel.depth == g.k;
  const bool finishes = last && needs_finish(g, false);
  for (Index j = panel.j; j < panel.j + panel.cols; j += kColumns) {
    const Index left = panel.j + panel.cols - j;
    tile.cols = left < kColumns ? left : kColumns;
    tile.b = packed_b + (j - panel.j) * tile.depth * kBlockDepth;
    tile.bias = g.bias == nullptr ? nullptr : g.bias + j;
    for (Index i = 0; i < g.m; i += kRows) {
      tile.a = packed_a + i * tile.depth * kBlockDepth;
      tile.c = g.c + i * g.ldc + j;
      tile.rows = g.m - i < kRows ? g.m - i : kRows;
      tile.next_c = fetcher_behind(g, i, j, tile.depth);
      tile.gate = fetcher_of(finishes ? g.gate : nullptr, g.ld_gate, g, i, j, tile.depth);
      run_tile(tile, feeder);
      if (finishes) finish_tile(g, i, tile.rows, j, tile.cols, false);
    }
  }
  feeder.pack_all();
  if (last && g.sums != nullptr) finish_panel(g, panel.j, panel.cols);
}

// Returns the number of panels of b in all runs of k.
inline Index panels_of(Index n, Index k) {
  return blocks_of(n, kPanelBlocks * kBlockLines) * blocks_of(k, kDepthBlocks * kBlockDepth);
}

// Returns whether b is copied whole. That is done if b has few panels and the copy serves further calls or further runs of
// rows. Calls share a b for the gradient of a weight, and in any form if the copy is small enough to stay close to the core.
// Otherwise two panels are there at a time, since a copy that nobody reads again would drive a and c from the cache.
inline bool may_keep_b(Index n, Index k) { return panels_of(n, k) <= kMostKeptPanels; }

inline bool shares_b(const GemmArgs<float>& g) {
  return may_keep_b(g.n, g.k) && (g.form == GemmForm::tn || panels_of(g.n, g.k) <= kFewPanels);
}

inline bool keeps_b(const GemmArgs<float>& g) { return shares_b(g) || (g.m > kMostLines && may_keep_b(g.n, g.k)); }

// Computes one run of rows with all columns. `keeps`: the copy of b is kept; `packed`: the copy is there already.
inline void run_rows(const GemmArgs<float>& g, bool keeps, bool packed) {
  constexpr Index kCols = kPanelBlocks * kBlockLines, kDepth = kDepthBlocks * kBlockDepth;
  const Index panels = panels_of(g.n, g.k), places = keeps && panels > 1 ? panels : 2;
  uint16_t* packed_b = reinterpret_cast<uint16_t*>(g.scratch);
  uint16_t* packed_a = packed_b + places * kPanelElements;
  const auto panel_at = [&](Index p, Index j) {
    return Panel{p, g.k - p < kDepth ? g.k - p : kDepth, j, g.n - j < kCols ? g.n - j : kCols};
  };
  Panel panel = panel_at(0, 0);
  if (!packed) feeder_of(g, panel, packed_b, 1).pack_all();
  for (Index number = 0; panel.p < g.k; ++number) {
    if (panel.j == 0) pack_a(g, panel.p, panel.depth, packed_a);
    const bool ends_run = panel.j + panel.cols == g.n;
    const Panel next = panel_at(ends_run ? panel.p + panel.depth : panel.p, ends_run ? 0 : panel.j + panel.cols);
    const Index tiles = blocks_of(g.m, kRows) * blocks_of(panel.cols, kColumns);
    const Index calls = tiles * blocks_of(panel.depth, kBlockDepth);
    Feeder feeder = feeder_of(g, next, packed_b + (number + 1) % places * kPanelElements, calls);
    if (packed) feeder.depth_blocks = 0;
    run_panel(g, panel, packed_a, packed_b + number % places * kPanelElements, feeder);
    panel = next;
  }
}

// This is enough for smaller products too, which may keep a b where this one does not.
Index gemm_scratch(Index m, Index n, Index k) noexcept {
  const Index lines = blocks_of(m, kBlockLines), depth = blocks_of(k, kBlockDepth);
  const Index kept = may_keep_b(n, k) ? panels_of(n, k) : kMostKeptPanels, places = kept < 2 ? 2 : kept;
  return places * kPanelElements / 2 + (lines < kMostLineBlocks ? lines : kMostLineBlocks) *
                                           (depth < kDepthBlocks ? depth : kDepthBlocks) * kBlockFloats;
}

void gemm_bfloat16(const GemmArgs<float>& g) noexcept {
  const bool keeps = keeps_b(g), copied = shares_b(g) && g.same_b;
  const TileUnit unit;
  for (Index i = 0; i < g.m && g.n > 0; i += kMostLines) {
    EpilogueParts<float> parts;
    const GemmArgs<float> rows = rows_of(g, i, g.m - i < kMostLines ? g.m - i : kMostLines, parts);
    run_rows(rows, keeps, copied || (keeps && i > 0));
  }
}
