// Matrix products of float32 matrices whose elements are rounded to bfloat16: c (m, n) = op(a) @ op(b) with sums in
// float32, then the epilogue. The rounding is part of the copy into blocks (bfloat16_pack.inl.hpp); run_tile(), which
// bfloat16_dot.inl.hpp and bfloat16_amx.inl.hpp define before this text, multiplies blocks.
//
// How to read it: gemm() cuts m into runs of rows and k into runs of blocks. For each, a is copied once; n is cut into
// panels, of which the next is copied, block by block, while the tiles of this one are computed: a Feeder does that.
//
// Every element of c is bias + the sum over pairs of p's, whatever the cut: pairs are counted from the first p of the
// product, and all that depends on k is cut by k alone. So its bits depend on neither tile nor slice. FLOPs: 2*m*n*k.

constexpr Index kDepthBlocks = 16;     // most blocks of a run of k: two panels of b stay close to the core
constexpr Index kMostLineBlocks = 32;  // of a run of rows: as much of a as stays in the second-level cache
constexpr Index kPanelElements = kPanelBlocks * kDepthBlocks * kBlockElements;
constexpr Index kMostKeptPanels = (Index{1} << 21) / kPanelElements;  // 4 MB

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

// Copies a panel of b in small portions: feed() is called once for every block of k of every tile.
struct Feeder {
  Source source;
  uint16_t* target;
  Index column_blocks, depth_blocks;
  Index column, depth;  // the block that is next, in blocks
  Index credit, calls;  // a block is due when the calls so far have paid for it

  void feed() {
    credit += column_blocks * depth_blocks;
    for (; credit >= calls; credit -= calls) pack_next();
  }
  void pack_all() {
    while (depth < depth_blocks) pack_next();
  }

  // All blocks of the same p's come together: where the columns of a p are neighbours, so are their cache lines.
  void pack_next() {
    if (depth >= depth_blocks) return;
    uint16_t* block = target + (column * depth_blocks + depth) * kBlockElements;
    if (source.contiguous) {
      pack_block<true, true>(source, column * kBlockLines, depth * kBlockDepth, block);
    } else {
      pack_block<false, false>(source, column * kBlockLines, depth * kBlockDepth, block);
    }
    if (++column == column_blocks) column = 0, ++depth;
  }
};

// For a panel behind the last p there is nothing to do.
inline Feeder feeder_of(const GemmArgs<float>& g, const Panel& panel, uint16_t* target, Index calls) {
  Feeder feeder{};
  feeder.source = part_of_b(g, panel);
  feeder.target = target;
  feeder.column_blocks = blocks_of(panel.cols, kBlockLines);
  feeder.depth_blocks = blocks_of(panel.depth, kBlockDepth);
  feeder.calls = calls;
  return feeder;
}

// All tiles of one panel; meanwhile the feeder copies the next one.
inline void run_panel(const GemmArgs<float>& g, const Panel& panel, const uint16_t* packed_a, const uint16_t* packed_b,
                      Feeder& feeder) {
  constexpr Index kRows = kRowBlocks * kBlockLines, kColumns = kColumnBlocks * kBlockLines;
  Tile tile{};
  tile.depth = blocks_of(panel.depth, kBlockDepth);
  tile.ldc = g.ldc;
  tile.accumulate = panel.p != 0;
  const bool last = panel.p + panel.depth == g.k;
  const bool finishes = last && g.epilogue != Epilogue::none && g.activation != ActivationKind::identity;
  for (Index j = panel.j; j < panel.j + panel.cols; j += kColumns) {
    const Index left = panel.j + panel.cols - j;
    tile.cols = left < kColumns ? left : kColumns;
    tile.b = packed_b + (j - panel.j) * tile.depth * kBlockDepth;
    tile.bias = g.bias == nullptr ? nullptr : g.bias + j;
    for (Index i = 0; i < g.m; i += kRows) {
      tile.a = packed_a + i * tile.depth * kBlockDepth;
      tile.c = g.c + i * g.ldc + j;
      tile.rows = g.m - i < kRows ? g.m - i : kRows;
      run_tile(tile, feeder);
      if (finishes) finish_tile(g, i, tile.rows, j, tile.cols);
    }
  }
  feeder.pack_all();
  if (last && g.sums != nullptr) finish_panel(g, panel.j, panel.cols);
}

// Panels of b in all runs of k.
inline Index panels_of(Index n, Index k) {
  return blocks_of(n, kPanelBlocks * kBlockLines) * blocks_of(k, kDepthBlocks * kBlockDepth);
}

// A b of few panels is copied whole, into a place of its own for each panel, and the copy serves all runs of rows and
// further calls with the same b. Of a larger one two panels are there at a time.
inline bool keeps_b(Index n, Index k) { return panels_of(n, k) <= kMostKeptPanels; }

// One run of rows, all columns. `packed`: the scratch holds the copy of b.
inline void run_rows(const GemmArgs<float>& g, bool packed) {
  constexpr Index kColumns = kPanelBlocks * kBlockLines, kDepth = kDepthBlocks * kBlockDepth;
  const Index panels = panels_of(g.n, g.k), places = keeps_b(g.n, g.k) && panels > 1 ? panels : 2;
  uint16_t* packed_b = reinterpret_cast<uint16_t*>(g.scratch);
  uint16_t* packed_a = packed_b + places * kPanelElements;
  const auto panel_at = [&](Index p, Index j) {
    return Panel{p, g.k - p < kDepth ? g.k - p : kDepth, j, g.n - j < kColumns ? g.n - j : kColumns};
  };
  Panel panel = panel_at(0, 0);
  if (!packed) feeder_of(g, panel, packed_b, 1).pack_all();
  for (Index number = 0; panel.p < g.k; ++number) {
    if (panel.j == 0) pack_a(g, panel.p, panel.depth, packed_a);
    const bool ends_run = panel.j + panel.cols == g.n;
    const Panel next = panel_at(ends_run ? panel.p + panel.depth : panel.p, ends_run ? 0 : panel.j + panel.cols);
    const Index tiles = blocks_of(g.m, kRowBlocks * kBlockLines) * blocks_of(panel.cols, kColumnBlocks * kBlockLines);
    const Index calls = tiles * blocks_of(panel.depth, kBlockDepth);
    Feeder feeder = feeder_of(g, next, packed_b + (number + 1) % places * kPanelElements, calls);
    if (packed) feeder.depth_blocks = 0;
    run_panel(g, panel, packed_a, packed_b + number % places * kPanelElements, feeder);
    panel = next;
  }
}

// Enough for smaller products too, which may keep a b where this one does not.
Index gemm_scratch(Index m, Index n, Index k) noexcept {
  const Index lines = blocks_of(m, kBlockLines), depth = blocks_of(k, kBlockDepth);
  const Index kept = keeps_b(n, k) ? panels_of(n, k) : kMostKeptPanels, places = kept < 2 ? 2 : kept;
  return places * kPanelElements / 2 + (lines < kMostLineBlocks ? lines : kMostLineBlocks) *
                                           (depth < kDepthBlocks ? depth : kDepthBlocks) * kBlockFloats;
}

void gemm_bfloat16(const GemmArgs<float>& g) noexcept {
  constexpr Index kMostLines = kMostLineBlocks * kBlockLines;
  const TileUnit unit;
  for (Index i = 0; i < g.m && g.n > 0; i += kMostLines) {
    BatchNormArgs<float> sums;
    run_rows(rows_of(g, i, g.m - i < kMostLines ? g.m - i : kMostLines, sums),
             keeps_b(g.n, g.k) && (g.same_b || i > 0));
  }
}
