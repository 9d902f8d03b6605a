// A thread for each number of a result, in as many launches as there are numbers for.
#pragma once

#include "core/gpu.h"

namespace shiftable {
namespace {

// The numbers of `blocks` planes or images, of `rows` rows of `columns` pixels of `inner` numbers, one for each thread:
// a launch takes as many blocks, or rows of one block, as its threads can be numbered for.
struct Numbers {
  int64_t first_block, first_row, columns, inner;
  Divider rows, across, channels;
  uint32_t threads;

  struct Place {
    int64_t block, y, x, c;
  };
  SHIFTABLE_DEVICE Place place(uint32_t thread) const {
    uint32_t x = thread;
    uint32_t y = across.split(x);
    uint32_t c = x;
    x = channels.split(c);
    const uint32_t block = rows.split(y);
    return {first_block + block, first_row + y, x, c};
  }
};

template <typename Launch>
void for_numbers(int64_t blocks, int64_t rows, int64_t columns, int64_t inner, const Launch& start) {
  const int64_t row = columns * inner;
  if (blocks == 0 || rows == 0 || row == 0) return;
  if (row > kMostThreads) throw std::invalid_argument("expected rows of less than 2^31 numbers on CUDA");
  const int64_t most_rows = kMostThreads / row < rows ? kMostThreads / row : rows;
  const int64_t most_blocks = most_rows == rows ? kMostThreads / (row * rows) : 1;
  for (int64_t b = 0; b < blocks; b += most_blocks)
    for (int64_t y = 0; y < rows; y += most_rows) {
      const int64_t n = b + most_blocks < blocks ? most_blocks : blocks - b;
      const int64_t height = y + most_rows < rows ? most_rows : rows - y;
      start(Numbers{b, y, columns, inner, Divider(height), Divider(row), Divider(inner),
                    static_cast<uint32_t>(n * height * row)});
    }
}

}  // namespace
}  // namespace shiftable
